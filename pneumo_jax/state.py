"""What a training step changes, as one pytree of plain dicts."""

from __future__ import annotations

import hashlib
import operator
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx, traverse_util

from pneumo_jax.models import build_model, param_stages

__all__ = ['Graphs', 'TrainState', 'create_state', 'model_graphs', 'new_ema', 'params_sha256']


@flax.struct.dataclass
class TrainState:
    """Parameters and all else that resuming needs; random keys follow from seed and step.

    Attributes:
        step: int32 scalar, steps done.
        params: nested dict of float32 arrays.
        batch_stats: nested dict, running mean and variance of batch normalisation.
        opt_state: of the optax transformation.
        ema: moving averages of both under the names ``params`` and ``batch_stats``; None without
            ``config.optimizer.ema_decay``.
        plateau: of ``optimizer.make_plateau``; None under other schedules.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any = None
    plateau: Any = None

    @property
    def best_guess(self) -> tuple[Any, Any]:
        """(params, batch_stats) to validate and predict with: the averages where there are any."""
        if self.ema is None:
            return self.params, self.batch_stats
        return self.ema['params'], self.ema['batch_stats']


@flax.struct.dataclass
class Graphs:
    """The model's structure in its two modes; ``nnx.merge(graph, params, batch_stats)`` calls it.

    Attributes:
        train: batch statistics of the batch, dropout on.
        eval: running statistics, dropout off.
    """

    train: nnx.GraphDef = flax.struct.field(pytree_node=False)
    eval: nnx.GraphDef = flax.struct.field(pytree_node=False)


def model_graphs(config, *, fixed_norms: tuple[int, ...] = ()) -> Graphs:
    """The graphs of ``config.model``, without any parameter.

    Args:
        config: a run's config.
        fixed_norms: stages of the network whose batch norms use and keep their running statistics
            in training too.
    """
    model = nnx.eval_shape(lambda: _build(config, jax.random.key(0)))
    modes = {
        'train': nnx.view(model, use_running_average=False, deterministic=False),
        'eval': nnx.view(model, use_running_average=True, deterministic=True),
    }
    batch_stats = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
    stages = traverse_util.flatten_dict(param_stages(model, batch_stats))
    fixed = {path[:-1] for path, stage in stages.items() if stage in fixed_norms}
    modes['train'] = nnx.view(
        modes['train'],
        only=lambda path, _: path in fixed,
        raise_if_not_found=False,
        use_running_average=True,
    )
    return Graphs(
        **{mode: nnx.split(view, nnx.Param, nnx.BatchStat)[0] for mode, view in modes.items()}
    )


def create_state(
    config,
    tx: optax.GradientTransformation,
    plateau: optax.GradientTransformation | None = None,
) -> TrainState:
    """A new state with the initial parameters of ``config.seed``.

    Args:
        config: a run's config.
        tx: the optimizer.
        plateau: of ``optimizer.make_plateau``.
    """

    @jax.jit
    def init(key):
        _, params, batch_stats = nnx.split(_build(config, key), nnx.Param, nnx.BatchStat)
        params, batch_stats = nnx.to_pure_dict(params), nnx.to_pure_dict(batch_stats)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=batch_stats,
            opt_state=tx.init(params),
            ema=new_ema(config, params, batch_stats),
            plateau=None if plateau is None else plateau.init(params),
        )

    # The seed is an argument, so that another seed compiles nothing anew.
    return init(jax.random.key(config.seed))


def new_ema(config, params, batch_stats) -> dict | None:
    """Averages that begin as copies of parameters and statistics; None where none are wanted."""
    if not config.optimizer.ema_decay:
        return None
    return jax.tree.map(jnp.copy, {'params': params, 'batch_stats': batch_stats})


def params_sha256(params) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of a nested dict of arrays, in sorted order."""
    digest = hashlib.sha256()
    leaves = {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    for path, leaf in sorted(leaves.items(), key=operator.itemgetter(0)):
        digest.update(f'{path} {leaf.dtype} {leaf.shape}\n'.encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _build(config, key):
    return build_model(
        config.model,
        class_head=config.loss.class_weight > 0,
        weak_head=bool(config.data.extra_dirs),
        rngs=nnx.Rngs(params=key),
    )
