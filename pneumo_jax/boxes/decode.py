"""The mask to boxes, and boxes of the model's picture to boxes of the film."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pneumo_jax.data.geometry import image_to_film

__all__ = ['mask_to_boxes', 'to_film']


def mask_to_boxes(
    mask_probs: np.ndarray,
    *,
    film_size: tuple[int, int],
    image_size: int,
    threshold: float,
    min_area: float,
    max_boxes: int = 8,
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes around a mask's connected components.

    The seed project's rule: cells above the threshold, their connected components (through sides,
    not corners), a box around each, the component's mean value as confidence. Where the seed let
    boxes end at the borders of cells, here they end inside them: a cell's value estimates the
    share that boxes cover (``targets.box_mask``), and relative to the component's highest value
    the share if there is a box at all, so a border cell of 0.3 beside 1.0, or of 0.2 beside 0.67,
    is covered to 30 %. A box at least two cells wide and high, rendered by ``box_mask``, is given
    back exactly. A box never reaches over its component grown by one cell.

    Args:
        mask_probs: float [m,m] in [0, 1].
        film_size: (height, width) of the film in pixels.
        image_size: side of the model's square picture in pixels.
        threshold: cells above it are opacity.
        min_area: components of a smaller share of the picture are left out.
        max_boxes: at most so many boxes, the most confident.

    Returns:
        Boxes float32 [n,4], (x, y, width, height) in film pixels and inside the film, and their
        confidences float32 [n], descending.

    Raises:
        ValueError: if the mask is no square, or holds values outside [0, 1].
    """
    probs = np.asarray(mask_probs, np.float64)
    _check(probs)
    components, count = ndimage.label(probs > threshold)
    boxes, scores = [], []
    for index in range(1, count + 1):
        component = components == index
        if component.mean() >= min_area:
            shares = np.minimum(probs / probs[component].max(), 1)
            top, bottom = _extent(component.T, shares.T)
            left, right = _extent(component, shares)
            boxes.append((left, top, right - left, bottom - top))
            scores.append(probs[component].mean())
    boxes = np.array(boxes).reshape(-1, 4) * (image_size / len(probs))
    boxes = to_film(boxes, film_size, image_size)
    scores = np.array(scores)
    # A component may lie in the padding of a film that is not square.
    order = np.argsort(-scores, kind='stable')
    order = order[(boxes[order, 2:] > 0).all(axis=1)][:max_boxes]
    return boxes[order].astype(np.float32), scores[order].astype(np.float32)


def to_film(boxes: np.ndarray, film_size: tuple[int, int], image_size: int) -> np.ndarray:
    """Boxes [n,4] of the square picture of ``image_size`` pixels in film pixels, cut at its border.

    What lies in the padding of a film that is not square has no width or height then.
    """
    boxes = image_to_film(boxes, np.asarray(film_size), image_size)
    start, end = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    start, end = (np.clip(corner, 0, film_size[::-1]) for corner in (start, end))
    return np.concatenate([start, end - start], axis=1)


def _extent(component, shares):
    """Where a component begins and ends along the columns, in cells.

    An edge lies in the component's last column or in the one after it, whichever is covered in
    part: both shares together say how far it reaches beyond the last column's inner border. Rows
    where a blurred mask falls short of the last column say nothing about it, so the fullest of
    the rows that reach it is taken.
    """
    columns = np.flatnonzero(component.any(axis=0))
    first, last = columns[0], columns[-1]
    padded = np.pad(shares, ((0, 0), (1, 1)))  # column j stands at j + 1
    before = (padded[:, first] + padded[:, first + 1])[component[:, first]].max()
    after = (padded[:, last + 1] + padded[:, last + 2])[component[:, last]].max()
    return first + 1 - before, last + after


def _check(probs):
    if probs.ndim != 2 or probs.shape[0] != probs.shape[1]:
        raise ValueError(f'mask_probs has shape {probs.shape}; give one square mask [m,m]')
    if not ((probs >= 0) & (probs <= 1)).all():
        raise ValueError(
            f'mask_probs hold values outside [0, 1]: {probs.min()} to {probs.max()}; '
            'give probabilities, not logits, of a model whose parameters are finite'
        )
