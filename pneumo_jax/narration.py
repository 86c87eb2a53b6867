"""What a run says of itself: at its start, after each epoch, at its end."""

from __future__ import annotations

import logging

from configs import base
from pneumo_jax import describe, environment
from pneumo_jax.early_stopping import Progress
from pneumo_jax.plan import Plan, log_warnings, phase_lines
from pneumo_jax.state import TrainState, params_sha256

__all__ = ['describe_plan', 'log_end', 'log_epoch', 'log_start']

log = logging.getLogger(__name__)

_SHOWN = ('loss', 'auroc', 'challenge_map', 'mask_iou')


def describe_plan(plan: Plan, params, batch_stats) -> list[str]:
    """The config, the model and the length of a run, as lines.

    Args:
        plan: the run.
        params: of the model, arrays or their shapes.
        batch_stats: of the model, likewise.
    """
    mesh, config = plan.mesh, plan.config
    return [
        'config (* differs from the default):',
        *describe.config_lines(config, base.get_config()),
        f'model {config.model.name}:',
        *describe.model_lines(params, batch_stats, plan.graphs.train),
        f'on {mesh.devices.size} x {mesh.devices.flat[0].device_kind}; '
        f'{len(plan.train_split)} training and {len(plan.validation_split)} validation films at '
        f'{plan.manifest["image_size"]} px; {len(plan.epoch_ends)} epochs, '
        f'{plan.epoch_ends[-1]} steps',
        f'split: {plan.manifest["protocol"]["sentence"]}',
        *([] if plan.extra is None else plan.extra.describe()),
        *phase_lines(plan),
    ]


def log_start(plan: Plan, state: TrainState, *, before: dict, now: dict) -> None:
    """Before the first step of a start; warns where bits may differ from the start before.

    Args:
        plan: the run.
        state: that it goes on from.
        before: the ``environment.environment`` of the last start, {} if this is the first.
        now: that of this start.
    """
    for line in describe_plan(plan, state.params, state.batch_stats):
        log.info('%s', line)
    log_warnings(plan)
    if before and (changes := environment.changes(before, now)):
        log.warning(
            'the run was begun with other software or devices (%s): it goes on, and its bits may '
            'differ from those of a run without interruption',
            '; '.join(changes),
        )


def log_epoch(
    plan: Plan, epoch: int, figures: dict, validation: dict, *, improved: bool, time_left: str
) -> None:
    """One line."""
    names = dict.fromkeys((*_SHOWN, plan.early_stopping.metric))
    log.info(
        'epoch %d/%d  step %d  loss %.4f  %.0f films/s  left %s  validation: %s%s',
        epoch,
        len(plan.epoch_ends),
        plan.epoch_ends[epoch - 1],
        figures['loss'],
        figures['films_per_second'],
        time_left,
        '  '.join(f'{name} {validation[name]:.4f}' for name in names),
        '  *best' if improved else '',
    )


def log_end(plan: Plan, state: TrainState, progress: Progress) -> None:
    """Why the run is over, which epoch is best, and the fingerprint of the last parameters."""
    rule, reason = plan.early_stopping, 'all epochs done'
    if rule.should_stop(progress):
        reason = rule.reason(progress)
    log.info(
        '%s; best %s %.4f in epoch %d, which evaluation and prediction use',
        reason,
        rule.metric,
        progress.best_value,
        progress.best_epoch,
    )
    log.info('final parameters sha256 %s', params_sha256(state.params))
