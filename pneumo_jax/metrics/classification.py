"""Figures of the film-level answer, from labels and scores.

Labels are 0 or 1 (1 = lung opacity), one per film. A film is called positive when its score is at
least the threshold. A figure that is undefined is NaN, never a neutral value such as 0.5.

Weights say how often each film counts: float [N,D], a column for each draw of a bootstrap, whole
numbers as a rule. A figure of them is float64 [D]; without weights every film counts once and the
figure is a float. Whole weights give what repeating the films gives.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from pneumo_jax.metrics.film_rows import Bins, check_films, members, ratio, zero_or_one
from pneumo_jax.metrics.weights import as_weights, plain, weighted_sums

__all__ = [
    'Confusion',
    'Ranking',
    'auprc',
    'auroc',
    'confusion',
    'delong',
    'pr_curve',
    'roc_curve',
    'threshold_between',
    'variance_explained',
    'within_group_auroc',
    'youden_threshold',
]

# A variance that is a smaller share of the squares than this is rounding.
_ROUNDING = 1e-12


def auroc(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Area under the ROC curve: how probably a positive film scores over a negative one.

    The Mann-Whitney statistic: a tie counts one half.

    Args:
        labels: 0 or 1 [N].
        scores: finite numbers [N], larger = more probably positive.
        weights: how often each film counts [N,D].

    Returns:
        In [0, 1], a float or float64 [D]; NaN where one class is missing.

    Raises:
        ValueError: on shapes that do not fit, no films, other labels, scores that are not finite,
            weights that are negative or not finite.
    """
    return Ranking(labels, scores).auroc(weights)


