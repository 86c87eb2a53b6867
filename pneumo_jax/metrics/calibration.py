"""How well probabilities mean what they say, and two ways to make them.

Temperature scaling is fitted on validation films, recalibration on some 100 films of a new site.
Both keep the order of the films. Weights are as in ``metrics.classification``.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from pneumo_jax.errors import InputError
from pneumo_jax.metrics.film_rows import check_films, ratio
from pneumo_jax.metrics.weights import as_weights, plain, weighted_mean, weighted_sums

__all__ = [
    'TEMPERATURES',
    'Recalibration',
    'ReliabilityBin',
    'brier',
    'ece',
    'fit_recalibration',
    'fit_temperature',
    'log_loss',
    'logit',
    'reliability',
    'scale',
]

# Of fit_temperature, from the sharpest.
TEMPERATURES = (0.05, 20.0)

_NUM_BINS = 10
# Decimals as Python reads them: sums of 0.1 miss them in the last bit.
_EDGES = np.arange(_NUM_BINS + 1) / _NUM_BINS
# 1 less this is the largest float32 below 1; at 0 alike, so that the classes are treated alike.
_RESOLUTION = 2.0**-24
# Each halves the range of temperatures; what is left is below float64's resolution.
_BISECTIONS = 64
_NEWTON_STEPS = 100


def brier(
    labels: np.ndarray, probs: np.ndarray, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Mean squared error of the probabilities (Brier 1950); 0.25 for always saying one half.

    Args:
        labels: 0 or 1 [N].
        probs: probabilities of label 1 [N].
        weights: how often each film counts [N,D].

    Returns:
        In [0, 1], a float or float64 [D]; NaN where no film counts.

    Raises:
        ValueError: on shapes that do not fit, no films, other labels, probabilities outside
            [0, 1], weights that are negative.
    """
    labels, probs = _check(labels, probs)
    return weighted_mean((probs - labels) ** 2, weights)


