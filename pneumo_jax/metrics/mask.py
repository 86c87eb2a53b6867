"""Figures of the mask, from sums per film.

A predicted cell stands for all its area; the truth is the share of it that boxes cover. So the sums
are areas of the boxes themselves, not of boxes rounded to cells, and figures of masks of different
sizes can be compared. Cells that boxes cover in part keep even the best mask a little below 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

__all__ = ['background_pixel_accuracy', 'dice', 'mask_sums', 'mean_iou', 'pixel_accuracy']


def mask_sums(probs, target, threshold: float) -> dict:
    """Areas per film, in mask cells. Takes NumPy and JAX arrays alike, inside ``jit`` or outside.

    Args:
        probs: float32 [B,m,m,1], predicted probabilities.
        target: float32 [B,m,m,1], the share of each cell inside boxes (``targets.box_mask``).
        threshold: cells above it are opacity, as in ``decode.mask_to_boxes``.

    Returns:
        Float32 [B] each: ``mask_intersection`` and ``mask_union`` of prediction and truth,
        ``mask_truth``, ``mask_correct`` (where both agree, background included) and
        ``mask_pixels`` (of the whole picture, with the padding of a film that is not square).
    """
    xp = target.__array_namespace__()
    predicted = (probs > threshold).astype(target.dtype)
    truth = _sum(target)
    intersection = _sum(predicted * target)
    union = _sum(predicted) + truth - intersection
    pixels = xp.full_like(truth, math.prod(target.shape[1:]))
    return {
        'mask_intersection': intersection,
        'mask_union': union,
        'mask_truth': truth,
        'mask_correct': pixels - (union - intersection),
        'mask_pixels': pixels,
    }


def pixel_accuracy(sums: Mapping[str, np.ndarray]) -> float:
    """Share of all films' area where prediction and truth agree.

    Args:
        sums: of ``mask_sums``, as arrays over films.

    Returns:
        In [0, 1]; read it beside ``background_pixel_accuracy``.

    Raises:
        ValueError: if there are no films.
    """
    return _total(sums, 'mask_correct') / _total(sums, 'mask_pixels')


def background_pixel_accuracy(sums: Mapping[str, np.ndarray]) -> float:
    """The trivial baseline: pixel accuracy of a mask without any opacity (RSNA: 97.35 %).

    Args and errors as of ``pixel_accuracy``.
    """
    return 1 - _total(sums, 'mask_truth') / _total(sums, 'mask_pixels')


def mean_iou(sums: Mapping[str, np.ndarray]) -> float:
    """Mean over films of intersection over union.

    Films with neither truth nor prediction are left out; one of both alone gives 0. So a mask
    without any opacity reaches 0.

    Args and errors as of ``pixel_accuracy``.

    Returns:
        In [0, 1]; NaN where all films are left out.
    """
    intersection, union = _overlaps(sums)
    return float(np.mean(intersection / union)) if len(union) else math.nan


def dice(sums: Mapping[str, np.ndarray]) -> float:
    """Mean over the same films of 2 intersection / (area of prediction + area of truth).

    Args, errors and returns as of ``mean_iou``.
    """
    intersection, union = _overlaps(sums)
    return float(np.mean(2 * intersection / (union + intersection))) if len(union) else math.nan


def _overlaps(sums):
    """Intersections and unions of the films that have truth or prediction."""
    _check(sums)
    union = np.asarray(sums['mask_union'], np.float64)
    some = union > 0
    return np.asarray(sums['mask_intersection'], np.float64)[some], union[some]


def _total(sums, name):
    _check(sums)
    return float(np.sum(sums[name], dtype=np.float64))


def _check(sums):
    if not len(sums['mask_pixels']):
        raise ValueError('there are no films: give sums of at least one')


def _sum(x):
    return x.sum(axis=(1, 2, 3))
