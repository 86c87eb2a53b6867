"""A run's config and model as lines of text."""

from __future__ import annotations

import collections
import math

import jax
from flax import nnx
from ml_collections import ConfigDict

from pneumo_jax.models import NUM_STAGES, param_stages

__all__ = ['config_lines', 'model_lines']


def config_lines(config: ConfigDict, default: ConfigDict) -> list[str]:
    """Every field of a config, those that differ from the default marked with ``*``.

    Args:
        config: to be shown.
        default: of the same fields, in the order to show them in.
    """
    rows = [(field, _get(config, field), usual) for field, usual in _fields(default)]
    width = max(len(field) for field, *_ in rows)
    return [
        f'  {field:<{width}}  {value!r}'
        if _same(value, usual)
        else f'* {field:<{width}}  {value!r}  (default {usual!r})'
        for field, value, usual in rows
    ]


def model_lines(params, batch_stats, graph: nnx.GraphDef) -> list[str]:
    """A table of the parameters by stage of the backbone and part on it.

    Args:
        params: of a ``FilmModel``, nested dict of arrays or their shapes.
        batch_stats: of the same model; they are counted apart, as nothing learns them.
        graph: of the model.
    """
    counts = _counts(params, graph)
    statistics = _counts(batch_stats, graph)
    total = sum(counts.values())
    width = max(map(len, counts))
    return [
        f'  {"":<{width}}{"parameters":>14}{"share":>8}{"running statistics":>20}',
        *(
            f'  {part:<{width}}{count:>14,}{count / total:>8.1%}{statistics[part]:>20,}'
            for part, count in counts.items()
        ),
        f'  {"total":<{width}}{total:>14,}{1:>8.0%}{sum(statistics.values()):>20,}',
    ]


def _counts(tree, graph):
    """Numbers of a tree like the parameters, by the names of stages and of parts behind them."""
    counts = collections.Counter()
    stages = jax.tree.leaves(param_stages(graph, tree))
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    for stage, (path, leaf) in sorted(zip(stages, leaves, strict=True), key=lambda row: row[0]):
        name = f'backbone, stage {stage}' if stage < NUM_STAGES else path[0].key.replace('_', ' ')
        counts[name] += math.prod(leaf.shape)
    return counts


def _fields(section, prefix=''):
    """(dotted name, value) of all fields."""
    # A ConfigDict's own iteration is by the alphabet; what it holds is in the order of the file.
    for name in getattr(section, '_fields', section):
        value = section[name]
        if isinstance(value, ConfigDict):
            yield from _fields(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


def _get(config, field):
    for name in field.split('.'):
        config = config[name]
    return config


def _same(value, usual):
    return value == usual or (isinstance(value, list) and tuple(value) == usual)
