"""Changes that move pixels: a mirror, and one affine map for all others.

Coordinates are picture pixels, x to the right and y downward from the upper left corner; the centre
of the first pixel is at (0.5, 0.5). A map is a float32 [2,3] matrix that takes (x, y, 1) of the
film to (x, y) of its view.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

__all__ = ['draw_map', 'flip', 'move_boxes', 'moves', 'warp']


def flip(key, image, boxes):
    """The film mirrored left and right, or as it is, with equal odds.

    Args:
        key: of ``jax.random``.
        image: [S,S,C].
        boxes: float32 [N,4].
    """
    x, y, w, h = jnp.moveaxis(boxes, -1, 0)
    mirrored = jnp.stack([image.shape[1] - x - w, y, w, h], axis=-1)
    yes = jax.random.bernoulli(key)
    return jnp.where(yes, image[:, ::-1], image), jnp.where(yes, mirrored, boxes)


def moves(config) -> bool:
    """Whether a section ``augment`` asks for any map at all."""
    return any(config[name] for name in _MOVES)


def draw_map(key, config, size: int):
    """The map of one view: zoomed, sheared and turned about the centre, shifted, then cropped.

    Args:
        key: of ``jax.random``.
        config: section ``augment`` of a run's config.
        size: side of the picture in pixels.

    Returns:
        Float32 [2,3], as this module has maps.
    """
    keys = jax.random.split(key, len(_MOVES))
    steps = [
        draw(k, config[name])
        for k, (name, draw) in zip(keys, _MOVES.items(), strict=True)
        if config[name]
    ]
    matrix = functools.reduce(_then, steps)
    # The steps are in sides of the picture, from its centre.
    linear, offset = matrix[:, :2], matrix[:, 2]
    centre = size / 2
    offset = size * offset + centre - centre * linear.sum(axis=1)
    return jnp.concatenate([linear, offset[:, None]], axis=1)


def warp(image, matrix):
    """The view of a film that a map shows: sampled once, bilinearly.

    The film lies on a black plane, black being what films are padded with: its outermost pixels
    blend into black within a pixel of the border, and everything further is 0.

    Args:
        image: float32 [S,S,C].
        matrix: float32 [2,3], invertible.

    Returns:
        Float32 [S,S,C].
    """
    size = image.shape[0]
    (a, b, shift_x), (c, d, shift_y) = matrix
    y, x = jnp.meshgrid(jnp.arange(size) + 0.5, jnp.arange(size) + 0.5, indexing='ij')
    x, y = x - shift_x, y - shift_y
    determinant = a * d - b * c
    # Where each pixel of the view comes from; indices count pixel centres.
    rows = (a * y - c * x) / determinant - 0.5
    columns = (d * x - b * y) / determinant - 0.5
    sample = functools.partial(map_coordinates, order=1, mode='constant', cval=0.0)
    return jax.vmap(sample, in_axes=(2, None), out_axes=2)(image, [rows, columns])


def move_boxes(boxes, matrix):
    """Boxes where a map takes them; none holds more area than what it held before.

    The bounds of a turned box's corners would hold much that the box did not. The centre goes where
    the map takes it, and the box gets the proportions of the bounds of its inscribed ellipse's
    image, at the area that the map gives the box: |det| w h. It lies within the bounds of the
    corners, and is their very image under zooms, shifts, crops and quarter turns.

    Args:
        boxes: float32 [N,4]; what has no width or no height becomes a box of neither.
        matrix: float32 [2,3].

    Returns:
        Float32 [N,4], not clipped to the picture.
    """
    (a, b, shift_x), (c, d, shift_y) = matrix
    x, y, w, h = jnp.moveaxis(boxes, -1, 0)
    x, y = x + w / 2, y + h / 2
    x, y = a * x + b * y + shift_x, c * x + d * y + shift_y
    width, height = jnp.hypot(a * w, b * h), jnp.hypot(c * w, d * h)
    area = width * height
    shrink = jnp.sqrt(jnp.abs(a * d - b * c) * w * h / jnp.where(area > 0, area, 1))
    width, height = width * shrink, height * shrink
    return jnp.stack([x - width / 2, y - height / 2, width, height], axis=-1)


def _then(first, second):
    """The map that does one after the other."""
    # Sums, and no matrix product: a matrix unit would round it to fewer bits.
    linear, offset = second[:, :2], second[:, 2:]
    moved = (linear[:, :, None] * first[None]).sum(axis=1)
    return moved.at[:, 2:].add(offset)


def _zoom(key, strength):
    factor = jax.random.uniform(key, minval=1 - strength, maxval=1 + strength)
    return _matrix(factor, 0, 0, 0, factor, 0)


def _shear(key, strength):
    angle = jnp.deg2rad(jax.random.uniform(key, minval=-strength, maxval=strength))
    return _matrix(1, jnp.tan(angle), 0, 0, 1, 0)


def _turn(key, strength):
    angle = jnp.deg2rad(jax.random.uniform(key, minval=-strength, maxval=strength))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return _matrix(cos, -sin, 0, sin, cos, 0)


def _shift(key, strength):
    x, y = jax.random.uniform(key, (2,), minval=-strength, maxval=strength)
    return _matrix(1, 0, x, 0, 1, y)


def _crop(key, strength):
    side_key, centre_key = jax.random.split(key)
    side = jax.random.uniform(side_key, minval=1 - strength, maxval=1)
    x, y = jax.random.uniform(centre_key, (2,), minval=-0.5, maxval=0.5) * (1 - side)
    return _matrix(1 / side, 0, -x / side, 0, 1 / side, -y / side)


def _matrix(a, b, shift_x, c, d, shift_y):
    return jnp.stack([jnp.float32(x) for x in (a, b, shift_x, c, d, shift_y)]).reshape(2, 3)


# In the order in which they follow each other.
_MOVES = {'scale': _zoom, 'shear': _shear, 'rotation': _turn, 'shift': _shift, 'crop': _crop}
