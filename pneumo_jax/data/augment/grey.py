"""Changes of grey values; boxes stay where they are."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

__all__ = ['blur', 'change_greys', 'cut_out']


def change_greys(key, image, config):
    """One film in other grey values: as if exposed, focused and recorded otherwise, then cut out.

    Args:
        key: of ``jax.random``.
        image: float32 [S,S,C] in [0, 1].
        config: section ``augment`` of a run's config.

    Returns:
        Float32 [S,S,C] in [0, 1], but for a blur's error of rounding.
    """
    level_key, gamma_key, blur_key, noise_key, cut_key = jax.random.split(key, 5)
    if config.brightness or config.contrast:
        image = _level(level_key, image, config.brightness, config.contrast)
    if config.gamma:
        image = image ** jnp.exp(_even(gamma_key, -config.gamma, config.gamma))
    if config.blur:
        deviation = _even(blur_key, 0, config.blur)
        image = blur(image, deviation, radius=math.ceil(3 * config.blur))
    if config.noise:
        image = _noise(noise_key, image, config.noise)
    if config.cutout:
        side_key, corner_key = jax.random.split(cut_key)
        side = _even(side_key, 0, config.cutout)
        corner = jax.random.uniform(corner_key, (2,)) * (1 - side)
        image = cut_out(image, *(image.shape[0] * corner), image.shape[0] * side)
    return image


def blur(image, deviation, *, radius: int):
    """A picture blurred by a Gaussian, as if its border pixels went on beyond the border.

    Args:
        image: float32 [S,S,C].
        deviation: float32, in pixels; 0 changes nothing.
        radius: static; pixels further away than that are not added.
    """
    offsets = jnp.arange(-radius, radius + 1)
    # Large enough that its square is no zero, small enough to leave no weight to neighbours.
    weights = jnp.exp(-0.5 * (offsets / jnp.maximum(deviation, 1e-3)) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        image = _blur_axis(image, weights, radius, axis)
    return image


def cut_out(image, x, y, side):
    """A picture with a square in the picture's mean grey (DeVries and Taylor, arXiv:1708.04552).

    Args:
        image: float32 [S,S,C].
        x: float32, left border of the square in pixels.
        y: float32, its upper border.
        side: float32; pixels whose centres lie inside are greyed.
    """
    centres = jnp.arange(image.shape[0]) + 0.5
    rows = (centres >= y) & (centres < y + side)
    columns = (centres >= x) & (centres < x + side)
    inside = (rows[:, None] & columns)[..., None]
    return jnp.where(inside, image.mean(axis=(0, 1)), image)


def _level(key, image, brightness, contrast):
    add_key, factor_key = jax.random.split(key)
    if contrast:
        mean = image.mean()
        image = (image - mean) * _even(factor_key, 1 - contrast, 1 + contrast) + mean
    if brightness:
        image = image + _even(add_key, -brightness, brightness)
    return jnp.clip(image, 0.0, 1.0)


def _noise(key, image, strength):
    deviation_key, pixel_key = jax.random.split(key)
    noise = _even(deviation_key, 0, strength) * jax.random.normal(pixel_key, image.shape)
    return jnp.clip(image + noise, 0.0, 1.0)


def _blur_axis(image, weights, radius, axis):
    size = image.shape[axis]
    border = [(radius, radius) if i == axis else (0, 0) for i in range(3)]
    padded = jnp.pad(image, border, mode='edge')
    return sum(
        weight * jax.lax.slice_in_dim(padded, start, start + size, axis=axis)
        for start, weight in enumerate(weights)
    )


def _even(key, smallest, largest):
    return jax.random.uniform(key, minval=smallest, maxval=largest)
