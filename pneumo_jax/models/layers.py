"""Layers that the families share."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pneumo_jax.models.conventions import OWN, Conventions

__all__ = [
    'Conv',
    'ConvNorm',
    'conv_padding',
    'he_normal',
    'max_pool',
    'scaled_width',
    'upsample_to',
]

# He et al. 2015 (arXiv:1502.01852). Fan-out keeps the size of gradients through the layers; it is
# what the public code of the ResNet papers and the PyTorch versions of all families here take.
he_normal = nnx.initializers.variance_scaling(2.0, 'fan_out', 'truncated_normal')


class Conv(nnx.Conv):
    """``nnx.Conv`` with other arithmetic on the CPU, where XLA's convolutions are weak.

    There 1x1 convolutions become matrix products, and depthwise ones sums of shifted products:
    3 to 4 times as fast in training a MobileNet, 1.2 to 1.4 times a ResNet-50 (jax 0.10). The
    choice is made at compilation, by the platform compiled for; results differ by rounding only.
    Strides are a pair; padding is what ``conv_padding`` gives.
    """

    def __call__(self, x):
        """Maps [B,H,W,in_features] to [B,H',W',out_features]."""
        if self._is_pointwise():
            fast = self._pointwise
        elif self._is_depthwise():
            fast = self._depthwise
        else:
            return super().__call__(x)
        x, kernel = jnp.astype(x, self.dtype), jnp.astype(self.kernel[...], self.dtype)
        y = jax.lax.platform_dependent(x, kernel, cpu=fast, default=self._native)
        return y if self.bias is None else y + self.bias[...].astype(y.dtype)

    def _is_pointwise(self):
        return self.kernel_size == (1, 1) and self.feature_group_count == 1

    def _is_depthwise(self):
        is_depthwise = self.feature_group_count == self.in_features == self.out_features
        # Dilated ones are XLA's: no network here has any.
        return is_depthwise and self.kernel_dilation in (1, (1, 1))

    def _native(self, x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            self.strides,
            self.padding,
            dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
            feature_group_count=self.feature_group_count,
        )

    def _pointwise(self, x, kernel):
        return x[:, :: self.strides[0], :: self.strides[1]] @ kernel[0, 0]

    def _depthwise(self, x, kernel):
        pads = self.padding
        if isinstance(pads, str):
            pads = jax.lax.padtype_to_pads(x.shape[1:3], self.kernel_size, self.strides, pads)
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        height, width = (
            (x.shape[1] - self.kernel_size[0]) // self.strides[0] + 1,
            (x.shape[2] - self.kernel_size[1]) // self.strides[1] + 1,
        )
        total = 0.0
        for i in range(self.kernel_size[0]):
            for j in range(self.kernel_size[1]):
                rows = slice(i, i + (height - 1) * self.strides[0] + 1, self.strides[0])
                columns = slice(j, j + (width - 1) * self.strides[1] + 1, self.strides[1])
                total += x[:, rows, columns] * kernel[i, j, 0]
        return total


class ConvNorm(nnx.Module):
    """Convolution, batch normalisation and activation.

    Weights start as He et al. 2015 have it, biases at zero. Statistics run with momentum 0.9.

    Args:
        in_features: input channels.
        features: output channels.
        kernel: side of the square kernel, odd.
        stride: step of the kernel in both directions.
        dilation: step between the cells that the kernel looks at.
        groups: channel groups; ``in_features`` makes the convolution depthwise.
        act: activation, or None for a linear output.
        batch_norm: False leaves the normalisation out and gives the convolution a bias.
        zero_scale: start the normalisation's scale at zero, so that a residual branch starts as
            the identity (Goyal et al. 2017, arXiv:1706.02677).
        conventions: their padding and epsilon are read.
        dtype: of the activations.
        rngs: source of the initial parameters.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        act: Callable | None = jax.nn.relu,
        batch_norm: bool = True,
        zero_scale: bool = False,
        conventions: Conventions = OWN,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        span = (kernel - 1) * dilation + 1
        self.conv = Conv(
            in_features,
            features,
            (kernel, kernel),
            strides=(stride, stride),
            padding=conv_padding(conventions.padding, span, stride, depthwise=groups > 1),
            kernel_dilation=(dilation, dilation),
            feature_group_count=groups,
            use_bias=not batch_norm,
            kernel_init=he_normal,
            dtype=dtype,
            rngs=rngs,
        )
        if batch_norm:
            scale_init = nnx.initializers.zeros if zero_scale else nnx.initializers.ones
            self.norm = nnx.BatchNorm(
                features,
                use_running_average=False,
                momentum=0.9,
                epsilon=conventions.epsilon,
                scale_init=scale_init,
                dtype=dtype,
                rngs=rngs,
            )
        else:
            self.norm = None
        self.act = act
        self.features = features

    def __call__(self, x):
        """Maps [B,H,W,in_features] to [B,ceil(H/stride),ceil(W/stride),features].

        Padding ``late`` of a depthwise convolution rounds down instead.
        """
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.act is None else self.act(x)


def conv_padding(name: str, kernel: int, stride: int, *, depthwise: bool = False):
    """The ``padding`` of ``Conv``: a string of XLA's, or pixels ((top, bottom), (left, right)).

    Args:
        name: one of ``conventions.PADDINGS``.
        kernel: side of the square kernel, odd.
        stride: 1 or 2.
        depthwise: only these are padded ``late``, other convolutions are then SAME.
    """
    half = (kernel - 1) // 2
    if name == 'symmetric' or stride == 1:
        return ((half, half),) * 2
    return ((half - 1, half),) * 2 if name == 'late' and depthwise else 'SAME'


def max_pool(x, window: int, stride: int, *, pad: int = 0):
    """Maximum over square windows of [B,H,W,C], ``pad`` cells of -infinity on every side."""
    return nnx.max_pool(
        x, (window, window), strides=(stride, stride), padding=((pad, pad), (pad, pad))
    )


def upsample_to(x, like):
    """[B,h,w,C] repeated to the height and width of ``like`` (nearest neighbour)."""
    shape = (x.shape[0], like.shape[1], like.shape[2], x.shape[3])
    return jax.image.resize(x, shape, method='nearest')


def scaled_width(channels: int, width: float, *, divisor: int = 8) -> int:
    """``channels * width`` rounded to a multiple of ``divisor``, never losing over 10 %.

    The rule of the MobileNet family (Sandler et al. 2018, arXiv:1801.04381, reference code).
    """
    scaled = max(divisor, int(channels * width + divisor / 2) // divisor * divisor)
    return scaled + divisor if scaled < 0.9 * channels * width else scaled
