"""Box figures against literal transcriptions and brute force."""

import collections
import itertools
import math
import time
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from pneumo_jax.boxes.match import iou_matrix
from pneumo_jax.metrics.detection import (
    IOU_THRESHOLDS,
    best_score_threshold,
    box_iou_sums,
    challenge_film_scores,
    challenge_map,
    mean_box_iou,
)
from pneumo_jax.metrics.weights import weighted_mean, weighted_ratio
from tests import challenge_scorers
from tests.made_boxes import NO_BOX, NO_SCORE, random_boxes, random_films, repeated


def _slow_iou(a, b):
    """A fraction, exactly."""
    ax, ay, aw, ah = (Fraction(float(v)) for v in a)
    bx, by, bw, bh = (Fraction(float(v)) for v in b)
    width = min(ax + aw, bx + bw) - max(ax, bx)
    height = min(ay + ah, by + bh) - max(ay, by)
    intersection = max(width, 0) * max(height, 0)
    return intersection / (aw * ah + bw * bh - intersection)


def _slow_film_score(truth, predicted, scores, inclusive):
    """The published definition, step by step, in exact arithmetic; None for a film left out."""
    if len(truth) == 0 and len(predicted) == 0:
        return None
    if len(truth) == 0 or len(predicted) == 0:
        return Fraction(0)
    order = sorted(range(len(predicted)), key=lambda i: (-float(scores[i]), i))
    precisions = []
    for step in range(8):
        t = Fraction(Decimal('0.40') + step * Decimal('0.05'))
        used = []
        for i in order:
            best_j, best = None, None
            for j in range(len(truth)):
                if j in used:
                    continue
                iou = _slow_iou(predicted[i], truth[j])
                if best is None or iou > best:
                    best_j, best = j, iou
            if best is not None and (best > t or (inclusive and best == t)):
                used.append(best_j)
        tp = len(used)
        fp, fn = len(predicted) - tp, len(truth) - tp
        precisions.append(Fraction(tp, tp + fp + fn))
    return sum(precisions) / 8


def _slow_map(truths, predictions, scores, inclusive=False):
    films = [
        _slow_film_score(*film, inclusive) for film in zip(truths, predictions, scores, strict=True)
    ]
    included = [score for score in films if score is not None]
    return float(sum(included) / len(included)) if included else math.nan


def _at_threshold(predictions, scores, threshold):
    keep = [s >= threshold for s in scores]
    return (
        [p[k] for p, k in zip(predictions, keep, strict=True)],
        [s[k] for s, k in zip(scores, keep, strict=True)],
    )


def _shrunk(boxes, factor):
    """About the centre."""
    size = factor * boxes[:, 2:]
    return np.concatenate([boxes[:, :2] + (boxes[:, 2:] - size) / 2, size], axis=1)


@pytest.mark.parametrize('inclusive', [False, True])
def test_the_challenge_metric_is_its_definition(inclusive):
    rng = np.random.default_rng(int(inclusive))
    films = random_films(rng, 2000)
    expected = [_slow_film_score(*film, inclusive) for film in zip(*films, strict=True)]
    got = challenge_film_scores(*films, inclusive=inclusive)
    for score, value in zip(expected, got, strict=True):
        assert (score is None) == math.isnan(value)
        assert score is None or value == pytest.approx(float(score), abs=1e-12)
    assert challenge_map(*films, inclusive=inclusive) == pytest.approx(
        _slow_map(*films, inclusive), abs=1e-12
    )
    # The cases above are of use only if all kinds of films are among them.
    assert {None, Fraction(0), Fraction(1)} < set(expected)
    assert len(set(expected)) > 50


@pytest.fixture(scope='module')
def scorers_films():
    """10,000 films of up to 6 boxes, and their IoUs as a public scorer computes them."""
    rng = np.random.default_rng(6)
    films = [_scorers_film(rng, i) for i in range(10_000)]
    ious = [
        challenge_scorers.ious_by_confidence(*(part.tolist() for part in film)) for film in films
    ]
    return tuple(zip(*films, strict=True)), ious


