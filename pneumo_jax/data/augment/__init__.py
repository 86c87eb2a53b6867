"""Random changes of training pictures, on the device, inside the jitted step.

Boxes move with the pixels. All functions work in picture coordinates and on float grey values
in [0, 1].
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pneumo_jax.data.augment.geometry import draw_map, flip, move_boxes, moves, warp
from pneumo_jax.data.augment.grey import change_greys
from pneumo_jax.data.augment.mixup import blend, mixup_pairs

__all__ = ['augment', 'blend', 'mixup_pairs']


def augment(key, images, boxes, config):
    """Another view of every film of a batch.

    A film may be mirrored, is then moved by one affine map (``geometry``) and changed in its grey
    values (``grey``). What has a strength of 0 costs nothing, and without any strength the films
    are returned as they are. The draws of one change are the same whichever others are on.

    Args:
        key: a key of ``jax.random``; the same key gives the same views.
        images: float32 [B,S,S,C] in [0, 1].
        boxes: float32 [B,N,4], (x, y, width, height) in picture pixels; rows of zeros are no
            boxes, and what they become has no width and no height.
        config: section ``augment`` of a run's config. ``mixup`` is not read here.

    Returns:
        Images and boxes of the same shapes. Boxes are not clipped: they may reach over the
        picture's border, or lie wholly beyond it.
    """
    keys = jax.random.split(key, images.shape[0])
    return jax.vmap(lambda k, i, b: _augment_film(k, i, b, config))(keys, images, boxes)


def _augment_film(key, image, boxes, config):
    flip_key, map_key, grey_key = jax.random.split(key, 3)
    if config.flip:
        image, boxes = flip(flip_key, image, boxes)
    if moves(config):
        matrix = draw_map(map_key, config, image.shape[0])
        image, boxes = warp(image, matrix), move_boxes(boxes, matrix)
    image = change_greys(grey_key, image, config)
    if moves(config) or config.blur:
        # Weights of neighbours may add up to a last bit more than 1. Not clipped at once: XLA then
        # keeps the neighbours instead of their sum, and contrast takes five times as long on a CPU.
        image = jnp.clip(image, 0.0, 1.0)
    return image, boxes
