"""The networks: a backbone by name, with a film head and a mask head on it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx

from pneumo_jax.errors import InputError
from pneumo_jax.models import heads, mobilenet, resnet, vgg

__all__ = ['BACKBONES', 'FilmModel', 'build_model']

# Every builder takes (width, in_channels, dtype, rngs) by keyword and gives a backbone: a module
# with `channels`, {stride: number of channels}, whose call maps a float picture [B,S,S,in_channels]
# to {stride: feature map [B,S/stride,S/stride,channels[stride]]}.
BACKBONES: dict[str, Callable[..., nnx.Module]] = {
    'resnet_tiny': functools.partial(
        resnet.ResNet, stage_sizes=(1, 1, 1, 1), block=resnet.BasicBlock, stem='small', base=8
    ),
    'resnet_small': functools.partial(
        resnet.ResNet, stage_sizes=(1, 1, 1, 1), block=resnet.BasicBlock, stem='small', base=24
    ),
    'resnet_seed': resnet.SeedResNet,
    'resnet18': functools.partial(resnet.ResNet, stage_sizes=(2, 2, 2, 2), block=resnet.BasicBlock),
    'resnet34': functools.partial(resnet.ResNet, stage_sizes=(3, 4, 6, 3), block=resnet.BasicBlock),
    'resnet50': functools.partial(
        resnet.ResNet, stage_sizes=(3, 4, 6, 3), block=resnet.BottleneckBlock
    ),
    'vgg_tiny': functools.partial(vgg.VGG, stage_sizes=(1, 1, 1, 1, 1), base=8, batch_norm=True),
    'vgg16': functools.partial(vgg.VGG, stage_sizes=(2, 2, 3, 3, 3)),
    'vgg16_bn': functools.partial(vgg.VGG, stage_sizes=(2, 2, 3, 3, 3), batch_norm=True),
    'vgg19': functools.partial(vgg.VGG, stage_sizes=(2, 2, 4, 4, 4)),
    'vgg19_bn': functools.partial(vgg.VGG, stage_sizes=(2, 2, 4, 4, 4), batch_norm=True),
    'mobilenet_tiny': functools.partial(mobilenet.MobileNetV2, stages=mobilenet.TINY_STAGES),
    'mobilenet_v2': functools.partial(mobilenet.MobileNetV2, stages=mobilenet.V2_STAGES),
}


class FilmModel(nnx.Module):
    """A backbone, a pyramid on it, and two heads: is there an opacity on the film, and where.

    Args:
        backbone: a module of ``BACKBONES``.
        dropout: rate before the film head's dense layer.
        pyramid_channels: width of the pyramid.
        dtype: of the activations; parameters are float32.
        rngs: source of the initial parameters.
    """

    def __init__(
        self,
        backbone: nnx.Module,
        *,
        dropout: float,
        pyramid_channels: int,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        channels = backbone.channels
        self.backbone = backbone
        self.pyramid = heads.Pyramid(channels, features=pyramid_channels, dtype=dtype, rngs=rngs)
        self.film_head = heads.FilmHead(
            channels[max(channels)], pyramid_channels, dropout=dropout, rngs=rngs
        )
        self.mask_head = heads.MaskHead(pyramid_channels, rngs=rngs)

    def __call__(self, images, *, rngs: nnx.Rngs | None = None) -> dict[str, Any]:
        """Logits of a batch of pictures.

        Args:
            images: float [B,S,S,in_channels], standardised; S is a multiple of 32.
            rngs: with a ``dropout`` stream when training, else None.

        Returns:
            ``film_logits`` float32 [B] and ``mask_logits`` float32 [B,m,m,1], m = S/4.
        """
        maps = self.backbone(images)
        pyramid = self.pyramid(maps)
        return {
            'film_logits': self.film_head(maps[max(maps)], pyramid, rngs=rngs),
            'mask_logits': self.mask_head(pyramid),
        }


def build_model(config, *, rngs: nnx.Rngs) -> FilmModel:
    """The model that ``config.model`` describes.

    Args:
        config: section ``model`` of a run's config (``configs/base.py`` documents the fields).
        rngs: source of the initial parameters, stream ``params``.

    Raises:
        InputError: for a name that is not in ``BACKBONES``.
    """
    if config.name not in BACKBONES:
        raise InputError(
            f'config.model.name={config.name!r} is unknown; choose one of {", ".join(BACKBONES)}'
        )
    dtype = jnp.dtype(config.dtype)
    backbone = BACKBONES[config.name](
        width=config.width, in_channels=config.in_channels, dtype=dtype, rngs=rngs
    )
    return FilmModel(
        backbone,
        dropout=config.dropout,
        pyramid_channels=config.pyramid_channels,
        dtype=dtype,
        rngs=rngs,
    )