def _scorers_film(rng, kind):
    """Crowded, sparse and exactly overlapping boxes by turns; whole and broken numbers."""
    num_truths, num_predicted = rng.integers(0, 7, 2)
    size = (6, 12, 40, 1000)[kind % 4]
    truth = random_boxes(rng, num_truths, size).astype(np.float64)
    predicted = random_boxes(rng, num_predicted, size).astype(np.float64)
    for i in range(min(num_truths, num_predicted) * (rng.random() < 0.9)):
        predicted[i] = truth[i]
        # A part of 0.40, 0.45 ... of a box is an IoU on the threshold.
        predicted[i, 2] *= rng.choice((*IOU_THRESHOLDS, 0.8, 0.95, 1.0))
    predicted = rng.permutation(predicted)
    if kind % 3 == 0:
        truth, predicted = truth * rng.uniform(0.5, 2), predicted + rng.uniform(0, 1, (1, 4))
    scores = rng.integers(1, 5, num_predicted) / 4 if kind % 2 else rng.random(num_predicted)
    return truth, predicted, scores


@pytest.mark.parametrize('inclusive', [False, True])
def test_public_scorers_agree(scorers_films, inclusive):
    films, ious = scorers_films
    got = challenge_film_scores(*films, inclusive=inclusive)
    differing, compared = collections.Counter(), collections.Counter()
    for value, truth, rows in zip(got, films[0], ious, strict=True):
        one_to_one, free = challenge_scorers.rules_agree(rows, len(truth), inclusive)
        for rule in (*challenge_scorers.ONE_TO_ONE, challenge_scorers.many_on_one):
            score = challenge_scorers.film_score(rule, rows, len(truth), inclusive)
            same = math.isnan(value) if score is None else abs(value - score) <= 1e-9
            must = rule is challenge_scorers.take_best or (
                one_to_one if rule in challenge_scorers.ONE_TO_ONE else free
            )
            assert same or not must, rule.__name__
            compared[rule.__name__] += must
            differing[rule.__name__] += not same
    assert differing.pop('take_best') == 0
    # Of use only if most films are comparable, and the films tell the rules apart.
    assert min(compared.values()) > 5000
    assert min(differing.values()) > 30


@pytest.mark.parametrize('inclusive', [False, True])
def test_the_mean_over_films_is_that_of_public_scorers(scorers_films, inclusive):
    films, ious = scorers_films
    scores = [
        challenge_scorers.film_score(challenge_scorers.take_best, rows, len(truth), inclusive)
        for truth, rows in zip(films[0], ious, strict=True)
    ]
    rng = np.random.default_rng(7)
    for _ in range(1000):
        chosen = rng.choice(len(scores), rng.integers(2, 12), replace=False)
        counted = [scores[i] for i in chosen if scores[i] is not None]
        subset = [[part[i] for i in chosen] for part in films]
        expected = sum(counted) / len(counted) if counted else math.nan
        assert challenge_map(*subset, inclusive=inclusive) == pytest.approx(
            expected, abs=1e-9, nan_ok=True
        )


def test_one_box_reaches_two_true_ones_apart_only_at_low_thresholds():
    """So public rules hardly differ where, as on the challenge's films, true boxes are apart."""
    rng = np.random.default_rng(8)
    hits = collections.Counter()
    for _ in range(1000):
        left = np.array([0, *rng.uniform(0, 50, 1), *rng.uniform(100, 200, 2)])
        right = np.array([left[2], *rng.uniform(0, 50, 1), *rng.uniform(100, 200, 2)])
        both = np.array([0, min(left[1], right[1]), left[2] + right[2], 180])
        iou = iou_matrix(both[None] + rng.normal(0, 10, (5, 4)), np.stack([left, right]))
        for t in IOU_THRESHOLDS:
            hits[t] += np.sum((iou > t).all(axis=1))
    assert hits[0.40] > hits[0.45] > 0
    assert not any(hits[t] for t in IOU_THRESHOLDS if t >= 0.5)


