"""Figures of the boxes, over films.

Films are given as three lists of one entry a film: ``truths`` float [m,4] and ``predictions`` float
[n,4], boxes (x, y, width, height) in film pixels, and ``scores`` float [n], the predictions'
confidences. A film without boxes has arrays of length 0.

The challenge metric is that of the RSNA Pneumonia Detection Challenge (Kaggle 2018). Per film and
IoU threshold t = 0.40, 0.45, ... 0.75 it takes TP / (TP + FP + FN) after a one-to-one matching by
descending confidence; a film's score is the mean over t. It is no area under a precision-recall
curve: which boxes are drawn at all decides it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pneumo_jax.boxes.match import greedy_match, iou_matrix
from pneumo_jax.metrics.classification import threshold_between

__all__ = [
    'IOU_THRESHOLDS',
    'best_score_threshold',
    'challenge_film_scores',
    'challenge_map',
    'mean_box_iou',
]

# Written out: sums of 0.05 miss the decimals in the last bit.
IOU_THRESHOLDS = (0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75)

# Two sums of film scores that differ by less are equal, but for rounding.
_SAME = 1e-9

Boxes = Sequence[np.ndarray]


def challenge_map(
    truths: Boxes, predictions: Boxes, scores: Sequence[np.ndarray], *, inclusive: bool = False
) -> float:
    """The challenge's mean average precision.

    Args:
        truths: true boxes [m,4], film by film.
        predictions: predicted boxes [n,4], film by film.
        scores: their confidences [n], film by film.
        inclusive: an IoU equal to a threshold is a hit, as in some public code; the challenge's
            text says above.

    Returns:
        The mean of ``challenge_film_scores`` over the films that are not left out; NaN where
        there are none.

    Raises:
        ValueError: on no films, lists or arrays that do not fit, values that are not finite.
    """
    film_scores = challenge_film_scores(truths, predictions, scores, inclusive=inclusive)
    return _mean(film_scores[~np.isnan(film_scores)])


def challenge_film_scores(
    truths: Boxes, predictions: Boxes, scores: Sequence[np.ndarray], *, inclusive: bool = False
) -> np.ndarray:
    """The challenge's score of each film.

    Args and errors as of ``challenge_map``.

    Returns:
        Float64 [N]; 0 for a film with truth and no prediction or the reverse, NaN for one that
        is left out since it has neither.
    """
    films = _films(truths, predictions, scores)
    return np.array([_scores_by_count(*film, inclusive)[-1] for film in films])


def mean_box_iou(truths: Boxes, predictions: Boxes, scores: Sequence[np.ndarray]) -> float:
    """The mean over true boxes of the IoU with their match; 0 for a box without one.

    Matches are one-to-one, by descending confidence, at any overlap. False boxes cost nothing
    here: read it beside the challenge metric.

    Args and errors as of ``challenge_map``.

    Returns:
        In [0, 1]; NaN where no film has a true box.
    """
    total, count = 0.0, 0
    for truth, predicted, confidence in _films(truths, predictions, scores):
        matched = greedy_match(truth, predicted, confidence, 0.0)
        hits = np.flatnonzero(matched >= 0)
        total += iou_matrix(predicted, truth)[hits, matched[hits]].sum()
        count += len(truth)
    return float(total / count) if count else math.nan


def best_score_threshold(
    truths: Boxes, predictions: Boxes, scores: Sequence[np.ndarray]
) -> tuple[float, float]:
    """The confidence from which on boxes should be drawn, for the highest ``challenge_map``.

    Exact over every set of boxes that a threshold can select, the empty one too. Thresholds with
    the same, highest figure form ranges between observed scores; the middle of the widest range
    is taken, where a small change of the scores does least. A range ends at the lowest score:
    what is below it was not tried.

    Args and errors as of ``challenge_map``.

    Returns:
        The threshold (a box is drawn when its score is at least that) and the figure reached.
        Where no box hits, the threshold is infinite: no box is worth drawing, the figure is 0, or
        NaN if no film has a true box.
    """
    films = _films(truths, predictions, scores)
    candidates, figures = _figures_by_candidate(films)
    if not any(len(truth) for truth, _, _ in films):
        return math.inf, math.nan
    best = figures.max()
    if best == 0:
        return math.inf, 0.0
    # Candidate i stands for the thresholds above candidate i + 1 and up to itself.
    good = np.concatenate([[False], figures >= best - _SAME, [False]])
    changes = np.flatnonzero(np.diff(good.astype(int)))
    lower_ends = np.append(candidates[1:], candidates[-1])
    highs, lows = candidates[changes[::2]], lower_ends[changes[1::2] - 1]
    widest = int(np.argmax(highs - lows))
    return threshold_between(lows[widest], highs[widest]), float(best)


def _figures_by_candidate(films):
    """Distinct scores, descending, infinity first, and the figure of boxes from each on.

    Drawing one more box changes its own film's score alone, and leaves the matches of that
    film's surer boxes: all figures are running sums of such changes.
    """
    curves = [_scores_by_count(*film, False) for film in films]
    changes = np.concatenate([np.diff(np.nan_to_num(curve)) for curve in curves])
    # The first box on a film without truth brings it into the mean.
    joins = np.concatenate([np.diff(np.isnan(curve)) for curve in curves])
    values = np.concatenate([np.sort(confidence)[::-1] for _, _, confidence in films])
    order = np.argsort(-values, kind='stable')
    values = values[order]
    counted = sum(not math.isnan(curve[0]) for curve in curves) + np.cumsum(joins[order])
    figures = np.cumsum(changes[order]) / np.maximum(counted, 1)
    last_of_ties = np.flatnonzero(np.diff(values, append=-math.inf))
    return (
        np.concatenate([[math.inf], values[last_of_ties]]),
        np.concatenate([[0.0], figures[last_of_ties]]),
    )


def _scores_by_count(truth, predicted, confidence, inclusive):
    """A film's score with its 0, 1, ... n surest boxes: float64 [n + 1], NaN where left out."""
    matched = greedy_match(truth, predicted, confidence, IOU_THRESHOLDS, inclusive=inclusive)
    order = np.argsort(-confidence, kind='stable')
    hits = np.cumsum(matched[:, order] >= 0, axis=1)
    drawn = np.arange(1, len(predicted) + 1)
    scores = np.mean(hits / (drawn + len(truth) - hits), axis=0)
    return np.concatenate([[0.0 if len(truth) else math.nan], scores])


def _films(truths, predictions, scores):
    """The three lists as one of (truth, predicted, confidence) in float64."""
    lengths = len(truths), len(predictions), len(scores)
    if len(set(lengths)) > 1:
        raise ValueError(
            f'{lengths[0]} films have truth, {lengths[1]} predictions, {lengths[2]} scores; '
            'give one entry of each a film'
        )
    if not lengths[0]:
        raise ValueError('there are no films: give at least one')
    return [
        tuple(np.asarray(array, np.float64) for array in film)
        for film in zip(truths, predictions, scores, strict=True)
    ]


def _mean(values):
    return float(values.mean()) if len(values) else math.nan
