"""Reads the pickles in torch's checkpoints without running anything that they ask for.

Python's own unpickler imports what a file names and calls it. This one is a small machine for the
opcodes of such pickles: it imports nothing, and knows the few names of a literal table, for which
it makes plain data. Any other name is refused: the file holds more than tensors.
"""

from __future__ import annotations

import itertools
import pickletools
from typing import Any, BinaryIO

from pneumo_jax.errors import InputError
from pneumo_jax.pretrained.torch_globals import (
    REMEDY,
    Inert,
    Storage,
    Tensor,
    call,
    kind_of,
    known_name,
    set_items,
    to_storage,
)

__all__ = ['load_pickle']

_MAX_OPCODES = 2_000_000


def load_pickle(stream: BinaryIO) -> tuple[Any, list[Storage]]:
    """Reads one pickle, and leaves the stream behind it.

    Args:
        stream: with ``read``, ``readline`` and ``tell``; ``read`` must not allocate more than there
            is, as that of a file does and those of ``io.BytesIO`` and ``mmap`` do not.

    Returns:
        The content: dicts (entries with keys other than strings are dropped), lists, tuples,
        numbers, strings, bytes, ``Tensor`` and, for the rest, ``Inert``. And all storages that were
        referred to on the way.

    Raises:
        InputError: if it names anything but tensors and what commonly stands beside them, or is
            cut or damaged. The message does not name the file.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in itertools.islice(pickletools.genops(stream), _MAX_OPCODES):
            if opcode.name == 'STOP':
                return machine.pop(), machine.storages
            machine.step(opcode.name, argument)
    except InputError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise InputError(
            f'its pickle is cut or damaged: {type(error).__name__}: {error!s:.100}; get it anew'
        ) from error
    raise InputError(f'its pickle has more than {_MAX_OPCODES} opcodes: this is no weights file')


_CONSTANTS = {
    'NONE': None,
    'NEWTRUE': True,
    'NEWFALSE': False,
    'EMPTY_TUPLE': (),
}
_LITERALS = frozenset(
    [
        *('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT'),
        *('STRING', 'BINSTRING', 'SHORT_BINSTRING', 'UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE'),
        *('BINUNICODE8', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8'),
    ]
)
_IGNORED = frozenset(['PROTO', 'FRAME'])
_PUTS = frozenset(['PUT', 'BINPUT', 'LONG_BINPUT'])
_GETS = frozenset(['GET', 'BINGET', 'LONG_BINGET'])
_SHORT_TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}


class _Machine:
    """The stack, the stacks under marks, and the memo."""

    def __init__(self):
        self.storages: list[Storage] = []
        self._stack: list[Any] = []
        self._under_marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def pop(self):
        return self._stack.pop()

    def step(self, opcode, argument):
        if opcode in _LITERALS:
            self._stack.append(argument)
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode])
        elif opcode in _PUTS:
            self._memo[argument] = self._stack[-1]
        elif opcode in _GETS:
            self._stack.append(self._memo[argument])
        elif opcode in _SHORT_TUPLES:
            self._push_tuple(_SHORT_TUPLES[opcode])
        elif opcode in _METHODS:
            _METHODS[opcode](self, argument)
        elif opcode not in _IGNORED:
            raise InputError(f'its pickle has the opcode {opcode}: {REMEDY}')

    def _push_tuple(self, size):
        if len(self._stack) < size:
            raise IndexError('too few on the stack')
        self._stack[-size:] = [tuple(self._stack[-size:])]

    def _mark(self, _):
        self._under_marks.append(self._stack)
        self._stack = []

    def _pop_mark(self, _=None):
        items = self._stack
        self._stack = self._under_marks.pop()
        return items

    def _discard(self, _):
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def _duplicate(self, _):
        self._stack.append(self._stack[-1])

    def _memoize(self, _):
        self._memo[len(self._memo)] = self._stack[-1]

    def _new_list(self, _):
        self._stack.append([])

    def _new_dict(self, _):
        self._stack.append({})

    def _new_inert(self, _):
        self._stack.append(Inert())

    def _tuple(self, _):
        items = self._pop_mark()
        self._stack.append(tuple(items))

    def _list(self, _):
        items = self._pop_mark()
        self._stack.append(items)

    def _dict(self, _):
        items = self._pop_mark()
        self._stack.append(set_items({}, items))

    def _frozen_set(self, _):
        self._pop_mark()
        self._stack.append(Inert())

    def _append(self, _):
        item = self._stack.pop()
        _extend(self._stack[-1], [item])

    def _appends(self, _):
        items = self._pop_mark()
        _extend(self._stack[-1], items)

    def _set_item(self, _):
        value, key = self._stack.pop(), self._stack.pop()
        set_items(self._stack[-1], [key, value])

    def _set_items(self, _):
        items = self._pop_mark()
        set_items(self._stack[-1], items)

    def _global(self, argument):
        module, _, name = argument.partition(' ')
        self._stack.append(known_name(module, name))

    def _stack_global(self, _):
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(known_name(module, name))

    def _reduce(self, _):
        arguments, function = self._stack.pop(), self._stack.pop()
        self._stack.append(call(function, arguments))

    def _build(self, _):
        # Of no state does anything that matters depend: attributes, and whether it was trained.
        self._stack.pop()
        if not isinstance(self._stack[-1], (dict, Inert, Tensor)):
            raise InputError(f'its pickle gives a state to a {kind_of(self._stack[-1])}: {REMEDY}')

    def _persistent(self, _):
        self.storages.append(to_storage(self._stack.pop()))
        self._stack.append(self.storages[-1])


_METHODS = {
    'MARK': _Machine._mark,
    'POP_MARK': _Machine._pop_mark,
    'POP': _Machine._discard,
    'DUP': _Machine._duplicate,
    'MEMOIZE': _Machine._memoize,
    'EMPTY_LIST': _Machine._new_list,
    'EMPTY_DICT': _Machine._new_dict,
    'EMPTY_SET': _Machine._new_inert,
    'FROZENSET': _Machine._frozen_set,
    'ADDITEMS': _Machine._appends,
    'TUPLE': _Machine._tuple,
    'LIST': _Machine._list,
    'DICT': _Machine._dict,
    'APPEND': _Machine._append,
    'APPENDS': _Machine._appends,
    'SETITEM': _Machine._set_item,
    'SETITEMS': _Machine._set_items,
    'GLOBAL': _Machine._global,
    'STACK_GLOBAL': _Machine._stack_global,
    'REDUCE': _Machine._reduce,
    'NEWOBJ': _Machine._reduce,
    'BUILD': _Machine._build,
    'BINPERSID': _Machine._persistent,
}


def _extend(target, items):
    if isinstance(target, list):
        target.extend(items)
    elif not isinstance(target, Inert):
        raise TypeError(f'items for a {kind_of(target)}')
