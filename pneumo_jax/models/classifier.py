"""The networks as they were published: a backbone with dense layers on it, for ImageNet's classes.

It holds and checks pretrained weights; films go through ``FilmModel``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from pneumo_jax.errors import InputError
from pneumo_jax.models import build_backbone
from pneumo_jax.models.conventions import OWN, Conventions, normalise
from pneumo_jax.models.mobilenet_v3 import MobileNetV3
from pneumo_jax.models.vgg import VGG

__all__ = ['Classifier', 'build_classifier']

# A VGG's dense layers take a map of this many cells, of 224 px pictures.
_VGG_MAP = (7, 7)
_VGG_HIDDEN = 4096


class Classifier(nnx.Module):
    """A backbone and the dense layers that its family has on it.

    Args:
        backbone: a module of ``BACKBONES``.
        top: maps the float32 map of stride 32 to logits.
        normalisation: of the input, a name of ``conventions.NORMALISATIONS``.
    """

    def __init__(self, backbone: nnx.Module, top: nnx.Module, *, normalisation: str):
        self.backbone = backbone
        self.top = top
        self.normalisation = normalisation

    def __call__(self, images):
        """Float32 logits [B,num_classes] of pictures [B,S,S,1] or RGB [B,S,S,3] in [0, 1].

        Raises:
            InputError: for a VGG and pictures of another size than 224 px.
        """
        maps = self.backbone(normalise(images, self.normalisation, self.backbone.in_channels))
        return self.top(maps[32].astype(jnp.float32))


def build_classifier(
    name: str,
    *,
    num_classes: int = 1000,
    width: float = 1.0,
    in_channels: int = 3,
    conventions: Conventions = OWN,
    dtype: str = 'float32',
    rngs: nnx.Rngs,
) -> Classifier:
    """A published network.

    Args:
        name: of ``BACKBONES``.
        num_classes: number of logits.
        width: multiplies the channels.
        in_channels: of the network's input, 1 or 3.
        conventions: how it is computed.
        dtype: of the backbone's activations.
        rngs: source of the initial parameters.

    Raises:
        InputError: for an unknown name.
    """
    backbone = build_backbone(
        name,
        width=width,
        in_channels=in_channels,
        conventions=conventions,
        dtype=jnp.dtype(dtype),
        rngs=rngs,
    )
    top = _TOPS.get(type(backbone), PooledTop)(backbone, num_classes, rngs=rngs)
    return Classifier(backbone, top, normalisation=conventions.normalisation)


class PooledTop(nnx.Module):
    """A dense layer on the mean of the map: ResNets, MobileNet V1 and V2."""

    def __init__(self, backbone, num_classes, *, rngs):
        self.predictions = nnx.Linear(backbone.channels[32], num_classes, rngs=rngs)

    def __call__(self, x):
        return self.predictions(x.mean(axis=(1, 2)))


class HiddenTop(nnx.Module):
    """Two dense layers on the mean of the map: MobileNet V3."""

    def __init__(self, backbone, num_classes, *, rngs):
        self.hidden = nnx.Linear(backbone.channels[32], backbone.top_features, rngs=rngs)
        self.predictions = nnx.Linear(backbone.top_features, num_classes, rngs=rngs)

    def __call__(self, x):
        return self.predictions(jax.nn.hard_swish(self.hidden(x.mean(axis=(1, 2)))))


class FlatTop(nnx.Module):
    """Three dense layers on all cells of the map, row by row: VGG."""

    def __init__(self, backbone, num_classes, *, rngs):
        height, width = _VGG_MAP
        flat = height * width * backbone.channels[32]
        self.hidden1 = nnx.Linear(flat, _VGG_HIDDEN, rngs=rngs)
        self.hidden2 = nnx.Linear(_VGG_HIDDEN, _VGG_HIDDEN, rngs=rngs)
        self.predictions = nnx.Linear(_VGG_HIDDEN, num_classes, rngs=rngs)

    def __call__(self, x):
        if x.shape[1:3] != _VGG_MAP:
            raise InputError(
                f'the dense layers of a VGG take a map of 7 x 7 cells, not {x.shape[1]} x '
                f'{x.shape[2]}: give pictures of 224 px'
            )
        x = jax.nn.relu(self.hidden1(x.reshape(x.shape[0], -1)))
        return self.predictions(jax.nn.relu(self.hidden2(x)))


_TOPS = {VGG: FlatTop, MobileNetV3: HiddenTop}
