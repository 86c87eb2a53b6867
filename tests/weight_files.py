"""Writes small weight files in every container, by hand: their own writers are not installed.

Torch 2.13 and Keras 3.15 read these files as they are meant.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import json
import pathlib
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Mapping, Sequence
from unittest import mock

import h5py
import numpy as np
import pytest

from pneumo_jax.errors import InputError
from pneumo_jax.pretrained.weight_file import read_weight_file

# Class of a layer -> its variables in order.
KERAS_VARIABLES = {
    'Conv2D': ('kernel', 'bias'),
    'DepthwiseConv2D': ('kernel', 'bias'),
    'BatchNormalization': ('gamma', 'beta', 'moving_mean', 'moving_variance'),
    'Dense': ('kernel', 'bias'),
    'ReLU': (),
}
_SNAKE = {
    'Conv2D': 'conv2d',
    'DepthwiseConv2D': 'depthwise_conv2d',
    'BatchNormalization': 'batch_normalization',
    'Dense': 'dense',
    'ReLU': 're_lu',
    'Functional': 'functional',
}
TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    'float64': 'DoubleStorage',
    'float32': 'FloatStorage',
    'float16': 'HalfStorage',
    'bfloat16': 'BFloat16Storage',
    'int64': 'LongStorage',
}


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of a Keras model: its class, its name, its arrays by variable."""

    kind: str
    name: str
    arrays: Mapping[str, np.ndarray]


