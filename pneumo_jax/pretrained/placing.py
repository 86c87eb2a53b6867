"""Weights into the nested dicts of a model's arrays."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import traverse_util

from pneumo_jax.errors import InputError
from pneumo_jax.pretrained.matching import Problems
from pneumo_jax.pretrained.result import Pretrained, dotted

__all__ = ['place']


def place(pretrained: Pretrained, params: Any, batch_stats: Any) -> tuple[Any, Any, dict]:
    """Puts weights in the place of a model's initial ones.

    The backbone must be given in full. What sits on it is taken where the model has it: the top of
    a ``Classifier``; the heads of a ``FilmModel``, where a run of ours gives them and their shapes
    agree.

    Args:
        pretrained: the weights.
        params: nested dict of arrays, as ``TrainState.params``; it is not changed.
        batch_stats: the same of the statistics.

    Returns:
        New ``params`` and ``batch_stats``, and the report: ``loaded``, name in the file -> dotted
        path of our array; ``skipped``, name in the file -> why; ``newly initialised``, the dotted
        paths of arrays that keep their initial values.

    Raises:
        InputError: lists all names and shapes of the backbone that do not fit.
    """
    flat = {
        'params': traverse_util.flatten_dict(params),
        'batch_stats': traverse_util.flatten_dict(batch_stats),
    }
    given = {'params': pretrained.params, 'batch_stats': pretrained.batch_stats}
    skipped = {
        path: reason
        for kind, arrays in given.items()
        for path, array in arrays.items()
        if (reason := _reason_to_skip(path, array, flat[kind]))
    }
    _check(pretrained, flat, given, skipped)
    placed = {
        kind: {
            path: jnp.asarray(arrays[path], leaf.dtype)
            if path in (arrays := given[kind]) and path not in skipped
            else leaf
            for path, leaf in leaves.items()
        }
        for kind, leaves in flat.items()
    }
    names = pretrained.names
    report = {
        'loaded': {name: dotted(path) for name, path in names.items() if path not in skipped},
        'skipped': {name: skipped[path] for name, path in names.items() if path in skipped},
        'newly initialised': [
            dotted(path)
            for kind, leaves in flat.items()
            for path in leaves
            if path not in given[kind] or path in skipped
        ],
    }
    return (
        traverse_util.unflatten_dict(placed['params']),
        traverse_util.unflatten_dict(placed['batch_stats']),
        report,
    )


def _reason_to_skip(path, array, leaves):
    """Why an array outside the backbone has no place, or ''."""
    if path[0] == 'backbone':
        return ''
    if path[0] == 'top' and not any(other[0] == 'top' for other in leaves):
        return 'classifier of the network it was trained as'
    if path not in leaves:
        return 'the model has no such part'
    if path[0] != 'top' and array.shape != leaves[path].shape:
        return f'its shape {array.shape} is not the shape {leaves[path].shape} of the model'
    return ''


def _check(pretrained, flat, given, skipped):
    missing, unknown, shapes = [], [], {}
    for kind, leaves in flat.items():
        arrays = {path: array for path, array in given[kind].items() if path not in skipped}
        missing += [path for path in leaves if path[0] == 'backbone' and path not in arrays]
        unknown += [path for path in arrays if path not in leaves]
        shapes |= {
            dotted(path): (array.shape, tuple(leaves[path].shape))
            for path, array in arrays.items()
            if path in leaves and array.shape != leaves[path].shape
        }
    problems = Problems(tuple(map(dotted, missing)), tuple(map(dotted, unknown)), shapes)
    if problems:
        raise InputError(
            f'the weights of {pretrained.name} in {pretrained.source} do not fit the model: build '
            f'it with the same config.model.name and width, and in_channels='
            f'{pretrained.in_channels}. {problems}'
        )