@pytest.mark.parametrize(
    ('figure', 'sums', 'mean'),
    [
        (challenge_map, lambda *films: (challenge_film_scores(*films),), weighted_mean),
        (mean_box_iou, box_iou_sums, weighted_ratio),
    ],
)
def test_weights_repeat_films(figure, sums, mean):
    rng = np.random.default_rng(9)
    films = random_films(rng, 30)
    weights = rng.integers(0, 4, (30, 20))
    weights[:, 0] = 0
    for dtype in (np.float32, np.float64):
        weighted = figure(*films, weights=weights.astype(dtype))
        assert weighted.shape == (20,)
        assert weighted.dtype == np.float64
        np.testing.assert_array_equal(mean(*sums(*films), weights.astype(dtype)), weighted)
        assert math.isnan(weighted[0])
        for value, counts in zip(weighted[1:], weights.T[1:], strict=True):
            assert value == pytest.approx(figure(*repeated(films, counts)), abs=1e-12)
    assert figure(*films, weights=np.ones((30, 1)))[0] == figure(*films)


def test_weights_that_do_not_fit_are_refused():
    box, score = np.array([[0.0, 0, 10, 10]]), np.array([0.5])
    for weights in (np.ones((2, 3)), np.ones(1)):
        with pytest.raises(ValueError, match=r'give \[1,D\]'):
            challenge_map([box], [box], [score], weights=weights)
    for weight in (-1.0, math.nan):
        with pytest.raises(ValueError, match='a weight is'):
            mean_box_iou([box], [box], [score], weights=np.full((1, 2), weight))


def test_an_iou_on_the_threshold_is_a_hit_by_choice():
    truth = [np.array([[0, 0, 100, 10]])]
    for i, percent in enumerate(range(40, 80, 5)):
        predicted = [np.array([[0, 0, percent, 10]])]
        assert IOU_THRESHOLDS[i] == percent / 100
        assert challenge_map(truth, predicted, [[0.9]]) == i / 8
        assert challenge_map(truth, predicted, [[0.9]], inclusive=True) == (i + 1) / 8


@pytest.mark.parametrize(('factor', 'figure'), [(1, 1), (0.875, 1), (0.83, 6 / 8), (0.5, 0)])
def test_known_values_of_shrunk_true_boxes(factor, figure):
    rng = np.random.default_rng(2)
    truths = [
        np.array([[100, 200, 217, 298], [600, 210, 180, 350]]) + rng.integers(0, 50, (2, 4))
        for _ in range(20)
    ]
    predictions = [_shrunk(truth, factor) for truth in truths]
    scores = [rng.random(2) for _ in truths]
    assert challenge_map(truths, predictions, scores) == pytest.approx(figure)


def test_films_with_and_without_boxes():
    box, score = np.array([[1, 2, 30, 40]]), np.array([0.9])
    assert challenge_map([box], [NO_BOX], [NO_SCORE]) == 0
    assert challenge_map([NO_BOX], [box], [score]) == 0
    assert math.isnan(challenge_map([NO_BOX], [NO_BOX], [NO_SCORE]))
    films = [box, NO_BOX, NO_BOX], [box, NO_BOX, box], [score, NO_SCORE, score]
    np.testing.assert_array_equal(challenge_film_scores(*films), [1, np.nan, 0])
    assert challenge_map(*films) == 0.5


def test_the_order_of_films_and_scale_do_not_matter():
    rng = np.random.default_rng(3)
    films = random_films(rng, 50)
    order = rng.permutation(50)
    mixed = [[part[i] for i in order] for part in films]
    assert challenge_map(*mixed) == pytest.approx(challenge_map(*films))
    scaled = [4 * t for t in films[0]], [4 * p for p in films[1]], films[2]
    assert challenge_map(*scaled) == challenge_map(*films)


def test_mean_box_iou_counts_missed_boxes_as_zero():
    rng = np.random.default_rng(4)
    films = random_films(rng, 300)
    total, count = 0.0, 0
    for truth, predicted, scores in zip(*films, strict=True):
        free = list(range(len(truth)))
        for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
            ious = [(iou_matrix(predicted[i : i + 1], truth[j : j + 1])[0, 0], -j) for j in free]
            best, negative_j = max(ious, default=(0, 0))
            if best > 0:
                free.remove(-negative_j)
                total += best
        count += len(truth)
    assert mean_box_iou(*films) == pytest.approx(total / count)
    assert math.isnan(mean_box_iou([NO_BOX], [NO_BOX], [NO_SCORE]))
    box = np.array([[0, 0, 10, 10]])
    assert mean_box_iou([box, box], [box, NO_BOX], [[0.5], []]) == 0.5


