"""Thresholds for a purpose, and what answers are worth where the disease is more or less common.

All thresholds are chosen on validation films. A wanted sensitivity or error rate is reached on
those; an evaluation on other films reports what it is there.
"""

from __future__ import annotations

import math

import numpy as np

from pneumo_jax.metrics.classification import threshold_between
from pneumo_jax.metrics.film_rows import check_films, ratio

__all__ = ['abstention_region', 'project', 'threshold_at_sensitivity']

# No probability reaches it. Infinity has no place in JSON.
_ABOVE_ONE = 1 + 2.0**-23


def threshold_at_sensitivity(labels: np.ndarray, scores: np.ndarray, sensitivity: float) -> float:
    """The highest threshold that calls at least this share of the positive films positive.

    It stands in the middle between two observed scores, as ``youden_threshold``; at the lowest
    score itself where all films have to be called positive.

    Args:
        labels: 0 or 1 [N].
        scores: finite numbers [N], larger = more probably positive.
        sensitivity: wanted on these films, in (0, 1].

    Returns:
        The threshold; NaN without a positive film.

    Raises:
        ValueError: on shapes that do not fit, no films, other labels, scores that are not finite,
            another sensitivity.
    """
    if not 0 < sensitivity <= 1:
        raise ValueError(f'the wanted sensitivity is {sensitivity}; give a number in (0, 1]')
    labels, scores = check_films(labels, scores)
    if not labels.any():
        return math.nan
    # As a quotient: 0.55 of 20 films are 11, but 0.55 * 20 is a little more.
    reached = np.arange(1, labels.sum() + 1) / labels.sum() >= sensitivity
    needed = np.sort(scores[labels])[::-1][reached.argmax()]
    below = scores[scores < needed]
    return threshold_between(below.max(), needed) if len(below) else float(needed)


def project(
    sensitivity: float | np.ndarray, specificity: float | np.ndarray, prevalence: float
) -> tuple[float | np.ndarray, float | np.ndarray]:
    """PPV and NPV at another prevalence, by Bayes' theorem.

    Sensitivity and specificity are taken to stay the same, which holds as far as the positive and
    the negative films are of the same kinds there.

    Args:
        sensitivity: in [0, 1], a float or [D]; NaN where undefined.
        specificity: alike.
        prevalence: share of positive films, in [0, 1].

    Returns:
        PPV and NPV, floats or float64 [D]; NaN where undefined.

    Raises:
        ValueError: on another prevalence.
    """
    if not 0 <= prevalence <= 1:
        raise ValueError(f'the prevalence is {prevalence}; give a share in [0, 1]')
    hits, misses = sensitivity * prevalence, (1 - sensitivity) * prevalence
    rejected, false = specificity * (1 - prevalence), (1 - specificity) * (1 - prevalence)
    return ratio(hits, hits + false), ratio(rejected, rejected + misses)


def abstention_region(
    labels: np.ndarray, probs: np.ndarray, wanted_error: float, threshold: float
) -> tuple[float, float]:
    """The probabilities around a threshold that get no answer, so that the others seldom err.

    Films with low <= prob < high get none, the others the answer that the threshold gives them.
    Of all cuts between observed probabilities with low <= threshold <= high, those are taken that
    answer the most films while at most ``wanted_error`` of the answers are wrong (Chow 1970); of
    equally good ones those with the fewest errors, then with the lowest low, which misses the
    fewest positive films. This is exact, and reached on these films: choose on validation,
    report on others.

    Args:
        labels: 0 or 1 [N].
        probs: probabilities of label 1 [N].
        wanted_error: in [0, 1).
        threshold: a film is called positive from this probability on, in [0, 1].

    Returns:
        low and high. They are the threshold itself where all films on that side of it get an
        answer; low is 0 where no film can be called negative, high the float32 above 1 where none
        can be called positive. (NaN, NaN) where a class is missing, or where no cuts with at
        least one answer reach the wanted error.

    Raises:
        ValueError: on shapes that do not fit, no films, other labels, probabilities or a
            threshold outside [0, 1], another error.
    """
    if not 0 <= wanted_error < 1:
        raise ValueError(f'the wanted error is {wanted_error}; give a share in [0, 1)')
    labels, probs = check_films(labels, probs)
    for name, value in (('threshold', threshold), ('least', probs.min()), ('largest', probs.max())):
        if not 0 <= value <= 1:
            raise ValueError(f'the {name} probability is {value}; give numbers in [0, 1]')
    if labels.all() or not labels.any():
        return math.nan, math.nan
    called = probs >= threshold
    lows, below, missed = _answered(probs[~called], labels[~called])
    # The other side is the same, looked at from above.
    highs, above, false = _answered(-probs[called], ~labels[called])
    answered, errors = below[:, None] + above, missed[:, None] + false
    fits = (answered > 0) & (errors / np.maximum(answered, 1) <= wanted_error)
    worth = np.where(fits, answered * (len(labels) + 1) - errors, -1)
    low, high = np.unravel_index(worth.argmax(), worth.shape)
    if worth[low, high] < 0:
        return math.nan, math.nan
    return _cut(lows, low, threshold, 0.0), _cut(-highs, high, threshold, _ABOVE_ONE)


def _answered(scores, wrong):
    """For each cut through scores: how many films are below it, how many of them are wrong.

    Returns:
        The distinct scores, ascending [K]; the counts, int [K+1], of cuts below all of them,
        between them, and above them.
    """
    values, counts = np.unique(scores, return_counts=True)
    order = np.argsort(scores, kind='stable')
    ends = np.append(0, np.cumsum(counts))
    return values, ends, np.append(0, np.cumsum(wrong[order]))[ends]


def _cut(values, index, threshold, end):
    """The cut after the first ``index`` of values that lead from an end to the threshold."""
    if index == len(values):
        return float(threshold)
    if index == 0:
        return end
    return threshold_between(*sorted((values[index - 1], values[index])))
