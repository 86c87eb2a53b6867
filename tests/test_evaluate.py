import csv
import dataclasses
import json
import math
import pathlib
import re
import shutil

import jax
import numpy as np
import pytest
from sklearn import metrics as sk

from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.ensemble import Ensemble, load_ensemble
from pneumo_jax.errors import InputError
from pneumo_jax.evaluate import evaluate, recompute
from pneumo_jax.evaluation.chosen import CHOSEN_NAME, read_chosen
from pneumo_jax.evaluation.film_table import read_films
from pneumo_jax.evaluation.results import Settings
from pneumo_jax.overlap import find_overlap
from pneumo_jax.trained import load_trained
from tests.conftest import run_command

QUICK = Settings(num_draws=50)


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def codes(content):
    return {warning['code'] for warning in content['warnings']}


@pytest.fixture(scope='module')
def evaluated(trained_workdir) -> pathlib.Path:
    """The workdir, evaluated on its test split by the command."""
    done = run_command('-m', 'pneumo_jax.evaluate', f'--workdir={trained_workdir}')
    assert done.returncode == 0, done.stderr
    (trained_workdir / 'said.txt').write_text(done.stdout)
    return trained_workdir


@pytest.fixture
def workdir(evaluated, tmp_path):
    """A copy of it."""
    return pathlib.Path(shutil.copytree(evaluated, tmp_path / 'workdir'))


def test_command_writes_results_that_the_film_table_confirms(evaluated, phantom_shards):
    content = json.loads((evaluated / 'results.json').read_text())
    split = FilmSplit(phantom_shards, 'test')
    assert content['split'] == 'test'
    assert content['num_films'] == content['num_films_with_known_boxes'] == len(split)
    assert 'person' in content['protocol']
    said = (evaluated / 'said.txt').read_text()
    assert 'not a medical device' in said
    assert f'prevalence {content["prevalence"]:.1%}' in said
    rows = rows_of(evaluated / 'films-test.csv')
    labels = [int(row['label']) for row in rows]
    probs = [float(row['probability']) for row in rows]
    assert labels == [split[i]['label'] for i in range(len(split))]
    assert np.mean(labels) == pytest.approx(content['prevalence'])
    film = content['film']
    assert sk.roc_auc_score(labels, probs) == pytest.approx(film['auroc']['value'])
    positive = [int(row['positive']) for row in rows]
    assert sk.accuracy_score(labels, positive) == pytest.approx(film['accuracy']['value'])
    assert content['overlap'] == {'films': 0, 'persons': 0, 'unchecked': 0}
    assert content['calibration']['num_films'] == len(FilmSplit(phantom_shards, 'validation'))


def test_pictures_and_page_are_there_and_name_nobody(evaluated, phantom_shards):
    page = (evaluated / 'evaluation-test.html').read_text()
    pictures = {path.name for path in (evaluated / 'pictures-test').iterdir()}
    assert pictures >= {'roc.png', 'froc.png', 'strata.png', 'extent.png', 'films.jpg'}
    split = FilmSplit(phantom_shards, 'test')
    for film, person in split.columns(['patient_id', 'person_id']):
        assert film not in page
        assert not re.search(rf'\b{re.escape(person)}\b', page)


def test_other_splits_have_files_of_their_own(workdir):
    content = evaluate([str(workdir)], split='validation', settings=QUICK)
    assert content == json.loads((workdir / 'results-validation.json').read_text())
    assert 'chosen_on_these' in codes(content)
    # What was chosen on these films is what the checkpoint holds.
    thresholds = load_trained(workdir).thresholds
    youden = content['operating_points']['youden']['threshold']
    assert youden == pytest.approx(thresholds.film, abs=1e-6)
    train = evaluate([str(workdir)], split='train', settings=QUICK)
    assert 'trained_on' in codes(train)
    assert (workdir / 'films-train.csv').exists()


def test_recomputing_needs_no_model_and_gives_the_same(workdir):
    before = json.loads((workdir / 'results.json').read_text())
    shutil.rmtree(workdir / 'checkpoints')
    again = recompute(workdir, split='test', wanted_error=0.05, settings=Settings())
    assert again == before
    other = recompute(
        workdir, split='test', wanted_error=0.2, settings=Settings(prevalence=0.3, num_draws=50)
    )
    assert other['abstention']['wanted_error'] == 0.2
    assert other['operating_points']['youden']['projected']['prevalence'] == 0.3
    with pytest.raises(InputError, match='results-train'):
        recompute(workdir, split='train', wanted_error=0.05, settings=QUICK)
    (workdir / 'results.json').write_text('{"schema": 2}')
    with pytest.raises(InputError, match='is damaged'):
        recompute(workdir, split='test', wanted_error=0.05, settings=QUICK)


