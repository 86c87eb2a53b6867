"""The training loop and nothing else."""

from __future__ import annotations

import dataclasses
import logging
import math
import pathlib
import time

import jax
from ml_collections import ConfigDict

from pneumo_jax import narration, scoring
from pneumo_jax.checkpoint import Checkpoints, workdir_lock
from pneumo_jax.data.extra_films import mixed_batches
from pneumo_jax.device_memory import explained_out_of_memory
from pneumo_jax.early_stopping import Progress
from pneumo_jax.environment import environment
from pneumo_jax.errors import InputError, Interrupted
from pneumo_jax.initial import initial_state
from pneumo_jax.optimizer import plateau_step
from pneumo_jax.plan import Plan, make_plan
from pneumo_jax.progress_line import ProgressLine
from pneumo_jax.run_config import save_run, saved_environment
from pneumo_jax.samples import sample_overlays
from pneumo_jax.sharding import replicate, shard_batch
from pneumo_jax.signals import StopSignals
from pneumo_jax.state import TrainState, create_state
from pneumo_jax.steps import make_eval_step
from pneumo_jax.writers import MetricsWriter

__all__ = ['train']

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Memory:
    """What a run remembers beside its state, saved with each checkpoint.

    Attributes:
        progress: of early stopping.
        epoch: epochs finished, their validation included.
        totals: sums of the training figures over the steps of the epoch under way.
    """

    progress: Progress = dataclasses.field(default_factory=Progress)
    epoch: int = 0
    totals: dict[str, float] = dataclasses.field(default_factory=dict)


