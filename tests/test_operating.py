"""Thresholds and regions of abstention against brute force."""

import itertools
import math

import numpy as np
import pytest

from pneumo_jax.metrics.classification import confusion
from pneumo_jax.metrics.operating import (
    abstention_region,
    project,
    threshold_at_sensitivity,
)

pytestmark = pytest.mark.filterwarnings('error')


def _random_case(rng, most=40):
    """Labels of both classes, and scores that may tie."""
    count = rng.integers(2, most)
    labels = rng.integers(0, 2, count)
    labels[:2] = rng.permutation(2)
    levels = rng.choice([1, 3, 10, 1000])
    scores = rng.integers(0, levels + 1, count) + rng.choice([0, levels]) * labels
    return labels, scores / (2 * levels)


def test_the_threshold_is_the_highest_of_the_wanted_sensitivity():
    rng = np.random.default_rng(0)
    for _ in range(300):
        labels, scores = _random_case(rng)
        wanted = rng.choice([0.01, 0.35, 0.5, 0.55, 0.9, 0.95, 1.0])
        threshold = threshold_at_sensitivity(labels, scores, wanted)
        assert confusion(labels, scores >= threshold).sensitivity >= wanted
        higher = scores[scores >= threshold].min()
        assert threshold <= higher
        missed = confusion(labels, scores > higher)
        assert missed.sensitivity < wanted
        if (scores < threshold).any():
            lower = scores[scores < threshold].max()
            assert threshold == pytest.approx((lower + higher) / 2)
        else:
            assert threshold == scores.min()


@pytest.mark.parametrize('wanted', [k / 20 for k in range(1, 21)])
def test_a_share_of_films_that_is_a_whole_number_is_enough(wanted):
    labels, scores = np.ones(20), np.arange(20) / 20
    threshold = threshold_at_sensitivity(labels, scores, wanted)
    assert np.sum(scores >= threshold) == round(wanted * 20)


def test_the_threshold_without_positive_or_negative_films():
    assert math.isnan(threshold_at_sensitivity([0, 0], [0.1, 0.2], 0.9))
    assert threshold_at_sensitivity([1, 1], [0.1, 0.3], 0.5) == pytest.approx(0.2)


@pytest.mark.parametrize('wanted', [0, -0.1, 1.1, math.nan])
def test_other_sensitivities_are_refused(wanted):
    with pytest.raises(ValueError, match='the wanted sensitivity is'):
        threshold_at_sensitivity([0, 1], [0, 1], wanted)


def test_projected_values_are_those_of_films_drawn_to_the_prevalence():
    rng = np.random.default_rng(1)
    for _ in range(50):
        labels, scores = _random_case(rng)
        labels, scores = np.append(labels, [0, 1]), np.append(scores, [0, 1])
        counts = confusion(labels, scores >= 0.5)
        prevalence = rng.uniform(0.01, 0.99)
        shares = np.where(
            labels == 1, prevalence / labels.sum(), (1 - prevalence) / sum(labels == 0)
        )
        drawn = confusion(labels, scores >= 0.5, shares[:, None])
        ppv, npv = project(counts.sensitivity, counts.specificity, prevalence)
        assert isinstance(ppv, float)
        assert (ppv, npv) == pytest.approx((drawn.ppv[0], drawn.npv[0]))
        ppv, npv = project(counts.sensitivity, counts.specificity, labels.mean())
        assert (ppv, npv) == pytest.approx((counts.ppv, counts.npv))


def test_projecting_arrays_with_undefined_values():
    sensitivity, specificity = np.array([0.9, 0.0, np.nan, 1.0]), np.array([0.8, 1.0, 0.5, 0.0])
    ppv, npv = project(sensitivity, specificity, 0.1)
    np.testing.assert_allclose(ppv, [0.09 / 0.27, np.nan, np.nan, 0.1])
    np.testing.assert_allclose(npv, [0.72 / 0.73, 0.9, np.nan, np.nan])
    assert math.isnan(project(0.9, 1.0, 0.0)[0])
    assert project(0.9, 0.9, 0.0)[1] == 1
    with pytest.raises(ValueError, match=r'the prevalence is 22\.5'):
        project(0.9, 0.9, 22.5)


def _best_by_brute_force(labels, scores, wanted, threshold):
    """Most films answered and fewest errors over all pairs of cuts around the threshold."""
    values = np.unique(scores)
    cuts = [-math.inf, *(values[:-1] + values[1:]) / 2, math.inf, threshold]
    best = None
    for low, high in itertools.product(cuts, cuts):
        if not low <= threshold <= high:
            continue
        answered = (scores < low) | (scores >= high)
        errors = np.sum(answered & ((scores >= high) != labels))
        if answered.any() and errors / answered.sum() <= wanted:
            missed = np.sum((scores < low) & (labels == 1))
            found = (-answered.sum(), errors, missed)
            best = found if best is None else min(best, found)
    return best


