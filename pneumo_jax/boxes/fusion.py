"""The boxes of several models, or of several views of a film, to one set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pneumo_jax.boxes.match import iou_matrix

__all__ = ['fuse_boxes']


def fuse_boxes(
    boxes: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    *,
    iou_threshold: float = 0.4,
    max_boxes: int = 8,
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted box fusion (Solovyev, Wang and Gabruseva 2021, arXiv:1910.13302).

    By descending confidence, each box of any model joins the fused box that it overlaps most, if
    by more than ``iou_threshold``, and is the first of a new one otherwise. A fused box has the
    mean corners of those that joined, weighted by their confidences, at any time. In the end its
    confidence is the mean of theirs times min(T, M) / M for T boxes of M models: what few of the
    models see counts less.

    Args:
        boxes: float [n,4] of each of M models, (x, y, width, height) in one unit. A model that
            found nothing has an array of length 0, and counts.
        scores: their confidences, float [n] of each model. A box of confidence 0 is left out.
        iou_threshold: of the paper's own tests 0.55 was the best. Lower by default, for boxes of a
            film hardly ever overlap.
        max_boxes: at most so many fused boxes, the most confident.

    Returns:
        Boxes float32 [k,4] and confidences float32 [k], descending; equal ones in the order in
        which the fused boxes began.

    Raises:
        ValueError: on no models, arrays that do not fit, values that are not finite, or negative
            confidences.
    """
    pool, confidences = _pool(boxes, scores)
    clusters: list[list[int]] = []
    fused = np.zeros((0, 4))
    for i in np.argsort(-confidences, kind='stable'):
        iou = iou_matrix(fused, pool[i : i + 1])[:, 0]
        if iou.max(initial=0.0) > iou_threshold:
            cluster = int(iou.argmax())
            clusters[cluster].append(i)
            members = clusters[cluster]
            # A mean of corners is one of places and sizes.
            fused[cluster] = np.average(pool[members], axis=0, weights=confidences[members])
        else:
            clusters.append([i])
            fused = np.concatenate([fused, pool[i : i + 1]])
    shares = [min(len(members), len(boxes)) / len(boxes) for members in clusters]
    means = [confidences[members].mean() for members in clusters]
    final = np.array(means) * np.array(shares)
    order = np.argsort(-final, kind='stable')[:max_boxes]
    return fused[order].astype(np.float32), final[order].astype(np.float32)


def _pool(boxes, scores):
    """All models' boxes of some confidence, float64 [n,4], and their confidences."""
    if not len(boxes) or len(boxes) != len(scores):
        raise ValueError(
            f'boxes are of {len(boxes)} models and scores of {len(scores)}: give both of the same '
            'models, at least one'
        )
    for model_boxes, model_scores in zip(boxes, scores, strict=True):
        _check(np.asarray(model_boxes), np.asarray(model_scores))
    pool = np.concatenate(list(boxes)).astype(np.float64)
    confidences = np.concatenate(list(scores)).astype(np.float64)
    return pool[confidences > 0], confidences[confidences > 0]


def _check(boxes, scores):
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise ValueError(
            f'boxes have shape {boxes.shape} and scores {scores.shape}; give [n,4] and [n], for no '
            'box [0,4] and [0]'
        )
    if not np.isfinite(boxes).all() or not np.isfinite(scores).all() or (scores < 0).any():
        raise ValueError(
            f'boxes {boxes.tolist()} or scores {scores.tolist()} are not finite, or a score is '
            'negative; give boxes of a model whose parameters are finite'
        )
