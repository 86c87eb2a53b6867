"""Residual networks: He et al. 2015 (arXiv:1512.03385), and the seed project's small one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from flax.core import FrozenDict

from pneumo_jax.models.conventions import OWN, Conventions
from pneumo_jax.models.layers import ConvNorm, max_pool, scaled_width

__all__ = ['BasicBlock', 'BottleneckBlock', 'ResNet', 'SeedResNet']

_STAGE_PREFIXES = (('stem',), ('stages.0',), ('stages.1',), ('stages.2',), ('stages.3',))


class ResNet(nnx.Module):
    """Four stages of residual blocks behind a stem; maps at strides 4, 8, 16 and 32.

    Weights start as He et al. 2015 (arXiv:1502.01852) have it, fan-out. Origins pad the maximum of
    the stem alike, so ``conventions.padding`` is of the convolutions only.

    Args:
        stage_sizes: blocks per stage.
        block: ``BasicBlock`` or ``BottleneckBlock``.
        stem: ``classic`` is the paper's 7x7 convolution of stride 2 and 3x3 pooling of stride 2;
            ``small`` is two 3x3 convolutions of stride 2, kinder to small pictures.
        base: channels of the first stage, doubled at each further stage.
        width: multiplies all channels.
        in_channels: channels of the picture.
        conventions: padding, epsilon, and where the stride of a bottleneck block stands.
        zero_init: the last scale of each residual branch starts at zero, so that the blocks start
            as the identity (Goyal et al. 2017, arXiv:1706.02677); else at one, as in the paper.
        dtype: of the activations.
        rngs: source of the initial parameters.
    """

    def __init__(
        self,
        *,
        stage_sizes: tuple[int, int, int, int],
        block: type[nnx.Module],
        stem: str = 'classic',
        base: int = 64,
        width: float = 1.0,
        in_channels: int = 1,
        conventions: Conventions = OWN,
        zero_init: bool = True,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ):
        kwargs = {'conventions': conventions, 'dtype': dtype, 'rngs': rngs}
        base = scaled_width(base, width)
        kernels = {'classic': (7,), 'small': (3, 3)}[stem]
        features = in_channels
        self.stem = nnx.List([])
        for kernel in kernels:
            self.stem.append(ConvNorm(features, base, kernel, stride=2, **kwargs))
            features = base
        self.pool = stem == 'classic'
        self.stages = nnx.List([])
        channels = {}
        for i, size in enumerate(stage_sizes):
            blocks = nnx.List([])
            for j in range(size):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(
                    block(features, base * 2**i, stride=stride, zero_init=zero_init, **kwargs)
                )
                features = base * 2**i * block.expansion
            self.stages.append(blocks)
            channels[4 * 2**i] = features
        self.in_channels = in_channels
        self.channels = nnx.static(FrozenDict(channels))
        self.stage_prefixes = nnx.static(_STAGE_PREFIXES)

    def __call__(self, x) -> dict:
        """Feature maps by stride of the normalised pictures [B,S,S,in_channels]."""
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

    def __init__(self, in_features, features, *, stride, zero_init, **kwargs):
        self.conv1 = ConvNorm(in_features, features, 3, stride=stride, **kwargs)
        self.conv2 = ConvNorm(features, features, 3, act=None, zero_scale=zero_init, **kwargs)
        self.shortcut = _shortcut(in_features, features, stride, **kwargs)

    def __call__(self, x):
        """Maps [B,H,W,in_features] to [B,H/stride,W/stride,features * expansion]."""
        y = self.conv2(self.conv1(x))
        return jax.nn.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class BottleneckBlock(nnx.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; four times as many channels come out.

    In version 1.5 the 3x3 convolution has the stride, in version 1, the paper's, the first 1x1.
    """

    expansion = 4

    def __init__(self, in_features, features, *, stride, zero_init, conventions, **kwargs):
        kwargs |= {'conventions': conventions}
        out = features * self.expansion
        stride1, stride2 = (stride, 1) if conventions.version == 'v1' else (1, stride)
        self.conv1 = ConvNorm(in_features, features, 1, stride=stride1, **kwargs)
        self.conv2 = ConvNorm(features, features, 3, stride=stride2, **kwargs)
        self.conv3 = ConvNorm(features, out, 1, act=None, zero_scale=zero_init, **kwargs)
        self.shortcut = _shortcut(in_features, out, stride, **kwargs)

    def __call__(self, x):
        """Maps [B,H,W,in_features] to [B,H/stride,W/stride,features * expansion]."""
        y = self.conv3(self.conv2(self.conv1(x)))
        return jax.nn.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class SeedResNet(nnx.Module):
    """The residual network of the project that inspired this one; maps at strides 4, 8, 16, 32.

    A 3x3 convolution to 32 channels, then four stages that double the channels, halve the
    resolution (normalise, 1x1 convolution, max pooling) and add two pre-activation residual
    blocks with leaky ReLU, as in the public "mask and connected components" notebooks of the
    RSNA challenge. It ends at stride 16; 2x2 maxima of that make the map of stride 32.

    Weights start as LeCun et al. 1998 (Efficient BackProp) have it, Flax's default.

    Args:
        width: multiplies all channels.
        in_channels: channels of the picture.
        conventions: epsilon is read; no convolution has a stride.
        zero_init: without effect: no branch ends in a normalisation.
        dtype: of the activations.
        rngs: source of the initial parameters.
    """

    _BASE, _DEPTH, _BLOCKS = 32, 4, 2

    def __init__(
        self,
        *,
        width: float = 1.0,
        in_channels: int = 1,
        conventions: Conventions = OWN,
        zero_init: bool = True,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ):
        kwargs = {'dtype': dtype, 'rngs': rngs}
        features = scaled_width(self._BASE, width)
        self.stem = nnx.Conv(in_channels, features, (3, 3), use_bias=False, **kwargs)
        kwargs['epsilon'] = conventions.epsilon
        self.stages = nnx.List([])
        channels = {}
        for i in range(self._DEPTH):
            stage = nnx.List([_PreActConv(features, 2 * features, 1, **kwargs)])
            features *= 2
            for _ in range(self._BLOCKS):
                stage.append(_PreActBlock(features, **kwargs))
            self.stages.append(stage)
            channels[2 ** (i + 1)] = features
        del channels[2]
        channels[32] = features
        self.in_channels = in_channels
        self.channels = nnx.static(FrozenDict(channels))
        self.stage_prefixes = nnx.static(_STAGE_PREFIXES)

    def __call__(self, x) -> dict:
        """Feature maps by stride of the normalised pictures [B,S,S,in_channels]."""
        x = self.stem(x)
        maps = {}
        for i, (widen, *blocks) in enumerate(self.stages):
            x = max_pool(widen(x), 2, 2)
            for block in blocks:
                x = block(x)
            maps[2 ** (i + 1)] = x
        maps[32] = max_pool(x, 2, 2)
        return {stride: maps[stride] for stride in self.channels}


class _PreActConv(nnx.Module):
    """Normalisation, leaky ReLU, convolution."""

    def __init__(self, in_features, features, kernel, *, epsilon, dtype, rngs):
        self.norm = nnx.BatchNorm(
            in_features,
            use_running_average=False,
            momentum=0.9,
            epsilon=epsilon,
            dtype=dtype,
            rngs=rngs,
        )
        self.conv = nnx.Conv(
            in_features, features, (kernel, kernel), use_bias=False, dtype=dtype, rngs=rngs
        )

    def __call__(self, x):
        return self.conv(jax.nn.leaky_relu(self.norm(x)))


class _PreActBlock(nnx.Module):
    """Two 3x3 pre-activation convolutions beside the identity."""

    def __init__(self, features, **kwargs):
        self.conv1 = _PreActConv(features, features, 3, **kwargs)
        self.conv2 = _PreActConv(features, features, 3, **kwargs)

    def __call__(self, x):
        return x + self.conv2(self.conv1(x))


def _shortcut(in_features, features, stride, **kwargs):
    """A 1x1 projection where the shape changes, else None for the identity."""
    if stride == 1 and in_features == features:
        return None
    return ConvNorm(in_features, features, 1, stride=stride, act=None, **kwargs)
