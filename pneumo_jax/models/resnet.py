"""Residual networks: He et al. 2015 (arXiv:1512.03385), and the seed project's small one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from flax.core import FrozenDict

from pneumo_jax.models.layers import ConvNorm, max_pool, scaled_width

__all__ = ['BasicBlock', 'BottleneckBlock', 'ResNet', 'SeedResNet']


class ResNet(nnx.Module):
    """Four stages of residual blocks behind a stem; maps at strides 4, 8, 16 and 32.

    Version 1.5: the stride of a bottleneck block stands in its 3x3 convolution.

    Args:
        stage_sizes: blocks per stage.
        block: ``BasicBlock`` or ``BottleneckBlock``.
        stem: ``classic`` is the paper's 7x7 convolution of stride 2 and 3x3 pooling of stride 2;
            ``small`` is two 3x3 convolutions of stride 2, kinder to small pictures.
        base: channels of the first stage, doubled at each further stage.
        width: multiplies all channels.
        in_channels: channels of the picture.
        dtype: of the activations.
        rngs: source of the initial parameters.
    """

    def __init__(
        self,
        *,
        stage_sizes: tuple[int, ...],
        block: type[nnx.Module],
        stem: str = 'classic',
        base: int = 64,
        width: float = 1.0,
        in_channels: int = 1,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ):
        base = scaled_width(base, width)
        kernels, strides = {'classic': ((7,), (2,)), 'small': ((3, 3), (2, 2))}[stem]
        features = in_channels
        self.stem = nnx.List([])
        for kernel, stride in zip(kernels, strides, strict=True):
            self.stem.append(
                ConvNorm(features, base, kernel, stride=stride, dtype=dtype, rngs=rngs)
            )
            features = base
        self.pool = stem == 'classic'
        self.stages = nnx.List([])
        channels = {}
        for i, size in enumerate(stage_sizes):
            blocks = nnx.List([])
            for j in range(size):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(block(features, base * 2**i, stride=stride, dtype=dtype, rngs=rngs))
                features = base * 2**i * block.expansion
            self.stages.append(blocks)
            channels[4 * 2**i] = features
        self.channels = nnx.static(FrozenDict(channels))

    def __call__(self, x) -> dict:
        """Feature maps by stride of the pictures [B,S,S,in_channels]."""
        for layer in self.stem:
            x = layer(x)
        if self.pool:
            x = max_pool(x, 3, 2, pad=1)
        maps = {}
        for stride, blocks in zip(self.channels, self.stages, strict=True):
            for block in blocks:
                x = block(x)
            maps[stride] = x
        return maps


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, in_features, features, *, stride, dtype, rngs):
        kwargs = {'dtype': dtype, 'rngs': rngs}
        self.conv1 = ConvNorm(in_features, features, 3, stride=stride, **kwargs)
        self.conv2 = ConvNorm(features, features, 3, act=None, zero_scale=True, **kwargs)
        self.shortcut = _shortcut(in_features, features, stride, **kwargs)

    def __call__(self, x):
        """Maps [B,H,W,in_features] to [B,H/stride,W/stride,features * expansion]."""
        y = self.conv2(self.conv1(x))
        return jax.nn.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class BottleneckBlock(nnx.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; four times as many channels come out."""

    expansion = 4

    def __init__(self, in_features, features, *, stride, dtype, rngs):
        kwargs = {'dtype': dtype, 'rngs': rngs}
        out = features * self.expansion
        self.conv1 = ConvNorm(in_features, features, 1, **kwargs)
        self.conv2 = ConvNorm(features, features, 3, stride=stride, **kwargs)
        self.conv3 = ConvNorm(features, out, 1, act=None, zero_scale=True, **kwargs)
        self.shortcut = _shortcut(in_features, out, stride, **kwargs)

    def __call__(self, x):
        """Maps [B,H,W,in_features] to [B,H/stride,W/stride,features * expansion]."""
        y = self.conv3(self.conv2(self.conv1(x)))
        return jax.nn.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class SeedResNet(nnx.Module):
    """The residual network of the project that inspired this one; maps at strides 2, 4, 8, 16.

    A 3x3 convolution to 32 channels, then four stages that double the channels, halve the
    resolution (normalise, 1x1 convolution, max pooling) and add two pre-activation residual
    blocks with leaky ReLU, as in the public "mask and connected components" notebooks of the
    RSNA challenge.
    """

    _BASE, _DEPTH, _BLOCKS = 32, 4, 2

    def __init__(
        self,
        *,
        width: float = 1.0,
        in_channels: int = 1,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ):
        kwargs = {'dtype': dtype, 'rngs': rngs}
        features = scaled_width(self._BASE, width)
        self.stem = nnx.Conv(in_channels, features, (3, 3), use_bias=False, **kwargs)
        self.stages = nnx.List([])
        channels = {}
        for i in range(self._DEPTH):
            stage = nnx.List([_PreActConv(features, 2 * features, 1, **kwargs)])
            features *= 2
            for _ in range(self._BLOCKS):
                stage.append(_PreActBlock(features, **kwargs))
            self.stages.append(stage)
            channels[2 ** (i + 1)] = features
        self.channels = nnx.static(FrozenDict(channels))

    def __call__(self, x) -> dict:
        """Feature maps by stride of the pictures [B,S,S,in_channels]."""
        x = self.stem(x)
        maps = {}
        for stride, (widen, *blocks) in zip(self.channels, self.stages, strict=True):
            x = max_pool(widen(x), 2, 2)
            for block in blocks:
                x = block(x)
            maps[stride] = x
        return maps


class _PreActConv(nnx.Module):
    """Normalisation, leaky ReLU, convolution."""

    def __init__(self, in_features, features, kernel, *, dtype, rngs):
        self.norm = nnx.BatchNorm(
            in_features, use_running_average=False, momentum=0.9, dtype=dtype, rngs=rngs
        )
        self.conv = nnx.Conv(
            in_features, features, (kernel, kernel), use_bias=False, dtype=dtype, rngs=rngs
        )

    def __call__(self, x):
        return self.conv(jax.nn.leaky_relu(self.norm(x)))


class _PreActBlock(nnx.Module):
    """Two 3x3 pre-activation convolutions beside the identity."""

    def __init__(self, features, *, dtype, rngs):
        self.conv1 = _PreActConv(features, features, 3, dtype=dtype, rngs=rngs)
        self.conv2 = _PreActConv(features, features, 3, dtype=dtype, rngs=rngs)

    def __call__(self, x):
        return x + self.conv2(self.conv1(x))


def _shortcut(in_features, features, stride, **kwargs):
    """A 1x1 projection where the shape changes, else None for the identity."""
    if stride == 1 and in_features == features:
        return None
    return ConvNorm(in_features, features, 1, stride=stride, act=None, **kwargs)