def auprc(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Average precision: the sum over thresholds of precision times the gain in recall.

    As scikit-learn's ``average_precision_score``, without interpolation; but NaN where a class is
    missing, since there is nothing to rank. An uninformative score reaches the prevalence.

    Args, returns and errors as of ``auroc``.
    """
    return Ranking(labels, scores).auprc(weights)


class Ranking:
    """Films sorted once by score, for figures of many weights.

    Weights are summed between the distinct scores of the positive films, which are few.
    """

    def __init__(self, labels: np.ndarray, scores: np.ndarray):
        """Args and errors as of ``auroc``."""
        labels, scores = check_films(labels, scores)
        self._num_films = len(labels)
        values = np.unique(scores[labels])
        self._positives = Bins(
            labels, len(values) - 1 - np.searchsorted(values, scores), len(values)
        )
        # From above: over the highest value, at it, between it and the next, at that, ...
        bins = 2 * len(values) - np.searchsorted(values, scores, 'left')
        bins -= np.searchsorted(values, scores, 'right')
        self._negatives = Bins(~labels, bins, 2 * len(values) + 1)

    def auroc(self, weights: np.ndarray | None = None) -> float | np.ndarray:
        """As the function ``auroc``."""
        wins, pairs = self.wins_and_pairs(as_weights(weights, self._num_films))
        return plain(ratio(wins, pairs), weights)

    def auprc(self, weights: np.ndarray | None = None) -> float | np.ndarray:
        """As the function ``auprc``."""
        hits, tied, above = self._sums(as_weights(weights, self._num_films))
        found = np.cumsum(hits, axis=0)
        called = found + np.cumsum(tied + above[:-1], axis=0)
        precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
        positives, negatives = hits.sum(axis=0), tied.sum(axis=0) + above.sum(axis=0)
        gains = (hits * precision).sum(axis=0)
        return plain(ratio(gains, np.where(negatives > 0, positives, 0)), weights)

    def wins_and_pairs(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs in which the positive film scores higher, a tie half a one, and all pairs.

        Args:
            weights: float64 [N,D].

        Returns:
            Float64 [D] each, of pairs of a positive and a negative film; ``auroc`` is their ratio.
        """
        hits, tied, above = self._sums(weights)
        positives, negatives = hits.sum(axis=0), tied.sum(axis=0) + above.sum(axis=0)
        below = negatives - np.cumsum(tied + above[:-1], axis=0)
        return (hits * (below + tied / 2)).sum(axis=0), positives * negatives

    def _sums(self, weights):
        """Positives and negatives at each value [K,D], negatives over, between, under them."""
        hits = self._positives.sums(weights)
        negatives = self._negatives.sums(weights)
        return hits, negatives[1::2], negatives[0::2]


def within_group_auroc(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray | None = None,
) -> float | np.ndarray:
    """Area under the ROC curve over pairs of the same group alone, such as films of one view.

    What a model knows beyond the group: a score that only tells the groups apart reaches 0.5.
    The stratified Mann-Whitney statistic, every pair of the same weight.

    Args, returns and errors as of ``auroc``, and:
        groups: a value for each film [N]; "unknown" is a group like any other.

    Returns:
        NaN where no group has films of both classes.
    """
    labels, scores = check_films(labels, scores)
    counts = as_weights(weights, len(labels))
    wins = pairs = np.zeros(counts.shape[1])
    for rows in members(groups, len(labels)):
        more = Ranking(labels[rows], scores[rows]).wins_and_pairs(counts[rows])
        wins, pairs = wins + more[0], pairs + more[1]
    return plain(ratio(wins, pairs), weights)


def variance_explained(
    values: np.ndarray, groups: np.ndarray, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Share of the variance of values that lies between groups: eta squared (Pearson 1905).

    Of probabilities give the logits (``calibration.logit``): near 0 and 1 probabilities hide
    differences.

    Args:
        values: finite numbers [N].
        groups: a value for each film [N]; "unknown" is a group like any other.
        weights: how often each film counts [N,D].

    Returns:
        In [0, 1], a float or float64 [D]; NaN where values do not vary, or there is one group.

    Raises:
        ValueError: as of ``auroc``.
    """
    _, values = check_films(np.zeros(len(values)), values)
    # Squares of large numbers would lose what the sums differ by.
    values = values - values.mean()
    belongs = members(groups, len(values)).astype(np.float64)
    draws = as_weights(weights, len(values))
    counts, sums = (weighted_sums(belongs * factor, draws) for factor in (1.0, values))
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    squares = weighted_sums(values**2, draws)
    square_of_sum = sums.sum(axis=0) * ratio(sums.sum(axis=0), counts.sum(axis=0))
    total = squares - square_of_sum
    between = np.clip((sums * means).sum(axis=0) - square_of_sum, 0, total)
    defined = (total > _ROUNDING * squares) & ((counts > 0).sum(axis=0) > 1)
    return plain(ratio(between, np.where(defined, total, 0)), weights)


def roc_curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of the ROC curve, for pictures: false positive rate and sensitivity, float64 [K].

    From (0, 0) to (1, 1), a point for each distinct score, to be joined by straight lines; the
    area under them is ``auroc``. Empty arrays where one class is missing.

    Args and errors as of ``auroc``.
    """
    labels, scores = check_films(labels, scores)
    if labels.all() or not labels.any():
        return np.empty(0), np.empty(0)
    called, hits, _ = _cuts(labels, scores)
    false = np.append(0, called - hits) / np.sum(~labels)
    return false, np.append(0, hits) / np.sum(labels)


def pr_curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of the precision-recall curve, for pictures: recall and precision, float64 [K].

    A point for each distinct score, recall rising to 1. To be drawn as steps, each
    precision holding back to the recall before; the area under them is ``auprc``. Empty arrays
    where one class is missing.

    Args and errors as of ``auroc``.
    """
    labels, scores = check_films(labels, scores)
    if labels.all() or not labels.any():
        return np.empty(0), np.empty(0)
    called, hits, _ = _cuts(labels, scores)
    return hits / labels.sum(), hits / called


def delong(labels: np.ndarray, scores_a: np.ndarray, scores_b: np.ndarray) -> tuple[float, float]:
    """Difference of two AUROCs on the same films, and its standard error.

    DeLong, DeLong and Clarke-Pearson 1988, by midranks as in Sun and Xu 2014. Films are taken as
    independent: where persons have several, a bootstrap over persons is wider and right.

    Args and errors as of ``auroc``.

    Returns:
        AUROC of a minus that of b, NaN where one class is missing; the standard error, NaN with
        fewer than two films of a class.
    """
    labels, scores_a = check_films(labels, scores_a)
    _, scores_b = check_films(labels, scores_b)
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return math.nan, math.nan
    difference = _placements(labels, scores_a) - _placements(labels, scores_b)
    if min(positives, negatives) < 2:
        return float(difference[labels].mean()), math.nan
    variance = difference[labels].var(ddof=1) / positives
    variance += difference[~labels].var(ddof=1) / negatives
    return float(difference[labels].mean()), math.sqrt(variance)


def youden_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The threshold that maximises sensitivity + specificity - 1 (Youden 1950).

    It stands in the middle between two observed scores, so that a new film's small difference
    does not turn the answer; of equally good gaps the widest is taken. Calling all films
    positive or all negative is no candidate.

    Args and errors as of ``auroc``.

    Returns:
        The threshold; NaN where one class is missing or all scores are equal.
    """
    labels, scores = check_films(labels, scores)
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
        tp: true positives; an int, or float64 [D] of weights, as all others.
        fp: false positives.
        fn: false negatives.
        tn: true negatives.
    """

    tp: int | np.ndarray
    fp: int | np.ndarray
    fn: int | np.ndarray
    tn: int | np.ndarray

    @property
    def accuracy(self) -> float | np.ndarray:
        """Share of films called right; read it beside the prevalence."""
        return ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    @property
    def balanced_accuracy(self) -> float | np.ndarray:
        """Mean of sensitivity and specificity."""
        return (self.sensitivity + self.specificity) / 2

    @property
    def sensitivity(self) -> float | np.ndarray:
        """Share of the positive films that were called positive (recall)."""
        return ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float | np.ndarray:
        """Share of the negative films that were called negative."""
        return ratio(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> float | np.ndarray:
        """Share of the films called positive that are (precision)."""
        return ratio(self.tp, self.tp + self.fp)

    @property
    def npv(self) -> float | np.ndarray:
        """Share of the films called negative that are."""
        return ratio(self.tn, self.tn + self.fn)

    @property
    def f1(self) -> float | np.ndarray:
        """Harmonic mean of sensitivity and PPV."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def confusion(
    labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None
) -> Confusion:
    """Counts the answers.

    Args:
        labels: 0 or 1 [N].
        predicted: 0 or 1 [N], or bool: ``scores >= threshold``.
        weights: how often each film counts [N,D].

    Raises:
        ValueError: on shapes that do not fit, no films, values other than 0 and 1, weights that
            are negative or not finite.
    """
    labels, predicted = check_films(labels, predicted)
    predicted = zero_or_one(predicted, 'predicted')
    cells = {
        'tp': labels & predicted,
        'fp': ~labels & predicted,
        'fn': labels & ~predicted,
        'tn': ~labels & ~predicted,
    }
    if weights is None:
        return Confusion(**{name: int(cell.sum()) for name, cell in cells.items()})
    draws = as_weights(weights, len(labels))
    return Confusion(**{name: draws[cell].sum(axis=0) for name, cell in cells.items()})


def _cuts(labels, scores):
    """Films called positive, true ones among them, at each distinct score, descending."""
    order = np.argsort(-scores, kind='stable')
    values = scores[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    return last_of_ties + 1, np.cumsum(labels[order])[last_of_ties], values[last_of_ties]


def _placements(labels, scores):
    """For each film the share of the other class that scores lower, a tie a half."""
    ranks = _midranks(scores)
    placements = np.empty(len(scores))
    for own in (labels, ~labels):
        # Less the rank among its own class, it is how many of the other class score lower.
        placements[own] = (ranks[own] - _midranks(scores[own])) / np.sum(~own)
    return placements


def _midranks(scores):
    """Ranks from 1; equal scores share the mean of theirs. SciPy's takes 0.8 s to import."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