def test_the_region_answers_most_films_by_brute_force():
    rng = np.random.default_rng(2)
    undefined = 0
    for _ in range(400):
        labels, scores = _random_case(rng, most=20)
        wanted = rng.choice([0, 0.05, 0.1, 0.2, 1 / 3, 0.5])
        threshold = rng.choice([rng.choice(scores), 0.5, 0, 1, rng.uniform()])
        low, high = abstention_region(labels, scores, wanted, threshold)
        best = _best_by_brute_force(labels, scores, wanted, threshold)
        if best is None:
            undefined += 1
            assert math.isnan(low)
            assert math.isnan(high)
            continue
        assert low <= threshold <= high
        answered = (scores < low) | (scores >= high)
        errors = np.sum(answered & ((scores >= high) != labels))
        missed = np.sum((scores < low) & (labels == 1))
        assert (-answered.sum(), errors, missed) == best
        # The answers are those of the threshold.
        assert np.array_equal(scores[answered] >= high, scores[answered] >= threshold)
    assert 5 < undefined < 200


def test_regions_one_can_see():
    labels = np.array([0, 0, 1, 0, 1, 1])
    scores = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert abstention_region(labels, scores, 0.4, 0.5) == (0.5, 0.5)
    assert abstention_region(labels, scores, 0.0, 0.5) == pytest.approx((0.3, 0.7))
    # One error among five answers: the missed positive film is the one without an answer.
    assert abstention_region(labels, scores, 0.2, 0.5) == pytest.approx((0.3, 0.5))


def test_of_two_regions_with_as_many_answers_the_one_with_fewer_errors():
    # Beside sure films two groups of five, of which only one can get an answer.
    scores = np.repeat([0.1, 0.4, 0.6, 0.9], [10, 5, 5, 10])
    labels = np.repeat([0, 1, 0, 0, 1, 1], [10, 3, 2, 4, 1, 10])
    assert abstention_region(labels, scores, 0.2, 0.5) == pytest.approx((0.5, 0.75))
    labels = 1 - labels[::-1]
    assert abstention_region(labels, scores, 0.2, 0.5) == pytest.approx((0.25, 0.5))


def test_a_side_without_a_right_answer_is_open():
    labels, scores = np.array([0, 0, 1, 0]), np.array([0.1, 0.2, 0.8, 0.9])
    low, high = abstention_region(labels, scores, 0.0, 0.5)
    assert low == 0.5
    assert not np.any(np.array([1.0, 1.0], np.float32) >= high)
    assert high == pytest.approx(1)
    low, high = abstention_region(1 - labels[::-1], 1 - scores[::-1], 0.0, 0.5)
    assert (low, high) == (0, 0.5)


def test_regions_that_are_undefined():
    for labels in ([0, 0], [1, 1]):
        assert np.isnan(abstention_region(labels, [0.1, 0.9], 0.1, 0.5)).all()
    assert np.isnan(abstention_region([1, 0], [0.1, 0.9], 0.4, 0.5)).all()
    assert np.isnan(abstention_region([0, 1, 0, 1], [0.3] * 4, 0.4, 0.3)).all()


def test_many_films():
    rng = np.random.default_rng(3)
    labels = (rng.random(4000) < 0.2).astype(int)
    scores = 1 / (1 + np.exp(-rng.normal(2 * labels - 1, 1)))
    low, high = abstention_region(labels, scores, 0.05, 0.5)
    answered = (scores < low) | (scores >= high)
    assert 0.4 < answered.mean() < 0.98
    # A few more answers would pass the wanted error.
    assert 0.049 < np.mean((scores >= high)[answered] != labels[answered]) <= 0.05


@pytest.mark.parametrize('wanted', [-0.1, 1, 5, math.nan])
def test_other_errors_are_refused(wanted):
    with pytest.raises(ValueError, match='the wanted error is'):
        abstention_region([0, 1], [0, 1], wanted, 0.5)


@pytest.mark.parametrize('threshold', [math.nan, -0.5, math.inf])
def test_thresholds_that_are_no_probabilities_are_refused(threshold):
    with pytest.raises(ValueError, match='the threshold probability is'):
        abstention_region([0, 1], [0, 1], 0.1, threshold)
    with pytest.raises(ValueError, match='the largest probability is 3'):
        abstention_region([0, 1], [0, 3], 0.1, 0.5)


@pytest.mark.parametrize(
    'figure',
    [
        lambda y, s: threshold_at_sensitivity(y, s, 0.9),
        lambda y, s: abstention_region(y, s, 0.1, 0.5),
    ],
)
@pytest.mark.parametrize(
    ('labels', 'scores', 'message'),
    [
        ([0, 1], [0, 1, 1], r'\(2,\).*\(3,\)'),
        ([], [], 'no films'),
        ([0, 1], [0, math.nan], 'score 1 is nan'),
        ([0, 2], [0, 1], 'labels hold 2'),
    ],
)
def test_bad_input_is_refused(figure, labels, scores, message):
    with pytest.raises(ValueError, match=message):
        figure(labels, scores)
