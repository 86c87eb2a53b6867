"""The names of layers in the state dicts of torchvision and timm, by family."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from pneumo_jax.pretrained.layer import Layer, Module, Path, blocks_of, stages_of

__all__ = [
    'resnet',
    'timm_mobilenet',
    'timm_vgg',
    'torchvision_mobilenet_v2',
    'torchvision_mobilenet_v3',
    'torchvision_vgg',
]

_STEM, _LAST = ('backbone', 'stem'), ('backbone', 'last')
_HIDDEN, _PREDICTIONS = ('top', 'hidden'), ('top', 'predictions')
# timm numbers blocks within groups; number of blocks -> sizes of the groups.
_TIMM_GROUPS = {
    # MobileNet V1.
    13: (1, 2, 2, 6, 2),
    # MobileNet V2.
    17: (1, 2, 3, 4, 3, 3, 1),
    # MobileNet V3 large.
    15: (1, 2, 3, 4, 2, 3),
    # MobileNet V3 small.
    11: (1, 2, 3, 2, 3),
}


def resnet(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """conv1, layer1.0.conv1 to layer4.2.conv3, fc: torchvision and timm alike."""
    yield Layer((*_STEM, 0), 'conv1', 'bn1')
    for i, j, path in stages_of(modules):
        block = f'layer{i + 1}.{j}'
        for k in (1, 2, 3):
            yield Layer((*path, f'conv{k}'), f'{block}.conv{k}', f'{block}.bn{k}')
        yield Layer((*path, 'shortcut'), f'{block}.downsample.0', f'{block}.downsample.1')
    yield Layer(_PREDICTIONS, 'fc', form='dense')


def torchvision_vgg(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """features.0 and on, pooling and activations counted; classifier.0, .3 and .6."""
    yield from _vgg_features(modules)
    yield Layer(('top', 'hidden1'), 'classifier.0', form='flat')
    yield Layer(('top', 'hidden2'), 'classifier.3', form='dense')
    yield Layer(_PREDICTIONS, 'classifier.6', form='dense')


def timm_vgg(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """As torchvision; the dense layers are the convolutions pre_logits.fc1, fc2, and head.fc."""
    yield from _vgg_features(modules)
    yield Layer(('top', 'hidden1'), 'pre_logits.fc1', form='flat_conv')
    yield Layer(('top', 'hidden2'), 'pre_logits.fc2', form='dense_conv')
    yield Layer(_PREDICTIONS, 'head.fc', form='dense')


def torchvision_mobilenet_v2(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """features.0.0, features.1.conv.0.0 to features.17.conv.2, features.18.0, classifier.1."""
    yield Layer(_STEM, 'features.0.0', 'features.0.1')
    for i, path in blocks_of(modules):
        block, count = f'features.{i + 1}.conv', itertools.count()
        for part in ('expand', 'depthwise'):
            if (*path, part) in modules:
                k = next(count)
                yield Layer((*path, part), f'{block}.{k}.0', f'{block}.{k}.1')
        # No activation follows, so that the pair does not stand in a list of its own.
        yield Layer((*path, 'project'), f'{block}.{next(count)}', f'{block}.{next(count)}')
    last = f'features.{i + 2}'
    yield Layer(_LAST, f'{last}.0', f'{last}.1')
    yield Layer(_PREDICTIONS, 'classifier.1', form='dense')


def torchvision_mobilenet_v3(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """features.0.0, features.1.block.0.0 and on, classifier.0 and classifier.3."""
    yield Layer(_STEM, 'features.0.0', 'features.0.1')
    for i, path in blocks_of(modules):
        block, k = f'features.{i + 1}.block', 0
        for part in ('expand', 'depthwise', 'squeeze', 'project'):
            if part == 'squeeze' and (*path, part, 'reduce') in modules:
                yield Layer((*path, part, 'reduce'), f'{block}.{k}.fc1')
                yield Layer((*path, part, 'expand'), f'{block}.{k}.fc2')
                k += 1
            elif (*path, part) in modules:
                yield Layer((*path, part), f'{block}.{k}.0', f'{block}.{k}.1')
                k += 1
    last = f'features.{i + 2}'
    yield Layer(_LAST, f'{last}.0', f'{last}.1')
    yield Layer(_HIDDEN, 'classifier.0', form='dense')
    yield Layer(_PREDICTIONS, 'classifier.3', form='dense')


def timm_mobilenet(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """conv_stem, blocks.0.0.conv_dw and on, conv_head, classifier, of V1, V2 and V3."""
    yield Layer(_STEM, 'conv_stem', 'bn1')
    paths = [path for _, path in blocks_of(modules)]
    groups = _TIMM_GROUPS[len(paths)]
    places = [(s, j) for s, size in enumerate(groups) for j in range(size)]
    for path, (s, j) in zip(paths, places, strict=True):
        block = f'blocks.{s}.{j}'
        # What a block without expansion calls its second convolution, one with it its first.
        parts = (
            (('expand', 'conv_pw'), ('depthwise', 'conv_dw'), ('project', 'conv_pwl'))
            if (*path, 'expand') in modules
            else (('depthwise', 'conv_dw'), ('project', 'conv_pw'), ('pointwise', 'conv_pw'))
        )
        present = [(part, name) for part, name in parts if (*path, part) in modules]
        for k, (part, name) in enumerate(present, 1):
            yield Layer((*path, part), f'{block}.{name}', f'{block}.bn{k}')
        yield Layer((*path, 'squeeze', 'reduce'), f'{block}.se.conv_reduce')
        yield Layer((*path, 'squeeze', 'expand'), f'{block}.se.conv_expand')
    if any('squeeze' in path for path in modules):
        # V3: the last convolution is a block, and conv_head stands behind the pooling.
        last = f'blocks.{len(groups)}.0'
        yield Layer(_LAST, f'{last}.conv', f'{last}.bn1')
        yield Layer(_HIDDEN, 'conv_head', form='dense_conv')
    else:
        yield Layer(_LAST, 'conv_head', 'bn2')
    yield Layer(_PREDICTIONS, 'classifier', form='dense')


def _vgg_features(modules):
    k = 0
    for i, j, path in stages_of(modules):
        # One place for the pooling between two stages.
        k += i > 0 and j == 0
        normed = modules[path].norm is not None
        yield Layer(path, f'features.{k}', f'features.{k + 1}' if normed else '')
        # One for the activation.
        k += 3 if normed else 2
