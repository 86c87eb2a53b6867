"""FROC against a literal transcription: a threshold at a time, boxes drawn and counted."""

import math

import numpy as np
import pytest

from pneumo_jax.boxes.match import iou_matrix
from pneumo_jax.metrics.box_matches import match_films
from pneumo_jax.metrics.froc import RATES, froc_curve, sensitivity_at
from tests.made_boxes import NO_BOX, NO_SCORE, random_films, repeated


def _slow_curve(truths, predictions, scores):
    """(false boxes a film, sensitivity, threshold) from no box to all."""
    thresholds = sorted({float(s) for film in scores for s in film} | {math.inf}, reverse=True)
    total = sum(map(len, truths))
    points = []
    for threshold in thresholds:
        found = false = 0
        for truth, predicted, confidence in zip(truths, predictions, scores, strict=True):
            iou, free = iou_matrix(predicted, truth), set(range(len(truth)))
            for i in sorted(range(len(predicted)), key=lambda i: (-confidence[i], i)):
                if confidence[i] < threshold:
                    continue
                best = max(sorted(free), key=lambda j: iou[i, j], default=None)
                if best is not None and iou[i, best] > 0.5:
                    free.remove(best)
                    found += 1
                else:
                    false += 1
        points.append((false / len(truths), found / total if total else math.nan, threshold))
    return points


def _slow_sensitivity(points, rate):
    return max(sensitivity for false, sensitivity, _ in points if false <= rate)


@pytest.mark.parametrize('levels', [1, 3, 1000])
def test_points_and_sensitivities_are_their_definition(levels):
    rng = np.random.default_rng(levels)
    undefined = 0
    for count in [1, 2, 5, 20] * 20:
        films = random_films(rng, count, levels=levels)
        matches, expected = match_films(*films), _slow_curve(*films)
        np.testing.assert_allclose(np.stack(froc_curve(matches), axis=1), expected, rtol=1e-12)
        rates = (0.0, *RATES, 7.0)
        got = sensitivity_at(matches, rates)
        assert got.dtype == np.float64
        np.testing.assert_allclose(
            got, [_slow_sensitivity(expected, rate) for rate in rates], rtol=1e-12
        )
        undefined += np.isnan(got).all()
    assert undefined


def test_weights_repeat_films():
    rng = np.random.default_rng(1)
    for count in (1, 5, 30):
        films = random_films(rng, count)
        matches = match_films(*films)
        weights = rng.integers(0, 4, (count, 15))
        weights[:, 0] = 0
        got = sensitivity_at(matches, weights=weights.astype(np.float32))
        assert got.shape == (3, 15)
        assert np.isnan(got[:, 0]).all()
        np.testing.assert_array_equal(sensitivity_at(matches, weights=weights.astype(float)), got)
        for values, copies in zip(got.T[1:], weights.T[1:], strict=True):
            if copies.any():
                expected = sensitivity_at(match_films(*repeated(films, copies)))
                np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def test_boxes_of_equal_confidence_enter_together():
    hit, other = np.array([[0.0, 0, 10, 10]]), np.array([[50.0, 0, 10, 10]])
    both = np.concatenate([hit, other])
    sure, tied = np.array([0.75, 0.5]), np.array([0.5, 0.5])
    assert sensitivity_at(match_films([hit], [both], [sure]), (0.0, 1.0)).tolist() == [1, 1]
    assert sensitivity_at(match_films([hit], [both], [tied]), (0.0, 1.0)).tolist() == [0, 1]


def test_a_true_box_is_found_once_and_a_rate_is_reached_exactly():
    hit = np.array([[0.0, 0, 10, 10]])
    twice = np.concatenate([hit, hit])
    # Four films: the first box of two finds, their second ones are false, a half a film.
    films = [hit, hit, NO_BOX, NO_BOX], [twice, twice, NO_BOX, NO_BOX]
    matches = match_films(*films, [np.array([0.75, 0.5])] * 2 + [NO_SCORE] * 2)
    false, sensitivity, thresholds = froc_curve(matches)
    assert false.tolist() == [0, 0, 0.5]
    assert sensitivity.tolist() == [0, 1, 1]
    assert thresholds.tolist() == [math.inf, 0.75, 0.5]
    half = np.array([[0.0, 0, 10, 20]])
    matches = match_films([hit, hit], [half, hit], [np.array([0.75]), np.array([0.5])])
    # An IoU of 0.5 is not above it: a false box on one of two films comes first.
    assert sensitivity_at(matches, (0.49, 0.5)).tolist() == [0, 0.5]


def test_undefined_without_a_true_box_and_zero_without_a_hit():
    box, score = np.array([[0.0, 0, 10, 10]]), np.array([0.5])
    without = match_films([NO_BOX], [box], [score])
    assert np.isnan(sensitivity_at(without)).all()
    assert np.isnan(froc_curve(without)[1]).all()
    nothing = match_films([box], [NO_BOX], [NO_SCORE])
    assert sensitivity_at(nothing).tolist() == [0, 0, 0]
    assert [part.tolist() for part in froc_curve(nothing)] == [[0], [0], [math.inf]]


def test_bad_input_is_refused():
    box, score = np.array([[0.0, 0, 10, 10]]), np.array([0.5])
    for films, message in [
        (([], [], []), 'no films'),
        (([box], [box, box], [score]), '1 films have truth, 2 predictions, 1 scores'),
        (([box], [box], [np.array([0.5, 0.5])]), 'as many finite scores'),
        (([box + np.inf], [box], [score]), 'not finite'),
        (([[]], [box], [score]), r'for no box \[0,4\]'),
    ]:
        with pytest.raises(ValueError, match=message):
            match_films(*films)
    with pytest.raises(ValueError, match=r'give \[1,D\]'):
        sensitivity_at(match_films([box], [box], [score]), weights=np.ones((2, 1)))
