"""Which predicted box belongs to which true one."""

from __future__ import annotations

import numpy as np

__all__ = ['greedy_match', 'iou_matrix']


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every box with every other.

    Args:
        a: float [n,4], (x, y, width, height).
        b: float [m,4], in the same unit.

    Returns:
        Float64 [n,m]; 0 where a union is empty. Boxes of whole pixels give the double nearest to
        the true ratio, so that comparing with a decimal threshold is exact.

    Raises:
        ValueError: if an input is not [n,4] or not finite.
    """
    a, b = _check_boxes(a)[:, None], _check_boxes(b)[None]
    start = np.maximum(a[..., :2], b[..., :2])
    end = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    intersection = np.maximum(end - start, 0).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def greedy_match(
    truth: np.ndarray,
    predicted: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float | np.ndarray,
    *,
    inclusive: bool = False,
) -> np.ndarray:
    """One-to-one matches: by descending confidence, each takes the best true box still free.

    Equal confidences keep their order; of equal IoUs the first true box is taken. So the match of
    a box does not depend on boxes of lower confidence.

    Args:
        truth: float [m,4], true boxes.
        predicted: float [n,4], predicted boxes in the same unit.
        scores: float [n], confidences.
        iou_threshold: a match needs a larger IoU; a scalar, or [T] for several matchings at once.
        inclusive: an IoU equal to the threshold is enough.

    Returns:
        Int [n] or [T,n]: the index of the matched true box, or -1.

    Raises:
        ValueError: on shapes that do not fit, boxes or scores that are not finite.
    """
    iou = iou_matrix(predicted, truth)
    scores = np.asarray(scores)
    if scores.shape != (len(iou),) or not np.isfinite(scores).all():
        raise ValueError(
            f'{len(iou)} predicted boxes need as many finite scores, not shape {scores.shape}: '
            f'{scores}'
        )
    thresholds = np.asarray(iou_threshold)
    matched = np.full((*thresholds.shape, len(iou)), -1)
    if iou.size == 0:
        return matched
    free = np.ones((*thresholds.shape, iou.shape[1]), bool)
    for i in np.argsort(-scores, kind='stable'):
        available = np.where(free, iou[i], -1.0)
        best, best_iou = available.argmax(axis=-1), available.max(axis=-1)
        hit = best_iou >= thresholds if inclusive else best_iou > thresholds
        matched[..., i] = np.where(hit, best, -1)
        free &= np.arange(iou.shape[1]) != matched[..., i, None]
    return matched


def _check_boxes(boxes):
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f'boxes have shape {boxes.shape}; give [n,4], for no box [0,4]')
    if not np.isfinite(boxes).all():
        raise ValueError(f'boxes are not finite: {boxes.tolist()}')
    return boxes
