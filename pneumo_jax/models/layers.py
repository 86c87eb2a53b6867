"""Layers that the families share."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

__all__ = ['ConvNorm', 'max_pool', 'scaled_width', 'upsample_to']

# He et al. 2015 (arXiv:1502.01852), fan-out as in the ResNet papers' public code.
he_normal = nnx.initializers.variance_scaling(2.0, 'fan_out', 'truncated_normal')


class ConvNorm(nnx.Module):
    """Convolution, batch normalisation and activation.

    Padding is symmetric, (kernel - 1) / 2 on every side. Statistics run with momentum 0.9.

    Args:
        in_features: input channels.
        features: output channels.
        kernel: side of the square kernel, odd.
        stride: step of the kernel in both directions.
        groups: channel groups; ``in_features`` makes the convolution depthwise.
        act: activation, or None for a linear output.
        batch_norm: False leaves the normalisation out and gives the convolution a bias.
        zero_scale: start the normalisation's scale at zero, so that a residual branch starts as
            the identity (Goyal et al. 2017, arXiv:1706.02677).
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
        groups: int = 1,
        act: Callable | None = jax.nn.relu,
        batch_norm: bool = True,
        zero_scale: bool = False,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        pad = (kernel - 1) // 2
        self.conv = nnx.Conv(
            in_features,
            features,
            (kernel, kernel),
            strides=(stride, stride),
            padding=((pad, pad), (pad, pad)),
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
                epsilon=1e-5,
                scale_init=scale_init,
                dtype=dtype,
                rngs=rngs,
            )
        else:
            self.norm = None
        self.act = act

    def __call__(self, x):
        """Maps [B,H,W,in_features] to [B,ceil(H/stride),ceil(W/stride),features]."""
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.act is None else self.act(x)


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
