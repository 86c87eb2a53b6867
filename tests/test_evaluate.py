import csv
import json
import math

import numpy as np
import pytest
from sklearn import metrics as sk

from configs import base
from pneumo_jax.data.example import UNKNOWN_CLASS
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.evaluate import results
from pneumo_jax.scoring import FilmScore, Thresholds, choose_thresholds, validation_figures
from tests.conftest import run_command

BOX = np.array([[100, 100, 200, 300]], np.float32)
NO_BOX = np.zeros((0, 4), np.float32)
LOSS = base.get_config().loss


def film(label, prob, *, boxes=NO_BOX, scores=(), view='AP', person='p', drawn=True):
    """A scored film; ``drawn`` False for a collection in which nobody drew boxes."""
    area = float(label and drawn) * 20
    return FilmScore(
        record={
            'patient_id': 'x',
            'person_id': person,
            'label': label,
            'class_id': UNKNOWN_CLASS,
            'view_position': view,
            'label_domain': 'unknown',
        },
        truth=BOX if label and drawn else NO_BOX,
        prob=prob,
        boxes=boxes,
        box_scores=np.array(scores, np.float32),
        sums={
            'film_loss': 1.0,
            'mask_loss': area,
            'mask_intersection': area,
            'mask_union': area,
            'mask_truth': area,
            'mask_correct': 100.0,
            'mask_pixels': 100.0,
        },
    )


def value(content, group, name):
    return content[group][name]['value']


def test_perfect_answers():
    films = [film(1, 0.9, boxes=BOX, scores=[0.8]), film(0, 0.2, view='PA'), film(0, 0.1)]
    content = results(films, Thresholds(film=0.5, box=0.5))
    assert value(content, 'film', 'auroc') == 1
    assert value(content, 'film', 'accuracy') == 1
    assert value(content, 'boxes', 'challenge_map') == 1
    assert value(content, 'mask', 'pixel_accuracy') == 1
    assert content['prevalence'] == pytest.approx(1 / 3)
    assert value(content, 'baselines', 'all_negative_accuracy') == pytest.approx(2 / 3)
    # AP films: one positive, one negative; the PA film is negative.
    assert value(content, 'baselines', 'view_alone_auroc') == pytest.approx(0.75)
    assert value(content, 'baselines', 'no_box_challenge_map') == 0
    assert content['strata']['view_position']['AP']['num_films'] == 2


def test_thresholds_decide_which_boxes_and_films_count():
    films = [film(1, 0.4, boxes=BOX, scores=[0.3]), film(0, 0.2)]
    content = results(films, Thresholds(film=0.5, box=0.5))
    assert value(content, 'film', 'sensitivity') == 0
    assert value(content, 'boxes', 'challenge_map') == 0
    content = results(films, Thresholds(film=0.4, box=0.3))
    assert value(content, 'film', 'sensitivity') == 1
    assert value(content, 'boxes', 'challenge_map') == 1


def test_fault_55_undefined_figures_are_null():
    content = results([film(0, 0.2), film(0, 0.4)], Thresholds(film=0.5, box=0.5))
    assert value(content, 'film', 'auroc') is None
    assert value(content, 'film', 'sensitivity') is None
    assert value(content, 'film', 'accuracy') == 1
    assert value(content, 'boxes', 'challenge_map') is None
    assert value(content, 'baselines', 'view_alone_auroc') is None
    json.dumps(content, allow_nan=False)


LOCATION_FIGURES = [
    ('boxes', 'challenge_map'),
    ('boxes', 'mean_iou'),
    ('mask', 'pixel_accuracy'),
    ('mask', 'mean_iou'),
    ('mask', 'dice'),
    ('baselines', 'all_background_pixel_accuracy'),
    ('baselines', 'no_box_challenge_map'),
]


