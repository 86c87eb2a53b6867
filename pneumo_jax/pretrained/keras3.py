"""The groups of Keras 3's weights: a class and its count for each layer, and numbered variables."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from pneumo_jax.errors import InputError
from pneumo_jax.hdf5 import Hdf5File

__all__ = ['LayerName', 'is_keras3', 'keras3_weights', 'variables_of']

_VARS = 'vars'
# Between a model and its layers: Keras 3, and TensorFlow 2.12 to 2.15.
_LEVELS = ('layers', '_layer_checkpoint_dependencies')
# The state of random numbers, which Keras keeps beside the weights.
_SEED = 'seed_generator'
_NAME = 'name'
_CONV = ('kernel', 'bias')
_NORM = 'batch_normalization'
_VARIABLES = {
    'conv2d': _CONV,
    'depthwise_conv2d': _CONV,
    'dense': _CONV,
    _NORM: ('gamma', 'beta', 'moving_mean', 'moving_variance'),
}


@dataclasses.dataclass(frozen=True)
class LayerName:
    """What a layer is called.

    Attributes:
        name: of the layer.
        variables: the names of its variables in the order of their numbers.
    """

    name: str
    variables: tuple[str, ...]


def is_keras3(file: Hdf5File) -> bool:
    """Whether a file has the groups of Keras 3."""
    return any(path.split('/')[-2:-1] == [_VARS] for path in file.arrays)


def keras3_weights(
    file: Hdf5File, names: Mapping[str, LayerName] | None = None
) -> tuple[str, dict[str, np.ndarray]]:
    """The arrays under the names of layers where these are known and say more than the class.

    The layers of models inside the model stand beside those around them. Where two of them would
    share a name, the larger model has it, and the path of the other stands before its own.

    Args:
        file: as read.
        names: place of a layer, such as ``conv2d_3`` or ``functional/conv2d_3`` -> its name. By
            default those that Keras (since 3.6 or so) writes beside the variables.

    Returns:
        The container, ``keras`` or ``keras3``, and the arrays, as ``WeightFile`` has them.

    Raises:
        InputError: if the file is not as Keras writes it, or ``names`` lacks one of its layers.
    """
    layers = _layers(file)
    _check_whole(file, layers)
    if names is None:
        _check_norms(layers)
        names = _stored_names(file, layers)
    else:
        _check_named(layers, names)
    if not names or all(_is_automatic(place, names[place].name) for place in layers):
        return 'keras3', _merge(layers, {place: _numbered(place) for place in layers})
    order = [place for place in names if place in layers]
    return 'keras', _merge({place: layers[place] for place in order}, names)


def variables_of(kind: str) -> tuple[str, ...]:
    """The names of the variables of a class of layers, () if it is none of ours."""
    return _VARIABLES.get(kind, ())


def _layers(file):
    """Place of a layer -> number of a variable -> array; conv2d_2 before conv2d_10."""
    layers: dict[str, dict[int, np.ndarray]] = collections.defaultdict(dict)
    for path, array in file.arrays.items():
        *place, level, number = path.split('/')
        if _SEED in place:
            continue
        if level != _VARS or not place or not number.isdecimal():
            raise InputError(f'{path!r} is no variable of a layer: the file is damaged')
        layers['/'.join(part for part in place if part not in _LEVELS)][int(number)] = array
    for place, arrays in layers.items():
        if sorted(arrays) != list(range(len(arrays))):
            raise InputError(f'{place!r} lacks a variable: it has those numbered {sorted(arrays)}')
    return {place: layers[place] for place in sorted(layers, key=_by_number)}


def _check_whole(file, layers):
    """Damage hides groups from the library, so what can be missed is looked for.

    Raises:
        InputError: if a layer that has weights has none here, or too few of them.
    """
    for path in file.attributes:
        *place, level = path.split('/')
        empty = '/'.join(part for part in place if part not in _LEVELS)
        if level == _VARS and empty not in layers and _kind_and_number(empty)[0] in _VARIABLES:
            raise InputError(f'{empty!r} has no variables: the file is damaged, get it anew')
    numbers = collections.defaultdict(list)
    for place in layers:
        kind, number = _kind_and_number(place)
        if kind in _VARIABLES:
            numbers[place.rpartition('/')[0], kind].append(number)
    for (model, kind), found in numbers.items():
        if sorted(found) != list(range(len(found))):
            raise InputError(
                f'of its layers of class {kind!r} in {model or "the model"!r}, some are missing: '
                'the file is damaged, get it anew'
            )


def _check_norms(layers):
    variables = _VARIABLES[_NORM]
    for place, arrays in layers.items():
        if _kind_and_number(place)[0] == _NORM and len(arrays) != len(variables):
            raise InputError(
                f'{place!r} has {len(arrays)} variables, and which of {variables} is not said: '
                'save the model as .keras; or else the file is damaged'
            )


def _check_named(layers, names):
    for place, arrays in layers.items():
        if place not in names:
            raise InputError(f'the weights of {place!r} belong to no layer of config.json')
        variables = names[place].variables
        if variables and len(variables) != len(arrays):
            raise InputError(
                f'{names[place].name!r} has {len(arrays)} variables instead of {variables}: the '
                'file is damaged, get it anew'
            )


def _by_number(place):
    return place.rpartition('/')[0], *_kind_and_number(place)


def _kind_and_number(place):
    """('conv2d', 3) of functional/conv2d_3."""
    layer = place.rpartition('/')[2]
    kind, number = re.fullmatch(r'(.*?)(?:_(\d{1,9}))?', layer, flags=re.DOTALL).groups()
    return kind, int(number or 0)


def _stored_names(file, layers):
    """Empty unless each layer has one."""
    stored = {}
    for path, attributes in file.attributes.items():
        *place, level = path.split('/')
        if level == _VARS and _NAME in attributes:
            stored['/'.join(part for part in place if part not in _LEVELS)] = attributes[_NAME][0]
    if not layers.keys() <= stored.keys():
        return {}
    return {
        place: LayerName(stored[place], variables_of(_kind_and_number(place)[0]))
        for place in layers
    }


def _is_automatic(place, name):
    """Whether the name is what Keras gives to a layer that got none: class and a count."""
    kind, _ = _kind_and_number(place)
    return re.fullmatch(rf'{re.escape(kind)}(_\d+)?', name) is not None


def _numbered(place):
    return LayerName(place.rpartition('/')[2], ())


def _merge(layers, names):
    """All layers in one dict, by name and variable."""
    sizes = collections.Counter()
    for place, arrays in layers.items():
        sizes[place.rpartition('/')[0]] += len(arrays)
    taken: dict[str, str] = {}
    for model, _ in sizes.most_common():
        for place in layers:
            if place.rpartition('/')[0] == model:
                name = names[place].name
                taken[place] = f'{model or "model"}/{name}' if name in taken.values() else name
    if len(set(taken.values())) < len(taken):
        raise InputError('two of its layers have the same name')
    return {
        f'{taken[place]}/{_variable(names[place], number)}': array
        for place, arrays in layers.items()
        for number, array in sorted(arrays.items())
    }


def _variable(name, number):
    return name.variables[number] if number < len(name.variables) else str(number)
