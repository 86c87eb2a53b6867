"""Reads the arrays in a file of pretrained weights, whatever wrote it and whatever it is called.

Weight files are untrusted input: nothing in them is run, and what reads them is bounded in time and
memory. See the readers for the damage that their containers do not let one see.
"""

from __future__ import annotations

import dataclasses
import pathlib
import zipfile

import numpy as np

from pneumo_jax.errors import InputError
from pneumo_jax.pretrained.archive import open_archive
from pneumo_jax.pretrained.foreign import describe_archive, describe_file
from pneumo_jax.pretrained.hdf5_file import read_hdf5_weights
from pneumo_jax.pretrained.keras_zip import CONFIG, WEIGHTS, read_keras_zip
from pneumo_jax.pretrained.safetensors_file import read_safetensors
from pneumo_jax.pretrained.torch_file import find_root, read_torch_legacy, read_torch_zip

__all__ = ['WeightFile', 'read_weight_file']

_START_BYTES = 512
_HDF5 = b'\x89HDF\r\n\x1a\n'
_ZIP = b'PK\x03\x04'
# Of protocol 2 and later.
_PICKLE = b'\x80'


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """The arrays of a file.

    Attributes:
        path: of the file.
        container: ``keras`` where the names of layers are known, ``keras3`` where they are not,
            ``torch`` for ``.pth`` and safetensors alike.
        arrays: in the order of the file; floats as float32, finite; integers as they are. The keys
            are, by container:

            - ``keras``: ``<layer>/<variable>``, the variable being kernel, bias, gamma, beta,
              moving_mean or moving_variance, also where the file has an older name;
            - ``keras3``: ``<class>[_<count>]/<number>``, as ``conv2d_3/0``;
            - ``torch``: names of the state dict, wrappers opened, ``module.`` and counters of batch
              norm dropped.
    """

    path: pathlib.Path
    container: str
    arrays: dict[str, np.ndarray]


def read_weight_file(path: pathlib.Path) -> WeightFile:
    """Reads a file of Keras (HDF5 of any age, .weights.h5, .keras), torch or safetensors.

    Its kind is seen from its content.

    Args:
        path: of the file.

    Raises:
        InputError: if it is none of these, cannot be read as a whole, could run code, or holds a
            number that is not finite.
    """
    path = pathlib.Path(path)
    try:
        with path.open('rb') as file:
            start = file.read(_START_BYTES)
        container, arrays = _read(path, start)
        if not arrays:
            raise InputError('it holds no weights')
        return WeightFile(path, container, {k: _checked(k, v) for k, v in arrays.items()})
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror or error}') from error
    except InputError as error:
        raise InputError(f'{path}: {error}') from error


def _read(path, start):
    if start.startswith(_HDF5):
        return read_hdf5_weights(path)
    if start.startswith(_ZIP):
        with open_archive(path) as archive:
            return _read_archive(archive)
    # After the length of the header, 8 bytes, its JSON. The length may begin as a pickle does.
    if start[8:9] == b'{':
        return 'torch', read_safetensors(path)
    if start.startswith(_PICKLE):
        return 'torch', read_torch_legacy(path)
    raise InputError(f'this is {describe_file(start)}')


def _read_archive(archive: zipfile.ZipFile):
    root = find_root(archive)
    if root is not None:
        return 'torch', read_torch_zip(archive, root)
    if {CONFIG, WEIGHTS} <= set(archive.namelist()):
        return read_keras_zip(archive)
    raise InputError(f'this is {describe_archive(archive)}')


def _checked(name, array):
    # bfloat16 is of kind V.
    if array.dtype.kind in 'fV':
        # What is too large becomes infinite, and is refused as such.
        with np.errstate(over='ignore'):
            array = array.astype(np.float32, copy=False)
    if array.size == 0:
        raise InputError(f'{name!r} of shape {array.shape} is empty: this is no weight')
    if not np.isfinite(array).all():
        raise InputError(
            f'{name!r} holds numbers that are not finite: the training diverged, or '
            'the file is damaged'
        )
    return array
