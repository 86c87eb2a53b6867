"""The detector: a head that finds the middles of boxes and tells how far their sides are."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from pneumo_jax.models.heads import DETECTOR_STRIDE, MASK_STRIDE
from pneumo_jax.models.layers import ConvNorm

__all__ = ['DetectorHead']

# Sides start as this share of the picture's, about half of what a box of RSNA measures.
_TYPICAL_SIDE = 1 / 8
_DILATIONS = (1, 2, 4)
# Of a side's logarithm, against overflow: from 0.2 % of the picture's side to 7 times as much.
_LIMIT = 4.0


class DetectorHead(nnx.Module):
    """Centre heat and distances to the sides of a box, per cell of ``DETECTOR_STRIDE`` pixels.

    In the manner of TTFNet (Liu et al. 2020, arXiv:1909.00700), one small tower for both. Opacities
    are as large as a quarter of the picture, so its dilated convolutions see 15 cells. It also
    reads the mask, which few films teach sooner than middles and sides, and does not teach it.
    """

    def __init__(self, features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        widths = (features + 1, features, features)
        self.tower = nnx.List(
            [
                ConvNorm(width, features, 3, dilation=dilation, dtype=dtype, rngs=rngs)
                for width, dilation in zip(widths, _DILATIONS, strict=True)
            ]
        )
        # Small weights and the logit of 0.01: hardly a cell is the middle of a box, and the first
        # steps would go into learning that (Lin et al. 2017, arXiv:1708.02002, section 4.1).
        kwargs = {'kernel_init': nnx.initializers.normal(0.01), 'dtype': jnp.float32, 'rngs': rngs}
        self.heat = nnx.Conv(
            features, 1, (1, 1), bias_init=nnx.initializers.constant(-4.6), **kwargs
        )
        self.sides = nnx.Conv(features, 4, (1, 1), **kwargs)

    def __call__(self, pyramid, mask_logits) -> dict:
        """The detector's maps of the pyramid's and the mask's.

        Args:
            pyramid: float [B,m,m,features], cells of 4x4 pixels.
            mask_logits: float32 [B,m,m,1], of the same cells. No gradient goes back through them.

        Returns:
            ``heat_logits`` float32 [B,h,h,1] (is the middle of a box here?) and ``box_sides``
            float32 [B,h,h,4] over 0, the distances in picture pixels from the cell's point to the
            left, top, right and bottom side of its box; h = m/2.
        """
        window = (DETECTOR_STRIDE // MASK_STRIDE,) * 2
        mask = jax.nn.sigmoid(jax.lax.stop_gradient(mask_logits)).astype(pyramid.dtype)
        x = nnx.avg_pool(jnp.concatenate([pyramid, mask], axis=-1), window, strides=window)
        for layer in self.tower:
            x = layer(x)
        start = _TYPICAL_SIDE * MASK_STRIDE * pyramid.shape[1]
        sides = start * jnp.exp(jnp.clip(self.sides(x), -_LIMIT, _LIMIT))
        return {'heat_logits': self.heat(x), 'box_sides': sides}
