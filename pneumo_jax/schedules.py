"""Learning rate as a function of the step, by name: a linear warm-up, then a shape."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import jax.numpy as jnp
import optax

from pneumo_jax.durations import read_steps
from pneumo_jax.errors import InputError
from pneumo_jax.registry import lookup

__all__ = ['SCHEDULES', 'make_schedule']


def make_schedule(config, *, num_steps: int, steps_per_epoch: float | Fraction) -> optax.Schedule:
    """Learning rate of a run as a function of the step, to be called inside jit or outside.

    In step 0 of a warm-up the rate is zero, and the first step after it has the shape's first rate.

    Args:
        config: a run's config; ``learning_rate`` is the peak, ``schedule`` the shape.
        num_steps: length of the whole run.
        steps_per_epoch: training films / batch size, what durations in epochs are converted with.

    Raises:
        InputError: for an unknown name, or durations that do not fit into the run.
    """
    section, peak = config.schedule, config.learning_rate
    make = lookup(SCHEDULES, section.name, 'config.schedule.name')
    warmup = read_steps(section, 'warmup', steps_per_epoch=steps_per_epoch)
    # As long as the run it ends at the peak: a short trial of a long run's config.
    if warmup > num_steps:
        raise InputError(
            f'{_shown(section, "warmup")} takes {warmup} of the {num_steps} steps of the run, so '
            'that its peak is never reached: shorten it (--config.schedule.warmup_epochs=0 '
            '--config.schedule.warmup_steps=0 for none), or raise config.num_epochs'
        )
    shape = make(section, _Span(warmup, num_steps, steps_per_epoch))

    def schedule(step):
        rate = peak * shape(jnp.maximum(step - warmup, 0))
        return rate * jnp.minimum(step / warmup, 1.0) if warmup else rate

    return schedule


class _Span(NamedTuple):
    """The steps of a run from its start: of the warm-up, of all, and of an epoch."""

    warmup: int
    end: int
    steps_per_epoch: float | Fraction

    @property
    def length(self):
        """Steps after the warm-up, at least the one that would begin there."""
        return max(self.end - self.warmup, 1)

    def progress(self, step):
        """The share of the steps after the warm-up that is over."""
        return jnp.minimum(step / self.length, 1.0)


def _constant(section, span):
    return lambda step: jnp.ones(jnp.shape(step))


def _linear(section, span):
    end = section.end_factor
    return lambda step: 1 + (end - 1) * span.progress(step)


def _cosine(section, span):
    """Loshchilov and Hutter 2016, arXiv:1608.03983, without restarts."""
    return lambda step: _half_cosine(1.0, section.end_factor, span.progress(step))


def _exponential(section, span):
    end = section.end_factor
    if not end > 0:
        raise InputError(
            f'config.schedule.end_factor={end} must be more than 0 where config.schedule.name is '
            'exponential, which never gets to 0; try --config.schedule.end_factor=0.01'
        )
    return lambda step: end ** span.progress(step)


def _step(section, span):
    factor, field = section.factor, _shown(section, 'boundaries')
    steps = read_steps(section, 'boundaries', steps_per_epoch=span.steps_per_epoch)
    if not steps:
        raise InputError(
            f'{field} must say when config.schedule.name=step reduces the rate, such as '
            '--config.schedule.boundaries_epochs=10,20'
        )
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise InputError(f'{field}, which are the steps {_listed(steps)}, must rise')
    if steps[0] <= span.warmup or steps[-1] >= span.end:
        raise InputError(
            f'{field}, which are the steps {_listed(steps)}, must be after the warm-up of '
            f'{span.warmup} steps and before the end of the run of {span.end}: leave out what is '
            'not, or raise config.num_epochs'
        )
    after_warmup = jnp.array(steps) - span.warmup
    return lambda step: factor ** jnp.searchsorted(after_warmup, step, side='right')


def _one_cycle(section, span):
    """Smith and Topin 2017, arXiv:1708.07120, in cosines and of the factors that PyTorch took."""
    start, rise = 1 / 25, section.rise

    def shape(step):
        progress = span.progress(step)
        up = _half_cosine(start, 1.0, progress / rise)
        down = _half_cosine(1.0, start / 1e4, (progress - rise) / (1 - rise))
        return jnp.where(progress < rise, up, down)

    return shape


def _half_cosine(start, end, progress):
    return end + (start - end) * (1 + jnp.cos(jnp.pi * progress)) / 2


def _shown(section, name):
    """The field that says a duration, and its value."""
    field = f'{name}_steps' if section[f'{name}_steps'] else f'{name}_epochs'
    return f'config.schedule.{field}={section[field]}'


def _listed(steps):
    return ', '.join(map(str, steps))


# name -> (section `schedule`, span of the run) -> the shape: from steps after the warm-up to a
# share of the peak. What `plateau` takes off is in the state of the run (`optimizer.make_plateau`).
SCHEDULES: dict[str, Callable] = {
    'constant': _constant,
    'linear': _linear,
    'cosine': _cosine,
    'step': _step,
    'exponential': _exponential,
    'one_cycle': _one_cycle,
    'plateau': _constant,
}