def test_an_ensemble_answers_by_the_mean_of_its_members(trained_workdir, phantom_shards):
    member = load_trained(trained_workdir)
    ignorant = dataclasses.replace(member, params=jax.tree.map(np.zeros_like, member.params))
    split = FilmSplit(phantom_shards, 'test')
    images = np.stack([split[i]['image'] for i in range(4)])
    images = np.concatenate([images, images[:1].repeat(60, axis=0)])
    sizes = [(1024, 1024)] * 4
    alone, nothing, both = (
        Ensemble(members).answer(images, sizes)
        for members in ([member], [ignorant], [member, ignorant])
    )
    for one, other, mean in zip(alone, nothing, both, strict=True):
        assert other.prob == 0.5
        assert mean.prob == pytest.approx((one.prob + 0.5) / 2)
        np.testing.assert_allclose(mean.mask_probs, (one.mask_probs + other.mask_probs) / 2)
    assert Ensemble([member] * 2).name == 'ensemble of 2: resnet_tiny, resnet_tiny'
    with pytest.raises(InputError, match='image_size 64 and 128'):
        Ensemble([member, dataclasses.replace(member, image_size=128)])


def test_an_ensemble_of_copies_is_the_model(evaluated, workdir, tmp_path):
    output = tmp_path / 'together'
    both = [str(evaluated), str(workdir)]
    content = evaluate(both, output_dir=str(output), settings=QUICK)
    alone = read_films(evaluated / 'films-test.csv')
    together = read_films(output / 'films-test.csv')
    np.testing.assert_allclose(together.probs, alone.probs, atol=1e-6)
    assert len(content['members']) == 2
    ensemble = load_ensemble(both)
    chosen = read_chosen(output / CHOSEN_NAME, [member.sha256 for member in ensemble.members])
    assert chosen.thresholds.film == pytest.approx(ensemble.members[0].thresholds.film, abs=1e-6)
    # The numbers are of these models alone.
    assert read_chosen(output / CHOSEN_NAME, ['0a']) is None
    with pytest.raises(InputError, match='is not empty: give another, or --overwrite'):
        evaluate(both, output_dir=str(output), settings=QUICK)
    with pytest.raises(InputError, match='needs --output_dir'):
        evaluate(both, settings=QUICK)
    with pytest.raises(InputError, match='named twice'):
        evaluate([both[0]] * 2, output_dir=str(tmp_path / 'other'), settings=QUICK)


def test_other_settings_for_one_evaluation_choose_their_own_thresholds(workdir, tmp_path):
    before = (workdir / 'results.json').read_bytes()
    output = tmp_path / 'gated'
    changes = ['film_gate=product', 'flip=true']
    content = evaluate([str(workdir)], changes=changes, output_dir=str(output), settings=QUICK)
    plain, gated = (read_films(folder / 'films-test.csv') for folder in (workdir, output))
    assert any(map(len, gated.boxes))
    assert gated.probs.tolist() != plain.probs.tolist()
    assert content['thresholds']['box'] < json.loads(before)['thresholds']['box']
    # What is chosen under other settings is not taken for the model as it is.
    assert content['changes'] == sorted(changes)
    assert 'flip=true' in content['model']
    member = load_trained(workdir).sha256
    assert read_chosen(output / CHOSEN_NAME, [member]) is None
    assert read_chosen(output / CHOSEN_NAME, [member, *changes]) is not None
    # The run's own evaluation stays.
    assert (workdir / 'results.json').read_bytes() == before
    for change, message in (
        ('gate=sqrt', 'give NAME=VALUE with a NAME of localizer, '),
        ('flip', 'give NAME=VALUE'),
        ('flip=perhaps', "'perhaps' is no bool"),
        ('film_gate=root', 'must be one of none, product, sqrt'),
        ('localizer=detector', 'the run has no detector'),
    ):
        with pytest.raises(InputError, match=message):
            evaluate([str(workdir)], changes=[change], output_dir=str(tmp_path / 'other'))
    with pytest.raises(InputError, match='needs --output_dir'):
        evaluate([str(workdir)], changes=changes)


