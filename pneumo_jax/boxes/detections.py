"""The detector's outputs to boxes: peaks of the heat and the sides told there, inside ``jit``."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

__all__ = ['peaks_to_boxes']


def peaks_to_boxes(
    heat_probs: jax.Array,
    box_sides: jax.Array,
    *,
    image_size: int,
    iou_threshold: float,
    voting_iou: float = 1.0,
    max_boxes: int = 8,
    num_candidates: int = 100,
) -> tuple[jax.Array, jax.Array]:
    """The boxes at the peaks of the heat, of which none overlaps a surer one by much.

    A peak is a cell that none of the eight around it exceeds (Zhou et al. 2019, arXiv:1904.07850,
    section 4). Of cells of equal heat that touch, by sides or corners, the first in reading order
    stands for all, and none where one of them touches a higher cell. The surest peaks are then
    taken one by one, each leaving out those it overlaps: the greedy non-maximum suppression of
    Neubeck and Van Gool (2006). Equal scores keep the reading order of their cells. Each box may
    then become the mean of all cells' boxes that agree with it, weighted by their heat, since one
    cell's sides are noisy: box voting (Gidaris and Komodakis 2015, arXiv:1505.01749, section 5).

    Args:
        heat_probs: float32 [B,m,m,1] in [0, 1]: is the middle of a box here?
        box_sides: float32 [B,m,m,4] >= 0, distances in picture pixels from the middle of a cell to
            the left, upper, right and lower side of its box.
        image_size: side of the square picture in pixels.
        iou_threshold: a box that overlaps a surer one by more than this IoU is left out.
        voting_iou: boxes of other cells vote that overlap it by at least this IoU; 1: none.
        max_boxes: of a film at most, the surest.
        num_candidates: so many of the surest peaks of a film are looked at.

    Returns:
        Boxes float32 [B,max_boxes,4], (x, y, width, height) in picture pixels, cut at the picture's
        border, and their scores float32 [B,max_boxes], the heat at their peaks, descending. Rows
        without a box are zero. A box without an area is none. Heat that is NaN gives scores that
        are NaN.

    Raises:
        ValueError: if the maps are not square, or do not fit each other.
    """
    shape = heat_probs.shape
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 1:
        raise ValueError(f'heat_probs has shape {shape}; give square maps [B,m,m,1]')
    if box_sides.shape != (*shape[:3], 4):
        raise ValueError(f'box_sides has shape {box_sides.shape}; give {(*shape[:3], 4)}')
    film_boxes = functools.partial(
        _film_boxes,
        image_size=image_size,
        iou_threshold=iou_threshold,
        voting_iou=voting_iou,
        max_boxes=max_boxes,
        num_candidates=num_candidates,
    )
    return jax.vmap(film_boxes)(heat_probs[..., 0], box_sides)


def _film_boxes(heat, sides, *, image_size, iou_threshold, voting_iou, max_boxes, num_candidates):
    """Boxes [max_boxes,4] and scores [max_boxes] of one film: heat [m,m], sides [m,m,4]."""
    cells = _corners(sides, image_size).reshape(-1, 4)
    has_area = (cells[:, 2:] > cells[:, :2]).all(axis=1)
    scores = jnp.where(_peaks(heat).ravel() & has_area, heat.ravel(), 0.0)
    # Of equal scores the first comes first.
    scores, index = jax.lax.top_k(scores, min(num_candidates, scores.size))
    corners, scores = _suppress(cells[index], scores, iou_threshold, max_boxes)
    if voting_iou < 1:
        corners = _voted(corners, cells, heat.ravel(), voting_iou)
    return jnp.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1), scores


def _corners(sides, image_size):
    """Left, top, right, bottom of each cell's box, cut at the picture's border: [m,m,4]."""
    size = len(sides)
    middles = (jnp.arange(size, dtype=sides.dtype) + 0.5) * (image_size / size)
    points = jnp.stack(jnp.meshgrid(middles, middles), axis=-1)
    corners = jnp.concatenate([points - sides[..., :2], points + sides[..., 2:]], axis=-1)
    return jnp.clip(corners, 0.0, image_size)


def _peaks(heat):
    """One cell of each regional maximum of [m,m]: bool [m,m]."""
    around = _around(heat, -jnp.inf)
    equal = around == heat
    number = jnp.arange(heat.size).reshape(heat.shape)

    def spread(carry):
        lowest, _ = carry
        lower = jnp.where(equal, _around(lowest, 0), heat.size).min(axis=0)
        return jnp.minimum(lowest, lower), (lower < lowest).any()

    # The lowest number of the cells of equal heat that touch, -1 if one of them is no peak.
    start = jnp.where((around > heat).any(axis=0), -1, number)
    lowest, _ = jax.lax.while_loop(lambda carry: carry[1], spread, (start, True))
    return lowest == number


def _around(cells, outside):
    """The eight cells around each of [m,n], beyond the border ``outside``: [8,m,n]."""
    rows, columns = cells.shape
    padded = jnp.pad(cells, 1, constant_values=outside)
    starts = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    return jnp.stack([padded[i : i + rows, j : j + columns] for i, j in starts])


def _suppress(corners, scores, iou_threshold, max_boxes):
    """The surest boxes left, one by one: corners [max_boxes,4] and scores [max_boxes]."""

    def take(scores, _):
        best = scores.argmax()
        overlaps = _iou(corners, corners[best]) > iou_threshold
        gone = overlaps | (jnp.arange(len(scores)) == best)
        return jnp.where(gone, 0.0, scores), (corners[best], scores[best])

    _, (corners, scores) = jax.lax.scan(take, scores, length=max_boxes)
    return jnp.where((scores > 0)[:, None], corners, 0.0), scores


def _voted(corners, cells, weights, voting_iou):
    """Corners [k,4], each the weighted mean of those [n,4] of the cells that agree with it."""

    def mean(box):
        votes = jnp.where(_iou(cells, box) >= voting_iou, weights, 0.0)
        # A row without a box has no votes, and stays zero.
        total = votes.sum()
        return (votes[:, None] * cells).sum(axis=0) / jnp.where(total > 0, total, 1.0)

    return jax.vmap(mean)(corners)


def _iou(corners, other):
    """Of [k,4] with [4]: [k]."""
    shared = jnp.minimum(corners[:, 2:], other[2:]) - jnp.maximum(corners[:, :2], other[:2])
    intersection = jnp.maximum(shared, 0.0).prod(axis=1)
    area, other_area = ((box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (corners, other))
    # Without division: of a box without an area nothing is asked.
    return jnp.where(intersection > 0, intersection / (area + other_area - intersection), 0.0)
