"""Which network a weight file holds, told from its names and shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pneumo_jax.errors import InputError
from pneumo_jax.pretrained.entries import Entry, entries_of, present_entries
from pneumo_jax.pretrained.matching import Problems, find_problems
from pneumo_jax.pretrained.network import array_shapes, network_modules
from pneumo_jax.pretrained.origins import FAMILIES, NAMINGS, WIDTHS, Naming
from pneumo_jax.pretrained.weight_file import WeightFile

__all__ = ['Reading', 'misfit_error', 'read_as']


@dataclasses.dataclass(frozen=True)
class Reading:
    """A file taken as the weights of a network.

    Attributes:
        naming: name of the naming, of ``origins.NAMINGS``.
        entries: the arrays that the file must have.
        in_channels: of the first convolution.
        problems: where it does not fit.
    """

    naming: str
    entries: Sequence[Entry]
    in_channels: int
    problems: Problems


def read_as(file: WeightFile, name: str, width: float) -> Reading:
    """Takes a file as the weights of a network, under the naming that fits most of its names.

    Raises:
        InputError: if nobody publishes the network in files of this kind.
    """
    candidates = _namings(file, name)
    if not candidates:
        raise InputError(
            f'{file.path}: there is no {name} among the networks of {_makers(file)}'
            f'{_known_as(_identify(file))}. {Problems(unknown=tuple(file.arrays))}'
        )
    best = max(candidates, key=lambda key: _num_known(file, name, NAMINGS[key]))
    return _reading(file, name, width, best)


def misfit_error(file: WeightFile, name: str, width: float, problems: Problems) -> InputError:
    """Lists all that does not fit, and says which network the file holds if we know it."""
    known = _identify(file)
    if known == (name, width):
        known = None
    if known is not None and known[0] == name:
        hint = f'. Its width is {known[1]}: set --config.model.width={known[1]}'
    else:
        hint = _known_as(known) or f'. Give a file with the weights of {name}'
    return InputError(
        f'{file.path} does not fit config.model.name={name!r}, width={width}{hint}. {problems}'
    )


def _namings(file, name):
    return [
        key
        for key, naming in NAMINGS.items()
        if naming.container == file.container and FAMILIES[name] in naming.families
    ]


def _makers(file):
    makers = {naming.origin for naming in NAMINGS.values() if naming.container == file.container}
    return ' or '.join(sorted(makers))


def _known_as(known):
    if known is None:
        return ''
    name, width = known
    flags = f'--config.model.name={name}'
    if width != 1.0:
        flags += f' --config.model.width={width}'
    return f'. It holds a {name}: set {flags}, or give another file'


def _num_known(file, name, naming: Naming):
    modules = network_modules(name)
    layers = naming.layers(FAMILIES[name], modules)
    names = {entry.name for entry in entries_of(layers, modules, naming.container)}
    return len(names & file.arrays.keys())


def _reading(file, name, width, key):
    modules = network_modules(name)
    layers = NAMINGS[key].layers(FAMILIES[name], modules)
    entries = present_entries(file.arrays, layers, modules, file.container)
    in_channels = _in_channels(file.arrays, entries[0])
    # With the other number the list of problems has the first convolution in it.
    shapes = array_shapes(name, width, in_channels if in_channels in (1, 3) else 3)
    return Reading(key, entries, in_channels, find_problems(file.arrays, entries, shapes))


def _in_channels(arrays, stem: Entry):
    """Of the first convolution; 3 where it is missing or no convolution."""
    kernel = arrays.get(stem.name)
    return 3 if kernel is None or kernel.ndim != 4 else stem.form.load(kernel).shape[2]


def _identify(file):
    """(name, width) of the network that a file holds, or None."""
    for name in FAMILIES:
        for key in _namings(file, name):
            reading = _reading(file, name, 1.0, key)
            if reading.problems.missing or reading.problems.unknown:
                continue
            for width in WIDTHS:
                if not _reading(file, name, width, key).problems:
                    return name, width
    return None
