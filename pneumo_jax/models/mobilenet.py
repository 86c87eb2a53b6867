"""What the three MobileNets share: a stem, blocks of depthwise convolutions, maps by resolution."""

from __future__ import annotations

from collections.abc import Sequence

from flax import nnx
from flax.core import FrozenDict

__all__ = ['MobileNet']

_STRIDES = (2, 4, 8, 16, 32)


class MobileNet(nnx.Module):
    """Blocks behind a stem of stride 2; the last of each resolution gives the map of its stride.

    Args:
        stem: convolution of stride 2.
        blocks: modules with ``stride`` and ``features``, their output channels.
        last: what makes the map of stride 32 from that of the last block, with ``features``; None
            for the block's own.
        in_channels: channels of the picture.
    """

    def __init__(
        self,
        *,
        stem: nnx.Module,
        blocks: Sequence[nnx.Module],
        last: nnx.Module | None = None,
        in_channels: int,
    ):
        self.stem = stem
        self.blocks = nnx.List(blocks)
        self.last = last
        self.in_channels = in_channels
        strides = []
        for block in blocks:
            strides.append((strides[-1] if strides else 2) * block.stride)
        self.strides = tuple(strides)
        channels = {s: b.features for s, b in zip(strides, blocks, strict=True) if s > 2}
        if last is not None:
            channels[32] = last.features
        self.channels = nnx.static(FrozenDict(channels))
        self.stage_prefixes = nnx.static(_by_resolution(strides, has_last=last is not None))

    def __call__(self, x) -> dict:
        """Feature maps by stride of the normalised pictures [B,S,S,in_channels]."""
        x = self.stem(x)
        maps = {}
        for stride, block in zip(self.strides, self.blocks, strict=True):
            x = block(x)
            if stride in self.channels:
                maps[stride] = x
        if self.last is not None:
            maps[32] = self.last(x)
        return maps


def _by_resolution(strides, *, has_last):
    groups = {stride: [] for stride in _STRIDES}
    groups[2].append('stem')
    for i, stride in enumerate(strides):
        groups[stride].append(f'blocks.{i}')
    if has_last:
        groups[32].append('last')
    return tuple(tuple(group) for group in groups.values())
