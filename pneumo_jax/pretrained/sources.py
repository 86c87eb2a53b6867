"""Where people get the official weight files; nothing is downloaded here."""

from __future__ import annotations

from pneumo_jax.errors import InputError

__all__ = ['missing_file_error']

_KERAS = 'https://storage.googleapis.com/tensorflow/keras-applications'
_TORCH = 'https://download.pytorch.org/models'
# Backbone -> the files that their makers offer. Names and addresses as in the source of Keras
# 3.15 (keras/src/applications) and torchvision 0.28 (torchvision/models).
_FILES = {
    'vgg16': (
        f'{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5',
        f'{_TORCH}/vgg16-397923af.pth',
    ),
    'vgg16_bn': (f'{_TORCH}/vgg16_bn-6c64b313.pth',),
    'vgg19': (
        f'{_KERAS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5',
        f'{_TORCH}/vgg19-dcbb9e9d.pth',
    ),
    'vgg19_bn': (f'{_TORCH}/vgg19_bn-c79401a0.pth',),
    'resnet18': (f'{_TORCH}/resnet18-f37072fd.pth',),
    'resnet34': (f'{_TORCH}/resnet34-b627a593.pth',),
    'resnet50': (
        f'{_KERAS}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5',
        f'{_TORCH}/resnet50-0676ba61.pth',
    ),
    'resnet101': (
        f'{_KERAS}/resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5',
        f'{_TORCH}/resnet101-63fe2227.pth',
    ),
    'mobilenet_v1': (f'{_KERAS}/mobilenet/mobilenet_1_0_224_tf_no_top.h5',),
    'mobilenet_v2': (
        f'{_KERAS}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5',
        f'{_TORCH}/mobilenet_v2-b0353104.pth',
    ),
    'mobilenet_v3_small': (
        f'{_KERAS}/mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5',
        f'{_TORCH}/mobilenet_v3_small-047dcff4.pth',
    ),
    'mobilenet_v3_large': (
        f'{_KERAS}/mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5',
        f'{_TORCH}/mobilenet_v3_large-8738ca79.pth',
    ),
}


def missing_file_error(path, name: str) -> InputError:
    """Says where the weights of a backbone are found, and what happens without them."""
    files = _FILES.get(name, ())
    offers = f'download one of {" ".join(files)} and give its path' if files else 'give its path'
    return InputError(
        f'config.model.init_from={str(path)!r} is not there. The weights are never downloaded: '
        f'{offers} by --config.model.init_from=FILE (a .h5, .keras, .safetensors or .pth of '
        f'{name}, or the workdir of a run). Without them a model starts from random weights and '
        'needs many more films to learn as much: ask for that by --config=FILE:scratch where the '
        'config has both ways, else by --config.model.init_from='
    )
