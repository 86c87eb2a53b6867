"""Random changes of training pictures, on the device, inside the jitted step.

Boxes move with the pixels. All functions work in picture coordinates and on float grey values
in [0, 1].
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

__all__ = ['augment']


def augment(key, images, boxes, config):
    """Another view of every film of a batch.

    Args:
        key: a key of ``jax.random``; the same key gives the same views.
        images: float32 [B,S,S,C] in [0, 1].
        boxes: float32 [B,N,4] in picture pixels.
        config: section ``augment`` of a run's config.

    Returns:
        Images and boxes of the same shapes. Boxes may reach over the picture's border.
    """
    keys = jax.random.split(key, images.shape[0])
    return jax.vmap(lambda k, i, b: _augment_film(k, i, b, config))(keys, images, boxes)


def _augment_film(key, image, boxes, config):
    flip_key, move_key, grey_key = jax.random.split(key, 3)
    if config.flip:
        image, boxes = _flip(flip_key, image, boxes)
    if config.scale or config.shift:
        image, boxes = _zoom_and_shift(
            move_key, image, boxes, scale=config.scale, shift=config.shift
        )
    if config.brightness or config.contrast:
        image = _grey(grey_key, image, brightness=config.brightness, contrast=config.contrast)
    return image, boxes


def _flip(key, image, boxes):
    size = image.shape[1]
    x, y, w, h = jnp.moveaxis(boxes, -1, 0)
    mirrored = jnp.stack([size - x - w, y, w, h], axis=-1)
    yes = jax.random.bernoulli(key)
    return jnp.where(yes, image[:, ::-1], image), jnp.where(yes, mirrored, boxes)


def _zoom_and_shift(key, image, boxes, *, scale, shift):
    """Zooms about the centre and moves; what comes in from outside is black, as padding is."""
    size = image.shape[0]
    zoom_key, shift_key = jax.random.split(key)
    zoom = jax.random.uniform(zoom_key, (), minval=1 - scale, maxval=1 + scale)
    offset = jax.random.uniform(shift_key, (2,), minval=-shift, maxval=shift) * size
    translation = (1 - zoom) * size / 2 + offset  # (down, right) in pixels
    image = jax.image.scale_and_translate(
        image,
        image.shape,
        (0, 1),
        jnp.stack([zoom, zoom]),
        translation,
        method='linear',
        antialias=False,
    )
    move = jnp.concatenate([translation[::-1], jnp.zeros(2)])
    return image, boxes * zoom + move


def _grey(key, image, *, brightness, contrast):
    add_key, factor_key = jax.random.split(key)
    add = jax.random.uniform(add_key, (), minval=-brightness, maxval=brightness)
    factor = jax.random.uniform(factor_key, (), minval=1 - contrast, maxval=1 + contrast)
    mean = image.mean()
    return jnp.clip((image - mean) * factor + mean + add, 0.0, 1.0)
