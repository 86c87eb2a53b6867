"""Films blended in pairs (Zhang et al. 2017, arXiv:1710.09412)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

__all__ = ['blend', 'mixup_pairs']


def mixup_pairs(key, batch_size: int, alpha: float):
    """Which film each film of a batch is blended with, and how much of it stays.

    The partner is half a batch away: a batch's films come in random order, so that is as good as
    any other pairing.

    Args:
        key: of ``jax.random``.
        batch_size: B; a film alone in its batch is its own partner and so stays as it is.
        alpha: over 0; shares are from Beta(alpha, alpha), mirrored to at least one half, so that a
            film remains the larger part of its own blend.

    Returns:
        partner int32 [B], share float32 [B] in [0.5, 1].
    """
    partner = (jnp.arange(batch_size, dtype=jnp.int32) + batch_size // 2) % batch_size
    share = jax.random.beta(key, alpha, alpha, (batch_size,))
    return partner, jnp.maximum(share, 1 - share)


def blend(x, partner, share):
    """``share`` of each row of ``x``, the rest of its partner's row.

    Args:
        x: float [B,...].
        partner: int32 [B], rows of ``x``.
        share: float32 [B] in [0, 1].

    Returns:
        Float [B,...].
    """
    share = share.reshape(-1, *[1] * (x.ndim - 1))
    return share * x + (1 - share) * jnp.take(x, partner, axis=0)