def train(
    config: ConfigDict,
    workdir: str | pathlib.Path,
    *,
    force_config: bool = False,
    ends_process: bool = False,
) -> TrainState:
    """Trains until the epochs are done or early stopping ends the run, and goes on where it was.

    A run that was interrupted at any moment goes on from its last checkpoint and ends with the
    same parameters, to the bit, as one that never was (same software and devices). SIGTERM and
    SIGINT end it after the step under way, its state saved.

    Args:
        config: fields as in ``configs/base.py``.
        workdir: folder of the run; receives config.json, checkpoints/, metrics.jsonl and
            tensorboard/, and init_report.json where ``config.model.init_from`` is given.
        force_config: go on with a run although it had another config.
        ends_process: the process ends when training does (``signals.StopSignals``).

    Returns:
        The last state. The best one is in the checkpoints.

    Raises:
        InputError: for data, config or workdir that cannot be trained with, or a run that diverged.
        Interrupted: if a signal ended the run before its end.
    """
    began = time.monotonic()
    workdir = pathlib.Path(workdir)
    with StopSignals(ends_process=ends_process) as stop:
        plan = make_plan(config, workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        with (
            explained_out_of_memory(plan.config, num_devices=plan.mesh.devices.size),
            workdir_lock(workdir),
        ):
            plan.check(workdir, force=force_config)
            with Checkpoints(workdir) as checkpoints:
                state, memory = _restore_or_begin(plan, workdir, checkpoints)
                run = _Run(plan, workdir, checkpoints, stop, state, memory, began)
                run.train()
    return run.state


def _restore_or_begin(plan, workdir, checkpoints):
    state = replicate(create_state(plan.config, plan.tx, plan.plateau), plan.mesh)
    memory = Memory()
    if (restored := checkpoints.restore_latest(state)) is not None:
        state, meta = restored
        memory = Memory(Progress(**meta['progress']), meta['epoch'], meta['totals'])
        if checkpoints.best_is_lost:
            # Nothing is left to be better than.
            memory.progress = Progress()
        log.info('going on after epoch %d, at step %d', memory.epoch, state.step)
    else:
        state = initial_state(
            state,
            plan.start,
            graphs=plan.graphs,
            split=plan.train_split,
            mesh=plan.mesh,
            workdir=workdir,
        )
    now = environment()
    narration.log_start(plan, state, before=saved_environment(workdir), now=now)
    save_run(
        plan.config,
        workdir,
        manifest=plan.manifest,
        extra=plan.extra_fingerprints,
        environment=now,
        init=plan.start.init,
    )
    return state, memory


class _Run:
    """A run under way: ``state`` and ``memory`` are always those of one moment."""

    def __init__(self, plan: Plan, workdir, checkpoints, stop, state, memory, began):
        self.plan, self.workdir, self.checkpoints, self.stop = plan, workdir, checkpoints, stop
        self.state, self.memory, self.began = state, memory, began
        self.eval_step = make_eval_step(graphs=plan.graphs, config=plan.config)

    def train(self) -> None:
        """All epochs that are left."""
        plan = self.plan
        with (
            MetricsWriter(
                self.workdir, resume_step=int(self.state.step), resume_epoch=self.memory.epoch
            ) as self.writer,
            ProgressLine(
                num_steps=plan.epoch_ends[-1],
                first_step=int(self.state.step),
                batch_size=plan.config.batch_size,
                epochs=len(plan.epoch_ends),
            ) as self.line,
        ):
            if not int(self.state.step):
                described = narration.describe_plan(plan, self.state.params, self.state.batch_stats)
                self.writer.write_text(0, 'run', '\n'.join(described))
            while not self._is_over():
                self._train_epoch(epoch=self.memory.epoch + 1)
                validated = not self.stop.requested and self._validate(self.memory.epoch + 1)
                if self.stop.requested and not self._is_over():
                    if not validated:
                        self._save()
                    raise Interrupted(
                        f'{self.stop.requested.name}: stopped at step {self.state.step} of '
                        f'{plan.epoch_ends[-1]}, which is saved; the same command goes on from it'
                    )
        narration.log_end(plan, self.state, self.memory.progress)

    def _is_over(self) -> bool:
        memory = self.memory
        return memory.epoch == len(self.plan.epoch_ends) or self.plan.early_stopping.should_stop(
            memory.progress
        )

    def _train_epoch(self, epoch: int) -> None:
        """Steps to the end of the epoch, or to a signal."""
        plan, end = self.plan, self.plan.epoch_ends[epoch - 1]
        steps = range(int(self.state.step), end)
        batches = mixed_batches(
            plan.train_split,
            plan.extra,
            epoch_order=plan.epoch_order,
            batch_size=plan.config.batch_size,
            parts=plan.config.accumulation_steps,
            steps=steps,
        )
        pending = None
        for step, (batch, ids) in zip(steps, batches, strict=True):
            batch = shard_batch(batch, plan.mesh)
            self.state, metrics = plan.train_step_at(step)(self.state, batch)
            # The figures of the step before are read while this one runs.
            if pending is not None:
                self._note(*pending)
            pending = step + 1, epoch, metrics, ids
            saves = plan.save_every and (step + 1) % plan.save_every == 0 and step + 1 < end
            if saves or self.stop.requested:
                # No state is saved before its figures have been found finite.
                self._note(*pending)
                pending = None
            if self.stop.requested:
                break
            if saves:
                self._save()
        if pending is not None:
            self._note(*pending)

    def _note(self, step, epoch, metrics, ids) -> None:
        """Reads a step's figures into the memory, the curves and the progress line."""
        metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
        _check_finite(metrics, step, ids)
        if self.began is not None:
            log.info('first step done %.1f s after the start', time.monotonic() - self.began)
            self.began = None
        totals = self.memory.totals
        for name, value in metrics.items():
            totals[name] = totals.get(name, 0.0) + value
        every = self.plan.config.logging.every_steps
        if every and step % every == 0:
            self.writer.write(step, _prefixed(step=metrics))
        self.line.update(step, epoch, metrics['loss'])

    def _validate(self, epoch: int) -> bool:
        """Looks at the validation films and saves; False if a signal came in between."""
        plan, config = self.plan, self.plan.config
        params, batch_stats = self.state.best_guess
        films = scoring.score_split(
            plan.validation_split,
            eval_step=self.eval_step,
            params=params,
            batch_stats=batch_stats,
            mesh=plan.mesh,
            config=config,
            stop=lambda: bool(self.stop.requested),
        )
        if films is None:
            return False
        step, memory = plan.epoch_ends[epoch - 1], self.memory
        validation = scoring.validation_figures(films, config.loss)
        thresholds = scoring.choose_thresholds(films, learn_shrink=config.eval.learn_shrink)
        progress = plan.early_stopping.update(memory.progress, validation, step=step, epoch=epoch)
        improved = progress.best_step == step
        figures = self._epoch_means(epoch)
        if plan.plateau is not None:
            rule = config.early_stopping
            plateau = plateau_step(
                plan.plateau, self.state.plateau, validation[rule.metric], rule.mode
            )
            self.state = self.state.replace(plateau=replicate(plateau, plan.mesh))
        # Before the checkpoint: a run killed between the two does this epoch again and
        # replaces the line; the other way round, the line would be missing for good.
        self.writer.write(step, _prefixed(train=figures, validation=validation), epoch=epoch)
        self.writer.write_images(
            step,
            sample_overlays(
                films, plan.validation_split, thresholds, count=config.logging.num_overlays
            ),
        )
        self.memory = Memory(progress, epoch)
        self._save(thresholds=dataclasses.asdict(thresholds), improved=improved)
        narration.log_epoch(
            plan, epoch, figures, validation, improved=improved, time_left=self.line.time_left()
        )
        return True

    def _epoch_means(self, epoch):
        """Of the training figures over the epoch's steps; the learning rate is the last step's."""
        ends = [0, *self.plan.epoch_ends]
        num_steps = ends[epoch] - ends[epoch - 1]
        figures = {name: total / num_steps for name, total in self.memory.totals.items()}
        scale = 1.0 if self.state.plateau is None else float(self.state.plateau.scale)
        figures['learning_rate'] = float(self.plan.schedule(ends[epoch] - 1)) * scale
        return figures | {'films_per_second': self.line.films_per_second}

    def _save(self, thresholds=None, *, improved=False) -> None:
        memory = dataclasses.asdict(self.memory)
        self.checkpoints.save(
            int(self.state.step), self.state, memory | {'thresholds': thresholds}, improved=improved
        )


def _check_finite(metrics, step, ids):
    bad = [name for name, value in metrics.items() if not math.isfinite(value)]
    if bad:
        raise InputError(
            f'the training diverged: {", ".join(f"{name} is {metrics[name]}" for name in bad)} in '
            f'step {step}, on the films {", ".join(ids)}; the last good state is in the '
            'checkpoints. Try a lower --config.learning_rate in a new --workdir, or '
            '--config.optimizer.clip_norm=1, or look at these films'
        )


def _prefixed(**groups):
    return {f'{group}/{k}': v for group, values in groups.items() for k, v in values.items()}
