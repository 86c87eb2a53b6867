"""The training loop and nothing else."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import pathlib
import sys
import time

import jax
from ml_collections import ConfigDict
from tqdm import tqdm

from pneumo_jax import scoring
from pneumo_jax.checkpoint import Checkpoints, workdir_lock
from pneumo_jax.data.pipeline import FilmSplit, train_batches
from pneumo_jax.data.shards import load_manifest
from pneumo_jax.early_stopping import EarlyStopping, Progress
from pneumo_jax.errors import InputError
from pneumo_jax.initial import initial_state, resolve_start
from pneumo_jax.optimizer import make_run_optimizer, make_schedule
from pneumo_jax.run_config import check_run, save_run
from pneumo_jax.sharding import check_batch_size, make_mesh, replicate, shard_batch
from pneumo_jax.state import TrainState, create_state, model_graphs, params_sha256
from pneumo_jax.steps import make_eval_step, make_train_step
from pneumo_jax.transfer import WHOLE, current_phase, make_phases, read_transfer
from pneumo_jax.writers import MetricsWriter

__all__ = ['train']

log = logging.getLogger(__name__)


def train(config: ConfigDict, workdir: str | pathlib.Path) -> TrainState:
    """Trains until the epochs are done or early stopping ends the run, and goes on where it was.

    A run that was interrupted at any moment goes on from its last finished epoch and ends with
    the same parameters, to the bit, as one that never was (same software and devices).

    Args:
        config: fields as in ``configs/base.py``.
        workdir: folder of the run; receives config.json, checkpoints/, metrics.jsonl and
            tensorboard/, and init_report.json where ``config.model.init_from`` is given.

    Returns:
        The last state. The best one is in the checkpoints.

    Raises:
        InputError: for data, config or workdir that cannot be trained with.
    """
    workdir = pathlib.Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    manifest = load_manifest(config.data.dir)
    _check_image_size(manifest['image_size'], config.data.dir)
    mesh = make_mesh()
    check_batch_size(config.batch_size, mesh, 'config.batch_size')
    check_batch_size(config.eval.batch_size, mesh, 'config.eval.batch_size')
    train_split = FilmSplit(config.data.dir, 'train')
    validation_split = FilmSplit(config.data.dir, config.data.validation_split)
    early_stopping = EarlyStopping(**config.early_stopping)
    _check_boxes(manifest['splits'], config)

    epoch_ends = _epoch_ends(len(train_split), config)
    phases = make_phases(config, num_films=len(train_split))
    start = resolve_start(config, workdir)
    config = start.config
    schedule = make_schedule(
        config, num_steps=epoch_ends[-1], steps_per_epoch=len(train_split) / config.batch_size
    )
    phase_step = functools.cache(functools.partial(_make_phase_step, config, schedule))
    graphs = model_graphs(config)
    tx = make_run_optimizer(config, learning_rate=schedule, graph=graphs.train)
    eval_step = make_eval_step(graphs=graphs, config=config)

    with workdir_lock(workdir), Checkpoints(workdir) as checkpoints:
        check_run(config, workdir, manifest=manifest, init=start.init)
        state = replicate(create_state(config, tx), mesh)
        progress = Progress()
        if (restored := checkpoints.restore_latest(state)) is not None:
            state, meta = restored
            progress = Progress(**meta['progress'])
            log.info('going on after epoch %d, step %d', meta['epoch'], state.step)
        else:
            state = initial_state(
                state, start, graphs=graphs, split=train_split, mesh=mesh, workdir=workdir
            )
        save_run(config, workdir, manifest=manifest, init=start.init)
        first_epoch = 0 if restored is None else meta['epoch']
        _log_start(config, state, mesh, train_split, validation_split, epoch_ends)
        _log_phases(config, phases)

        with MetricsWriter(workdir, resume_step=int(state.step)) as writer:
            for epoch in range(first_epoch + 1, config.num_epochs + 1):
                if early_stopping.should_stop(progress):
                    break
                state, figures = _train_epoch(
                    state,
                    train_step_at=lambda step: phase_step(current_phase(phases, step)),
                    split=train_split,
                    mesh=mesh,
                    config=config,
                    end=epoch_ends[epoch - 1],
                    epoch=epoch,
                )
                films = scoring.score_split(
                    validation_split, eval_step=eval_step, state=state, mesh=mesh, config=config
                )
                validation = scoring.validation_figures(films)
                step = epoch_ends[epoch - 1]
                progress = early_stopping.update(progress, validation, step=step, epoch=epoch)
                improved = progress.best_step == step
                meta = {
                    'epoch': epoch,
                    'progress': dataclasses.asdict(progress),
                    'thresholds': dataclasses.asdict(scoring.choose_thresholds(films)),
                }
                figures['learning_rate'] = float(schedule(step - 1))
                # Before the checkpoint: a run killed between the two does this epoch again and
                # replaces the line; the other way round, the line would be missing for good.
                writer.write(step, _prefixed(train=figures, validation=validation), epoch=epoch)
                checkpoints.save(step, state, meta, improved=improved)
                _log_epoch(epoch, config, figures, validation, improved)

    _log_end(config, state, progress, early_stopping)
    return state


def _check_image_size(image_size, data_dir):
    if image_size % 32:
        raise InputError(
            f'the pictures in {data_dir} are {image_size} px wide; the models halve them five '
            f'times: convert with --image_size={max(32, round(image_size / 32) * 32)}'
        )


def _check_boxes(splits, config):
    watched, split = config.early_stopping.metric, config.data.validation_split
    if watched in scoring.LOCATION_FIGURES and not splits[split]['boxes']:
        raise InputError(
            f'config.early_stopping.metric={watched!r} is undefined on split {split!r} of '
            f'{config.data.dir}, which has no box: choose --config.early_stopping.metric=auroc '
            '--config.early_stopping.mode=max'
        )
    if not splits['train']['boxes']:
        log.warning(
            'no training film has a box: the model learns to call films, and its boxes mean nothing'
        )


def _epoch_ends(num_films: int, config) -> list[int]:
    """The step after which each epoch is over; batches run over epochs' borders."""
    if config.num_epochs < 1:
        raise InputError(f'config.num_epochs={config.num_epochs} must be 1 or more')
    return [
        math.ceil(epoch * num_films / config.batch_size)
        for epoch in range(1, config.num_epochs + 1)
    ]