def test_a_folder_with_labels_is_judged_as_the_same_films_in_shards(
    workdir, phantom_download, tmp_path
):
    known = read_films(workdir / 'films-test.csv')
    folder = tmp_path / 'films'
    folder.mkdir()
    for film in known.ids:
        shutil.copy(phantom_download / 'stage_2_train_images' / f'{film}.dcm', folder)
    broken = folder / f'{known.ids[0]}.dcm'
    broken.write_bytes(broken.read_bytes()[:3000])
    done = run_command(
        '-m',
        'pneumo_jax.evaluate',
        f'--workdir={workdir}',
        f'--images_dir={folder}',
        f'--labels_csv={phantom_download}/stage_2_train_labels.csv',
        f'--person_csv={phantom_download}/phantom_person_mapping.csv',
        '--allow_missing',
        f'--output_dir={tmp_path}/out',
    )
    assert done.returncode == 1, done.stderr
    content = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert content['num_films'] == len(known) - 1
    assert content['num_rejected'] == 1
    assert 'rejected_films' in codes(content)
    assert content['persons_apart'] is None
    found = read_films(tmp_path / 'out' / 'films-test.csv')
    order = [known.ids.index(film) for film in found.ids]
    np.testing.assert_allclose(found.probs, known.probs[order], atol=1e-6)
    np.testing.assert_array_equal(found.labels, known.labels[order])
    assert found.persons_known.all()
    assert (tmp_path / 'out' / 'films' / 'report.html').exists()


def test_recalibration_leaves_its_persons_out(workdir, phantom_shards, tmp_path):
    content = evaluate(
        [str(workdir)],
        data_dir=str(phantom_shards),
        recalibrate_on=f'{phantom_shards}:validation',
        output_dir=str(tmp_path / 'out'),
        settings=QUICK,
    )
    assert content['recalibration']['num_films'] == len(FilmSplit(phantom_shards, 'validation'))
    assert content['num_films'] == len(FilmSplit(phantom_shards, 'test'))
    again = recompute(tmp_path / 'out', split='test', wanted_error=0.05, settings=QUICK)
    assert again == content
    for place, message in (
        (str(phantom_shards), 'name one of its splits'),
        (f'{phantom_shards}:test', 'no other is left to judge'),
        ('nowhere.csv', 'neither a folder nor a table'),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(
                [str(workdir)],
                recalibrate_on=place,
                output_dir=str(tmp_path / 'other'),
                settings=QUICK,
            )


def test_films_and_persons_that_the_model_knows_are_counted(trained_workdir, phantom_shards):
    member = load_trained(trained_workdir)
    train, test = (FilmSplit(phantom_shards, split) for split in ('train', 'test'))
    overlap = find_overlap([member], train)
    assert (overlap.films, overlap.persons) == (len(train), 0)
    overlap = find_overlap([member], test)
    assert (overlap.films, overlap.persons, overlap.unchecked) == (0, 0, 0)

    class Renamed:
        """The training films under other ids: other films of the same persons."""

        def columns(self, names):
            return [(f'other {film}', person) for film, person in train.columns(names)]

    assert find_overlap([member], Renamed()).persons == len(train)
    moved = dataclasses.replace(member, data=member.data | {'fingerprint': 'another'})
    assert find_overlap([member, moved], train).unchecked == 1


def test_weights_that_saw_the_films_are_flagged_in_every_report(workdir):
    path = workdir / 'config.json'
    content = json.loads(path.read_text())
    content['data']['init'] = {
        'origin': 'torchvision',
        'sha256': '0a',
        'card': {'saw': ['NIH ChestX-ray14'], 'file': 'README.md'},
    }
    path.write_text(json.dumps(content))
    found = evaluate([str(workdir)], settings=QUICK)
    assert 'weights_saw_films' in codes(found)
    assert found['members'][0]['init']['card']['saw'] == ['NIH ChestX-ray14']
    assert 'NIH ChestX-ray14' in (workdir / 'evaluation-test.html').read_text()


def test_without_validation_films_what_needs_them_is_undefined(workdir, phantom_shards, tmp_path):
    shards = shutil.copytree(phantom_shards, tmp_path / 'shards')
    path = workdir / 'config.json'
    content = json.loads(path.read_text())
    content['config']['data']['dir'] = str(tmp_path / 'moved')
    path.write_text(json.dumps(content))
    found = evaluate([str(workdir)], data_dir=str(shards), settings=QUICK)
    assert {'no_validation', 'training_films_unknown'} <= codes(found)
    assert found['calibration']['temperature'] is None
    assert found['film']['auroc']['value'] is not None
    # The threshold is in the checkpoint.
    assert math.isfinite(found['thresholds']['film'])


def test_films_of_another_size_are_refused(workdir, phantom_shards, tmp_path):
    shards = pathlib.Path(shutil.copytree(phantom_shards, tmp_path / 'shards'))
    member = load_trained(workdir)
    from pneumo_jax.judged_films import films_of_shards

    with pytest.raises(InputError, match='convert them with --image_size=128'):
        films_of_shards(shards, 'test', dataclasses.replace(member, image_size=128))


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(InputError, match=f'no config.json in {tmp_path}'):
        evaluate([str(tmp_path)])
    with pytest.raises(InputError, match='give --workdir'):
        evaluate([])
