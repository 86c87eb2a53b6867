"""Checkpoints of torch, read without torch and without running anything in them.

The zip format (torch 1.6 and later) has a checksum for each storage, which is proven here. The one
before it, in which torchvision's older files are, has none: a flipped bit in its numbers is not
seen, and one in its names only by whoever knows the names.
"""

from __future__ import annotations

import io
import math
import mmap
import pathlib
import struct
import zipfile
from collections.abc import Callable, Mapping

import ml_dtypes
import numpy as np

from pneumo_jax.errors import InputError
from pneumo_jax.hdf5 import MAX_BYTES
from pneumo_jax.pretrained.archive import read_member
from pneumo_jax.pretrained.state_dict import find_state_dict
from pneumo_jax.pretrained.torch_globals import Tensor
from pneumo_jax.pretrained.torch_pickle import load_pickle

__all__ = ['find_root', 'read_torch_legacy', 'read_torch_zip']

_PICKLE = 'data.pkl'
# Of a TorchScript archive: the constants of its code.
_CONSTANTS = 'constants.pkl'
_MAX_PICKLE_BYTES = 64 << 20
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_SIZE = struct.Struct('<q')
_DTYPES = {
    'float64': np.float64,
    'float32': np.float32,
    'float16': np.float16,
    'bfloat16': ml_dtypes.bfloat16,
    'int64': np.int64,
    'int32': np.int32,
    'int16': np.int16,
    'int8': np.int8,
    'uint8': np.uint8,
    'bool': np.bool_,
    'uint16': np.uint16,
    'uint32': np.uint32,
    'uint64': np.uint64,
}


def find_root(archive: zipfile.ZipFile) -> str | None:
    """The folder in which a torch archive has everything, with its slash; None if it is no such."""
    roots = [name[: -len(_PICKLE)] for name in archive.namelist() if name.endswith(f'/{_PICKLE}')]
    return min(roots, key=len, default=None)


def read_torch_zip(archive: zipfile.ZipFile, root: str) -> dict[str, np.ndarray]:
    """Reads the state dict in a file of ``torch.save``.

    Args:
        archive: open.
        root: of ``find_root``.

    Returns:
        The arrays, as ``WeightFile`` has them.

    Raises:
        InputError: if it holds anything but tensors and what commonly stands beside them, or no
            state dict, or is damaged. The message does not name the file.
    """
    members = frozenset(archive.namelist())
    if f'{root}{_CONSTANTS}' in members:
        raise InputError(
            'it is a TorchScript archive, which holds code: save the weights alone, with '
            'torch.save(torch.jit.load(FILE).state_dict(), OTHER_FILE)'
        )
    order = '<'
    if f'{root}byteorder' in members:
        order = {b'little': '<', b'big': '>'}.get(read_member(archive, f'{root}byteorder', 16))
        if order is None:
            raise InputError('it has an unknown byte order: it is damaged, get it anew')
    pickle = io.BytesIO(read_member(archive, f'{root}{_PICKLE}', _MAX_PICKLE_BYTES))
    content, _ = load_pickle(pickle)
    return _read_tensors(
        find_state_dict(content, Tensor),
        lambda key: read_member(archive, f'{root}data/{key}'),
        order=order,
    )


