"""The names of Keras Applications' layers, by family and age.

Each function gives the layers of a network whose modules are given, in the order in which Keras
creates layers of one class; that order alone names them in the files of Keras 3
(``keras_order.py``). Of layers that a network does not have, the names are dropped afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pneumo_jax.pretrained.layer import Layer, Module, Path, blocks_of, stages_of

__all__ = [
    'mobilenet_v1',
    'mobilenet_v2',
    'mobilenet_v2_first',
    'mobilenet_v3',
    'mobilenet_v3_tf',
    'resnet',
    'resnet_first',
    'vgg',
]

_STEM, _LAST = ('backbone', 'stem'), ('backbone', 'last')
_PREDICTIONS = ('top', 'predictions')
# What the classifier of ResNet and MobileNetV2 is called, beside ``predictions``.
_OTHER_TOPS = ('probs', 'fc1000', 'Logits')


def vgg(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """block1_conv1 to block5_conv4, fc1, fc2, predictions."""
    for i, j, path in stages_of(modules):
        yield Layer(path, f'block{i + 1}_conv{j + 1}')
    yield Layer(('top', 'hidden1'), 'fc1', form='flat')
    yield Layer(('top', 'hidden2'), 'fc2', form='dense')
    yield Layer(_PREDICTIONS, 'predictions', form='dense')


def resnet(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """conv1_conv, conv2_block1_1_conv to conv5_block3_3_conv, predictions."""
    yield Layer((*_STEM, 0), 'conv1_conv', 'conv1_bn')
    for i, j, path in stages_of(modules):
        # The shortcut is created before the last convolution.
        for part, number in (('conv1', 1), ('conv2', 2), ('shortcut', 0), ('conv3', 3)):
            name = f'conv{i + 2}_block{j + 1}_{number}'
            yield Layer((*path, part), f'{name}_conv', f'{name}_bn')
    yield Layer(_PREDICTIONS, 'predictions', form='dense', also=_OTHER_TOPS)


def resnet_first(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """conv1, res2a_branch2a to res5c_branch2c, fc1000: until Keras 2.2.4."""
    yield Layer((*_STEM, 0), 'conv1', 'bn_conv1')
    branches = (('conv1', '2a'), ('conv2', '2b'), ('conv3', '2c'), ('shortcut', '1'))
    for i, j, path in stages_of(modules):
        for part, branch in branches:
            name = f'{i + 2}{chr(ord("a") + j)}_branch{branch}'
            yield Layer((*path, part), f'res{name}', f'bn{name}')
    yield Layer(_PREDICTIONS, 'fc1000', form='dense', also=('probs', 'predictions'))


def mobilenet_v1(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """conv1, conv_dw_1, conv_pw_1 to conv_pw_13, conv_preds."""
    yield Layer(_STEM, 'conv1', 'conv1_bn')
    for i, path in blocks_of(modules):
        for part, name in (('depthwise', f'conv_dw_{i + 1}'), ('pointwise', f'conv_pw_{i + 1}')):
            yield Layer((*path, part), name, f'{name}_bn', form=_form(part))
    yield Layer(_PREDICTIONS, 'conv_preds', form='dense_conv')


def mobilenet_v2(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """Conv1, expanded_conv_depthwise, block_1_expand to block_16_project, Conv_1, predictions."""

    def names(i, part):
        name = f'block_{i}_{part}' if i else f'expanded_conv_{part}'
        return name, f'{name}_BN'

    return _mobilenet_v2(modules, names)


def mobilenet_v2_first(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """The blocks as mobl1_conv_1_expand and bn1_conv_1_bn_expand: the weights of Keras 2.2."""
    return _mobilenet_v2(
        modules, lambda i, part: (f'mobl{i}_conv_{i}_{part}', f'bn{i}_conv_{i}_bn_{part}')
    )


def mobilenet_v3(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """conv, expanded_conv_depthwise, expanded_conv_1_expand and so on, conv_1, conv_2, logits."""
    for layer in mobilenet_v3_tf(modules):
        weights, norm = (
            name.replace('BatchNorm', 'bn').replace('/', '_').lower()
            for name in (layer.weights, layer.norm)
        )
        yield Layer(layer.path, weights, norm, form=layer.form)


def mobilenet_v3_tf(modules: Mapping[Path, Module]) -> Iterator[Layer]:
    """The same as Conv, expanded_conv/depthwise, expanded_conv/depthwise/BatchNorm: tf.keras 2."""
    yield _batch_normed(_STEM, 'Conv')
    for i, path in blocks_of(modules):
        block = f'expanded_conv_{i}' if i else 'expanded_conv'
        yield _batch_normed((*path, 'expand'), f'{block}/expand')
        yield _batch_normed((*path, 'depthwise'), f'{block}/depthwise')
        yield Layer((*path, 'squeeze', 'reduce'), f'{block}/squeeze_excite/Conv')
        yield Layer((*path, 'squeeze', 'expand'), f'{block}/squeeze_excite/Conv_1')
        yield _batch_normed((*path, 'project'), f'{block}/project')
    yield _batch_normed(_LAST, 'Conv_1')
    yield Layer(('top', 'hidden'), 'Conv_2', form='dense_conv')
    yield Layer(_PREDICTIONS, 'Logits', form='dense_conv')


def _mobilenet_v2(modules, names):
    yield Layer(_STEM, 'Conv1', 'bn_Conv1')
    for i, path in blocks_of(modules):
        for part in ('expand', 'depthwise', 'project'):
            weights, norm = names(i, part)
            yield Layer((*path, part), weights, norm, form=_form(part))
    yield Layer(_LAST, 'Conv_1', 'Conv_1_bn')
    yield Layer(_PREDICTIONS, 'predictions', form='dense', also=_OTHER_TOPS)


def _batch_normed(path, name):
    return Layer(path, name, f'{name}/BatchNorm', form=_form(path[-1]))


def _form(part):
    return 'depthwise' if part == 'depthwise' else 'conv'
