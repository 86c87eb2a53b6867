"""Which networks are published by whom, under which names, and how they are computed there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from pneumo_jax.models.conventions import Conventions
from pneumo_jax.pretrained import keras_names, keras_order, torch_names
from pneumo_jax.pretrained.layer import Layer, Module, Path

__all__ = ['CONVENTIONS', 'FAMILIES', 'NAMINGS', 'NOTES', 'WIDTHS', 'Naming']

# Network -> family: what has the same names and conventions.
FAMILIES = {
    'resnet18': 'resnet',
    'resnet34': 'resnet',
    'resnet50': 'resnet_bottleneck',
    'resnet101': 'resnet_bottleneck',
    'vgg16': 'vgg',
    'vgg16_bn': 'vgg_bn',
    'vgg19': 'vgg',
    'vgg19_bn': 'vgg_bn',
    'mobilenet_v1': 'mobilenet_v1',
    'mobilenet_v2': 'mobilenet_v2',
    'mobilenet_v3_small': 'mobilenet_v3',
    'mobilenet_v3_large': 'mobilenet_v3',
}
# Widths that are published, to name the one of a file.
WIDTHS = (1.0, 0.25, 0.35, 0.5, 0.75, 1.25, 1.3, 1.4, 2.0)


@dataclasses.dataclass(frozen=True)
class Naming:
    """A way to name the layers of networks.

    Attributes:
        origin: ``keras``, ``torchvision`` or ``timm``.
        container: of the files, as ``WeightFile.container``.
        families: family -> function of the modules, as in ``keras_names``.
    """

    origin: str
    container: str
    families: Mapping[str, Callable[[Mapping[Path, Module]], Iterator[Layer]]]

    def layers(self, family: str, modules: Mapping[Path, Module]) -> list[Layer]:
        """The layers of a network, by their names in a file.

        Args:
            family: one of ``families``.
            modules: of the network, as ``layer.find_modules`` gives them.
        """
        layers = [layer for layer in self.families[family](modules) if layer.path in modules]
        return list(keras_order.by_order(layers)) if self.container == 'keras3' else layers


_KERAS = {
    'resnet_bottleneck': keras_names.resnet,
    'vgg': keras_names.vgg,
    'mobilenet_v1': keras_names.mobilenet_v1,
    'mobilenet_v2': keras_names.mobilenet_v2,
    'mobilenet_v3': keras_names.mobilenet_v3,
}
# Where two fit a file alike, as torchvision's and timm's ResNets do, the first is taken.
NAMINGS = {
    'keras': Naming('keras', 'keras', _KERAS),
    'keras_first': Naming(
        'keras',
        'keras',
        {
            'resnet_bottleneck': keras_names.resnet_first,
            'mobilenet_v2': keras_names.mobilenet_v2_first,
        },
    ),
    'tf_keras': Naming('keras', 'keras', {'mobilenet_v3': keras_names.mobilenet_v3_tf}),
    'keras3': Naming('keras', 'keras3', _KERAS),
    'torchvision': Naming(
        'torchvision',
        'torch',
        {
            'resnet': torch_names.resnet,
            'resnet_bottleneck': torch_names.resnet,
            'vgg': torch_names.torchvision_vgg,
            'vgg_bn': torch_names.torchvision_vgg,
            'mobilenet_v2': torch_names.torchvision_mobilenet_v2,
            'mobilenet_v3': torch_names.torchvision_mobilenet_v3,
        },
    ),
    'timm': Naming(
        'timm',
        'torch',
        {
            'resnet': torch_names.resnet,
            'resnet_bottleneck': torch_names.resnet,
            'vgg': torch_names.timm_vgg,
            'vgg_bn': torch_names.timm_vgg,
            'mobilenet_v1': torch_names.timm_mobilenet,
            'mobilenet_v2': torch_names.timm_mobilenet,
            'mobilenet_v3': torch_names.timm_mobilenet,
        },
    ),
}

_CAFFE = Conventions(padding='symmetric', epsilon=1.001e-5, version='v1', normalisation='caffe')
_TF = Conventions(padding='same', epsilon=1e-3, normalisation='tf')
_TORCH = Conventions(padding='symmetric', epsilon=1e-5, version='v1.5', normalisation='torch')
# (origin, family) -> how its networks are computed. Keras' MobileNetV3 has a layer inside that
# does what ``tf`` does. timm's tf_ networks are Keras' in this, under the names of the others.
CONVENTIONS = {
    ('keras', 'resnet_bottleneck'): _CAFFE,
    ('keras', 'vgg'): _CAFFE,
    ('keras', 'mobilenet_v1'): dataclasses.replace(_TF, padding='late'),
    ('keras', 'mobilenet_v2'): _TF,
    ('keras', 'mobilenet_v3'): _TF,
    ('torchvision', 'resnet'): _TORCH,
    ('torchvision', 'resnet_bottleneck'): _TORCH,
    ('torchvision', 'vgg'): _TORCH,
    ('torchvision', 'vgg_bn'): _TORCH,
    ('torchvision', 'mobilenet_v2'): _TORCH,
    ('torchvision', 'mobilenet_v3'): dataclasses.replace(_TORCH, epsilon=1e-3),
    ('timm', 'resnet'): _TORCH,
    ('timm', 'resnet_bottleneck'): _TORCH,
    ('timm', 'vgg'): _TORCH,
    ('timm', 'vgg_bn'): _TORCH,
    ('timm', 'mobilenet_v1'): dataclasses.replace(_TORCH, normalisation='tf'),
    ('timm', 'mobilenet_v2'): _TORCH,
    ('timm', 'mobilenet_v3'): _TORCH,
}
# (naming, family) -> what a file of these names cannot tell.
NOTES = {
    # The weights are the same as under the new names. They were trained in Caffe with 1e-5, and
    # Keras computes them with 1.001e-5 since 2.2.5.
    ('keras_first', 'resnet_bottleneck'): (
        'Keras up to 2.2.4 computed ResNets of these names with epsilon 1e-3, later ones with '
        '1.001e-5, as done here; --config.model.conventions.epsilon=1e-3 repeats the former'
    ),
    ('torchvision', 'resnet_bottleneck'): (
        'the stride is taken to be in the 3x3 convolutions (v1.5), as in torchvision and timm; '
        '--config.model.conventions.version=v1 is for files of v1 in these names'
    ),
    ('timm', 'mobilenet_v1'): (
        'timm trained its MobileNet V1 on inputs from -1 to 1, as done here'
    ),
    ('timm', 'mobilenet_v2'): (
        'computed as mobilenetv2_100: a network of TensorFlow under these names needs '
        '--config.model.conventions.padding=same, .epsilon=1e-3 and .normalisation=tf'
    ),
    ('timm', 'mobilenet_v3'): (
        'computed as mobilenetv3_large_100.ra_in1k: tf_mobilenetv3 needs '
        '--config.model.conventions.padding=same, .epsilon=1e-3 and .normalisation=tf, and the '
        'ra4 weights .normalisation=tf'
    ),
}
