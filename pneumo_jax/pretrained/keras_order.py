"""The names that layers have in files of Keras 3, which store their class and its count only."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator

from pneumo_jax.pretrained.layer import Layer

__all__ = ['by_order']

# Layout of a kernel -> class of its layer.
_CLASSES = {
    'conv': 'conv2d',
    'dense_conv': 'conv2d',
    'depthwise': 'depthwise_conv2d',
    'dense': 'dense',
    'flat': 'dense',
}
_NORM = 'batch_normalization'


def by_order(layers: Iterable[Layer]) -> Iterator[Layer]:
    """The layers as the class and its count name them: conv2d, conv2d_1, conv2d_2 and so on.

    Args:
        layers: all layers of a network, as ``keras_names`` gives them.
    """
    counts = collections.Counter()

    def name(kind):
        counts[kind] += 1
        return f'{kind}_{counts[kind] - 1}' if counts[kind] > 1 else kind

    for layer in layers:
        yield dataclasses.replace(
            layer,
            weights=name(_CLASSES[layer.form]),
            norm=name(_NORM) if layer.norm else '',
            also=(),
        )
