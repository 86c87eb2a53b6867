"""The ``.keras`` archives of Keras 3: what the layers are called, and their weights beside it."""

from __future__ import annotations

import json
import pathlib
import re
import tempfile
import zipfile
from collections.abc import Iterator

import numpy as np

from pneumo_jax.errors import InputError
from pneumo_jax.hdf5 import read_hdf5
from pneumo_jax.pretrained.archive import copy_member, read_member
from pneumo_jax.pretrained.hdf5_file import SKIPPED
from pneumo_jax.pretrained.keras3 import LayerName, is_keras3, keras3_weights, variables_of

__all__ = ['CONFIG', 'WEIGHTS', 'read_keras_zip']

CONFIG = 'config.json'
WEIGHTS = 'model.weights.h5'
_MAX_CONFIG_BYTES = 64 << 20
# Field of a layer -> the variables that it lacks where the field is false.
_OPTIONAL = {'use_bias': 'bias', 'scale': 'gamma', 'center': 'beta'}


def read_keras_zip(archive: zipfile.ZipFile) -> tuple[str, dict[str, np.ndarray]]:
    """Reads the weights; what else the model is, code included, is not looked at.

    Args:
        archive: open.

    Returns:
        The container, ``keras`` or ``keras3``, and the arrays, as ``WeightFile`` has them.

    Raises:
        InputError: if it cannot be read, or is not as Keras writes it. The message does not name
            the file.
    """
    names = _layer_names(read_member(archive, CONFIG, _MAX_CONFIG_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'weights.h5'
        copy_member(archive, WEIGHTS, path)
        file = read_hdf5(path, SKIPPED)
    if not is_keras3(file):
        raise InputError(f'{WEIGHTS} in it holds no weights of layers')
    return keras3_weights(file, names or None)


def _layer_names(config: bytes) -> dict[str, LayerName]:
    try:
        return dict(_walk(json.loads(config)['config'], ''))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f'{CONFIG} in it is not as Keras writes it: {type(error).__name__}'
        ) from error


def _walk(config, prefix) -> Iterator[tuple[str, LayerName]]:
    """(place, name) of the layers, counted by class in each model as Keras counts them."""
    counts: dict[str, int] = {}
    for layer in config.get('layers', ()):
        kind = _snake_case(layer['class_name'])
        number = counts[kind] = counts.get(kind, -1) + 1
        place = f'{prefix}{kind}_{number}' if number else f'{prefix}{kind}'
        fields = layer['config']
        if 'layers' in fields:
            yield from _walk(fields, f'{place}/')
        else:
            absent = [name for field, name in _OPTIONAL.items() if fields.get(field) is False]
            variables = tuple(name for name in variables_of(kind) if name not in absent)
            yield place, LayerName(str(fields['name']), variables)


def _snake_case(name):
    """As in ``keras.src.utils.naming``: DepthwiseConv2D as depthwise_conv2d."""
    name = re.sub(r'\W+', '', name)
    name = re.sub(r'(.)([A-Z][a-z]+)', r'\1_\2', name)
    return re.sub(r'([a-z])([A-Z])', r'\1_\2', name).lower()
