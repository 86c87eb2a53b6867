"""MobileNet V2: Sandler et al. 2018 (arXiv:1801.04381)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from pneumo_jax.models.conventions import OWN, Conventions
from pneumo_jax.models.layers import ConvNorm, scaled_width
from pneumo_jax.models.mobilenet import MobileNet

__all__ = ['TINY_STAGES', 'V2_STAGES', 'MobileNetV2']

# (expansion, channels, blocks, stride of the first block) of table 2 of the paper.
V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
TINY_STAGES = ((1, 8, 1, 1), (2, 8, 1, 2), (2, 16, 1, 2), (2, 16, 1, 2), (2, 24, 1, 2))

_STEM, _LAST = 32, 1280


class MobileNetV2(MobileNet):
    """Inverted residual blocks behind a 3x3 convolution; maps at strides 4, 8, 16 and 32.

    Weights start as He et al. 2015 (arXiv:1502.01852) have it, fan-out, as torchvision's do; the
    paper does not say.

    Args:
        stages: rows of (expansion, channels, blocks, stride), as ``V2_STAGES``.
        width: the paper's width multiplier.
        in_channels: channels of the picture.
        conventions: padding and epsilon.
        zero_init: without effect: all scales start at one, as in the published code.
        dtype: of the activations.
        rngs: source of the initial parameters.
    """

    def __init__(
        self,
        *,
        stages: tuple[tuple[int, int, int, int], ...],
        width: float = 1.0,
        in_channels: int = 1,
        conventions: Conventions = OWN,
        zero_init: bool = True,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ):
        kwargs = {'conventions': conventions, 'dtype': dtype, 'rngs': rngs}
        features = scaled_width(_STEM, width)
        stem = ConvNorm(in_channels, features, 3, stride=2, act=jax.nn.relu6, **kwargs)
        built = []
        for expansion, channels, blocks, stride in stages:
            out = scaled_width(channels, width)
            for j in range(blocks):
                step = stride if j == 0 else 1
                built.append(
                    InvertedResidual(features, out, expansion=expansion, stride=step, **kwargs)
                )
                features = out
        # The last layer does not shrink with the width multiplier (section 6.1 of the paper).
        last = ConvNorm(
            features, scaled_width(_LAST, max(1.0, width)), 1, act=jax.nn.relu6, **kwargs
        )
        super().__init__(stem=stem, blocks=built, last=last, in_channels=in_channels)


class InvertedResidual(nnx.Module):
    """Widen by 1x1, filter depthwise by 3x3, narrow by a linear 1x1; shortcut if shapes agree."""

    def __init__(self, in_features, features, *, expansion, stride, **kwargs):
        inner = in_features * expansion
        self.expand = (
            ConvNorm(in_features, inner, 1, act=jax.nn.relu6, **kwargs) if expansion > 1 else None
        )
        self.depthwise = ConvNorm(
            inner, inner, 3, stride=stride, groups=inner, act=jax.nn.relu6, **kwargs
        )
        self.project = ConvNorm(inner, features, 1, act=None, **kwargs)
        self.residual = stride == 1 and in_features == features
        self.stride = stride
        self.features = features

    def __call__(self, x):
        y = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        return x + y if self.residual else y
