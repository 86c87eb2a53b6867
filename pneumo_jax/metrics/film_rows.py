"""Rows of films: checked, put into groups, and summed."""

from __future__ import annotations

import math

import numpy as np

__all__ = ['Bins', 'check_films', 'members', 'ratio', 'zero_or_one']


def check_films(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels as bool and scores as float64, of the same length [N].

    Raises:
        ValueError: on shapes that do not fit, no films, other labels, scores that are not finite.
    """
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
    return zero_or_one(labels, 'labels'), scores


def zero_or_one(values: np.ndarray, name: str) -> np.ndarray:
    """The values as bool.

    Raises:
        ValueError: on values other than 0 and 1.
    """
    other = values[(values != 0) & (values != 1)]
    if len(other):
        raise ValueError(f'{name} hold {other[0]}; give 0 or 1')
    return values == 1


def ratio(part: float | np.ndarray, whole: float | np.ndarray) -> float | np.ndarray:
    """``part / whole``, NaN where the whole is 0; a float of numbers, float64 [D] of arrays."""
    part, whole = np.broadcast_arrays(part, whole)
    quotient = np.full(whole.shape, math.nan)
    np.divide(part, whole, out=quotient, where=whole != 0)
    return quotient if quotient.ndim else float(quotient)


def members(groups: np.ndarray, num_films: int) -> np.ndarray:
    """Who belongs to which group: bool [K,N] of a value for each film [N].

    Raises:
        ValueError: on another shape.
    """
    groups = np.asarray(groups)
    if groups.shape != (num_films,):
        raise ValueError(
            f'groups have shape {groups.shape}; give one for each of {num_films} films'
        )
    return np.unique(groups)[:, None] == groups


class Bins:
    """Films sorted once into bins, for the sums of many weights."""

    def __init__(self, rows: np.ndarray, bins: np.ndarray, num_bins: int):
        """Sorts the films.

        Args:
            rows: bool [N], the films that count.
            bins: int [N], the bin of each, from 0.
            num_bins: how many there are.
        """
        order = np.argsort(bins, kind='stable')
        self._order = order[rows[order]]
        filled = bins[self._order]
        self._starts = np.flatnonzero(np.diff(filled, prepend=-1))
        self._filled = filled[self._starts]
        self._num_bins = num_bins

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """The weight in each bin, float64 [num_bins,D] of weights float64 [N,D]."""
        sums = np.zeros((self._num_bins, weights.shape[1]))
        if len(self._starts):
            # One pass: NumPy's cumulative sums down columns take five times as long.
            sums[self._filled] = np.add.reduceat(weights[self._order], self._starts, axis=0)
        return sums