def read_torch_legacy(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the state dict in a file of ``torch.save`` before torch 1.6.

    Args:
        path: of a file that begins with a pickle.

    Returns:
        The arrays, as ``WeightFile`` has them.

    Raises:
        InputError: as ``read_torch_zip``, and for any other pickle.
    """
    with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        if load_pickle(stream)[0] != _MAGIC:
            raise InputError(
                'it is a plain pickle, not a file of torch.save: save the weights with '
                'torch.save(model.state_dict(), FILE), or better as safetensors'
            )
        (protocol, _), (system, _), (content, storages), (keys, _) = (
            load_pickle(stream) for _ in range(4)
        )
        if protocol != _PROTOCOL or not isinstance(system, dict):
            raise InputError('its header is not that of torch.save: it is damaged, get it anew')
        tensors = find_state_dict(content, Tensor)
        _check_whole(tensors)
        places = _places(stream, keys, {storage.key: storage for storage in storages})
        return _read_tensors(tensors, lambda key: stream[places[key]], order='<')


def _check_whole(tensors):
    """Tensors must take all of their storages: a damaged shape would mostly not.

    Raises:
        InputError: if one does not.
    """
    for name, tensor in tensors.items():
        size = tensor.storage.view[1] if tensor.storage.view else tensor.storage.size
        if math.prod(tensor.shape) != size or not _is_dense(tensor):
            raise InputError(
                f'{name!r} of shape {tensor.shape} is not the whole of its {size} numbers: the '
                'file is damaged, or a part of a tensor was saved, which .clone() makes whole'
            )


def _is_dense(tensor):
    """Whether the tensor takes a row of numbers, each once."""
    expected = 1
    for stride, size in sorted(zip(tensor.strides, tensor.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True


def _places(stream, keys, storages):
    """Key -> slice of the bytes of the storage, of those that follow upon the pickles."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise InputError('its list of storages is none: the file is damaged, get it anew')
    places = {}
    position = stream.tell()
    for key in keys:
        if key not in storages:
            raise InputError(f'no tensor has the storage {key!r:.50}: the file is damaged')
        header = stream[position : position + _SIZE.size]
        start = position + _SIZE.size
        position = start + _num_bytes(storages[key])
        if len(header) < _SIZE.size or position > len(stream):
            raise InputError(f'it ends before {position} bytes: the file is cut, get it anew')
        if _SIZE.unpack(header)[0] != storages[key].size:
            raise InputError(f'the storage {key!r:.50} has two sizes: the file is damaged')
        places[key] = slice(start, position)
    if position != len(stream) or places.keys() != storages.keys():
        raise InputError('its storages are not those of its tensors: the file is damaged')
    return places


def _read_tensors(
    tensors: Mapping[str, Tensor], read: Callable[[str], bytes], *, order: str
) -> dict[str, np.ndarray]:
    """Name -> array.

    Args:
        tensors: by name.
        read: key of a storage -> its bytes.
        order: of the bytes in a number, ``<`` or ``>``.
    """
    for name, tensor in tensors.items():
        _check_tensor(name, tensor)
    num_bytes = sum(
        math.prod(tensor.shape) * np.dtype(_DTYPES[tensor.dtype]).itemsize
        for tensor in tensors.values()
    )
    if num_bytes > MAX_BYTES:
        raise InputError(f'its tensors take {num_bytes} bytes, more than {MAX_BYTES}')
    storages: dict[str, bytes] = {}
    arrays = {}
    for name, tensor in tensors.items():
        key = tensor.storage.key
        if key not in storages:
            storages[key] = read(key)
        if len(storages[key]) != _num_bytes(tensor.storage):
            raise InputError(
                f'the storage of {name!r} has {len(storages[key])} bytes instead of '
                f'{_num_bytes(tensor.storage)}: the file is damaged, get it anew'
            )
        arrays[name] = _array(tensor, storages[key], order)
    return arrays


def _check_tensor(name, tensor):
    """Proves that all of a tensor lies in its storage.

    Raises:
        InputError: if not, or if it is of a type that no weights have.
    """
    if tensor.dtype not in _DTYPES or tensor.storage.dtype not in (*_DTYPES, 'untyped'):
        raise InputError(f'{name!r} is of type {tensor.dtype}: convert the weights to float32')
    if 0 in tensor.shape:
        raise InputError(f'{name!r} of shape {tensor.shape} is empty: this is no weight')
    _, size = _bounds(tensor)
    steps = zip(tensor.strides, tensor.shape, strict=True)
    last = tensor.offset + sum(stride * (length - 1) for stride, length in steps)
    if last >= size:
        raise InputError(
            f'{name!r} of shape {tensor.shape}, strides {tensor.strides} and offset '
            f'{tensor.offset} reaches out of its {size} numbers: the file is damaged'
        )


def _bounds(tensor):
    """(first, number) of the numbers of the storage that the tensor may look into."""
    width = np.dtype(_DTYPES[tensor.dtype]).itemsize
    whole = _num_bytes(tensor.storage) // width
    if tensor.storage.view is None:
        return 0, whole
    first, size = tensor.storage.view
    return first, size if first + size <= whole else -1


def _num_bytes(storage):
    width = 1 if storage.dtype == 'untyped' else np.dtype(_DTYPES[storage.dtype]).itemsize
    return storage.size * width


def _array(tensor, data, order):
    dtype = np.dtype(_DTYPES[tensor.dtype])
    first, size = _bounds(tensor)
    # As unsigned integers, since not all types know of an order of bytes.
    stored = np.frombuffer(data, f'{order}u{dtype.itemsize}', count=first + size)[first:]
    numbers = stored.astype(f'=u{dtype.itemsize}', copy=False).view(dtype)
    view = np.lib.stride_tricks.as_strided(
        numbers[tensor.offset :],
        tensor.shape,
        [stride * dtype.itemsize for stride in tensor.strides],
        writeable=False,
    )
    return np.ascontiguousarray(view).reshape(tensor.shape)
