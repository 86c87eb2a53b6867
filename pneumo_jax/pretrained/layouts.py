"""How arrays lie in weight files, and what they are called there, by container."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

__all__ = ['FORMS', 'NORM_VARIABLES', 'VARIABLES', 'Form']


@dataclasses.dataclass(frozen=True)
class Form:
    """The layout of a kernel; ours is HWIO, (k,k,1,C) for depthwise, (in,out) for dense layers.

    Attributes:
        load: kernel as in the file -> kernel as ours.
        save: the inverse.
    """

    load: Callable[[np.ndarray], np.ndarray]
    save: Callable[[np.ndarray], np.ndarray]


def _same(kernel):
    return kernel


def _swap_last(kernel):
    return kernel.swapaxes(-1, -2)


def _from_torch(kernel):
    return kernel.transpose(2, 3, 1, 0)


def _to_torch(kernel):
    return kernel.transpose(3, 2, 0, 1)


def _flatten(kernel):
    return kernel.reshape(-1, kernel.shape[-1])


def _to_cells(kernel):
    return kernel.reshape(7, 7, -1, kernel.shape[-1])


_CONV = Form(_from_torch, _to_torch)
# Container -> name -> layout.
FORMS = {
    'keras': {
        'conv': Form(_same, _same),
        'depthwise': Form(_swap_last, _swap_last),
        'dense': Form(_same, _same),
        # A dense layer written as a 1x1 convolution.
        'dense_conv': Form(_flatten, lambda kernel: kernel[None, None]),
        # The first dense layer of a VGG takes a 7x7 map. Keras flattens it as height, width,
        # channel, as we do; PyTorch as channel, height, width.
        'flat': Form(_same, _same),
    },
    'torch': {
        'conv': _CONV,
        'depthwise': _CONV,
        'dense': Form(_swap_last, _swap_last),
        'dense_conv': Form(
            lambda kernel: _flatten(_from_torch(kernel)),
            lambda kernel: _to_torch(kernel[None, None]),
        ),
        'flat': Form(
            lambda kernel: _flatten(_from_torch(kernel.reshape(len(kernel), -1, 7, 7))),
            lambda kernel: _to_torch(_to_cells(kernel)).reshape(kernel.shape[-1], -1),
        ),
        # The same written as a 7x7 convolution.
        'flat_conv': Form(
            lambda kernel: _flatten(_from_torch(kernel)),
            lambda kernel: _to_torch(_to_cells(kernel)),
        ),
    },
}
FORMS['keras3'] = FORMS['keras']

# Container -> our name of a variable -> pattern of its name in the file.
VARIABLES = {
    'keras': {'kernel': '{}/kernel', 'bias': '{}/bias'},
    'keras3': {'kernel': '{}/0', 'bias': '{}/1'},
    'torch': {'kernel': '{}.weight', 'bias': '{}.bias'},
}
NORM_VARIABLES = {
    'keras': {
        'scale': '{}/gamma',
        'bias': '{}/beta',
        'mean': '{}/moving_mean',
        'var': '{}/moving_variance',
    },
    'keras3': {'scale': '{}/0', 'bias': '{}/1', 'mean': '{}/2', 'var': '{}/3'},
    'torch': {
        'scale': '{}.weight',
        'bias': '{}.bias',
        'mean': '{}.running_mean',
        'var': '{}.running_var',
    },
}
