"""True boxes to the detector's training targets: where their middles and their sides are."""

from __future__ import annotations

import jax
import jax.numpy as jnp

__all__ = ['detector_targets']

# The part of a box about its middle, in width and in height, whose cells learn its sides. Of
# TTFNet (Liu et al. 2020, arXiv:1909.00700, alpha and beta of section 3).
_CORE = 0.54


def detector_targets(
    boxes: jax.Array, num_boxes: jax.Array, *, image_size: int, map_size: int
) -> dict[str, jax.Array]:
    """What the detector's maps should be, as TTFNet has it (Liu et al. 2020, arXiv:1909.00700).

    A box is an elliptic Gaussian about the cell that holds its middle. Of a box that reaches over
    the picture's border only the visible part counts, as if it were the box; a box that shows
    nothing counts nothing. Where the cores of boxes overlap, cells learn the sides of the smallest.
    A box between the points of cells, narrower or lower than a cell, has heat and no sides.

    Args:
        boxes: float32 [B,N,4], (x, y, width, height) in picture pixels, as
            ``data.geometry.film_to_image`` gives them.
        num_boxes: int [B]; boxes from this index on are padding and may hold anything.
        image_size: side of the square picture in pixels.
        map_size: side of the maps in cells, m. Cell (i, j) stands for its middle point.

    Returns:
        ``heat`` float32 [B,m,m,1] in [0, 1], the highest of the Gaussians, exactly 1 at the cells
        of the boxes' middles and only there; ``sides`` float32 [B,m,m,4], the distances in picture
        pixels from a cell's point to the left, top, right and bottom side of its box, 0 where it
        has none; ``sides_weight`` float32 [B,m,m,1] in [0, 1], that box's Gaussian, 0 where a cell
        has no box.
    """
    stride = image_size / map_size
    corners = _visible(boxes, num_boxes, image_size)
    size = corners[..., 2:] - corners[..., :2]
    is_seen = (size > 0).all(axis=-1)[..., None, None]

    columns, core_columns = _profile(corners[..., 0], corners[..., 2], stride, map_size)
    rows, core_rows = _profile(corners[..., 1], corners[..., 3], stride, map_size)
    gaussians = jnp.where(is_seen, rows[..., :, None] * columns[..., None, :], 0.0)
    cores = jnp.where(core_rows[..., :, None] & core_columns[..., None, :], gaussians, 0.0)

    areas = jnp.where(cores > 0, size.prod(axis=-1)[..., None, None], jnp.inf)
    owner = areas.argmin(axis=1, keepdims=True)
    weight = jnp.take_along_axis(cores, owner, axis=1)[:, 0, ..., None]
    return {
        'heat': gaussians.max(axis=1)[..., None],
        'sides': jnp.where(weight > 0, _sides(corners, owner[:, 0], stride), 0.0),
        'sides_weight': weight,
    }


def _visible(boxes, num_boxes, image_size):
    """(left, top, right, bottom) of what the picture shows of boxes, [B,N,4]; zeros for padding."""
    real = jnp.arange(boxes.shape[1]) < num_boxes[:, None]
    start, end = boxes[..., :2], boxes[..., :2] + boxes[..., 2:]
    corners = jnp.clip(jnp.concatenate([start, end], axis=-1), 0.0, image_size)
    return jnp.where(real[..., None], corners, 0.0)


def _profile(start, end, stride, map_size):
    """The Gaussians of boxes along one axis, and which cells are in their cores: [B,N,m] each."""
    start, end = start[..., None], end[..., None]
    cell = jnp.arange(map_size)
    # A middle on the picture's far border belongs to the last cell.
    middle = jnp.minimum(jnp.floor((start + end) / (2 * stride)), map_size - 1)
    distance = jnp.abs(cell - middle)
    radius = _CORE * (end - start) / (2 * stride)
    # TTFNet's, without its rounding to whole cells: the core ends at three sigmas, and a core of no
    # width still has the middle's cell.
    sigma = (2 * radius + 1) / 6
    point = (cell + 0.5) * stride
    is_core = (distance <= 3 * sigma) & (start < point) & (point < end)
    return jnp.exp(-0.5 * (distance / sigma) ** 2), is_core


def _sides(corners, owner, stride):
    """Distances from the cells' points to the sides of their boxes, owner [B,m,m] -> [B,m,m,4]."""
    batch, height, width = owner.shape
    cells = jnp.take_along_axis(corners, owner.reshape(batch, -1, 1), axis=1)
    cells = cells.reshape(batch, height, width, 4)
    rows, columns = jnp.indices((height, width))
    points = (jnp.stack([columns, rows], axis=-1) + 0.5) * stride
    return jnp.concatenate([points - cells[..., :2], cells[..., 2:] - points], axis=-1)
