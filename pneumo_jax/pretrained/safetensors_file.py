"""Safetensors files. They have no checksum: a flipped bit in the numbers is not seen."""

from __future__ import annotations

import pathlib

import ml_dtypes
import numpy as np
import safetensors

from pneumo_jax.errors import InputError
from pneumo_jax.hdf5 import MAX_BYTES
from pneumo_jax.pretrained.state_dict import plain_names

__all__ = ['read_safetensors']

_DTYPES = {
    'F64': np.dtype('<f8'),
    'F32': np.dtype('<f4'),
    'F16': np.dtype('<f2'),
    'BF16': np.dtype(ml_dtypes.bfloat16),
    'I64': np.dtype('<i8'),
    'I32': np.dtype('<i4'),
    'I16': np.dtype('<i2'),
    'I8': np.dtype('i1'),
    'U64': np.dtype('<u8'),
    'U32': np.dtype('<u4'),
    'U16': np.dtype('<u2'),
    'U8': np.dtype('u1'),
    'BOOL': np.dtype('?'),
}


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads all tensors.

    Args:
        path: of the file.

    Returns:
        The arrays, as ``WeightFile`` has them.

    Raises:
        InputError: if it is cut or damaged, too large, or holds a type that no weights have. The
            message does not name the file.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f'it has {path.stat().st_size} bytes, more than {MAX_BYTES}')
    try:
        # Not safe_open: what that makes of bfloat16 differs by release.
        entries = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise InputError(
            f'this safetensors file is cut or damaged: {error!s:.200}; get it anew'
        ) from error
    return plain_names({name: _array(name, entry) for name, entry in entries})


def _array(name, entry):
    if entry['dtype'] not in _DTYPES:
        raise InputError(f'{name!r} is of type {entry["dtype"]}: convert the weights to float32')
    return np.frombuffer(entry['data'], _DTYPES[entry['dtype']]).reshape(entry['shape'])
