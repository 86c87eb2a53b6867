"""By how much boxes should be smaller or larger for the challenge's metric, learned on films.

Part of the challenge's films were read by several radiologists, and their boxes are smaller than
the others': a model trained on the latter draws too large ones. Its winners shrank theirs by
constants; how much is right hangs on the model and the films.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from pneumo_jax.boxes.refine import shrink
from pneumo_jax.metrics.detection import best_score_threshold, challenge_film_scores

__all__ = ['FACTORS', 'best_shrink']

FACTORS = tuple(i / 40 for i in range(28, 47))  # 0.7, 0.725 ... 1.15

# Two figures that differ by less are equal, but for rounding.
_SAME = 1e-9

Boxes = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Trial:
    """What a factor reaches at its own best threshold; ``film_scores`` float64 [N]."""

    factor: float
    threshold: float
    figure: float
    film_scores: np.ndarray

    @property
    def change(self):
        """How far from 1; rounded, since 0.9 and 1.1 are as far."""
        return round(abs(self.factor - 1), 9)


def best_shrink(
    truths: Boxes,
    predictions: Boxes,
    scores: Sequence[np.ndarray],
    factors: Sequence[float] = FACTORS,
) -> tuple[float, float, float]:
    """The factor of box sides, and the score threshold, of about the highest ``challenge_map``.

    Each factor has its own best threshold (``best_score_threshold``). The factor of the highest
    figure would follow the chance of few boxes. So the one nearest to 1 is taken of those whose
    figure is lower by no more than one standard error: the one-standard-error rule of Breiman et
    al. (Classification and Regression Trees, 1984, section 3.4.3), the plainer model within the
    noise of the best. The error is that of the difference of both figures on the same films, and
    not of one figure, which is many times as large: how hard films are says nothing of factors.
    On a few dozen positive films with boxes a fifth too large this keeps most of what the best
    factor gains, and with unbiased boxes it loses little.

    Args:
        truths: true boxes float [m,4], film by film.
        predictions: predicted boxes float [n,4], film by film, (x, y, width, height).
        scores: their confidences float [n], film by film.
        factors: to choose among, above 0.

    Returns:
        The factor, for ``boxes.refine.shrink``; the threshold (a box is drawn when its score is at
        least that); and the figure that both reach. Where no box hits, whatever the factor, it is
        the one nearest to 1, and the rest as of ``best_score_threshold``.

    Raises:
        ValueError: on no factors, one that is not above 0, no films, lists or arrays that do not
            fit, values that are not finite.
    """
    if not len(factors):
        raise ValueError('there are no factors: give at least one')
    trials = [_try_factor(truths, predictions, scores, factor) for factor in factors]
    best = min(trials, key=lambda trial: (-trial.figure, trial.change))
    good = [trial for trial in trials if not _is_behind(trial, best)]
    chosen = min(good, key=lambda trial: (trial.change, -trial.figure))
    return chosen.factor, chosen.threshold, chosen.figure


def _try_factor(truths, predictions, scores, factor):
    shrunk = [shrink(np.asarray(boxes, np.float64), factor) for boxes in predictions]
    threshold, figure = best_score_threshold(truths, shrunk, scores)
    keep = [np.asarray(film) >= threshold for film in scores]
    film_scores = challenge_film_scores(
        truths,
        [boxes[k] for boxes, k in zip(shrunk, keep, strict=True)],
        [np.asarray(film)[k] for film, k in zip(scores, keep, strict=True)],
    )
    return _Trial(factor, threshold, figure, film_scores)


def _is_behind(trial, best):
    """Whether a figure is lower by more than one standard error; figures of NaN are not."""
    error = _error_of_difference(best.film_scores, trial.film_scores)
    return best.figure - trial.figure > error + _SAME


def _error_of_difference(a, b):
    """The standard error of the difference of two means over films [N], some NaN and left out.

    A film that is in one mean alone counts in its size too: means are ratios, and the error is
    that of their linear parts.
    """
    count = np.sum(~(np.isnan(a) & np.isnan(b)))
    if count < 2:
        return math.inf
    parts = _parts_of_mean(a) - _parts_of_mean(b)
    return math.sqrt(count / (count - 1) * np.sum(parts**2))


def _parts_of_mean(values):
    """How much each film moves the mean of those that are not NaN: float64 [N]."""
    known = ~np.isnan(values)
    count = max(known.sum(), 1)
    mean = np.nansum(values) / count
    return np.where(known, values - mean, 0.0) / count
