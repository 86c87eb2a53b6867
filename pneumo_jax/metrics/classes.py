"""Figures of the three classes: normal, not normal without an opacity, opacity.

Weights are as in ``metrics.classification``. Films of unknown class count nowhere here.
"""

from __future__ import annotations

import numpy as np

from pneumo_jax.data.example import CLASS_NAMES, UNKNOWN_CLASS
from pneumo_jax.metrics.film_rows import ratio, zero_or_one
from pneumo_jax.metrics.weights import as_weights

__all__ = ['balanced_accuracy', 'by_answer', 'class_confusion']

_NUM_CLASSES = len(CLASS_NAMES)


def class_confusion(
    class_ids: np.ndarray, class_probs: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Counts films by true class and by the class of the highest probability.

    Args:
        class_ids: indices into ``CLASS_NAMES`` [N], -1 where unknown.
        class_probs: finite numbers [N,3]; of equal ones the first class is the answer.
        weights: how often each film counts [N,D].

    Returns:
        Rows are the truth: int64 [3,3], or float64 [3,3,D] of weights.

    Raises:
        ValueError: on shapes that do not fit, no films, other classes, numbers that are not
            finite, weights that are negative.
    """
    class_ids = _check(class_ids)
    class_probs = np.asarray(class_probs, np.float64)
    if class_probs.shape != (len(class_ids), _NUM_CLASSES):
        raise ValueError(
            f'class_probs have shape {class_probs.shape}; give [{len(class_ids)},{_NUM_CLASSES}], '
            'a row for each film'
        )
    if not np.isfinite(class_probs).all():
        raise ValueError('class_probs must be finite')
    return _counts(class_ids, class_probs.argmax(axis=1), _NUM_CLASSES, weights)


def balanced_accuracy(counts: np.ndarray) -> float | np.ndarray:
    """Mean over the classes that have films of the share of their films answered right.

    Args:
        counts: of ``class_confusion``.

    Returns:
        In [0, 1], a float or float64 [D]; NaN without films.
    """
    films = counts.sum(axis=1)
    right = np.diagonal(counts).T
    recalls = np.divide(right, films, out=np.zeros(films.shape), where=films > 0)
    return ratio(recalls.sum(axis=0), (films > 0).sum(axis=0))


def by_answer(
    class_ids: np.ndarray, called: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Counts films by true class and by the film's answer: which negatives are called positive?

    Args:
        class_ids: indices into ``CLASS_NAMES`` [N], -1 where unknown.
        called: 0 or 1 [N], or bool: ``probs >= threshold``.
        weights: how often each film counts [N,D].

    Returns:
        Rows are the truth, columns called negative and called positive: int64 [3,2], or float64
        [3,2,D] of weights.

    Raises:
        ValueError: on shapes that do not fit, no films, other classes or answers, weights that
            are negative.
    """
    class_ids, called = _check(class_ids), np.asarray(called)
    if called.shape != class_ids.shape:
        raise ValueError(
            f'class_ids have shape {class_ids.shape} and called {called.shape}; give one of each a '
            'film'
        )
    return _counts(class_ids, zero_or_one(called, 'called'), 2, weights)


def _counts(class_ids, answers, num_answers, weights):
    """Films of each true class [3] by answer, int64 [3,K] or float64 [3,K,D]."""
    draws = as_weights(weights, len(class_ids))
    counts = np.array(
        [
            [draws[(class_ids == truth) & (answers == k)].sum(axis=0) for k in range(num_answers)]
            for truth in range(_NUM_CLASSES)
        ]
    )
    return counts[..., 0].astype(np.int64) if weights is None else counts


def _check(class_ids):
    class_ids = np.asarray(class_ids)
    if class_ids.ndim != 1 or not len(class_ids):
        raise ValueError(f'class_ids have shape {class_ids.shape}; give one for each film, [N]')
    other = class_ids[~np.isin(class_ids, (UNKNOWN_CLASS, *range(_NUM_CLASSES)))]
    if len(other):
        raise ValueError(
            f'class_ids hold {other[0]}; give 0 to {_NUM_CLASSES - 1}, or {UNKNOWN_CLASS}'
        )
    return class_ids