def log_loss(
    labels: np.ndarray, probs: np.ndarray, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Mean negative log likelihood, in nats.

    Probabilities are clipped to [2^-24, 1 - 2^-24], which float32 tells from 0 and 1: a film that
    is sure and wrong costs 16.6 and not infinitely much.

    Args and errors as of ``brier``.

    Returns:
        At least 0, a float or float64 [D]; NaN where no film counts.
    """
    labels, probs = _check(labels, probs)
    return weighted_mean(_losses(labels, logit(probs)), weights)


def ece(
    labels: np.ndarray, probs: np.ndarray, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Expected calibration error (Naeini 2015), of the probability of an opacity.

    Over the bins of ``reliability``: the mean, by films, of the distance between the mean
    probability and the share of positive films. By chance it is above 0 for the best calibrated
    probabilities, the more so the fewer the films.

    Args, returns and errors as of ``brier``.
    """
    labels, probs = _check(labels, probs)
    draws = as_weights(weights, len(labels))
    films, probability, positives = _bin_sums(labels, probs, draws)
    return plain(ratio(np.abs(probability - positives).sum(axis=0), films.sum(axis=0)), weights)


@dataclasses.dataclass(frozen=True)
class ReliabilityBin:
    """The films whose probability is in [low, high), the last bin with its end.

    Attributes:
        low: the least probability.
        high: the end.
        films: how many there are; a float, or float64 [D] of weights, as the next two.
        mean_probability: of these films; NaN without films.
        share_positive: of these films; NaN without films.
    """

    low: float
    high: float
    films: float | np.ndarray
    mean_probability: float | np.ndarray
    share_positive: float | np.ndarray


def reliability(
    labels: np.ndarray, probs: np.ndarray, weights: np.ndarray | None = None
) -> list[ReliabilityBin]:
    """What a reliability diagram shows: ten bins of equal width by probability.

    Args and errors as of ``brier``.
    """
    labels, probs = _check(labels, probs)
    sums = _bin_sums(labels, probs, as_weights(weights, len(labels)))
    return [
        ReliabilityBin(
            low=float(_EDGES[i]),
            high=float(_EDGES[i + 1]),
            films=plain(films, weights),
            mean_probability=plain(ratio(probability, films), weights),
            share_positive=plain(ratio(positives, films), weights),
        )
        for i, (films, probability, positives) in enumerate(zip(*sums, strict=True))
    ]


def fit_temperature(labels: np.ndarray, probs: np.ndarray) -> float:
    """The temperature that minimises the log loss of ``scale`` (Guo et al. 2017).

    The loss is convex in 1 / T. Where it still falls at an end of ``TEMPERATURES``, that end is
    taken: the sharpest for films that one half separates without an error, the flattest for
    scores that tell nothing or the reverse.

    Args and errors as of ``brier``.

    Returns:
        The temperature; above 1 for a model that is too sure. NaN where a class is missing, or
        all probabilities are one half, which no temperature changes.
    """
    labels, probs = _check(labels, probs)
    logits = logit(probs)
    if labels.all() or not labels.any() or not logits.any():
        return math.nan

    def slope(sharpness):
        return np.mean((_sigmoid(sharpness * logits) - labels) * logits)

    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(2 / (low + high))


def scale(probs: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities whose logits are divided by a temperature, float64 [N].

    A threshold that is scaled alike gives the same answers.

    Args:
        probs: in [0, 1], clipped as in ``log_loss``.
        temperature: above 0; above 1 brings them nearer to one half.

    Raises:
        ValueError: on other temperatures, probabilities outside [0, 1].
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f'the temperature is {temperature}; give a finite number above 0')
    return _sigmoid(logit(probs) / temperature)


@dataclasses.dataclass(frozen=True)
class Recalibration:
    """A straight line from a model's logits to those of a site (Cox 1958).

    Attributes:
        intercept: logit at the site of a film whose probability was one half.
        slope: at least 0; below 1 for a model that is too sure at the site.
    """

    intercept: float
    slope: float

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Probabilities at the site, float64 [N], of the model's, clipped as in ``log_loss``.

        Raises:
            ValueError: on probabilities outside [0, 1].
        """
        return _sigmoid(self.intercept + self.slope * logit(probs))


def fit_recalibration(labels: np.ndarray, probs: np.ndarray) -> Recalibration:
    """Fits a model's probabilities to a site by logistic regression on their logits.

    For targets, labels are drawn in from 0 and 1 by one film of the other class (Platt 1999), so
    that few films, or separated ones, give a line of finite slope. A slope below 0 is not taken:
    a model that ranks a site's films backwards is not turned round, all films get the same
    probability then.

    Args and errors as of ``brier``, and:
        InputError: where a class is missing, or all probabilities are the same.
    """
    labels, probs = _check(labels, probs)
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        raise InputError(
            f'recalibration needs films of both classes: {positives} of {len(labels)} films have '
            'an opacity; add films of the other class'
        )
    logits = logit(probs)
    if np.ptp(logits) == 0:
        raise InputError(
            f'recalibration needs films that differ: the model gives all {len(labels)} the '
            f'probability {probs[0]:.6g}; add films'
        )
    targets = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    intercept, slope = _logistic_line(logits, targets)
    if slope < 0:
        return Recalibration(intercept=float(logit(targets.mean())), slope=0.0)
    return Recalibration(intercept=intercept, slope=slope)


def logit(probs: np.ndarray) -> np.ndarray:
    """``log(p / (1 - p))``, float64, of probabilities clipped as in ``log_loss``.

    Raises:
        ValueError: on probabilities outside [0, 1].
    """
    probs = np.asarray(probs, np.float64)
    _check_range(probs)
    probs = np.clip(probs, _RESOLUTION, 1 - _RESOLUTION)
    return np.log(probs) - np.log1p(-probs)


def _logistic_line(logits, targets):
    """Intercept and slope of the least log loss, by Newton steps that never raise it."""
    # Centred and scaled, the two unknowns hardly depend on each other.
    centre, spread = logits.mean(), logits.std()
    design = np.stack([np.ones(len(logits)), (logits - centre) / spread])
    line = np.zeros(2)
    for _ in range(_NEWTON_STEPS):
        probs = _sigmoid(line @ design)
        gradient = design @ (probs - targets)
        step = np.linalg.solve((design * probs * (1 - probs)) @ design.T, gradient)
        loss = _losses(targets, line @ design).sum()
        while _losses(targets, (line - step) @ design).sum() > loss and np.any(line - step != line):
            step /= 2
        if np.all(line - step == line) or np.abs(step).max() < 1e-13:
            break
        line = line - step
    slope = line[1] / spread
    return float(line[0] - slope * centre), float(slope)


def _losses(targets, logits):
    return np.logaddexp(0, logits) - targets * logits


def _sigmoid(logits):
    return np.exp(-np.logaddexp(0, -logits))


def _bin_sums(labels, probs, draws):
    """Films, sum of probabilities, positive films in each bin, float64 [bins,D] each."""
    bins = np.searchsorted(_EDGES[1:-1], probs, 'right')
    member = (np.arange(_NUM_BINS)[:, None] == bins).astype(np.float64)
    return tuple(weighted_sums(member * values, draws) for values in (1.0, probs, labels))


def _check(labels, probs):
    labels, probs = check_films(labels, probs)
    _check_range(probs)
    return labels, probs


def _check_range(probs):
    outside = probs[~((probs >= 0) & (probs <= 1))]
    if len(outside):
        raise ValueError(f'a probability is {outside[0]}; give numbers in [0, 1]')
