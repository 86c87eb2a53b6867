"""A run's config and model as lines of text."""

from __future__ import annotations

import collections
import math

import jax
from flax import nnx
from ml_collections import ConfigDict

from pneumo_jax.config_rows import config_rows
from pneumo_jax.models import NUM_STAGES, param_stages

__all__ = ['config_lines', 'model_lines']


def config_lines(config: ConfigDict, default: ConfigDict) -> list[str]:
    """Every field of a config, those that differ from the default marked with ``*``.

    Args:
        config: to be shown.
        default: of the same fields, in the order to show them in.
    """
    rows = config_rows(config, default)
    width = max(len(row.field) for row in rows)
    return [
        f'* {row.field:<{width}}  {row.value!r}  (default {row.default!r})'
        if row.differs
        else f'  {row.field:<{width}}  {row.value!r}'
        for row in rows
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
