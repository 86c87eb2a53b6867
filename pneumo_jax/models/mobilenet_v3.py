"""MobileNet V3: Howard et al. 2019 (arXiv:1905.02244)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from pneumo_jax.models.conventions import OWN, Conventions
from pneumo_jax.models.layers import Conv, ConvNorm, he_normal, scaled_width
from pneumo_jax.models.mobilenet import MobileNet

__all__ = ['LARGE_BLOCKS', 'SMALL_BLOCKS', 'TINY_BLOCKS', 'MobileNetV3']

# (kernel, expanded channels, channels, squeezed, activation, stride) of tables 1 and 2 of the
# paper; RE is ReLU and HS hard swish.
LARGE_BLOCKS = (
    (3, 16, 16, False, 'RE', 1),
    (3, 64, 24, False, 'RE', 2),
    (3, 72, 24, False, 'RE', 1),
    (5, 72, 40, True, 'RE', 2),
    (5, 120, 40, True, 'RE', 1),
    (5, 120, 40, True, 'RE', 1),
    (3, 240, 80, False, 'HS', 2),
    (3, 200, 80, False, 'HS', 1),
    (3, 184, 80, False, 'HS', 1),
    (3, 184, 80, False, 'HS', 1),
    (3, 480, 112, True, 'HS', 1),
    (3, 672, 112, True, 'HS', 1),
    (5, 672, 160, True, 'HS', 2),
    (5, 960, 160, True, 'HS', 1),
    (5, 960, 160, True, 'HS', 1),
)
SMALL_BLOCKS = (
    (3, 16, 16, True, 'RE', 2),
    (3, 72, 24, False, 'RE', 2),
    (3, 88, 24, False, 'RE', 1),
    (5, 96, 40, True, 'HS', 2),
    (5, 240, 40, True, 'HS', 1),
    (5, 240, 40, True, 'HS', 1),
    (5, 120, 48, True, 'HS', 1),
    (5, 144, 48, True, 'HS', 1),
    (5, 288, 96, True, 'HS', 2),
    (5, 576, 96, True, 'HS', 1),
    (5, 576, 96, True, 'HS', 1),
)
TINY_BLOCKS = (
    (3, 16, 8, True, 'RE', 1),
    (3, 16, 8, False, 'RE', 2),
    (5, 16, 8, True, 'RE', 2),
    (5, 24, 16, True, 'HS', 2),
    (5, 32, 16, True, 'HS', 2),
)

_ACTIVATIONS = {'RE': jax.nn.relu, 'HS': jax.nn.hard_swish}
_STEM = 16


class MobileNetV3(MobileNet):
    """Inverted residual blocks with squeezed excitation; maps at strides 4, 8, 16 and 32.

    Weights start as He et al. 2015 (arXiv:1502.01852) have it, fan-out, as torchvision's do; the
    paper does not say.

    Args:
        blocks: rows of (kernel, expanded channels, channels, squeezed, activation, stride), as
            ``LARGE_BLOCKS``.
        top_features: width of the dense layer in front of the classes, of a classifier.
        width: the width multiplier. As in the published networks the stem keeps its channels, a
            block widens its input by the table's ratio, and ``top_features`` never shrinks.
        in_channels: channels of the picture.
        conventions: padding and epsilon.
        zero_init: without effect: all scales start at one, as in the published code.
        dtype: of the activations.
        rngs: source of the initial parameters.
    """

    def __init__(
        self,
        *,
        blocks: tuple[tuple[int, int, int, bool, str, int], ...],
        top_features: int,
        width: float = 1.0,
        in_channels: int = 1,
        conventions: Conventions = OWN,
        zero_init: bool = True,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ):
        kwargs = {'conventions': conventions, 'dtype': dtype, 'rngs': rngs}
        features = unscaled = _STEM
        stem = ConvNorm(in_channels, features, 3, stride=2, act=jax.nn.hard_swish, **kwargs)
        built = []
        for kernel, expanded, channels, squeezed, activation, stride in blocks:
            out = scaled_width(channels, width)
            built.append(
                SqueezedResidual(
                    features,
                    out,
                    kernel=kernel,
                    expansion=expanded / unscaled,
                    squeezed=squeezed,
                    act=_ACTIVATIONS[activation],
                    stride=stride,
                    **kwargs,
                )
            )
            features, unscaled = out, channels
        last = ConvNorm(features, scaled_width(features, 6), 1, act=jax.nn.hard_swish, **kwargs)
        super().__init__(stem=stem, blocks=built, last=last, in_channels=in_channels)
        self.top_features = scaled_width(top_features, max(1.0, width))


class SqueezedResidual(nnx.Module):
    """Widen by 1x1, filter depthwise, weigh the channels, narrow by a linear 1x1; shortcut."""

    def __init__(
        self, in_features, features, *, kernel, expansion, squeezed, act, stride, **kwargs
    ):
        inner = scaled_width(in_features, expansion)
        self.expand = ConvNorm(in_features, inner, 1, act=act, **kwargs) if expansion > 1 else None
        self.depthwise = ConvNorm(
            inner, inner, kernel, stride=stride, groups=inner, act=act, **kwargs
        )
        self.squeeze = (
            SqueezeExcite(inner, dtype=kwargs['dtype'], rngs=kwargs['rngs']) if squeezed else None
        )
        self.project = ConvNorm(inner, features, 1, act=None, **kwargs)
        self.residual = stride == 1 and in_features == features
        self.stride = stride
        self.features = features

    def __call__(self, x):
        y = x if self.expand is None else self.expand(x)
        y = self.depthwise(y)
        if self.squeeze is not None:
            y = self.squeeze(y)
        y = self.project(y)
        return x + y if self.residual else y


class SqueezeExcite(nnx.Module):
    """Channels weighed by what their means say (Hu et al. 2017, arXiv:1709.01507)."""

    def __init__(self, features, *, dtype, rngs):
        kwargs = {'strides': (1, 1), 'kernel_init': he_normal, 'dtype': dtype, 'rngs': rngs}
        inner = scaled_width(features, 0.25)
        self.reduce = Conv(features, inner, (1, 1), **kwargs)
        self.expand = Conv(inner, features, (1, 1), **kwargs)

    def __call__(self, x):
        """[B,H,W,features], its channels multiplied by weights in [0, 1] per picture."""
        weights = jax.nn.relu(self.reduce(x.mean(axis=(1, 2), keepdims=True)))
        return x * jax.nn.hard_sigmoid(self.expand(weights))
