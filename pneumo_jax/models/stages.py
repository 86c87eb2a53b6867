"""Which of a backbone's five stages a parameter belongs to."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

__all__ = ['NUM_STAGES', 'param_stages']

NUM_STAGES = 5


def param_stages(model: nnx.Module | nnx.GraphDef, params) -> Any:
    """The stage of every parameter.

    Args:
        model: a ``FilmModel`` or ``Classifier``, or its graph.
        params: nested dict of its parameters, as ``TrainState.params`` has it; any leaves.

    Returns:
        A tree like ``params`` of integers: 0 (the shallowest) to 4 for the groups of the
        backbone's ``stage_prefixes``, ``NUM_STAGES`` for all that sits on the backbone.
    """
    prefixes = {
        ('backbone', *prefix.split('.')): stage
        for stage, group in enumerate(_stage_prefixes(model))
        for prefix in group
    }

    def stage_of(path, _):
        names = tuple(str(key.key) for key in path)
        if names[0] != 'backbone':
            return NUM_STAGES
        return next(prefixes[names[:n]] for n in range(len(names)) if names[:n] in prefixes)

    return jax.tree_util.tree_map_with_path(stage_of, params)


def _stage_prefixes(model):
    if isinstance(model, nnx.Module):
        return model.backbone.stage_prefixes
    return next(static.value for name, static in model.attributes if name == 'stage_prefixes')