def test_films_of_unknown_boxes_count_for_the_film_figures_alone():
    known = [
        film(1, 0.9, boxes=BOX, scores=[0.8]),
        film(1, 0.6),
        film(0, 0.7, boxes=BOX, scores=[0.6]),
    ]
    weak = [film(1, 0.2, boxes=BOX, scores=[0.7], drawn=False), film(1, 0.3, drawn=False)]
    thresholds = Thresholds(film=0.5, box=0.5)
    without, content = results(known, thresholds), results(known + weak, thresholds)
    assert content['num_films'] == 5
    assert content['num_films_with_known_boxes'] == without['num_films_with_known_boxes'] == 3
    assert value(content, 'film', 'false_negatives') == 2
    for group, name in LOCATION_FIGURES:
        assert value(content, group, name) == value(without, group, name) is not None
    # What is drawn needs no truth.
    assert value(content, 'boxes', 'films_with_boxes') == 3 / 5

    figures, expected = (validation_figures(films, LOSS) for films in (known + weak, known))
    for name in ('loss', 'film_loss', 'mask_loss', 'challenge_map', 'mask_iou'):
        assert figures[name] == pytest.approx(expected[name]), name
    assert choose_thresholds(known + weak).box == choose_thresholds(known).box


@pytest.mark.parametrize('negatives', [0, 2])
def test_without_a_single_box_the_figures_of_boxes_are_null(negatives):
    films = [film(1, 0.9, boxes=BOX, scores=[0.8], drawn=False), film(1, 0.8, drawn=False)]
    films += [film(0, 0.3, boxes=BOX, scores=[0.4])] * negatives
    content = results(films, Thresholds(film=0.5, box=0.0))
    assert content['num_films_with_known_boxes'] == negatives
    assert value(content, 'film', 'sensitivity') == 1
    assert {value(content, *names) for names in LOCATION_FIGURES} == {None}
    figures = validation_figures(films, LOSS)
    assert figures['loss'] == 1
    assert math.isnan(figures['mask_loss']) == (negatives == 0)
    assert math.isnan(figures['challenge_map'])
    assert math.isnan(figures['mask_iou'])
    thresholds = choose_thresholds(films)
    assert (thresholds.box, thresholds.box_chosen) == (0, False)


def test_command_writes_results_that_the_film_table_confirms(trained_workdir, phantom_shards):
    done = run_command('-m', 'pneumo_jax.evaluate', f'--workdir={trained_workdir}')
    assert done.returncode == 0, done.stderr
    content = json.loads((trained_workdir / 'results.json').read_text())
    split = FilmSplit(phantom_shards, 'test')
    assert content['split'] == 'test'
    assert content['num_films'] == content['num_films_with_known_boxes'] == len(split)
    assert 'person' in content['protocol']
    assert 'not a medical device' in done.stdout
    assert f'prevalence {content["prevalence"]:.1%}' in done.stdout
    with (trained_workdir / 'films-test.csv').open() as file:
        rows = list(csv.DictReader(file))
    labels = [int(row['label']) for row in rows]
    probs = [float(row['probability']) for row in rows]
    assert labels == [split[i]['label'] for i in range(len(split))]
    assert np.mean(labels) == pytest.approx(content['prevalence'])
    assert sk.roc_auc_score(labels, probs) == pytest.approx(value(content, 'film', 'auroc'))
    positive = [int(row['positive']) for row in rows]
    assert sk.accuracy_score(labels, positive) == pytest.approx(value(content, 'film', 'accuracy'))
    assert sk.f1_score(labels, positive) == pytest.approx(value(content, 'film', 'f1') or 0)
    for group in ('film', 'boxes', 'mask', 'baselines'):
        assert all(set(figure) == {'value'} for figure in content[group].values())


def test_other_splits_have_files_of_their_own(trained_workdir):
    done = run_command(
        '-m', 'pneumo_jax.evaluate', f'--workdir={trained_workdir}', '--split=validation'
    )
    assert done.returncode == 0, done.stderr
    content = json.loads((trained_workdir / 'results-validation.json').read_text())
    assert content['split'] == 'validation'


def test_a_folder_without_a_run_is_named(tmp_path):
    done = run_command('-m', 'pneumo_jax.evaluate', f'--workdir={tmp_path}')
    assert done.returncode == 2
    assert f'no config.json in {tmp_path}' in done.stderr
