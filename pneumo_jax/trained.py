"""A trained model from its workdir, as evaluation and prediction use it: the best checkpoint."""

from __future__ import annotations

import dataclasses

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from pneumo_jax.checkpoint import Checkpoints
from pneumo_jax.optimizer import make_plateau, make_run_optimizer
from pneumo_jax.run_config import load_run
from pneumo_jax.sharding import abstract_replicated, check_batch_size, make_mesh
from pneumo_jax.state import Graphs, create_state, model_graphs, params_sha256
from pneumo_jax.thresholds import Thresholds

__all__ = ['TrainedModel', 'load_trained']


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """The best checkpoint of a run.

    Attributes:
        config: of the run.
        image_size: side in pixels of the pictures that it was trained on.
        decoding: of those pictures, as in the manifest: ``exact`` or ``dct_scaled``.
        mesh: over all devices; ``state`` stands on each.
        graphs: of the model.
        params: of the best epoch: their moving average where the run kept one.
        batch_stats: of the best epoch, likewise.
        step: at which it ended.
        thresholds: chosen on validation in that epoch.
        epoch: the best epoch, counted from 1.
        data: what the run knows of its data and of the weights it started from, as of
            ``run_config.Run``.
    """

    config: ConfigDict
    image_size: int
    decoding: str
    mesh: Mesh
    graphs: Graphs
    params: dict
    batch_stats: dict
    step: int
    thresholds: Thresholds
    epoch: int
    data: dict

    @property
    def sha256(self) -> str:
        """Of the parameters."""
        return params_sha256(self.params)


def load_trained(workdir) -> TrainedModel:
    """Loads the best checkpoint of a workdir.

    Raises:
        InputError: if the workdir holds no run with a finished checkpoint.
    """
    run = load_run(workdir)
    config = run.config
    mesh = make_mesh()
    check_batch_size(config.eval.batch_size, mesh, 'config.eval.batch_size')
    graphs = model_graphs(config)
    # The optimizer's state is part of a checkpoint; its shape does not depend on the schedule.
    tx = make_run_optimizer(config, learning_rate=lambda step: 0.0, graph=graphs.eval)
    like = abstract_replicated(
        jax.eval_shape(lambda: create_state(config, tx, make_plateau(config))), mesh
    )
    with Checkpoints(workdir, read_only=True) as checkpoints:
        state, meta = checkpoints.restore_best(like)
    params, batch_stats = jax.block_until_ready(state.best_guess)
    return TrainedModel(
        config=config,
        image_size=run.data['image_size'],
        # Runs that do not say are older than the other way.
        decoding=run.data.get('decoding', 'exact'),
        mesh=mesh,
        graphs=graphs,
        params=params,
        batch_stats=batch_stats,
        step=int(state.step),
        thresholds=Thresholds(**meta['thresholds']),
        epoch=meta['epoch'],
        data=run.data,
    )
