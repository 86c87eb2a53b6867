"""The learned shrink: found where boxes are biased, not learned from noise."""

import math

import numpy as np
import pytest

from pneumo_jax.boxes.refine import shrink
from pneumo_jax.metrics.box_shrink import FACTORS, best_shrink
from pneumo_jax.metrics.detection import challenge_film_scores, challenge_map
from pneumo_jax.metrics.weights import weighted_mean
from tests.made_boxes import NO_BOX, NO_SCORE


def _films(rng, num_films, *, bias, noise):
    """Films, a quarter of them positive, whose boxes are found with errors and among false ones.

    Boxes are ``bias`` times as large as the true ones, with errors of ``noise`` times their sides.
    """
    films = [_film(rng, i % 4 == 0, bias, noise) for i in range(num_films)]
    return tuple(zip(*films, strict=True))


def _film(rng, positive, bias, noise):
    lungs = np.array([[150.0, 250, 250, 320], [600, 250, 250, 320]])
    truth = lungs[: rng.integers(1, 3)] if positive else NO_BOX
    truth = truth + rng.uniform(-60, 60, truth.shape)
    sides = truth[:, 2:] * np.exp(rng.normal(0, noise, (len(truth), 2)))
    middles = truth[:, :2] + truth[:, 2:] * rng.normal(0.5, noise / 2, (len(truth), 2))
    found = np.concatenate([middles - sides / 2, sides], axis=1)
    false = lungs[rng.random(2) < 0.15] + rng.uniform(-60, 60, (1, 4))
    scores = np.concatenate([rng.beta(4, 2, len(truth)), rng.beta(2, 4, len(false))])
    return truth, shrink(np.concatenate([found, false]), bias), scores


def _drawn(films, factor, threshold):
    truths, predictions, scores = films
    keep = [film >= threshold for film in scores]
    boxes = [shrink(film, factor)[k] for film, k in zip(predictions, keep, strict=True)]
    return truths, boxes, [film[k] for film, k in zip(scores, keep, strict=True)]


def test_the_factors_reach_from_0_7_to_1_15_and_have_1():
    assert (FACTORS[0], FACTORS[-1]) == (0.7, 1.15)
    assert 1 in FACTORS
    np.testing.assert_allclose(np.diff(FACTORS), 0.025)


@pytest.mark.parametrize('noise', [0.05, 0.1, 0.2])
def test_boxes_a_fifth_too_large_are_shrunk_back(noise):
    rng = np.random.default_rng(0)
    for _ in range(3):
        films = _films(rng, 120, bias=1.2, noise=noise)
        factor, threshold, figure = best_shrink(*films)
        assert 0.8 <= factor <= 0.925
        assert figure == pytest.approx(challenge_map(*_drawn(films, factor, threshold)))
        held_out = _films(rng, 400, bias=1.2, noise=noise)
        shrunk, plain = (challenge_map(*_drawn(held_out, f, threshold)) for f in (factor, 1))
        assert shrunk > plain + 0.03


def test_noise_alone_moves_little_and_mostly_nothing():
    rng = np.random.default_rng(1)
    factors = [best_shrink(*_films(rng, 120, bias=1.0, noise=0.2))[0] for _ in range(12)]
    assert np.mean(np.equal(factors, 1)) >= 0.75
    assert np.abs(np.subtract(factors, 1)).max() <= 0.05


def test_a_factor_counts_where_it_gains_more_than_a_standard_error_of_bootstrapped_films():
    rng = np.random.default_rng(2)
    moved = []
    for _ in range(60):
        films = _films(rng, 60, bias=rng.uniform(1.0, 1.2), noise=0.2)
        scores, figures = [], []
        for factor in (0.9, 1.0):
            _, threshold, figure = best_shrink(*films, [factor])
            scores.append(challenge_film_scores(*_drawn(films, factor, threshold)))
            figures.append(figure)
        weights = rng.multinomial(60, np.full(60, 1 / 60), size=1000).T
        draws = [weighted_mean(film_scores, weights) for film_scores in scores]
        error, gain = np.std(draws[0] - draws[1]), figures[0] - figures[1]
        # The two errors differ by a few per cent, by chance and by the curvature of ratios.
        if abs(abs(gain) - error) > 0.1 * error:
            # From 1, or else back to 1.
            expected = 0.9 if gain > error else 1.0
            assert best_shrink(*films, [0.9, 1.0])[0] == expected
            moved.append(gain > error)
    assert 0.2 < np.mean(moved) < 0.8
    assert len(moved) > 40


