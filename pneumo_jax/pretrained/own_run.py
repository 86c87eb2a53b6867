"""Weights of a run of this project, from its workdir."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from flax import traverse_util

from pneumo_jax.errors import InputError
from pneumo_jax.models.conventions import OWN
from pneumo_jax.pretrained.result import Pretrained, dotted, with_overrides
from pneumo_jax.run_config import load_run
from pneumo_jax.trained import load_trained

__all__ = ['load_own_run']


def load_own_run(
    workdir, *, name: str, width: float, conventions: Mapping[str, object]
) -> Pretrained:
    """The whole model of a run's best checkpoint.

    Args:
        workdir: of the run.
        name: of the backbone that it must have.
        width: that it must have.
        conventions: fields to override.

    Raises:
        InputError: for a folder without a finished checkpoint, or with another network.
    """
    model = load_run(workdir).config.model
    if (model.name, model.width) != (name, width):
        raise InputError(
            f'{workdir} holds a run of {model.name}, width {model.width}, not of {name}, width '
            f'{width}: set --config.model.name={model.name} --config.model.width={model.width}, '
            'or give another config.model.init_from'
        )
    trained = load_trained(workdir)
    params, batch_stats = (
        {path: np.asarray(leaf) for path, leaf in traverse_util.flatten_dict(tree).items()}
        for tree in (trained.params, trained.batch_stats)
    )
    return Pretrained(
        source=str(workdir),
        name=name,
        origin='pneumo_jax',
        conventions=with_overrides(with_overrides(OWN, model.conventions), conventions),
        in_channels=model.in_channels,
        params=params,
        batch_stats=batch_stats,
        names={dotted(path): path for path in (*params, *batch_stats)},
    )