@pytest.mark.parametrize('levels', [3, 50])
def test_the_best_threshold_is_that_of_brute_force(levels):
    rng = np.random.default_rng(levels)
    for count, _ in itertools.product((1, 2, 5, 12), range(30)):
        films = random_films(rng, count, levels=levels)
        truths, predictions, scores = films
        threshold, figure = best_score_threshold(*films)
        if not any(map(len, truths)):
            assert (threshold, math.isnan(figure)) == (math.inf, True)
            continue
        candidates = np.unique(np.concatenate([*scores, [np.inf]]))
        figures = [_slow_map(truths, *_at_threshold(predictions, scores, c)) for c in candidates]
        assert figure == pytest.approx(np.nanmax(figures), abs=1e-12)
        reached = challenge_map(truths, *_at_threshold(predictions, scores, threshold))
        assert reached == pytest.approx(figure, abs=1e-12)
        assert (threshold == math.inf) == (figure == 0)


def test_the_threshold_stands_in_the_middle_of_the_widest_range():
    box, miss = np.array([[0, 0, 10, 10]]), np.array([[50, 50, 10, 10]])
    one_film = [box], [np.concatenate([box, miss])], [[0.875, 0.375]]
    assert best_score_threshold(*one_film) == (0.625, 1)
    # A second false box on a film of score 0 changes nothing: the range goes on below it.
    truths = [box, box, box, NO_BOX]
    predictions = [box, np.concatenate([miss, miss]), miss, miss]
    scores = [[0.875], [0.75, 0.5], [0.625], [0.125]]
    assert best_score_threshold(truths, predictions, scores) == (0.5, 1 / 3)
    # One half from 0.875 to 0.75, and again from 0.5 to 0.125: the second range is wider.
    truths = [box, NO_BOX, NO_BOX, box, NO_BOX]
    predictions = [box, miss, miss, box, miss]
    scores = [[0.875], [0.75], [0.625], [0.5], [0.125]]
    assert best_score_threshold(truths, predictions, scores) == (0.3125, 0.5)


def test_all_boxes_are_kept_where_all_hit():
    box = np.array([[0, 0, 10, 10]])
    threshold, figure = best_score_threshold([box, box], [box, box], [[0.75], [0.5]])
    assert (threshold, figure) == (0.5, 1)


def test_no_box_is_worth_drawing_where_none_hits():
    box, miss = np.array([[0, 0, 10, 10]]), np.array([[50, 50, 10, 10]])
    assert best_score_threshold([box], [miss], [[0.75]]) == (math.inf, 0)
    assert best_score_threshold([box], [NO_BOX], [NO_SCORE]) == (math.inf, 0)
    threshold, figure = best_score_threshold([NO_BOX], [miss], [[0.75]])
    assert threshold == math.inf
    assert math.isnan(figure)


def test_the_best_threshold_of_4000_films_is_found_in_a_moment():
    films = random_films(np.random.default_rng(5), 4000, levels=10**6)
    start = time.process_time()
    best_score_threshold(*films)
    assert time.process_time() - start < 4  # measured: 0.5 s


@pytest.mark.parametrize(
    'figure', [challenge_map, challenge_film_scores, mean_box_iou, best_score_threshold]
)
def test_bad_input_is_refused(figure):
    box, score = np.array([[0.0, 0, 10, 10]]), np.array([0.5])
    for films, message in [
        (([], [], []), 'no films'),
        (([box], [box, box], [score]), '1 films have truth, 2 predictions, 1 scores'),
        (([box], [box], [np.array([0.5, 0.5])]), 'as many finite scores'),
        (([box], [box], [score * np.nan]), 'finite scores'),
        (([box + np.inf], [box], [score]), 'not finite'),
        (([box[:, :3]], [box], [score]), r'shape \(1, 3\)'),
        (([[]], [box], [score]), r'for no box \[0,4\]'),
    ]:
        with pytest.raises(ValueError, match=message):
            figure(*films)
