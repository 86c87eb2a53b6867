"""The networks: a backbone by name, with a film head and localizers on it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx

from pneumo_jax.models import heads, mobilenet_v1, mobilenet_v2, mobilenet_v3, resnet, vgg
from pneumo_jax.models.conventions import OWN, normalise
from pneumo_jax.models.detector import DetectorHead
from pneumo_jax.models.stages import NUM_STAGES, param_stages
from pneumo_jax.registry import lookup

__all__ = [
    'BACKBONES',
    'LOCALIZERS',
    'NUM_STAGES',
    'FilmModel',
    'build_backbone',
    'build_model',
    'param_stages',
]

# What boxes are made of.
LOCALIZERS = ('mask', 'detector')

# Every builder takes (width, in_channels, conventions, zero_init, dtype, rngs) by keyword and gives
# a backbone: a module with `in_channels`, `channels`, {stride: number of channels} for the strides
# 4, 8, 16 and 32, and `stage_prefixes`, five groups of paths of its parts, shallow to deep. Its
# call maps normalised pictures [B,S,S,in_channels] to {stride: map [B,S/stride,S/stride,channels]}.
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
    'resnet101': functools.partial(
        resnet.ResNet, stage_sizes=(3, 4, 23, 3), block=resnet.BottleneckBlock
    ),
    'vgg_tiny': functools.partial(vgg.VGG, stage_sizes=(1, 1, 1, 1, 1), base=8, batch_norm=True),
    'vgg16': functools.partial(vgg.VGG, stage_sizes=(2, 2, 3, 3, 3)),
    'vgg16_bn': functools.partial(vgg.VGG, stage_sizes=(2, 2, 3, 3, 3), batch_norm=True),
    'vgg19': functools.partial(vgg.VGG, stage_sizes=(2, 2, 4, 4, 4)),
    'vgg19_bn': functools.partial(vgg.VGG, stage_sizes=(2, 2, 4, 4, 4), batch_norm=True),
    'mobilenet_v1_tiny': functools.partial(
        mobilenet_v1.MobileNetV1, blocks=mobilenet_v1.TINY_BLOCKS
    ),
    'mobilenet_v1': functools.partial(mobilenet_v1.MobileNetV1, blocks=mobilenet_v1.V1_BLOCKS),
    'mobilenet_tiny': functools.partial(mobilenet_v2.MobileNetV2, stages=mobilenet_v2.TINY_STAGES),
    'mobilenet_v2': functools.partial(mobilenet_v2.MobileNetV2, stages=mobilenet_v2.V2_STAGES),
    'mobilenet_v3_tiny': functools.partial(
        mobilenet_v3.MobileNetV3, blocks=mobilenet_v3.TINY_BLOCKS, top_features=64
    ),
    'mobilenet_v3_small': functools.partial(
        mobilenet_v3.MobileNetV3, blocks=mobilenet_v3.SMALL_BLOCKS, top_features=1024
    ),
    'mobilenet_v3_large': functools.partial(
        mobilenet_v3.MobileNetV3, blocks=mobilenet_v3.LARGE_BLOCKS, top_features=1280
    ),
}


class FilmModel(nnx.Module):
    """A backbone, a pyramid on it, and heads: is there an opacity on the film, and where.

    Args:
        backbone: a module of ``BACKBONES``.
        normalisation: of the input, a name of ``conventions.NORMALISATIONS``.
        dropout: rate before the film head's dense layer.
        pyramid_channels: width of the pyramid.
        class_head: with logits of the challenge's three classes.
        weak_head: with a logit that weakly labelled films teach.
        detector: with the detector beside the mask.
        dtype: of the activations; parameters are float32.
        rngs: source of the initial parameters.
    """

    def __init__(
        self,
        backbone: nnx.Module,
        *,
        normalisation: str,
        dropout: float,
        pyramid_channels: int,
        class_head: bool,
        weak_head: bool = False,
        detector: bool = False,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        channels = backbone.channels
        self.backbone = backbone
        self.normalisation = normalisation
        self.pyramid = heads.Pyramid(channels, features=pyramid_channels, dtype=dtype, rngs=rngs)
        self.film_head = heads.FilmHead(
            channels[max(channels)],
            pyramid_channels,
            dropout=dropout,
            class_head=class_head,
            weak_head=weak_head,
            rngs=rngs,
        )
        self.mask_head = heads.MaskHead(pyramid_channels, rngs=rngs)
        self.detector = DetectorHead(pyramid_channels, dtype=dtype, rngs=rngs) if detector else None

    def __call__(self, images, *, rngs: nnx.Rngs | None = None) -> dict[str, Any]:
        """Logits of a batch of pictures.

        Args:
            images: float [B,S,S,1] or [B,S,S,3] in [0, 1]; S is a multiple of 32. One channel is
                repeated for a backbone of three.
            rngs: with a ``dropout`` stream when training, else None.

        Returns:
            ``film_logits`` float32 [B] and ``mask_logits`` float32 [B,m,m,1], m = S/4; with the
            class head ``class_logits`` float32 [B,3]; with the weak head ``weak_logits`` float32
            [B]; with the detector ``heat_logits`` float32 [B,h,h,1] and ``box_sides`` float32
            [B,h,h,4], h = S/8, as ``DetectorHead`` gives them.
        """
        maps = self.backbone(normalise(images, self.normalisation, self.backbone.in_channels))
        pyramid = self.pyramid(maps)
        films = self.film_head(maps[max(maps)], pyramid, rngs=rngs)
        outputs = films | {'mask_logits': self.mask_head(pyramid)}
        if self.detector is None:
            return outputs
        return outputs | self.detector(pyramid, outputs['mask_logits'])


def build_model(
    config, *, class_head: bool = False, weak_head: bool = False, rngs: nnx.Rngs
) -> FilmModel:
    """The model that ``config.model`` describes.

    Args:
        config: section ``model`` of a run's config (``configs/base.py`` documents the fields).
        class_head: with logits of the challenge's three classes.
        weak_head: with a logit that weakly labelled films teach.
        rngs: source of the initial parameters, stream ``params``.

    Raises:
        InputError: for a name that is not in ``BACKBONES``, or unknown conventions.
    """
    conventions = _conventions(config)
    dtype = jnp.dtype(config.dtype)
    backbone = build_backbone(
        config.name,
        width=config.width,
        in_channels=config.in_channels,
        conventions=conventions,
        zero_init=config.zero_init,
        dtype=dtype,
        rngs=rngs,
    )
    return FilmModel(
        backbone,
        normalisation=conventions.normalisation,
        dropout=config.dropout,
        pyramid_channels=config.pyramid_channels,
        class_head=class_head,
        weak_head=weak_head,
        detector=config.localizer == 'detector',
        dtype=dtype,
        rngs=rngs,
    )


def build_backbone(name: str, **options) -> nnx.Module:
    """The backbone of a name; options as the builders of ``BACKBONES`` take them.

    Raises:
        InputError: for a name that is not in ``BACKBONES``.
    """
    return lookup(BACKBONES, name, 'config.model.name')(**options)


def _conventions(config):
    given = {name: value for name, value in config.conventions.items() if value}
    return dataclasses.replace(OWN, **given)