def some_layers(num_blocks=11) -> list[Layer]:
    """A small network of every class of layers, with names and sizes that sort badly."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    def norm(name, channels):
        return Layer(
            'BatchNormalization',
            name,
            {variable: draw(channels) for variable in KERAS_VARIABLES['BatchNormalization']},
        )

    layers = [Layer('Conv2D', 'Conv1', {'kernel': draw(3, 3, 3, 4)}), norm('bn_Conv1', 4)]
    for i in range(num_blocks):
        name = f'block_{i}_depthwise'
        layers += [
            Layer('DepthwiseConv2D', name, {'kernel': draw(3, 3, 4, 1)}),
            norm(f'{name}_BN', 4),
            Layer('ReLU', f'{name}_relu', {}),
        ]
    dense = {'kernel': draw(4, 7), 'bias': draw(7)}
    return [*layers, Layer('Dense', 'predictions', dense)]


def keras_arrays(layers: Sequence[Layer]) -> dict[str, np.ndarray]:
    """What a reader should make of the layers."""
    return {f'{x.name}/{variable}': array for x in layers for variable, array in x.arrays.items()}


def write_keras_by_name(
    path: pathlib.Path,
    layers: Sequence[Layer],
    *,
    dataset='{layer}/{variable}:0',
    variables: Mapping[str, str] | None = None,
    group='',
    attributes=True,
    part_size=None,
    as_bytes=True,
    **options,
) -> None:
    """HDF5 with the names of layers.

    Args:
        path: of the file.
        layers: of the model.
        dataset: path of an array in the group of its layer.
        variables: name of a variable -> its name in the file, where another.
        group: under which all is.
        attributes: whether there are lists of names.
        part_size: names in each part of the list of layers; in one part by default.
        as_bytes: whether texts are bytes.
        options: of ``h5py.Group.create_dataset``.
    """

    def text(value):
        return value.encode() if as_bytes else value

    with h5py.File(path, 'w') as file:
        root = file.require_group(group) if group else file
        if attributes:
            names = [text(layer.name) for layer in layers]
            if part_size is None:
                root.attrs['layer_names'] = names
            else:
                for i in range(0, len(names), part_size):
                    root.attrs[f'layer_names{i // part_size}'] = names[i : i + part_size]
            root.attrs['backend'] = text('tensorflow')
            root.attrs['keras_version'] = text('2.2.4')
        for layer in layers:
            folder = root.require_group(layer.name)
            paths = [
                dataset.format(layer=layer.name, variable=(variables or {}).get(name, name))
                for name in layer.arrays
            ]
            for name, array in zip(paths, layer.arrays.values(), strict=True):
                folder.create_dataset(name, data=array, **options)
            if attributes:
                # Keras leaves it to NumPy what type a list without names has: float64.
                folder.attrs['weight_names'] = [text(name) for name in paths]


def write_keras3(
    path: pathlib.Path, layers: Sequence[Layer], *, inside='', names=False, level='layers'
) -> None:
    """A ``.weights.h5``: classes and their counts.

    Args:
        path: of the file.
        layers: of the model.
        inside: path of the model inside others, as ``layers/functional``.
        names: whether names stand beside the variables, as later releases write them.
        level: name of the group of layers.
    """
    counts = collections.Counter()
    with h5py.File(path, 'a') as file:
        file.require_group('vars')
        for layer in layers:
            kind = _SNAKE[layer.kind]
            number = counts[kind]
            counts[kind] += 1
            place = f'{inside}/{level}/{kind}_{number}' if number else f'{inside}/{level}/{kind}'
            variables = file.require_group(f'{place}/vars')
            if names:
                variables.attrs['name'] = layer.name
            for i, array in enumerate(layer.arrays.values()):
                variables.create_dataset(str(i), data=array)


def keras3_arrays(layers: Sequence[Layer]) -> dict[str, np.ndarray]:
    """What a reader should make of a file without names."""
    counts = collections.Counter()
    arrays = {}
    for layer in layers:
        kind = _SNAKE[layer.kind]
        place = f'{kind}_{counts[kind]}' if counts[kind] else kind
        counts[kind] += 1
        arrays |= {f'{place}/{i}': array for i, array in enumerate(layer.arrays.values())}
    return arrays


def keras_config(layers: Sequence[Layer]) -> dict:
    """The config.json of a model."""
    return {
        'class_name': 'Functional',
        'config': {'name': 'model', 'layers': [_layer_config(layer) for layer in layers]},
    }


def _layer_config(layer):
    fields = {'name': layer.name}
    if layer.kind == 'BatchNormalization':
        fields |= {'scale': 'gamma' in layer.arrays, 'center': 'beta' in layer.arrays}
    elif layer.arrays:
        fields['use_bias'] = 'bias' in layer.arrays
    return {'class_name': layer.kind, 'config': fields}


def write_keras_zip(path: pathlib.Path, config: dict, weights: pathlib.Path) -> None:
    """A ``.keras`` of a config and a file of ``write_keras3``."""
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('metadata.json', '{"keras_version": "3.15.1"}')
        archive.writestr('config.json', json.dumps(config))
        archive.write(weights, 'model.weights.h5')


@dataclasses.dataclass(frozen=True)
class TorchTensor:
    """A tensor in a row of numbers, which others may share.

    Attributes:
        numbers: [N].
        shape, strides, offset: of the tensor, in numbers.
        kind: ``plain``, ``parameter``, ``parameter_of_0_3`` as torch wrote them then, or
            ``attributed``.
    """

    numbers: np.ndarray
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    kind: str = 'plain'

    @classmethod
    def of(cls, array, **options) -> TorchTensor:
        """The whole of an array."""
        strides = tuple(stride // array.itemsize for stride in array.strides)
        return cls(array.reshape(-1), array.shape, strides, **options)


@dataclasses.dataclass(frozen=True)
class _Storage:
    numbers: np.ndarray


def torch_state_dict(seed=0) -> dict[str, np.ndarray]:
    """A small state dict."""
    rng = np.random.default_rng(seed)
    shapes = {
        'conv1.weight': (4, 3, 3, 3),
        'bn1.weight': (4,),
        'bn1.bias': (4,),
        'bn1.running_mean': (4,),
        'bn1.running_var': (4,),
        'fc.weight': (7, 4),
        'fc.bias': (7,),
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def torch_tensors(arrays: Mapping[str, np.ndarray]) -> collections.OrderedDict:
    """A state dict as torch has it."""
    return collections.OrderedDict((name, TorchTensor.of(x)) for name, x in arrays.items())


def write_torch_zip(
    path: pathlib.Path, content, *, root='archive', big_endian=False, protocol=2, more=()
) -> None:
    """A file of ``torch.save`` since 1.6; ``more`` are (member, bytes)."""
    pickled, storages = _pickle_torch(content, protocol)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr(f'{root}/data.pkl', pickled)
        archive.writestr(f'{root}/byteorder', 'big' if big_endian else 'little')
        for key, numbers in storages.items():
            data = numbers.byteswap() if big_endian else numbers
            archive.writestr(f'{root}/data/{key}', data.tobytes())
        archive.writestr(f'{root}/version', '3\n')
        for name, data in more:
            archive.writestr(f'{root}/{name}', data)


def write_torch_legacy(path: pathlib.Path, content, *, protocol=2) -> None:
    """A file of ``torch.save`` before 1.6."""
    pickled, storages = _pickle_torch(content, protocol, legacy=True)
    system = {
        'protocol_version': 1001,
        'little_endian': True,
        'type_sizes': {'short': 2, 'int': 4, 'long': 4},
    }
    with path.open('wb') as file:
        for value in (TORCH_MAGIC, 1001, system):
            pickle.dump(value, file, protocol=protocol)
        file.write(pickled)
        pickle.dump(sorted(storages), file, protocol=protocol)
        for key in sorted(storages):
            file.write(struct.pack('<q', storages[key].size) + storages[key].tobytes())


def _pickle_torch(content, protocol, *, legacy=False):
    """(the pickle, key -> numbers) of tensors and what else is in a checkpoint."""
    keys: dict[int, str] = {}
    storages: dict[str, np.ndarray] = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, _Storage):
                return None
            key = keys.setdefault(id(value.numbers), str(len(keys)))
            storages[key] = value.numbers
            kind = getattr(sys.modules['torch'], _STORAGES[value.numbers.dtype.name])
            identity = ('storage', kind, key, 'cpu', value.numbers.size)
            return (*identity, None) if legacy else identity

        def reducer_override(self, value):
            if not isinstance(value, TorchTensor):
                return NotImplemented
            torch, hooks = sys.modules['torch'], collections.OrderedDict()
            place = (_Storage(value.numbers), value.offset, value.shape, value.strides)
            match value.kind:
                case 'parameter':
                    plain = dataclasses.replace(value, kind='plain')
                    return torch._utils._rebuild_parameter, (plain, True, hooks)
                case 'parameter_of_0_3':
                    tensor = dataclasses.replace(value, kind='tensor_of_0_3')
                    return torch.nn.parameter.Parameter, (tensor,), (True, False, hooks)
                case 'tensor_of_0_3':
                    return torch._utils._rebuild_tensor, place
                case 'attributed':
                    function, arguments = torch._utils._rebuild_tensor_v2, (*place, False, hooks)
                    everything = (function, torch.Tensor, arguments, {'note': 'x'})
                    return torch._tensor._rebuild_from_type_v2, everything
            return torch._utils._rebuild_tensor_v2, (*place, False, hooks)

    buffer = io.BytesIO()
    with torch_in_name_only():
        Pickler(buffer, protocol=protocol).dump(content)
    return buffer.getvalue(), storages


_FUNCTIONS = {
    'torch._utils': ('_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter'),
    'torch._tensor': ('_rebuild_from_type_v2',),
}
_CLASSES = {'torch': (*_STORAGES.values(), 'Tensor'), 'torch.nn.parameter': ('Parameter',)}


@contextlib.contextmanager
def torch_in_name_only():
    """Modules with the names that torch's pickles refer to, and no more."""
    names = ('torch', 'torch.nn', *_FUNCTIONS, *_CLASSES)
    modules = {name: types.ModuleType(name) for name in names}
    for name, module in modules.items():
        parent, _, child = name.rpartition('.')
        if parent:
            setattr(modules[parent], child, module)
        for function in _FUNCTIONS.get(name, ()):
            setattr(module, function, _named(function, name))
        for kind in _CLASSES.get(name, ()):
            setattr(module, kind, type(kind, (), {'__module__': name}))
    with mock.patch.dict(sys.modules, modules):
        yield


def _named(name, module):
    def function(*_):
        raise AssertionError('a reader called it')

    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    return function


def flip_bit(data: bytes, bit: int) -> bytes:
    """The same with one bit changed."""
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def assert_refused(path, *words):
    """Refused by the reader, with a short error that names the file and has the words."""
    with pytest.raises(InputError) as caught:
        read_weight_file(path)
    assert str(caught.value).startswith(str(path))
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 500
