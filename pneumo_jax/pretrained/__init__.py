"""Pretrained weights of Keras, torchvision, timm and of runs of this project, by name.

A file's names and shapes tell whose it is, and that tells how the network is computed: padding,
epsilon, the place of strides, the normalisation of the input.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np

from pneumo_jax.errors import InputError
from pneumo_jax.models.conventions import NORMALISATIONS
from pneumo_jax.pretrained.entries import BACKGROUND_CLASSES
from pneumo_jax.pretrained.exporting import export_safetensors, to_torch_names
from pneumo_jax.pretrained.matching import convert, num_classes
from pneumo_jax.pretrained.network import array_shapes, is_statistic
from pneumo_jax.pretrained.origins import CONVENTIONS, FAMILIES, NAMINGS, NOTES
from pneumo_jax.pretrained.own_run import load_own_run
from pneumo_jax.pretrained.placing import place
from pneumo_jax.pretrained.recognition import misfit_error, read_as
from pneumo_jax.pretrained.result import Pretrained, with_overrides
from pneumo_jax.pretrained.sources import missing_file_error
from pneumo_jax.pretrained.weight_file import WeightFile, read_weight_file

__all__ = [
    'Pretrained',
    'export_safetensors',
    'from_weight_file',
    'load_pretrained',
    'place',
    'to_torch_names',
]


def load_pretrained(
    path,
    *,
    name: str,
    width: float = 1.0,
    conventions: Mapping[str, object] | None = None,
) -> Pretrained:
    """Reads the weights of a network.

    Args:
        path: a file (.h5, .weights.h5, .keras, .safetensors, .pth) or the workdir of a run.
        name: of the backbone, a name of ``models.BACKBONES``.
        width: its width multiplier.
        conventions: fields of ``Conventions`` that the file cannot tell; '' and 0.0 mean as its
            origin has it.

    Raises:
        InputError: for a file that cannot be read or is of another network, with all names and
            shapes that do not fit, or for conventions that do not go with its input channels.
    """
    if not pathlib.Path(path).exists():
        raise missing_file_error(path, name)
    if pathlib.Path(path).is_dir():
        return load_own_run(path, name=name, width=width, conventions=conventions or {})
    return from_weight_file(read_weight_file(path), name=name, width=width, conventions=conventions)


def from_weight_file(
    file: WeightFile,
    *,
    name: str,
    width: float = 1.0,
    conventions: Mapping[str, object] | None = None,
) -> Pretrained:
    """``load_pretrained`` of a file that has been read."""
    if name not in FAMILIES:
        raise InputError(
            f'nobody publishes weights of config.model.name={name!r}: give the workdir of a run '
            f'as config.model.init_from, or choose one of {", ".join(FAMILIES)}'
        )
    reading = read_as(file, name, width)
    if reading.problems:
        raise misfit_error(file, name, width, reading.problems)
    arrays, problems = convert(file.arrays, reading.entries)
    if problems:
        raise InputError(f'{file.path} is damaged: {problems}')
    family, origin = FAMILIES[name], NAMINGS[reading.naming].origin
    resolved = with_overrides(CONVENTIONS[origin, family], conventions or {})
    _check_channels(file, reading.in_channels, resolved.normalisation)
    notes = [NOTES[reading.naming, family]] if (reading.naming, family) in NOTES else []
    if num_classes(file.arrays, reading.entries) == BACKGROUND_CLASSES:
        notes.append('the background class, the first of 1001, is left out')
    arrays |= _defaults(arrays, name, width, reading.in_channels)
    return Pretrained(
        source=str(file.path),
        name=name,
        origin=origin,
        conventions=resolved,
        in_channels=reading.in_channels,
        params={path: array for path, array in arrays.items() if not is_statistic(path)},
        batch_stats={path: array for path, array in arrays.items() if is_statistic(path)},
        names={entry.name: entry.path for entry in reading.entries},
        notes=tuple(notes),
    )


def _defaults(arrays, name, width, in_channels):
    """Scales and shifts of batch normalisations that have none in the file."""
    values = {'scale': np.ones, 'bias': np.zeros}
    return {
        path: values[path[-1]](shape, np.float32)
        for path, shape in array_shapes(name, width, in_channels).items()
        if path[0] == 'backbone' and path not in arrays
    }


def _check_channels(file, in_channels, normalisation):
    means, _, reverse = NORMALISATIONS[normalisation]
    if in_channels == 1 and (len(set(means)) > 1 or reverse):
        raise InputError(
            f'{file.path} takes pictures of 1 channel, and normalisation={normalisation!r} is for '
            '3: set --config.model.conventions.normalisation=tf, or give weights for 3 channels'
        )
