"""Heads that sit on any backbone's feature maps."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx

from pneumo_jax.models.layers import ConvNorm, upsample_to

__all__ = ['MASK_STRIDE', 'FilmHead', 'MaskHead']

# A mask cell covers 8x8 pixels: 32 film pixels of a 1024-pixel film at 256, a seventh of the
# median box's width.
MASK_STRIDE = 4


class FilmHead(nnx.Module):
    """One logit a film: is there a lung opacity?

    Mean pooling of the deepest map, dropout, a dense layer.
    """

    def __init__(self, channels: dict, *, dropout: float, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.stride = max(channels)
        self.dropout = nnx.Dropout(dropout)
        self.dense = nnx.Linear(channels[self.stride], 1, dtype=jnp.float32, rngs=rngs)
        self.dtype = dtype

    def __call__(self, maps: dict, *, rngs: nnx.Rngs | None = None):
        """Float32 logits [B] of the maps {stride: [B,h,w,C]}."""
        pooled = maps[self.stride].astype(jnp.float32).mean(axis=(1, 2))
        return self.dense(self.dropout(pooled, rngs=rngs))[:, 0]


class MaskHead(nnx.Module):
    """The seed project's localizer: per cell, is it inside a box?

    The seed put one 1x1 convolution on its last map. Here the maps from ``MASK_STRIDE`` to the
    deepest are first brought to one width and summed top-down (as in feature pyramids, Lin et al.
    2016, arXiv:1612.03144), so that cells see context and the head fits any backbone.
    """

    def __init__(self, channels: dict, *, features: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        kwargs = {'dtype': dtype, 'rngs': rngs}
        self.strides = tuple(sorted((s for s in channels if s >= MASK_STRIDE), reverse=True))
        self.laterals = nnx.List(
            [ConvNorm(channels[s], features, 1, **kwargs) for s in self.strides]
        )
        self.smooth = ConvNorm(features, features, 3, **kwargs)
        self.logits = nnx.Conv(
            features,
            1,
            (1, 1),
            # Few cells are inside a box: start near the base rate so that the first steps do not
            # go into learning it (Lin et al. 2017, arXiv:1708.02002, section 4.1).
            bias_init=nnx.initializers.constant(-2.0),
            dtype=jnp.float32,
            rngs=rngs,
        )

    def __call__(self, maps: dict):
        """Float32 logits [B,m,m,1] of the maps {stride: [B,h,w,C]}; m is the size of stride 8."""
        top = None
        for stride, lateral in zip(self.strides, self.laterals, strict=True):
            side = lateral(maps[stride])
            top = side if top is None else side + upsample_to(top, side)
        return self.logits(self.smooth(top).astype(jnp.float32))
