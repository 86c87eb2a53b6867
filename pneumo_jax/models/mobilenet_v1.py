"""MobileNet V1: Howard et al. 2017 (arXiv:1704.04861)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from pneumo_jax.models.conventions import OWN, Conventions
from pneumo_jax.models.layers import ConvNorm
from pneumo_jax.models.mobilenet import MobileNet

__all__ = ['TINY_BLOCKS', 'V1_BLOCKS', 'MobileNetV1']

# (channels, stride) of the blocks of table 1 of the paper. Its last block has a misprinted stride
# of 2 there; the published networks have 1.
V1_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
TINY_BLOCKS = ((8, 1), (8, 2), (16, 2), (16, 2), (24, 2))

_STEM = 32


class MobileNetV1(MobileNet):
    """Depthwise-separable blocks behind a 3x3 convolution; maps at strides 4, 8, 16 and 32.

    With ReLU6, as the published networks. Weights start as He et al. 2015 (arXiv:1502.01852) have
    it, fan-out; the paper does not say.

    Args:
        blocks: rows of (channels, stride), as ``V1_BLOCKS``.
        width: the paper's width multiplier; channels are rounded down, as in the published
            networks.
        in_channels: channels of the picture.
        conventions: padding and epsilon.
        zero_init: without effect: there are no residual branches.
        dtype: of the activations.
        rngs: source of the initial parameters.
    """

    def __init__(
        self,
        *,
        blocks: tuple[tuple[int, int], ...],
        width: float = 1.0,
        in_channels: int = 1,
        conventions: Conventions = OWN,
        zero_init: bool = True,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ):
        kwargs = {'conventions': conventions, 'dtype': dtype, 'rngs': rngs}
        features = _scaled(_STEM, width)
        stem = ConvNorm(in_channels, features, 3, stride=2, act=jax.nn.relu6, **kwargs)
        built = []
        for channels, stride in blocks:
            out = _scaled(channels, width)
            built.append(SeparableBlock(features, out, stride=stride, **kwargs))
            features = out
        super().__init__(stem=stem, blocks=built, in_channels=in_channels)


class SeparableBlock(nnx.Module):
    """Filter depthwise by 3x3, then mix channels by 1x1."""

    def __init__(self, in_features, features, *, stride, **kwargs):
        kwargs |= {'act': jax.nn.relu6}
        self.depthwise = ConvNorm(
            in_features, in_features, 3, stride=stride, groups=in_features, **kwargs
        )
        self.pointwise = ConvNorm(in_features, features, 1, **kwargs)
        self.stride = stride
        self.features = features

    def __call__(self, x):
        return self.pointwise(self.depthwise(x))


def _scaled(channels, width):
    return max(1, int(channels * width))
