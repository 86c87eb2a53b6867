"""Figures of the film-level answer, from labels and scores.

Labels are 0 or 1 (1 = lung opacity), one per film. A film is called positive when its score is at
least the threshold. A figure that is undefined is NaN, never a neutral value such as 0.5.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

__all__ = ['Confusion', 'auprc', 'auroc', 'confusion', 'threshold_between', 'youden_threshold']


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: how probably a positive film scores over a negative one.

    The Mann-Whitney statistic: a tie counts one half.

    Args:
        labels: 0 or 1 [N].
        scores: finite numbers [N], larger = more probably positive.

    Returns:
        In [0, 1]; NaN where one class is missing.

    Raises:
        ValueError: on shapes that do not fit, no films, other labels, scores that are not finite.
    """
    labels, scores = _check(labels, scores)
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return math.nan
    rank_sum = _midranks(scores)[labels].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def auprc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Average precision: the sum over thresholds of precision times the gain in recall.

    As scikit-learn's ``average_precision_score``, without interpolation; but NaN where a class is
    missing, since there is nothing to rank. An uninformative score reaches the prevalence.

    Args and errors as of ``auroc``.
    """
    labels, scores = _check(labels, scores)
    if labels.all() or not labels.any():
        return math.nan
    called, hits, _ = _cuts(labels, scores)
    gains = np.diff(hits, prepend=0) / labels.sum()
    return float(np.sum(gains * hits / called))


def youden_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The threshold that maximises sensitivity + specificity - 1 (Youden 1950).

    It stands in the middle between two observed scores, so that a new film's small difference
    does not turn the answer; of equally good gaps the widest is taken. Calling all films
    positive or all negative is no candidate.

    Args and errors as of ``auroc``.

    Returns:
        The threshold; NaN where one class is missing or all scores are equal.
    """
    labels, scores = _check(labels, scores)
    called, hits, values = _cuts(labels, scores)
    if labels.all() or not labels.any() or len(values) < 2:
        return math.nan
    positives, negatives = int(labels.sum()), int((~labels).sum())
    # In whole numbers, so that equally good cuts are exactly equal.
    youden = (hits * negatives - (called - hits) * positives)[:-1]
    gaps = np.where(youden == youden.max(), values[:-1] - values[1:], -1.0)
    cut = int(gaps.argmax())
    return threshold_between(values[cut + 1], values[cut])


def threshold_between(low: float, high: float) -> float:
    """A threshold that ``high`` reaches and ``low`` does not: the middle, as a float32 number.

    Scores are float32 on the device and thresholds Python floats in files: a number that both
    hold gives the same decision everywhere. Where no float32 lies between, it is ``high``.
    """
    # Plain floats: NumPy would compare a float32 with the float64 middle in float32.
    low, high = float(low), float(high)
    middle = float(np.float32((low + high) / 2))
    return middle if low < middle <= high else high


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Counts of films, and the figures that follow; NaN where a denominator is 0.

    Attributes:
        tp: true positives.
        fp: false positives.
        fn: false negatives.
        tn: true negatives.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def accuracy(self) -> float:
        """Share of films called right; read it beside the prevalence."""
        return _ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of sensitivity and specificity."""
        return (self.sensitivity + self.specificity) / 2

    @property
    def sensitivity(self) -> float:
        """Share of the positive films that were called positive (recall)."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """Share of the negative films that were called negative."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> float:
        """Share of the films called positive that are (precision)."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def npv(self) -> float:
        """Share of the films called negative that are."""
        return _ratio(self.tn, self.tn + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and PPV."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def confusion(labels: np.ndarray, predicted: np.ndarray) -> Confusion:
    """Counts the answers.

    Args:
        labels: 0 or 1 [N].
        predicted: 0 or 1 [N], or bool: ``scores >= threshold``.

    Raises:
        ValueError: on shapes that do not fit, no films, values other than 0 and 1.
    """
    labels, predicted = _check(labels, predicted)
    predicted = _as_bool(predicted, 'predicted')
    return Confusion(
        tp=int(np.sum(labels & predicted)),
        fp=int(np.sum(~labels & predicted)),
        fn=int(np.sum(labels & ~predicted)),
        tn=int(np.sum(~labels & ~predicted)),
    )


def _cuts(labels, scores):
    """Films called positive, true ones among them, at each distinct score, descending."""
    order = np.argsort(-scores, kind='stable')
    values = scores[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    return last_of_ties + 1, np.cumsum(labels[order])[last_of_ties], values[last_of_ties]


def _ratio(part, whole):
    return part / whole if whole else math.nan


def _midranks(scores):
    """Ranks from 1; equal scores share the mean of theirs. SciPy's takes 0.8 s to import."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _check(labels, scores):
    """Labels as bool and scores as float64, of the same non-zero length."""
    labels, scores = np.asarray(labels), np.asarray(scores, np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(
            f'labels have shape {labels.shape} and scores {scores.shape}; give one of each a film'
        )
    if not len(labels):
        raise ValueError('there are no films: give labels and scores of at least one')
    if not np.isfinite(scores).all():
        index = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f'score {index} is {scores[index]}; scores must be finite')
    return _as_bool(labels, 'labels'), scores


def _as_bool(values, name):
    other = values[(values != 0) & (values != 1)]
    if len(other):
        raise ValueError(f'{name} hold {other[0]}; give 0 or 1')
    return values == 1
