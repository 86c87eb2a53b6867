"""Figures of the boxes that are drawn, over films.

Films are given as three lists of one entry a film: ``truths`` float [m,4] and ``predictions`` float
[n,4], boxes (x, y, width, height) in film pixels, and ``scores`` float [n], the predictions'
confidences. A film without boxes has arrays of length 0.

The challenge metric is that of the RSNA Pneumonia Detection Challenge (Kaggle 2018). Per film and
IoU threshold t = 0.40, 0.45, ... 0.75 it takes TP / (TP + FP + FN) after a one-to-one matching by
descending confidence; a film's score is the mean over t. It is no area under a precision-recall
curve: which boxes are drawn at all decides it.

The challenge's own scorer was not published, and its text leaves open which of several true boxes a
predicted one takes. Here it takes the best one still free. Public scorers differ: the widespread
one (Y. Chen's Kaggle kernel, which the winners used too) goes through the true boxes and gives each
the surest box still free; others give a box the first true one above the threshold, or its best one
even if that is taken. All of them, this one included, agree wherever no predicted box reaches two
true ones of which another predicted box reaches one as well. Above an IoU of 0.5 that takes true
boxes that overlap, which two of the challenge's films have. Further differences of public code are
none of the text: most of it takes an IoU on the threshold for a hit (``inclusive``), some lets
several boxes hit the same true one, some counts a film with neither truth nor prediction as 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pneumo_jax.boxes.match import greedy_match, iou_matrix
from pneumo_jax.metrics.box_matches import check_films
from pneumo_jax.metrics.classification import threshold_between
from pneumo_jax.metrics.weights import weighted_mean, weighted_ratio

__all__ = [
    'IOU_THRESHOLDS',
    'best_score_threshold',
    'box_iou_sums',
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
    truths: Boxes,
    predictions: Boxes,
    scores: Sequence[np.ndarray],
    *,
    inclusive: bool = False,
    weights: np.ndarray | None = None,
) -> float | np.ndarray:
    """The challenge's mean average precision.

    For many weights at different times, keep ``challenge_film_scores`` and take
    ``weights.weighted_mean`` of them: that is what this is.

    Args:
        truths: true boxes [m,4], film by film.
        predictions: predicted boxes [n,4], film by film.
        scores: their confidences [n], film by film.
        inclusive: an IoU equal to a threshold is a hit, as in some public code; the challenge's
            text says above.
        weights: float [N,D], how often each film is there, or None for once each.

    Returns:
        The mean of ``challenge_film_scores`` over the films that are not left out, with weights
        float64 [D]; NaN where there are none.

    Raises:
        ValueError: on no films, lists, arrays or weights that do not fit, values that are not
            finite.
    """
    film_scores = challenge_film_scores(truths, predictions, scores, inclusive=inclusive)
    return weighted_mean(film_scores, weights)


def challenge_film_scores(
    truths: Boxes, predictions: Boxes, scores: Sequence[np.ndarray], *, inclusive: bool = False
) -> np.ndarray:
    """The challenge's score of each film.

    Args and errors as of ``challenge_map``.

    Returns:
        Float64 [N]; 0 for a film with truth and no prediction or the reverse, NaN for one that
        is left out since it has neither.
    """
    films = check_films(truths, predictions, scores)
    return np.array([_scores_by_count(*film, inclusive)[-1] for film in films])


def mean_box_iou(
    truths: Boxes,
    predictions: Boxes,
    scores: Sequence[np.ndarray],
    *,
    weights: np.ndarray | None = None,
) -> float | np.ndarray:
    """The mean over true boxes of the IoU with their match; 0 for a box without one.

    Matches are one-to-one, by descending confidence, at any overlap. False boxes cost nothing
    here: read it beside the challenge metric. For many weights at different times, keep
    ``box_iou_sums`` and take ``weights.weighted_ratio`` of them.

    Args and errors as of ``challenge_map``.

    Returns:
        In [0, 1], with weights float64 [D]; NaN where no film has a true box.
    """
    return weighted_ratio(*box_iou_sums(truths, predictions, scores), weights)


def box_iou_sums(
    truths: Boxes, predictions: Boxes, scores: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """What ``mean_box_iou`` divides: per film, the sum over its true boxes, and their number.

    Args and errors as of ``challenge_map``.

    Returns:
        Float64 [N] and int [N].
    """
    films = check_films(truths, predictions, scores)
    return np.array([_iou_sum(*film) for film in films]), np.array([len(film[0]) for film in films])


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
    films = check_films(truths, predictions, scores)
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


def _iou_sum(truth, predicted, confidence):
    matched = greedy_match(truth, predicted, confidence, 0.0)
    hits = np.flatnonzero(matched >= 0)
    return iou_matrix(predicted, truth)[hits, matched[hits]].sum()
