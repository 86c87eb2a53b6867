"""The arrays of a weight file, each beside the array of ours that it becomes."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from pneumo_jax.pretrained.layer import Layer, Module, Path
from pneumo_jax.pretrained.layouts import FORMS, NORM_VARIABLES, VARIABLES, Form
from pneumo_jax.pretrained.network import PREDICTIONS

__all__ = ['BACKGROUND_CLASSES', 'Entry', 'entries_of', 'file_shape', 'present_entries']

# ImageNet's classes behind a background class, as TensorFlow's older networks have it.
BACKGROUND_CLASSES = 1001


@dataclasses.dataclass(frozen=True)
class Entry:
    """An array of a file.

    Attributes:
        name: in the file.
        path: of the array of ours.
        form: layout of a kernel, None for a vector.
        optional: '' where every file has it, else what the layers of a file all have or all lack:
            ``bias`` of convolutions in front of batch normalisation, its ``scale`` and ``shift``.
    """

    name: str
    path: Path
    form: Form | None = None
    optional: str = ''

    @property
    def is_folded(self) -> bool:
        """True for a bias in front of a batch normalisation, which we take off its mean."""
        return self.optional == 'bias'


def entries_of(
    layers: Iterable[Layer], modules: Mapping[Path, Module], container: str
) -> list[Entry]:
    """All arrays that a file of these layers may have, in the order of the layers.

    Args:
        layers: as the file names them.
        modules: of the network, by path.
        container: of the file.
    """
    variables, norm_variables = VARIABLES[container], NORM_VARIABLES[container]
    entries = []
    for layer in layers:
        module = modules[layer.path]
        kernel, bias = (variables[key].format(layer.weights) for key in ('kernel', 'bias'))
        form = FORMS[container][layer.form]
        entries.append(Entry(kernel, (*module.weights, 'kernel'), form))
        if module.norm is None:
            entries.append(Entry(bias, (*module.weights, 'bias')))
            continue
        entries.append(Entry(bias, (*module.norm, 'mean'), optional='bias'))
        for key, optional in (('scale', 'scale'), ('bias', 'shift'), ('mean', ''), ('var', '')):
            name = norm_variables[key].format(layer.norm)
            entries.append(Entry(name, (*module.norm, key), optional=optional))
    return entries


def present_entries(
    arrays: Mapping[str, np.ndarray],
    layers: Iterable[Layer],
    modules: Mapping[Path, Module],
    container: str,
) -> list[Entry]:
    """The arrays that a file must have, given what it has.

    Layers of the top may be left out, and what is optional by all layers together.

    Args:
        arrays: of the file, by name.
        layers: as the file may name them.
        modules: of the network, by path.
        container: of the file.
    """
    layers = [_as_named(layer, arrays, container) for layer in layers]
    by_layer = {layer.path: entries_of([layer], modules, container) for layer in layers}
    entries = [
        entry
        for path, group in by_layer.items()
        if path[0] != 'top' or any(entry.name in arrays for entry in group)
        for entry in group
    ]
    used = collections.Counter(entry.optional for entry in entries if entry.name in arrays)
    return [entry for entry in entries if not entry.optional or used[entry.optional]]


def file_shape(entry: Entry, shape: tuple[int, ...], classes: int) -> tuple[int, ...]:
    """The shape that an array must have in the file.

    Args:
        entry: the array.
        shape: of ours, for 1000 classes.
        classes: of the file.
    """
    if entry.path[:2] == PREDICTIONS:
        shape = (*shape[:-1], classes)
    if entry.form is None:
        return shape
    # A view of one number has the shape without the memory.
    return entry.form.save(np.broadcast_to(np.float32(0), shape)).shape


def _as_named(layer, arrays, container):
    """The layer by the first of its names that the file knows."""
    kernel = VARIABLES[container]['kernel']
    known = [name for name in (layer.weights, *layer.also) if kernel.format(name) in arrays]
    return dataclasses.replace(layer, weights=known[0]) if known else layer
