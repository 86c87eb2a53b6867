"""What makes no sense in a run's config is refused at its start, all of it at once.

What depends on the data, such as durations in other units, is checked where the data are known.
"""

from __future__ import annotations

import difflib
import functools
import itertools
from collections.abc import Iterator

from configs import base
from pneumo_jax.config_fields import CHOICES, METRICS, NUMBERS, POSITIVE, RISING
from pneumo_jax.data.sampling import SAMPLING_FIELDS
from pneumo_jax.errors import InputError
from pneumo_jax.transfer import read_transfer

__all__ = ['check_answers', 'check_config']


def check_config(config) -> None:
    """Refuses what no run can be meant to have.

    Args:
        config: a run's config, fields as in ``configs/base.py``.

    Raises:
        InputError: names each field at fault on a line of its own, with its value and the remedy.
    """
    _refuse(config, _CHECKS)


def check_answers(config) -> None:
    """Refuses settings of ``config.eval`` that no finished run can answer films with.

    Args and errors as of ``check_config``; what training alone needs is not looked at.
    """
    _refuse(config, (_check_numbers, _check_names, _check_views))


def _refuse(config, checks):
    faults = [fault for check in checks for fault in check(config)]
    if faults:
        raise InputError('\n  '.join(['the config makes no sense:', *faults]))


def _check_numbers(config) -> Iterator[str]:
    default = base.get_config()
    for field, limits in NUMBERS.items():
        if not limits.holds(_get(config, field)):
            usual = _get(default, field)
            yield f'{_shown(config, field)} must be {limits}; try --config.{field}={usual}'
    for field in RISING:
        values = tuple(_get(config, field))
        pairs = itertools.pairwise(values)
        if not all(map(POSITIVE.holds, values)) or any(x >= y for x, y in pairs):
            yield (
                f'{_shown(config, field)} must be numbers of more than 0 that rise; try '
                f'--config.{field}=10,20'
            )


def _check_names(config) -> Iterator[str]:
    for field, choices in CHOICES.items():
        value = _get(config, field)
        if value not in choices:
            names = [str(name) for name in choices if name != '']
            close = difflib.get_close_matches(str(value), names, n=1)
            yield (
                f'{_shown(config, field)} must be one of {", ".join(names)}; try '
                f'--config.{field}={(close or [_get(base.get_config(), field)])[0]}'
            )
    if unknown := [name for name in config.sampling.by if name not in SAMPLING_FIELDS]:
        yield (
            f'{_shown(config, "sampling.by")}: films cannot be balanced by '
            f'{", ".join(map(repr, unknown))}; choose of {", ".join(SAMPLING_FIELDS)}, such as '
            '--config.sampling.by=label,'
        )


def _check_lengths(config) -> Iterator[str]:
    if not config.num_epochs and not config.num_steps:
        yield (
            'config.num_epochs=0 and config.num_steps=0 make a run of no step; try '
            '--config.num_epochs=25'
        )
    length, warmup = _in_one_unit(config, config.schedule)
    # A warm-up as long as the run ends at the peak: a short trial of a long run's config.
    if 0 < length < warmup:
        yield (
            f'{_shown_warmup(config, "schedule")} is longer than the run, so that the rate never '
            'gets to its peak; try --config.schedule.warmup_epochs=0 '
            f'--config.schedule.warmup_steps=0, or raise {_length_field(config)}'
        )
    length, warmup = _in_one_unit(config, config.early_stopping)
    if 0 < length <= warmup:
        yield (
            f'{_shown_warmup(config, "early_stopping")} takes the whole run, so that no epoch '
            'counts; try --config.early_stopping.warmup_epochs=0 '
            f'--config.early_stopping.warmup_steps=0, or raise {_length_field(config)}'
        )


def _check_batches(config) -> Iterator[str]:
    size, parts = config.batch_size, config.accumulation_steps
    if size >= 1 and parts >= 1 and size % parts:
        yield (
            f'config.batch_size={size} must divide by config.accumulation_steps={parts}; try '
            f'--config.batch_size={max(1, size // parts) * parts}'
        )
    if config.augment.mixup > 0 and size == 1:
        yield (
            f'{_shown(config, "augment.mixup")} blends films of a batch, and config.batch_size=1 '
            'has no other; try --config.augment.mixup=0'
        )


def _check_model(config) -> Iterator[str]:
    model, name = config.model, config.model.conventions.normalisation
    # A file of weights says how many channels it has.
    if not model.init_from and model.in_channels == 1 and name in ('torch', 'caffe'):
        yield (
            f'{_shown(config, "model.conventions.normalisation")} is for networks of 3 channels; '
            'try --config.model.in_channels=3'
        )


def _check_losses(config) -> Iterator[str]:
    loss = config.loss
    if loss.positive_weight and loss.film != 'weighted_bce':
        yield (
            f'{_shown(config, "loss.positive_weight")} has no part in config.loss.film='
            f'{loss.film!r}; try --config.loss.film=weighted_bce, or '
            '--config.loss.positive_weight=0'
        )
    if not any((loss.film_weight, loss.class_weight, *loss.mask.values(), *_detector(config))):
        yield (
            'config.loss.film_weight, config.loss.class_weight and all of config.loss.mask are 0, '
            'so that nothing is learnt; try --config.loss.film_weight=1'
        )
    if config.model.localizer == 'detector' and not all(loss.detector.values()):
        yield (
            "config.model.localizer='detector' finds boxes by both of its losses, and one of "
            f'{_shown(config, "loss.detector.heat")} and {_shown(config, "loss.detector.giou")} is '
            '0; try --config.loss.detector.heat=1 --config.loss.detector.giou=1'
        )
    if loss.mask.tversky and not (loss.tversky.alpha or loss.tversky.beta):
        yield (
            'config.loss.tversky.alpha=0 and config.loss.tversky.beta=0 make a Tversky loss of 0; '
            'try --config.loss.tversky.alpha=0.3 --config.loss.tversky.beta=0.7'
        )


