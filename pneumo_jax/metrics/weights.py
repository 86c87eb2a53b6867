"""Means over films that count by weights.

Weights are float [N,D]: column d says how often each of N films counts in draw d. A film of weight
2 counts as two films would, one of weight 0 is not there.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = [
    'as_weights',
    'plain',
    'running_sums',
    'weighted_mean',
    'weighted_ratio',
    'weighted_sums',
]


def weighted_mean(values: np.ndarray, weights: np.ndarray | None = None) -> float | np.ndarray:
    """The mean of a value of each film.

    Args:
        values: float [N]; NaN for films that are left out.
        weights: float [N,D], or None to count each film once.

    Returns:
        A float without weights, else float64 [D]; NaN where no film is left.

    Raises:
        ValueError: on no films, on weights that do not fit or are negative.
    """
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    return weighted_ratio(np.where(known, values, 0.0), known, weights)


def weighted_ratio(
    parts: np.ndarray, wholes: np.ndarray, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """The sum of all films' parts over that of their wholes, as a share of areas or boxes is.

    Args:
        parts: finite numbers [N].
        wholes: finite numbers [N], not negative.
        weights: float [N,D], or None to count each film once.

    Returns:
        A float without weights, else float64 [D]; NaN where the wholes sum to 0.

    Raises:
        ValueError: on no films, on weights that do not fit or are negative.
    """
    counts = as_weights(weights, len(parts))
    part, whole = weighted_sums(np.asarray([parts, wholes], np.float64), counts)
    return plain(
        np.divide(part, whole, out=np.full_like(whole, math.nan), where=whole > 0), weights
    )


def weighted_sums(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sums over films of values [...,N], bool or numbers, by weights [N,D]: float64 [...,D]."""
    # Not "@": BLAS spreads so small a product over threads that wait for each other, and where
    # other processes compute too it took a hundred times as long.
    return np.einsum('...n,nd->...d', np.asarray(values, np.float64), weights)


def as_weights(weights: np.ndarray | None, num_films: int) -> np.ndarray:
    """Weights as float64 [N,D]; None gives one column of ones.

    Raises:
        ValueError: on no films, on weights that do not fit or are negative.
    """
    if not num_films:
        raise ValueError('there are no films: give at least one')
    if weights is None:
        return np.ones((num_films, 1))
    weights = np.asarray(weights, np.float64)
    if weights.ndim != 2 or len(weights) != num_films:
        raise ValueError(f'weights have shape {weights.shape}; give [{num_films},D], a row a film')
    if not weights.min(initial=0.0) >= 0:
        raise ValueError(f'a weight is {weights.min()}; give 0, 1, 2 ...')
    return weights


def plain(figure: np.ndarray, weights: np.ndarray | None) -> float | np.ndarray:
    """A figure [...,D] without its last axis, where that is only there for want of weights."""
    if weights is not None:
        return figure
    return float(figure[0]) if figure.ndim == 1 else figure[..., 0]


def running_sums(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The running sums of float64 [n,D] along the first axis, at some rows: float64 [k,D].

    Args:
        values: what is summed.
        ends: int [k], ascending: the last row of each sum.
    """
    if not len(ends):
        return values[:0]
    starts = np.concatenate([[0], ends[:-1] + 1])
    return np.cumsum(np.add.reduceat(values[: ends[-1] + 1], starts, axis=0), axis=0)
