"""The arrays of a network of ours, without their values."""

from __future__ import annotations

import functools

from flax import nnx, traverse_util

from pneumo_jax.models.classifier import build_classifier
from pneumo_jax.pretrained.layer import Module, Path, find_modules

__all__ = ['PREDICTIONS', 'array_shapes', 'is_statistic', 'network_modules']

# The layer whose outputs are the classes.
PREDICTIONS = ('top', 'predictions')


@functools.lru_cache(maxsize=32)
def array_shapes(name: str, width: float, in_channels: int) -> dict[Path, tuple[int, ...]]:
    """Path -> shape of all parameters and statistics of a classifier of 1000 classes.

    Args:
        name: of ``models.BACKBONES``.
        width: multiplies the channels.
        in_channels: of the input.
    """
    model = nnx.eval_shape(
        lambda: build_classifier(name, width=width, in_channels=in_channels, rngs=nnx.Rngs(0))
    )
    _, params, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    flat = traverse_util.flatten_dict(nnx.to_pure_dict(params))
    flat |= traverse_util.flatten_dict(nnx.to_pure_dict(batch_stats))
    return {path: tuple(leaf.shape) for path, leaf in flat.items()}


def network_modules(name: str) -> dict[Path, Module]:
    """The modules of a classifier, by path; they do not depend on its width."""
    return find_modules(array_shapes(name, 1.0, 3))


def is_statistic(path: Path) -> bool:
    """True for what batch normalisation counts rather than learns."""
    return path[-1] in ('mean', 'var')
