"""Weights that Keras wrote into HDF5, of every age: from Keras 1 to ``.weights.h5`` of Keras 3."""

from __future__ import annotations

import itertools
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pneumo_jax.errors import InputError
from pneumo_jax.hdf5 import Hdf5File, read_hdf5
from pneumo_jax.pretrained.keras3 import is_keras3, keras3_weights

__all__ = ['SKIPPED', 'read_hdf5_weights']

# Groups of a whole model's file that are not its weights; an optimizer takes twice their space.
SKIPPED = (
    'optimizer_weights',
    'optimizer',
    'metrics',
    'compile_metrics',
    '_compile_metrics',
    '_loss_tracker',
)
_WHOLE_MODEL = 'model_weights'
_TOP_LEVEL = 'top_level_model_weights'
# What a variable is called in some release -> in the later ones. The ``running_std`` of Keras 1
# holds the variance, whatever its name says.
_VARIABLES = {
    'depthwise_kernel': 'kernel',
    'pointwise_kernel': 'pointwise_kernel',
    'kernel': 'kernel',
    'W': 'kernel',
    'bias': 'bias',
    'b': 'bias',
    'gamma': 'gamma',
    'beta': 'beta',
    'moving_mean': 'moving_mean',
    'running_mean': 'moving_mean',
    'moving_variance': 'moving_variance',
    'running_variance': 'moving_variance',
    'running_std': 'moving_variance',
}
# block1_conv1_W_1:0, conv1_W:0, kernel:0, kernel
_VARIABLE = re.compile(rf'(?:^|_)({"|".join(_VARIABLES)})(?:_\d+)?(?::\d+)?$')


def read_hdf5_weights(path: pathlib.Path) -> tuple[str, dict[str, np.ndarray]]:
    """Reads the weights of a file, with or without the rest of a model.

    Args:
        path: of the file.

    Returns:
        The container, ``keras`` or ``keras3``, and the arrays, as ``WeightFile`` has them.

    Raises:
        InputError: if it cannot be read, or is not as Keras writes it. The message does not name
            the file.
    """
    file = read_hdf5(path, SKIPPED)
    if is_keras3(file):
        return keras3_weights(file)
    return 'keras', _weights_by_name(file)


def _weights_by_name(file):
    base = _WHOLE_MODEL if _WHOLE_MODEL in file.attributes else ''
    _check_backend(file.attributes[''] | file.attributes[base])
    arrays: dict[str, np.ndarray] = {}
    listed = set()
    for layer, path, variable in _listing(file, base):
        if path not in file.arrays:
            raise InputError(f'{path!r} is listed, and not there: the file is damaged, get it anew')
        key = f'{layer}/{_variable(variable)}'
        if key in arrays:
            raise InputError(f'two arrays are {key!r}, the second of them {path!r}')
        arrays[key] = file.arrays[path]
        listed.add(path)
    ignored = _join(base, _TOP_LEVEL) + '/'
    unlisted = [path for path in file.arrays if path not in listed and not path.startswith(ignored)]
    if unlisted:
        raise InputError(
            f'{len(unlisted)} arrays, {unlisted[0]!r} the first, belong to no layer that the file '
            'lists: it is damaged or was not written by Keras'
        )
    return arrays


def _check_backend(attributes):
    if attributes.get('backend') == ['theano']:
        raise InputError(
            'it was saved by the Theano backend, whose kernels are flipped: load and save it with '
            'Keras on another backend'
        )


def _listing(file, base) -> Iterator[tuple[str, str, str]]:
    """(layer, path of the array, name of the variable) in the order of the file."""
    layers = _split_attribute(file.attributes[base], 'layer_names')
    if layers is None:
        yield from _listing_by_paths(file, base)
        return
    for layer in layers:
        group = _join(base, layer)
        if group not in file.attributes:
            raise InputError(
                f'layer {layer!r} is listed, and not there: the file is damaged, get it anew'
            )
        names = _split_attribute(file.attributes[group], 'weight_names')
        if names is None:
            names = [path[len(group) + 1 :] for path in file.arrays if path.startswith(f'{group}/')]
        owners = _owners(layer, [name.rpartition('/')[0] for name in names])
        for name, owner in zip(names, owners, strict=True):
            yield owner, _join(group, name), name.rpartition('/')[2]


def _split_attribute(attributes: Mapping[str, list[str]], name: str) -> list[str] | None:
    """A list that HDF5 may have wanted in parts, name0, name1 and so on; None if there is none."""
    if name in attributes:
        return attributes[name]
    parts = list(
        itertools.takewhile(
            lambda part: part is not None, (attributes.get(f'{name}{i}') for i in itertools.count())
        )
    )
    return list(itertools.chain(*parts)) if parts else None


def _owners(layer: str, scopes: Sequence[str]) -> Sequence[str]:
    """The layer of each variable of a group, which is a layer or a model inside the model."""
    if len(set(scopes)) <= 1:
        return [layer] * len(scopes)
    # The inner model's own name, where each variable bears it.
    first = scopes[0].partition('/')[0] + '/'
    if all(scope.startswith(first) for scope in scopes):
        return [scope[len(first) :] for scope in scopes]
    return scopes


def _listing_by_paths(file: Hdf5File, base: str) -> Iterator[tuple[str, str, str]]:
    """As ``_listing``, of a file without lists: by the paths alone."""
    groups: dict[str, list[str]] = {}
    for path in sorted(file.arrays, key=_natural):
        inner = path[len(base) + 1 :] if base else path
        groups.setdefault(inner.partition('/')[0], []).append(inner)
    for group, inners in groups.items():
        if inners == [group]:
            raise InputError(f'{group!r} is an array outside of any layer: not written by Keras')
        scopes = [inner.rpartition('/')[0] for inner in inners]
        owners = [_half(scope) for scope in scopes]
        if not all(owners):
            owners = _owners(group, [scope[len(group) + 1 :] for scope in scopes])
        for inner, owner in zip(inners, owners, strict=True):
            yield owner, _join(base, inner), inner.rpartition('/')[2]


def _half(scope):
    """Of conv1/conv1 or block/conv/block/conv, conv1 or block/conv; else None."""
    parts = scope.split('/')
    half = len(parts) // 2
    return '/'.join(parts[:half]) if parts[:half] == parts[half:] else None


def _natural(path):
    """block_2 before block_10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r'(\d+)', path)]


def _variable(name):
    found = _VARIABLE.search(name)
    return _VARIABLES[found[1]] if found else name.partition(':')[0]


def _join(group, name):
    return f'{group}/{name}' if group else name
