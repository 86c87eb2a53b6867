"""What may stand in the pickles of torch's checkpoints: a literal table of names, and plain data.

Nothing of it is imported from where a pickle says; each name stands for a function of this file.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, NamedTuple

from pneumo_jax.errors import InputError

__all__ = [
    'REMEDY',
    'Inert',
    'Name',
    'Storage',
    'Tensor',
    'call',
    'kind_of',
    'known_name',
    'set_items',
    'to_storage',
]

REMEDY = (
    'a weights file must hold tensors only, since reading anything else can run code. Save the '
    'weights alone: torch.save(model.state_dict(), FILE), or better as safetensors'
)
_MAX_DIMENSIONS = 8
_MAX_SIZE = 2**62


@dataclasses.dataclass(frozen=True)
class Storage:
    """A row of numbers that tensors look into.

    Attributes:
        key: its name in the file.
        dtype: torch's name of the type of its numbers, or ``untyped`` for bytes.
        size: how many.
        view: where the file says that it is a part of a longer one (offset, size of the part).
    """

    key: str
    dtype: str
    size: int
    view: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor as the file describes it; nothing is checked yet.

    Attributes:
        storage: its numbers.
        dtype: torch's name of their type.
        offset: of the first in the storage.
        shape: of the tensor.
        strides: in numbers.
    """

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Inert:
    """Stands for an object of no interest; takes whatever state and does nothing with it."""


class Name(NamedTuple):
    """A global that a pickle names."""

    module: str
    name: str

    def __str__(self):
        return f'{self.module}.{self.name}'


