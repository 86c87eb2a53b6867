"""COCO's average precision against pycocotools."""

import contextlib
import io
import time

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pneumo_jax.metrics import detection
from pneumo_jax.metrics.box_matches import match_films
from pneumo_jax.metrics.coco import average_precision
from pneumo_jax.metrics.froc import sensitivity_at
from pneumo_jax.metrics.weights import weighted_mean, weighted_ratio
from tests.made_boxes import NO_BOX, NO_SCORE, random_boxes, random_films, repeated


def _pycocotools(truths, predictions, scores):
    """Average precision of all areas and 100 boxes, a threshold each; NaN where there is none."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_coco(truths), _coco(predictions, scores), 'bbox')
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ['all']
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][:, :, 0, 0, 0]
    return np.where((precision < 0).any(axis=1), np.nan, precision.mean(axis=1))


def _coco(films, scores=None):
    coco = COCO()
    coco.dataset = {
        'images': [{'id': film} for film in range(len(films))],
        'categories': [{'id': 1}],
        'annotations': [
            {'image_id': film, 'category_id': 1, 'iscrowd': 0, 'bbox': [x, y, w, h], 'area': w * h}
            | ({} if scores is None else {'score': float(scores[film][i])})
            for film, boxes in enumerate(films)
            for i, (x, y, w, h) in enumerate(np.asarray(boxes, float).tolist())
        ],
    }
    for number, annotation in enumerate(coco.dataset['annotations'], start=1):
        annotation['id'] = number
    coco.createIndex()
    return coco


def _varied_films(rng, count):
    """Films of all kinds at once: few and many confidences, copies, boxes without area."""
    films = random_films(rng, count, levels=rng.choice([1, 2, 5, 1000]))
    truths, predictions, scores = ([part.copy() for part in parts] for parts in films)
    for i in range(count):
        kind = rng.integers(8)
        if kind == 0:
            truths[i] = np.concatenate([truths[i], truths[i]])
        if kind == 1:
            predictions[i] = np.concatenate([predictions[i], predictions[i]])
            scores[i] = np.concatenate([scores[i], scores[i]])
        if kind == 2:
            predictions[i] = truths[i]
            scores[i] = rng.random(len(truths[i])).astype(np.float32)
        if kind == 3:
            truths[i][:1, 2:], predictions[i][1:2, 2] = 0, 0
        if kind == 4:
            truths[i] = NO_BOX
        if kind == 5:
            predictions[i], scores[i] = NO_BOX, NO_SCORE
    return truths, predictions, scores


@pytest.mark.parametrize('count', [1, 2, 8, 40])
def test_average_precision_is_that_of_pycocotools(count):
    rng = np.random.default_rng(count)
    undefined, values = 0, set()
    for _ in range(200 if count < 40 else 50):
        films = _varied_films(rng, count)
        got, expected = average_precision(match_films(*films)), _pycocotools(*films)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)
        undefined += np.isnan(got).all()
        values |= set(got[np.isfinite(got)])
    assert (undefined > 0) == (count < 8)
    assert {0.0, 1.0} < values or count >= 8
    assert len(values) > 20


def test_ious_on_and_near_the_thresholds_are_judged_as_by_pycocotools():
    widths = [percent / 100 for percent in range(45, 105, 5)]
    widths = [np.nextafter(width, end) for width in widths for end in (0, width, 2)]
    truths = [np.array([[0.0, 0, 1, 1]])] * len(widths)
    predictions = [np.array([[0.0, 0, width, 1]]) for width in widths]
    scores = [np.array([1 - i / 100]) for i in range(len(widths))]
    films = truths, predictions, scores
    got = average_precision(match_films(*films))
    np.testing.assert_allclose(got, _pycocotools(*films), rtol=0, atol=1e-9)
    assert len(set(got)) == 10


@pytest.mark.parametrize('order', [[0, 1], [1, 0]])
def test_of_equally_good_true_boxes_the_last_is_taken(order):
    truth = np.array([[0.0, 0, 10, 10], [2, 0, 10, 10]])
    predicted = np.array([[1.0, 0, 10, 10], [0, 0, 10, 10]])
    films = [truth[order]], [predicted], [np.array([0.75, 0.5])]
    matches = match_films(*films)
    # The first box stands between both; the second one fits the first true box alone.
    assert matches.coco_hits[:, 1].all() == (order == [0, 1])
    np.testing.assert_allclose(average_precision(matches), _pycocotools(*films), atol=1e-9)


def test_only_the_100_surest_boxes_of_a_film_count():
    rng = np.random.default_rng(3)
    for levels in (3, 1000):
        predicted = random_boxes(rng, 150, 20)
        films = (
            [random_boxes(rng, 30, 20), predicted[140:]],
            [predicted, predicted[:20]],
            [rng.integers(0, levels, 150) / levels, rng.random(20)],
        )
        matches = match_films(*films)
        assert np.bincount(matches.films[matches.in_coco]).tolist() == [100, 20]
        np.testing.assert_allclose(average_precision(matches), _pycocotools(*films), atol=1e-9)


def test_weights_repeat_films():
    rng = np.random.default_rng(4)
    for count in (1, 1, 1, 1, 2, 2, 6, 25):
        films = _varied_films(rng, count)
        matches = match_films(*films)
        weights = rng.integers(0, 5, (count, 15))
        weights[:, 0] = 0
        got = average_precision(matches, weights.astype(np.float32))
        assert got.shape == (10, 15)
        assert got.dtype == np.float64
        assert np.isnan(got[:, 0]).all()
        np.testing.assert_array_equal(average_precision(matches, weights.astype(float)), got)
        for values, copies in zip(got.T[1:], weights.T[1:], strict=True):
            if copies.any():
                expected = average_precision(match_films(*repeated(films, copies)))
                np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
                np.testing.assert_allclose(
                    values, _pycocotools(*repeated(films, copies)), rtol=0, atol=1e-9
                )


def test_copies_of_equally_sure_boxes_of_a_film_take_turns():
    """A hit and a false box, twice: precision at the second hit is 2/3, and not 1."""
    hit, other = np.array([[0.0, 0, 10, 10]]), np.array([[50.0, 0, 10, 10]])
    matches = match_films([hit], [np.concatenate([hit, other])], [np.array([0.5, 0.5])])
    expected = (51 * 1 + 50 * 2 / 3) / 101
    np.testing.assert_allclose(average_precision(matches, np.full((1, 1), 2.0)), expected)
    assert average_precision(matches).tolist() == [1.0] * 10


def test_all_figures_of_boxes_of_4000_films_are_drawn_500_times_in_a_moment():
    rng = np.random.default_rng(5)
    films = random_films(rng, 4000, size=300, most=5, levels=10**6)
    truths = [truth if rng.random() < 0.3 else NO_BOX for truth in films[0]]
    films = truths, *films[1:]
    start = time.process_time()
    matches = match_films(*films)
    film_scores = detection.challenge_film_scores(*films)
    ious = detection.box_iou_sums(*films)
    assert time.process_time() - start < 3  # measured: 0.5 s
    weights = rng.poisson(1, (4000, 250)).astype(np.float32)
    start = time.process_time()
    for _ in range(2):
        average_precision(matches, weights)
        sensitivity_at(matches, weights=weights)
        weighted_mean(film_scores, weights)
        weighted_ratio(*ious, weights)
    assert time.process_time() - start < 2  # measured: 0.2 s
