"""Heads that sit on any backbone's feature maps."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx

from pneumo_jax.models.layers import ConvNorm, upsample_to

__all__ = ['DETECTOR_STRIDE', 'MASK_STRIDE', 'NUM_CLASSES', 'FilmHead', 'MaskHead', 'Pyramid']

# A mask cell covers 4x4 pixels: 16 film pixels of a 1024-pixel film at 256, a 14th of the median
# box's width.
MASK_STRIDE = 4
# A cell of the detector's maps: 32 film pixels of a 1024-pixel film at 256, half the side of the
# smallest boxes.
DETECTOR_STRIDE = 8
# Of the challenge (data.example.CLASS_NAMES).
NUM_CLASSES = 3


class Pyramid(nnx.Module):
    """One map at stride ``MASK_STRIDE`` that knows the deeper ones too.

    All maps from there on are brought to one width and summed top-down, as in feature pyramids
    (Lin et al. 2016, arXiv:1612.03144), so that cells see context, on any backbone.
    """

    def __init__(self, channels: dict, *, features: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        kwargs = {'dtype': dtype, 'rngs': rngs}
        self.strides = tuple(sorted((s for s in channels if s >= MASK_STRIDE), reverse=True))
        self.laterals = nnx.List(
            [ConvNorm(channels[s], features, 1, **kwargs) for s in self.strides]
        )
        self.smooth = ConvNorm(features, features, 3, **kwargs)

    def __call__(self, maps: dict):
        """Map [B,m,m,features] of the maps {stride: [B,h,w,C]}; m is the size of stride 4."""
        top = None
        for stride, lateral in zip(self.strides, self.laterals, strict=True):
            side = lateral(maps[stride])
            top = side if top is None else side + upsample_to(top, side)
        return self.smooth(top)


class FilmHead(nnx.Module):
    """One logit a film: is there a lung opacity? And, if wanted, more questions.

    Three logits: of which class is the film? And one that weakly labelled films teach, whose label
    means something else. A dense layer each, behind dropout, on the mean of the backbone's deepest
    map and the maximum of the pyramid's. The boxes teach the pyramid to see small opacities, which
    a mean alone dilutes.
    """

    def __init__(
        self,
        deepest: int,
        features: int,
        *,
        dropout: float,
        class_head: bool,
        weak_head: bool,
        rngs: nnx.Rngs,
    ):
        self.dropout = nnx.Dropout(dropout)
        # From zero the first answer is one half for every film. Random weights on a thousand
        # features of a pretrained backbone are noise that few films do not unlearn (a frozen
        # MobileNet V2 and 160 real films: AUROC 0.66 with them, 0.71 without).
        kwargs = {'kernel_init': nnx.initializers.zeros, 'dtype': jnp.float32, 'rngs': rngs}
        self.dense = nnx.Linear(deepest + features, 1, **kwargs)
        self.classes = nnx.Linear(deepest + features, NUM_CLASSES, **kwargs) if class_head else None
        self.weak = nnx.Linear(deepest + features, 1, **kwargs) if weak_head else None

    def __call__(self, deepest, pyramid, *, rngs: nnx.Rngs | None = None) -> dict:
        """Float32 logits of maps [B,h,w,C], as ``FilmModel`` has them."""
        pooled = jnp.concatenate(
            [
                deepest.astype(jnp.float32).mean(axis=(1, 2)),
                pyramid.astype(jnp.float32).max(axis=(1, 2)),
            ],
            axis=-1,
        )
        pooled = self.dropout(pooled, rngs=rngs)
        logits = {'film_logits': self.dense(pooled)[:, 0]}
        if self.classes is not None:
            logits['class_logits'] = self.classes(pooled)
        if self.weak is not None:
            logits['weak_logits'] = self.weak(pooled)[:, 0]
        return logits


class MaskHead(nnx.Module):
    """The seed project's localizer, a 1x1 convolution: per cell, is it inside a box?"""

    def __init__(self, features: int, *, rngs: nnx.Rngs):
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

    def __call__(self, pyramid):
        """Float32 logits [B,m,m,1] of the map [B,m,m,C]."""
        return self.logits(pyramid.astype(jnp.float32))
