"""How well two measurements of the same films agree."""

from __future__ import annotations

import math

import numpy as np

from pneumo_jax.metrics.weights import as_weights, plain

__all__ = ['rank_correlation']


def rank_correlation(
    a: np.ndarray, b: np.ndarray, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Spearman's rank correlation; equal values share the mean of their ranks.

    Args:
        a: finite numbers [N].
        b: finite numbers [N].
        weights: float [N,D], how often each film counts, or None for once each.

    Returns:
        In [-1, 1], a float or float64 [D]; NaN where either does not vary.

    Raises:
        ValueError: on no films, shapes that do not fit, weights that are negative.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f'the measurements have shapes {a.shape} and {b.shape}; give one a film')
    counts = as_weights(weights, len(a))
    films = counts.sum(axis=0)
    # The mean rank is half of all films, whatever the ties.
    ranks = [_midranks(values, counts) - films / 2 for values in (a, b)]
    products = (counts * ranks[0] * ranks[1]).sum(axis=0)
    spreads = [(counts * rank**2).sum(axis=0) for rank in ranks]
    scale = np.sqrt(spreads[0] * spreads[1])
    # Ranks are whole or half numbers: a spread is nothing or more than rounding.
    defined = scale > 1e-9 * np.maximum(films, 1) ** 2
    correlation = np.divide(products, scale, out=np.full_like(scale, math.nan), where=defined)
    return plain(np.clip(correlation, -1, 1), weights)


def _midranks(values, counts):
    """Rank of each film less one half, [N,D]: the films below, and half of its equals."""
    _, group = np.unique(values, return_inverse=True)
    sums = np.zeros((group.max() + 1, counts.shape[1]))
    np.add.at(sums, group, counts)
    return (np.cumsum(sums, axis=0) - sums / 2)[group]
