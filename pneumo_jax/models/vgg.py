"""VGG networks: Simonyan and Zisserman 2014 (arXiv:1409.1556)."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from flax.core import FrozenDict

from pneumo_jax.models.conventions import OWN, Conventions
from pneumo_jax.models.layers import ConvNorm, max_pool, scaled_width

__all__ = ['VGG']


class VGG(nnx.Module):
    """Five stages of 3x3 convolutions with 2x2 max pooling between; maps at strides 4, 8, 16, 32.

    The dense layers of the original belong to the classifier: the film head pools the last map.

    Weights start as He et al. 2015 (arXiv:1502.01852) have it, as torchvision's do. The paper
    started its deep networks from a shallow trained one, and says itself, in section 3.1, that
    random weights of the right size (Glorot and Bengio 2010) make that needless.

    Args:
        stage_sizes: convolutions per stage, five numbers.
        base: channels of the first stage, doubled up to eight times as many.
        batch_norm: normalise after every convolution.
        width: multiplies all channels.
        in_channels: channels of the picture.
        conventions: epsilon is read; no convolution has a stride.
        zero_init: without effect: there are no residual branches.
        dtype: of the activations.
        rngs: source of the initial parameters.
    """

    def __init__(
        self,
        *,
        stage_sizes: tuple[int, int, int, int, int],
        base: int = 64,
        batch_norm: bool = False,
        width: float = 1.0,
        in_channels: int = 1,
        conventions: Conventions = OWN,
        zero_init: bool = True,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ):
        kwargs = {'conventions': conventions, 'dtype': dtype, 'rngs': rngs}
        base = scaled_width(base, width)
        features = in_channels
        self.stages = nnx.List([])
        for i, size in enumerate(stage_sizes):
            stage = nnx.List([])
            for _ in range(size):
                out = base * min(2**i, 8)
                stage.append(ConvNorm(features, out, 3, batch_norm=batch_norm, **kwargs))
                features = out
            self.stages.append(stage)
        self.in_channels = in_channels
        self.channels = nnx.static(
            FrozenDict({4: base * 4, 8: base * 8, 16: base * 8, 32: base * 8})
        )
        self.stage_prefixes = nnx.static(tuple((f'stages.{i}',) for i in range(len(stage_sizes))))

    def __call__(self, x) -> dict:
        """Feature maps by stride of the normalised pictures [B,S,S,in_channels]."""
        maps = {}
        for i, stage in enumerate(self.stages):
            for layer in stage:
                x = layer(x)
            # Stage i works at stride 2**i; its output before pooling is the map of that stride.
            if 2**i in self.channels:
                maps[2**i] = x
            x = max_pool(x, 2, 2)
        maps[32] = x
        return maps