def known_name(module: Any, name: Any) -> Name:
    """A name that a pickle may use.

    Raises:
        InputError: if it is another.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError('a name that is no text')
    known = Name(module, name)
    if known not in _NAMES:
        raise InputError(f'its pickle names {f"{known!s:.100}"!r}: {REMEDY}')
    return known


def call(function: Any, arguments: Any) -> Any:
    """What a pickle makes by calling something: plain data, made here.

    Raises:
        InputError: if it may not be called.
        TypeError, ValueError: if the arguments are not as torch writes them.
    """
    if not isinstance(function, Name) or function not in _MAKERS:
        raise InputError(f'its pickle calls a {kind_of(function)}: {REMEDY}')
    if not isinstance(arguments, tuple):
        raise TypeError('arguments that are no tuple')
    return _MAKERS[function](*arguments)


def to_storage(identity: Any) -> Storage:
    """Of ('storage', type, key, device, size), and in old files the part of it that is meant.

    Raises:
        InputError: if it is something else than a storage.
        TypeError, ValueError: if it is not as torch writes it.
    """
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != 'storage':
        raise InputError(f'its pickle refers to something that is no storage: {REMEDY}')
    _, kind, key, _, size, *view = identity
    dtype = _STORAGES.get(kind) if isinstance(kind, Name) else None
    if dtype is None or not isinstance(key, str) or not _are_sizes(size):
        raise ValueError('a storage that is none')
    if not view or view[0] is None:
        return Storage(key, dtype, size)
    _, offset, length = view[0]
    if not _are_sizes(offset, length):
        raise ValueError('a part of a storage that is none')
    return Storage(key, dtype, size, (offset, length))


def set_items(target: Any, items: list) -> Any:
    """Puts keys and values, by turns, into a dict or into an inert object; returns it.

    Other keys than strings are dropped: a file could choose them to be slow, or deep, to hash.
    States of optimizers have numbers for keys; weights have names.

    Raises:
        TypeError, ValueError: if the target is something else, or a value is missing.
    """
    if isinstance(target, dict):
        pairs = zip(items[::2], items[1::2], strict=True)
        target.update((key, value) for key, value in pairs if isinstance(key, str))
    elif not isinstance(target, Inert):
        raise TypeError(f'entries for a {kind_of(target)}')
    return target


def kind_of(value: Any) -> str:
    """What to call it in a message."""
    return str(value) if isinstance(value, Name) else type(value).__name__


def _ordered_dict(pairs=()):
    return set_items({}, list(itertools.chain(*(_pair(pair) for pair in pairs))))


def _pair(pair):
    key, value = pair
    return key, value


def _tensor(storage, offset, shape, strides, *_, dtype=None):
    """Of the arguments of ``_rebuild_tensor`` and ``_rebuild_tensor_v2``."""
    if not isinstance(storage, Storage):
        raise ValueError('a tensor without a storage')
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError('a tensor without a shape')
    if len(shape) > _MAX_DIMENSIONS or len(shape) != len(strides):
        raise ValueError('a tensor of unusual shape')
    if not _are_sizes(offset, *shape, *strides):
        raise ValueError('a tensor whose shape is none')
    return Tensor(storage, dtype or storage.dtype, offset, shape, strides)


def _tensor_v3(storage, offset, shape, strides, requires_grad, hooks, dtype, *_):
    if not isinstance(dtype, Name):
        raise ValueError('a tensor without a type')
    return _tensor(storage, offset, shape, strides, dtype=dtype.name)


def _from_type(function, kind, arguments, state):
    """A tensor with attributes, which are left out."""
    if not isinstance(function, Name) or _MAKERS.get(function) not in (_tensor, _tensor_v3):
        raise ValueError('an unusual kind of tensor')
    return call(function, arguments)


def _parameter(data, *_):
    if not isinstance(data, Tensor):
        raise ValueError('a parameter that is no tensor')
    return data


def _inert(*_):
    return Inert()


_DTYPES = {
    'Double': 'float64',
    'Float': 'float32',
    'Half': 'float16',
    'BFloat16': 'bfloat16',
    'Long': 'int64',
    'Int': 'int32',
    'Short': 'int16',
    'Char': 'int8',
    'Byte': 'uint8',
    'Bool': 'bool',
    'ComplexFloat': 'complex64',
    'ComplexDouble': 'complex128',
}
_STORAGES = {
    Name(module, f'{kind}Storage'): dtype
    for module in ('torch', 'torch.cuda')
    for kind, dtype in _DTYPES.items()
} | {Name('torch.storage', 'UntypedStorage'): 'untyped'}
_OTHER_DTYPES = ('uint16', 'uint32', 'uint64', 'float8_e4m3fn', 'float8_e5m2')
# What may be called -> what is made of it here. Of the last ones, which stand beside the weights
# in checkpoints of trainings, nothing is.
_MAKERS = {
    Name('collections', 'OrderedDict'): _ordered_dict,
    Name('torch._utils', '_rebuild_tensor'): _tensor,
    Name('torch._utils', '_rebuild_tensor_v2'): _tensor,
    Name('torch._utils', '_rebuild_tensor_v3'): _tensor_v3,
    Name('torch._tensor', '_rebuild_from_type_v2'): _from_type,
    Name('torch._utils', '_rebuild_parameter'): _parameter,
    Name('torch._utils', '_rebuild_parameter_with_state'): _parameter,
    # Before torch 0.4, in which torchvision's first files were written.
    Name('torch.nn.parameter', 'Parameter'): _parameter,
    Name('argparse', 'Namespace'): _inert,
    Name('collections', 'Counter'): _inert,
    Name('torch', 'device'): _inert,
    Name('torch', 'Size'): _inert,
    Name('builtins', 'set'): _inert,
    Name('__builtin__', 'set'): _inert,
    Name('_codecs', 'encode'): _inert,
}
_NAMES = frozenset(
    [
        *_MAKERS,
        *_STORAGES,
        Name('torch', 'Tensor'),
        *(Name('torch', dtype) for dtype in (*_DTYPES.values(), *_OTHER_DTYPES)),
    ]
)


def _are_sizes(*values):
    """Whether they are natural numbers; of millions of digits, they would be slow to multiply."""
    return all(type(value) is int and 0 <= value <= _MAX_SIZE for value in values)