def test_films_that_one_figure_alone_counts_are_in_the_error():
    """Smaller boxes pay off on films whose threshold brings false boxes on healthy ones too."""
    box = np.array([[100.0, 100, 500, 500]])
    # At 1 the first kind of film has an IoU of 0.6 and the second of 0.36, at 0.6 of 0.6 and 1.
    kinds = [(shrink(box, math.sqrt(0.6)), 0.9), (shrink(box, 0.6), 0.5), (NO_BOX, 0.7)]
    for counts, expected in [((8, 7, 14), 1.0), ((8, 9, 14), 0.6)]:
        films = [kind for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]
        truths, scores = zip(*films, strict=True)
        predictions, scores = [box] * len(films), [np.array([score]) for score in scores]
        film_scores = []
        for factor in (0.6, 1.0):
            _, threshold, _ = best_shrink(truths, predictions, scores, [factor])
            drawn = _drawn((truths, predictions, scores), factor, threshold)
            film_scores.append(challenge_film_scores(*drawn))
        assert np.isnan(film_scores[1]).sum() == 14
        rng = np.random.default_rng(3)
        weights = rng.multinomial(len(films), np.full(len(films), 1 / len(films)), size=20_000).T
        draws = [weighted_mean(part, weights) for part in film_scores]
        gain = np.nanmean(film_scores[0]) - np.nanmean(film_scores[1])
        assert (gain > np.std(draws[0] - draws[1])) == (expected != 1)
        assert best_shrink(truths, predictions, scores, [0.6, 1.0])[0] == expected


def test_equal_figures_go_to_the_factor_nearest_to_1():
    truths = [np.array([[100.0, 200, 300, 400]])] * 3
    scores = [np.array([0.5])] * 3
    # All factors of 0.875 to 1.15 hit at all thresholds.
    assert best_shrink(truths, truths, scores) == (1.0, 0.5, 1.0)
    assert best_shrink(truths, truths, scores, [0.9, 0.95, 1.1])[0] == 0.95
    # All that hit at all thresholds do after a growth by 1.2 up to 0.9623.
    grown = [shrink(boxes, 1.2) for boxes in truths]
    assert best_shrink(truths, grown, scores) == (0.95, 0.5, 1.0)
    # One film tells no error.
    assert best_shrink(truths[:1], grown[:1], scores[:1])[0] == 1.0


def test_where_nothing_hits_boxes_stay_as_they_are():
    box, miss, score = np.array([[0.0, 0, 10, 10]]), np.array([[50.0, 50, 10, 10]]), [0.75]
    assert best_shrink([box, box], [miss, NO_BOX], [score, NO_SCORE]) == (1.0, math.inf, 0.0)
    factor, threshold, figure = best_shrink([NO_BOX, NO_BOX], [miss, NO_BOX], [score, NO_SCORE])
    assert (factor, threshold) == (1.0, math.inf)
    assert math.isnan(figure)


def test_bad_input_is_refused():
    box, score = np.array([[0.0, 0, 10, 10]]), np.array([0.5])
    for args, message in [
        (([box], [box], [score], []), 'no factors'),
        (([box], [box], [score], [0.9, 0]), 'factor is 0'),
        (([], [], []), 'no films'),
        (([box], [box, box], [score]), '1 films have truth, 2 predictions, 1 scores'),
        (([box], [box], [score * np.nan]), 'finite scores'),
        (([box], [[]], [score]), r'for no box \[0,4\]'),
    ]:
        with pytest.raises(ValueError, match=message):
            best_shrink(*args)
