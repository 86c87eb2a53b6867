"""True boxes to the mask head's training target."""

from __future__ import annotations

import jax
import jax.numpy as jnp

__all__ = ['box_mask']


def box_mask(
    boxes: jax.Array, num_boxes: jax.Array, *, image_size: int, mask_size: int
) -> jax.Array:
    """The share of each mask cell that boxes cover.

    Exact for one box, and for several in every cell where they do not overlap or where one of them
    covers the whole cell. Elsewhere the shares are added and cut at 1, an upper bound of the
    union; two films of RSNA's table have overlapping boxes at all.

    Args:
        boxes: float32 [B,N,4], (x, y, width, height) in picture pixels, as
            ``data.geometry.film_to_image`` gives them. They may reach over the picture's border.
        num_boxes: int [B]; boxes from this index on are padding.
        image_size: side of the square picture in pixels.
        mask_size: side of the mask in cells.

    Returns:
        Float32 [B,mask_size,mask_size,1] in [0, 1].
    """
    x, y, width, height = jnp.moveaxis(boxes * (mask_size / image_size), -1, 0)
    real = jnp.arange(boxes.shape[1]) < num_boxes[:, None]
    rows = _coverage(y, height, mask_size) * real[..., None]
    columns = _coverage(x, width, mask_size)
    # A sum of products and no einsum: a matrix unit would round it to fewer bits.
    shares = (rows[:, :, :, None] * columns[:, :, None, :]).sum(axis=1)
    return jnp.minimum(shares, 1.0)[..., None]


def _coverage(start, length, mask_size):
    """The share of each cell of one axis inside [start, start + length], in cells: [B,N,m]."""
    cell = jnp.arange(mask_size)
    start, end = start[..., None], (start + length)[..., None]
    return jnp.clip(jnp.minimum(end, cell + 1) - jnp.maximum(start, cell), 0.0, 1.0)