def _check_schedule(config) -> Iterator[str]:
    schedule = config.schedule
    given = [field for field in RISING if len(_get(config, field))]
    if len(given) == 2:
        yield (
            f'{" and ".join(_shown(config, field) for field in given)} are two answers to one '
            'question; try --config.schedule.boundaries_epochs=()'
        )
    if schedule.name == 'step' and not given:
        yield (
            "config.schedule.name='step' needs to know when it reduces the rate; try "
            '--config.schedule.boundaries_epochs=10,20'
        )
    if schedule.name != 'step' and given:
        yield (
            f'{_shown(config, given[0])} has no part in config.schedule.name={schedule.name!r}; '
            f'try --config.schedule.name=step, or --config.{given[0]}=()'
        )
    if schedule.name == 'exponential' and not schedule.end_factor:
        yield (
            "config.schedule.end_factor=0.0 is where config.schedule.name='exponential' never "
            'gets to; try --config.schedule.end_factor=0.01'
        )
    if schedule.name == 'plateau':
        yield from _check_plateau(config)


def _check_plateau(config):
    schedule, stopping = config.schedule, config.early_stopping
    if schedule.factor >= 1:
        yield (
            f'{_shown(config, "schedule.factor")} must be less than 1 for config.schedule.name='
            "'plateau' to reduce the rate; try --config.schedule.factor=0.1"
        )
    # In a warm-up of early stopping the schedule counts, and may reduce the rate.
    warmup = stopping.warmup_epochs or stopping.warmup_steps
    if 0 < stopping.patience <= schedule.patience and not warmup:
        yield (
            f'{_shown(config, "schedule.patience")} never reduces the rate, since '
            f'{_shown(config, "early_stopping.patience")} ends the run first; try '
            f'--config.early_stopping.patience={3 * schedule.patience}'
        )


def _check_early_stopping(config) -> Iterator[str]:
    metric, mode, loss = config.early_stopping.metric, config.early_stopping.mode, config.loss
    if metric in METRICS and mode in ('max', 'min') and mode != METRICS[metric]:
        yield (
            f'{_shown(config, "early_stopping.mode")} would choose the worst epoch by '
            f'config.early_stopping.metric={metric!r}; try '
            f'--config.early_stopping.mode={METRICS[metric]}'
        )
    masks, detector = any(loss.mask.values()), any(_detector(config))
    if not (masks or detector or loss.film_weight or loss.class_weight):
        return
    learns = {
        'film_loss': loss.film_weight,
        'class_loss': loss.class_weight,
        'mask_loss': masks,
        'detector_loss': detector,
        # Where the film head does not learn, the mask answers for it.
        'auroc': loss.film_weight or masks,
        'auprc': loss.film_weight or masks,
        'challenge_map': detector if config.model.localizer == 'detector' else masks,
        'mask_iou': masks,
    }
    if not learns.get(metric, True):
        yield (
            f'{_shown(config, "early_stopping.metric")} looks at a head that does not learn, since '
            'its weight in config.loss is 0; try --config.early_stopping.metric=loss '
            '--config.early_stopping.mode=min'
        )


def _check_views(config) -> Iterator[str]:
    scales = tuple(config.eval.scales)
    if not all(map(POSITIVE.holds, scales)) or 1 in scales or len(set(scales)) < len(scales):
        yield (
            f'{_shown(config, "eval.scales")} must be different sizes relative to the film as it '
            'is, which is always looked at; try --config.eval.scales=0.75,1.25'
        )
    if config.eval.merge == 'fusion' and config.model.localizer != 'detector':
        yield (
            "config.eval.merge='fusion' fuses boxes of config.model.localizer='detector'; try "
            '--config.eval.merge=average'
        )


def _check_transfer(config) -> Iterator[str]:
    try:
        read_transfer(config)
    except InputError as error:
        yield str(error)


_CHECKS = (
    _check_numbers,
    _check_names,
    _check_lengths,
    _check_batches,
    _check_model,
    _check_losses,
    _check_schedule,
    _check_early_stopping,
    _check_views,
    _check_transfer,
)


def _detector(config):
    """Weights of the detector's losses, if there is one."""
    return config.loss.detector.values() if config.model.localizer == 'detector' else ()


def _in_one_unit(config, section):
    """(length of the run, of the section's warm-up), or zeros if they are in different units."""
    if not section.warmup_steps and not config.num_steps:
        return config.num_epochs, section.warmup_epochs
    if section.warmup_steps and config.num_steps:
        return config.num_steps, section.warmup_steps
    return 0, 0


def _shown_warmup(config, section):
    steps = _get(config, section).warmup_steps
    return _shown(config, f'{section}.warmup_{"steps" if steps else "epochs"}')


def _length_field(config):
    return f'config.{"num_steps" if config.num_steps else "num_epochs"}'


def _get(config, field):
    return functools.reduce(getattr, field.split('.'), config)


def _shown(config, field):
    return f'config.{field}={_get(config, field)!r}'
