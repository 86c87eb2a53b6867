"""A weight file against a network: what does not fit, and the arrays as ours if all does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from pneumo_jax.pretrained.entries import BACKGROUND_CLASSES, Entry, file_shape
from pneumo_jax.pretrained.layer import Path
from pneumo_jax.pretrained.network import PREDICTIONS

__all__ = ['Problems', 'convert', 'find_problems', 'num_classes']


@dataclasses.dataclass(frozen=True)
class Problems:
    """Where a file does not fit a network; all empty where it does.

    Attributes:
        missing: names that the file lacks.
        unknown: names that the network has no place for.
        shapes: name -> (shape in the file, shape that the network needs).
        values: name -> what is wrong with the numbers.
    """

    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = dataclasses.field(
        default_factory=dict
    )
    values: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unknown or self.shapes or self.values)

    def __str__(self) -> str:
        parts = {
            'missing in the file': self.missing,
            'unknown in the file': self.unknown,
            'wrong shape': [
                f'{name} {_shape(found)} instead of {_shape(wanted)}'
                for name, (found, wanted) in self.shapes.items()
            ],
            'wrong numbers': [f'{name} ({what})' for name, what in self.values.items()],
        }
        return '; '.join(
            f'{what} ({len(names)}): {", ".join(map(_printable, names))}'
            for what, names in parts.items()
            if names
        )


def find_problems(
    arrays: Mapping[str, np.ndarray],
    entries: Iterable[Entry],
    shapes: Mapping[Path, tuple[int, ...]],
) -> Problems:
    """What does not fit in names and shapes.

    Args:
        arrays: of the file, by name.
        entries: the arrays that it must have.
        shapes: of our arrays, by path, for 1000 classes.
    """
    classes = num_classes(arrays, entries)
    known = {entry.name: entry for entry in entries}
    wanted = {name: file_shape(entry, shapes[entry.path], classes) for name, entry in known.items()}
    return Problems(
        missing=tuple(name for name in known if name not in arrays),
        unknown=tuple(name for name in arrays if name not in known),
        shapes={
            name: (arrays[name].shape, shape)
            for name, shape in wanted.items()
            if name in arrays and arrays[name].shape != shape
        },
    )


def convert(
    arrays: Mapping[str, np.ndarray], entries: Iterable[Entry]
) -> tuple[dict[Path, np.ndarray], Problems]:
    """The arrays of a file that fits, as ours, by path.

    Biases in front of batch normalisation are taken off its mean, which is the same; the row of
    the background class is dropped.

    Args:
        arrays: of the file, by name.
        entries: the arrays that it must have.

    Returns:
        The arrays, and what is wrong with their numbers.
    """
    converted, values = {}, {}
    for entry in entries:
        array = arrays[entry.name]
        if wrong := _wrong_numbers(array, entry):
            values[entry.name] = wrong
            continue
        if not entry.is_folded:
            converted[entry.path] = _as_ours(array, entry)
    if values:
        return {}, Problems(values=values)
    for entry in entries:
        if entry.is_folded:
            converted[entry.path] = converted[entry.path] - arrays[entry.name]
    return converted, Problems()


def num_classes(arrays: Mapping[str, np.ndarray], entries: Iterable[Entry]) -> int:
    """How many classes the file has, 1000 where it has none."""
    for entry in entries:
        if entry.path == (*PREDICTIONS, 'bias') and entry.name in arrays:
            return arrays[entry.name].size
    return 1000


def _as_ours(array, entry):
    if entry.form is not None:
        array = entry.form.load(array)
    if entry.path[:2] == PREDICTIONS and array.shape[-1] == BACKGROUND_CLASSES:
        array = array[..., 1:]
    return np.ascontiguousarray(array)


def _wrong_numbers(array, entry):
    if array.dtype.kind != 'f':
        return f'{array.dtype}, not floating-point'
    if entry.path[-2:] == ('norm', 'var') and (array < 0).any():
        return 'negative variance'
    return ''


def _shape(shape):
    return 'x'.join(map(str, shape)) or 'a single number'


def _printable(name):
    return name if name.isprintable() else repr(name)
