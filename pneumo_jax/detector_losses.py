"""Losses of the detector's maps, one value per film."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pneumo_jax.models.layers import max_pool

__all__ = ['giou_loss', 'heat_loss']


def heat_loss(logits: jax.Array, heat: jax.Array) -> jax.Array:
    """The penalty-reduced focal loss of CornerNet and CenterNet, alpha 2 and beta 4.

    Law and Deng 2018, arXiv:1808.01244; Zhou et al. 2019, arXiv:1904.07850. Middles of boxes are
    positives. All other cells are negatives, the less so the closer they are to a middle.

    Of mixed films the heat is mixed too, and a middle is as high as its film's share. So middles
    are known as the local maxima of the heat (among 3x3 cells), and one of height v costs v of a
    positive and 1 - v of a negative, and counts v. Of unmixed heat, where all are 1 high, this is
    the published loss; of films whose boxes are far apart it is the mixture of their losses, but
    for the common divisor and the lenience around middles.

    Args:
        logits: float32 [B,m,m,1].
        heat: float32 [B,m,m,1] in [0, 1], of ``boxes.detector_targets`` or a mixture of such.

    Returns:
        Float32 [B], the sum over a film's cells divided by the number of its middles, if over 1.
    """
    # Not equality: a compiler may compute the mixture twice, once for either side of it, and round
    # differently. Even a box as large as a picture of 1024 pixels falls off faster than this.
    is_middle = heat > 0.9999 * max_pool(heat, 3, 1, pad=1)
    middles = jnp.where(is_middle, heat, 0.0)
    prob, other = jax.nn.sigmoid(logits), jax.nn.sigmoid(-logits)
    miss, false_alarm = (
        other**2 * jax.nn.softplus(-logits),
        prob**2 * jax.nn.softplus(logits),
    )
    penalty = jnp.where(middles > 0, 1 - middles, (1 - heat) ** 4)
    return _sum(middles * miss + penalty * false_alarm) / jnp.maximum(_sum(middles), 1.0)


def giou_loss(sides_pred: jax.Array, sides_true: jax.Array, weight: jax.Array) -> jax.Array:
    """1 - generalised IoU of boxes (Rezatofighi et al. 2019, arXiv:1902.09630), from 0 to 2.

    Args:
        sides_pred: float32 [B,m,m,4], at least 0: distances from a cell's point to the left, top,
            right and bottom side of its box.
        sides_true: float32 [B,m,m,4], likewise, of positive area where ``weight`` is over 0.
        weight: float32 [B,m,m,1], at least 0.

    Returns:
        Float32 [B], the weighted mean over a film's cells; 0 for a film without weight.
    """
    # Both boxes hold the cell's point, so the nearer of two sides bounds what they share, and the
    # farther one what holds both.
    shared = _area(jnp.minimum(sides_pred, sides_true))
    hull = _area(jnp.maximum(sides_pred, sides_true))
    union = _area(sides_pred) + _area(sides_true) - shared
    giou = _ratio(shared, union) - _ratio(hull - union, hull)
    return _ratio(_sum(weight * (1 - giou)), _sum(weight))


def _area(sides):
    left, top, right, bottom = jnp.split(sides, 4, axis=-1)
    return (left + right) * (top + bottom)


def _ratio(part, whole):
    """0 where there is no whole, with gradients of 0."""
    exists = whole > 0
    return jnp.where(exists, part, 0.0) / jnp.where(exists, whole, 1.0)


def _sum(x):
    return x.sum(axis=(1, 2, 3))
