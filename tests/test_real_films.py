"""The whole way on real films, where they lie beside the checkout."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from data_prep.rsna_labels import read_rsna_labels
from pneumo_jax.boxes.match import greedy_match
from pneumo_jax.overlay import TRUTH_COLOUR
from tests.conftest import run_command, train_command

NUM_FILMS = 16


@pytest.fixture(scope='module')
def download(shared_data, tmp_path_factory):
    """A download of 16 real films, half of them with boxes, and the tables of all."""
    folder = tmp_path_factory.mktemp('real')
    images = folder / 'stage_2_train_images'
    images.mkdir()
    for table in (shared_data / 'rsna').glob('*.csv'):
        shutil.copy(table, folder)
    with (folder / 'stage_2_train_labels.csv').open() as file:
        rows = list(csv.DictReader(file))
    by_target = [sorted({r['patientId'] for r in rows if r['Target'] == t}) for t in '01']
    ids = [i for group in by_target for i in group[: NUM_FILMS // 2]]
    for film in ids:
        shutil.copy(shared_data / 'rsna' / 'stage_2_train_images' / f'{film}.dcm', images)
    return folder


@pytest.fixture(scope='module')
def shards(download, tmp_path_factory):
    """All 16 films for training."""
    folder = tmp_path_factory.mktemp('real_shards') / 'shards'
    done = run_command(
        'data_prep/convert.py',
        f'--images_dir={download}/stage_2_train_images',
        f'--labels_csv={download}/stage_2_train_labels.csv',
        f'--class_info_csv={download}/stage_2_detailed_class_info.csv',
        f'--person_csv={download}/rsna_to_nih_mapping.csv',
        f'--output_dir={folder}',
        '--image_size=128',
        '--split_fractions=1,0,0',
        '--allow_missing',
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / 'manifest.json').read_text())['splits'].keys() == {'train'}
    return folder


@pytest.mark.slow
def test_a_resnet_overfits_16_real_films_and_draws_their_boxes(download, shards, tmp_path):
    augment = [f'--config.augment.{n}=0' for n in ('scale', 'shift', 'brightness', 'contrast')]
    trained = run_command(
        *train_command(shards, tmp_path / 'workdir', model='resnet_small'),
        '--config.data.validation_split=train',
        '--config.batch_size=16',
        '--config.eval.batch_size=16',
        '--config.num_epochs=80',
        '--config.early_stopping.patience=80',
        '--config.model.dropout=0',
        '--noconfig.augment.flip',
        *augment,
    )
    assert trained.returncode == 0, trained.stderr
    done = run_command(
        '-m', 'pneumo_jax.evaluate', f'--workdir={tmp_path}/workdir', '--split=train'
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / 'workdir' / 'results-train.json').read_text())
    assert results['film']['accuracy']['value'] == 1
    assert results['boxes']['mean_iou']['value'] > 0.7

    films = sorted((download / 'stage_2_train_images').iterdir())
    done = run_command(
        '-m',
        'pneumo_jax.predict',
        f'--workdir={tmp_path}/workdir',
        f'--output_dir={tmp_path}/out',
        f'--labels_csv={download}/stage_2_train_labels.csv',
        *films,
    )
    assert done.returncode == 0, done.stderr
    truths = {
        film.patient_id: film.boxes
        for film in read_rsna_labels(download / 'stage_2_train_labels.csv').films
    }
    with (tmp_path / 'out' / 'predictions.csv').open() as file:
        predictions = {row['id']: row for row in csv.DictReader(file)}
    assert predictions.keys() == {film.stem for film in films}
    for film, row in predictions.items():
        truth, boxes = truths[film], np.array(row['boxes'].split(), float).reshape(-1, 5)[:, 1:]
        assert int(row['positive']) == (len(truth) > 0)
        assert len(boxes) == len(truth)
        matched = greedy_match(truth, boxes, np.arange(len(boxes))[::-1], 0.5)
        assert sorted(matched) == list(range(len(truth)))
        with Image.open(tmp_path / 'out' / 'overlays' / f'{film}.png') as overlay:
            red = (np.asarray(overlay) == TRUTH_COLOUR).all(axis=-1).any()
        assert red == (len(truth) > 0)
