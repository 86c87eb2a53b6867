"""Figures of the mask, from sums per film.

A predicted cell stands for all its area; the truth is the share of it that boxes cover. So the sums
are areas of the boxes themselves, not of boxes rounded to cells, and figures of masks of different
sizes can be compared. Cells that boxes cover in part keep even the best mask a little below 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from pneumo_jax.metrics.weights import weighted_mean, weighted_ratio

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


def pixel_accuracy(
    sums: Mapping[str, np.ndarray], weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Share of all films' area where prediction and truth agree.

    Args:
        sums: of ``mask_sums``, as arrays over films.
        weights: float [N,D], how often each film counts in each of D draws, or None for once each.

    Returns:
        In [0, 1], with weights float64 [D], NaN where no film is left; read it beside
        ``background_pixel_accuracy``.

    Raises:
        ValueError: on no films, on weights that do not fit or are negative.
    """
    return weighted_ratio(sums['mask_correct'], sums['mask_pixels'], weights)


def background_pixel_accuracy(
    sums: Mapping[str, np.ndarray], weights: np.ndarray | None = None
) -> float | np.ndarray:
    """The trivial baseline: pixel accuracy of a mask without any opacity (RSNA: 97.35 %).

    Args, errors and returns as of ``pixel_accuracy``.
    """
    return 1 - weighted_ratio(sums['mask_truth'], sums['mask_pixels'], weights)


def mean_iou(
    sums: Mapping[str, np.ndarray], weights: np.ndarray | None = None
) -> float | np.ndarray:
    """Mean over films of intersection over union.

    Films with neither truth nor prediction are left out; one of both alone gives 0. So a mask
    without any opacity reaches 0.

    Args and errors as of ``pixel_accuracy``.

    Returns:
        In [0, 1], with weights float64 [D]; NaN where all films are left out.
    """
    intersection, union = _overlaps(sums)
    return weighted_mean(_share(intersection, union), weights)


def dice(sums: Mapping[str, np.ndarray], weights: np.ndarray | None = None) -> float | np.ndarray:
    """Mean over the same films of 2 intersection / (area of prediction + area of truth).

    Args, errors and returns as of ``mean_iou``.
    """
    intersection, union = _overlaps(sums)
    return weighted_mean(_share(2 * intersection, union + intersection), weights)


def _overlaps(sums):
    return (np.asarray(sums[f'mask_{name}'], np.float64) for name in ('intersection', 'union'))


def _share(part, whole):
    """NaN for films where the whole is 0."""
    return np.divide(part, whole, out=np.full_like(whole, math.nan), where=whole > 0)


def _sum(x):
    return x.sum(axis=(1, 2, 3))
