"""Everything that a run is made of, checked before anything is computed."""

from __future__ import annotations

import copy
import dataclasses
import functools
import logging
import pathlib
from collections.abc import Callable
from fractions import Fraction

import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from pneumo_jax import scoring
from pneumo_jax.config_checks import check_config
from pneumo_jax.data.extra_films import ExtraFilms, make_extra_films
from pneumo_jax.data.pipeline import FilmSplit, check_enough_films
from pneumo_jax.data.sampling import EpochOrder
from pneumo_jax.data.shards import load_manifest
from pneumo_jax.durations import epoch_ends, read_steps
from pneumo_jax.early_stopping import EarlyStopping, make_early_stopping
from pneumo_jax.errors import InputError
from pneumo_jax.initial import Start, resolve_start
from pneumo_jax.optimizer import make_plateau, make_run_optimizer
from pneumo_jax.run_config import check_run
from pneumo_jax.schedules import make_schedule
from pneumo_jax.sharding import check_batch_size, make_mesh
from pneumo_jax.state import Graphs, model_graphs
from pneumo_jax.steps import make_train_step
from pneumo_jax.transfer import WHOLE, Phase, current_phase, make_phases, read_transfer

__all__ = ['Plan', 'log_warnings', 'make_plan', 'phase_lines']

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run, before its first step.

    Attributes:
        config: with all that follows from data and weights filled in.
        start: the weights it starts from.
        manifest: of the shards.
        mesh: over all devices.
        train_split, validation_split: the films.
        extra: the weakly labelled films beside the training films, if any.
        epoch_order: the order of the training films in each epoch.
        epoch_ends: the steps after which each epoch is over, the last that of the run.
        save_every: steps between two checkpoints inside an epoch; 0: none.
        phases: which stages learn when.
        schedule: learning rate as a function of the step.
        graphs: of the model.
        tx: the optimizer.
        plateau: of ``optimizer.make_plateau``.
        early_stopping: the rule.
        train_step_at: the jitted step of training for a step of the run.
    """

    config: ConfigDict
    start: Start
    manifest: dict
    mesh: Mesh
    train_split: FilmSplit
    validation_split: FilmSplit
    extra: ExtraFilms | None
    epoch_order: EpochOrder
    epoch_ends: list[int]
    save_every: int
    phases: tuple[Phase, ...]
    schedule: optax.Schedule
    graphs: Graphs
    tx: optax.GradientTransformation
    plateau: optax.GradientTransformation | None
    early_stopping: EarlyStopping
    train_step_at: Callable[[int], Callable]

    def check(self, workdir: pathlib.Path, *, force: bool = False) -> None:
        """Refuses a workdir that holds a run of another config or data (``run_config.check_run``).

        Args:
            workdir: of the run.
            force: warn instead.
        """
        check_run(
            self.config,
            workdir,
            manifest=self.manifest,
            extra=self.extra_fingerprints,
            init=self.start.init,
            force=force,
        )

    @property
    def extra_fingerprints(self) -> tuple[str, ...]:
        """Of the shards of the weakly labelled films."""
        return () if self.extra is None else self.extra.fingerprints


def make_plan(config: ConfigDict, workdir: pathlib.Path) -> Plan:
    """The run of a config; reads headers and tables, and computes nothing.

    Args:
        config: fields as in ``configs/base.py``.
        workdir: of the run; read where it holds one already.

    Raises:
        InputError: for data or a config that cannot be trained with.
    """
    check_config(config)
    manifest = load_manifest(config.data.dir)
    mesh = make_mesh()
    _check_sizes(config, manifest, mesh)
    train_split = FilmSplit(config.data.dir, 'train')
    validation_split = FilmSplit(config.data.dir, config.data.validation_split)
    check_enough_films(train_split, config.batch_size)
    _check_boxes(config, manifest)
    extra = make_extra_films(config)
    num_extra = 0 if extra is None else extra.num_rows
    steps_per_epoch = Fraction(len(train_split), config.batch_size - num_extra)
    ends = epoch_ends(config, steps_per_epoch=steps_per_epoch)
    phases = make_phases(config, steps_per_epoch=steps_per_epoch)
    start = resolve_start(_balanced(config, manifest), workdir)
    config = start.config
    schedule = make_schedule(config, num_steps=ends[-1], steps_per_epoch=steps_per_epoch)
    graphs = model_graphs(config)
    phase_step = functools.cache(functools.partial(_make_phase_step, config, schedule))
    return Plan(
        config=config,
        start=start,
        manifest=manifest,
        mesh=mesh,
        train_split=train_split,
        validation_split=validation_split,
        extra=extra,
        epoch_order=EpochOrder(train_split, config),
        epoch_ends=ends,
        save_every=read_steps(config.checkpoint, 'every', steps_per_epoch=steps_per_epoch),
        phases=phases,
        schedule=schedule,
        graphs=graphs,
        tx=make_run_optimizer(config, learning_rate=schedule, graph=graphs.train),
        plateau=make_plateau(config),
        early_stopping=make_early_stopping(
            config, num_steps=ends[-1], steps_per_epoch=steps_per_epoch
        ),
        train_step_at=lambda step: phase_step(current_phase(phases, step)),
    )


def log_warnings(plan: Plan) -> None:
    """Warns of what can be trained and will hardly be meant."""
    if not plan.manifest['splits']['train']['boxes']:
        log.warning(
            'no training film has a box: the model learns to call films, and its boxes mean nothing'
        )
    if not plan.config.model.init_from and not read_transfer(plan.config).is_plain:
        log.warning(
            'config.transfer is meant for pretrained weights, and config.model.init_from is empty: '
            'stages that do not learn stay random'
        )


def phase_lines(plan: Plan) -> list[str]:
    """What learns from when on, where that is not all from the start."""
    return [
        f'from step {phase.start} on learn: '
        + ', '.join(['the heads', *(f'stage {stage}' for stage in phase.learning[:-1])])
        for phase in plan.phases
        if len(plan.phases) > 1 or phase.learning != WHOLE.learning
    ]


def _check_sizes(config, manifest, mesh):
    image_size = manifest['image_size']
    if image_size % 32:
        raise InputError(
            f'the pictures in {config.data.dir} are {image_size} px wide; the models halve them '
            f'five times: convert with --image_size={max(32, round(image_size / 32) * 32)}'
        )
    check_batch_size(config.eval.batch_size, mesh, 'config.eval.batch_size')
    check_batch_size(config.batch_size, mesh, 'config.batch_size')
    parts = config.accumulation_steps
    if config.batch_size % (parts * mesh.devices.size):
        whole = parts * mesh.devices.size
        raise InputError(
            f'config.batch_size={config.batch_size} must divide by config.accumulation_steps='
            f'{parts} times {mesh.devices.size} devices; try --config.batch_size='
            f'{max(whole, config.batch_size // whole * whole)}'
        )


def _check_boxes(config, manifest):
    watched, split = config.early_stopping.metric, config.data.validation_split
    if watched in scoring.LOCATION_FIGURES and not manifest['splits'][split]['boxes']:
        raise InputError(
            f'config.early_stopping.metric={watched!r} is undefined on split {split!r} of '
            f'{config.data.dir}, which has no box: choose --config.early_stopping.metric=auroc '
            '--config.early_stopping.mode=max'
        )


def _balanced(config, manifest):
    """The config with the weight of positive films that balances the classes, if asked for."""
    if config.loss.film != 'weighted_bce' or config.loss.positive_weight:
        return config
    counts = manifest['splits']['train']
    positives, negatives = counts['positives'], counts['films'] - counts['positives']
    if not positives or not negatives:
        raise InputError(
            f'config.loss.positive_weight=0 balances the classes of the training films, and '
            f'{config.data.dir} has {positives} positive and {negatives} negative ones: set '
            '--config.loss.positive_weight=1'
        )
    config = copy.deepcopy(config)
    config.loss.positive_weight = negatives / positives
    return config


def _make_phase_step(config, schedule, phase):
    graphs = model_graphs(config, fixed_norms=phase.fixed_norms)
    tx = make_run_optimizer(config, learning_rate=schedule, graph=graphs.train, phase=phase)
    return make_train_step(graphs=graphs, tx=tx, schedule=schedule, config=config, phase=phase)