def _make_phase_step(config, schedule, phase):
    graphs = model_graphs(config, fixed_norms=phase.fixed_norms)
    tx = make_run_optimizer(config, learning_rate=schedule, graph=graphs.train, phase=phase)
    return make_train_step(graphs=graphs, tx=tx, config=config, phase=phase)


def _train_epoch(state, *, train_step_at, split, mesh, config, end, epoch):
    """Steps up to ``end``; gives the state and the means of the training figures."""
    start = int(state.step)
    steps = range(start, end)
    began = time.monotonic()
    totals, last = {}, None
    batches = train_batches(split, batch_size=config.batch_size, seed=config.seed, steps=steps)
    # The bar goes to a terminal only; elsewhere one line an epoch is enough.
    bar = tqdm(
        batches,
        desc=f'epoch {epoch}/{config.num_epochs}',
        total=len(steps),
        unit='step',
        leave=False,
        disable=not sys.stderr.isatty(),
    )
    for step, batch in zip(steps, bar, strict=True):
        state, metrics = train_step_at(step)(state, shard_batch(batch, mesh))
        # The figures of the step before are read while this one runs.
        if last is not None:
            _add(totals, last, bar)
        last = metrics
    _add(totals, last, bar)
    seconds = time.monotonic() - began
    figures = {name: total / len(steps) for name, total in totals.items()}
    figures['films_per_second'] = len(steps) * config.batch_size / seconds
    return state, figures


def _add(totals, metrics, bar):
    metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
    if not math.isfinite(metrics['loss']):
        raise InputError(
            f'the training loss is {metrics["loss"]}; the last good state is in the checkpoints. '
            'Try a lower --config.learning_rate in a new --workdir'
        )
    for name, value in metrics.items():
        totals[name] = totals.get(name, 0.0) + value
    bar.set_postfix(loss=f'{metrics["loss"]:.3f}', refresh=False)


def _prefixed(**groups):
    return {f'{group}/{k}': v for group, values in groups.items() for k, v in values.items()}


def _log_start(config, state, mesh, train_split, validation_split, epoch_ends):
    log.info(
        '%s, %s parameters, on %d x %s; %d training and %d validation films; %d epochs, %d steps',
        config.model.name,
        f'{sum(p.size for p in jax.tree.leaves(state.params)):,}',
        mesh.devices.size,
        mesh.devices.flat[0].device_kind,
        len(train_split),
        len(validation_split),
        config.num_epochs,
        epoch_ends[-1],
    )


def _log_phases(config, phases):
    for phase in phases:
        if len(phases) > 1 or phase.learning != WHOLE.learning:
            stages = [f'stage {stage}' for stage in phase.learning[:-1]]
            log.info('from step %d on learn: %s', phase.start, ', '.join(['the heads', *stages]))
    if not config.model.get('init_from', '') and not read_transfer(config).is_plain:
        log.warning(
            'config.transfer is meant for pretrained weights, and config.model.init_from is empty: '
            'stages that do not learn stay random'
        )


def _log_epoch(epoch, config, figures, validation, improved):
    shown = {name: validation[name] for name in ('loss', 'auroc', 'challenge_map', 'mask_iou')}
    shown |= {config.early_stopping.metric: validation[config.early_stopping.metric]}
    log.info(
        'epoch %d/%d  loss %.4f  %.0f films/s  validation: %s%s',
        epoch,
        config.num_epochs,
        figures['loss'],
        figures['films_per_second'],
        '  '.join(f'{name} {value:.4f}' for name, value in shown.items()),
        '  *best' if improved else '',
    )


def _log_end(config, state, progress, early_stopping):
    reason = 'all epochs done'
    if early_stopping.should_stop(progress):
        reason = (
            f'stopped early, {progress.epochs_since_best} epochs without a better '
            f'{early_stopping.metric}'
        )
    log.info(
        '%s; best %s %.4f in epoch %d',
        reason,
        early_stopping.metric,
        progress.best_value,
        progress.best_epoch,
    )
    log.info('final parameters sha256 %s', params_sha256(state.params))
