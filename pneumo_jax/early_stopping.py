"""When to stop, and which epoch was best.

Flax's own only minimises, counts one epoch too many, and never recovers from a NaN.
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

from pneumo_jax.durations import read_steps
from pneumo_jax.errors import InputError

__all__ = ['EarlyStopping', 'Progress', 'make_early_stopping']


@dataclasses.dataclass(frozen=True)
class Progress:
    """What early stopping remembers; plain numbers, saved with each checkpoint.

    Attributes:
        best_value: of the metric; None before the first epoch that counts.
        best_step: the step at which it was reached.
        best_epoch: the epoch, counted from 1.
        epochs_since_best: epochs without improvement.
    """

    best_value: float | None = None
    best_step: int = 0
    best_epoch: int = 0
    epochs_since_best: int = 0


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """The rule.

    Attributes:
        metric: name of the validation figure that decides.
        mode: ``max`` or ``min``.
        patience: epochs without improvement after which the run stops; 0: never.
        min_delta: a smaller gain is no improvement.
        warmup_steps: epochs that end by this step do not count.
    """

    metric: str
    mode: str
    patience: int
    min_delta: float = 0.0
    warmup_steps: int = 0

    def update(self, progress: Progress, figures: dict, *, step: int, epoch: int) -> Progress:
        """Progress after an epoch with these validation figures.

        Raises:
            InputError: if the metric is unknown, or undefined on this validation split.
        """
        if self.metric not in figures:
            raise InputError(
                f'config.early_stopping.metric={self.metric!r} is no validation figure; choose one '
                f'of {", ".join(figures)}'
            )
        value = figures[self.metric]
        if not math.isfinite(value):
            raise InputError(
                f'the validation figure {self.metric} is {value}: either the split has films of '
                'one class only (then choose --config.early_stopping.metric=loss '
                '--config.early_stopping.mode=min), or the training diverged (then lower '
                '--config.learning_rate)'
            )
        if step <= self.warmup_steps:
            return progress
        if self._improved(value, progress.best_value):
            return Progress(best_value=value, best_step=step, best_epoch=epoch)
        return dataclasses.replace(progress, epochs_since_best=progress.epochs_since_best + 1)

    def should_stop(self, progress: Progress) -> bool:
        """True when the patience is used up."""
        return 0 < self.patience <= progress.epochs_since_best

    def reason(self, progress: Progress) -> str:
        """Why the run stops where ``should_stop`` says so."""
        better = 'above' if self.mode == 'max' else 'below'
        margin = f' by more than {self.min_delta:g}' if self.min_delta else ''
        return (
            f'stopped early: {self.metric} was not {better} its best of {progress.best_value:.4f}'
            f'{margin} for {progress.epochs_since_best} epochs '
            f'(config.early_stopping.patience={self.patience})'
        )

    def _improved(self, value, best):
        if best is None:
            return True
        gain = value - best if self.mode == 'max' else best - value
        return gain > self.min_delta


def make_early_stopping(
    config, *, num_steps: int, steps_per_epoch: float | Fraction
) -> EarlyStopping:
    """The rule of a run's config.

    Args:
        config: a run's config.
        num_steps: length of the run.
        steps_per_epoch: training films / batch size.

    Raises:
        InputError: if no epoch would count.
    """
    section = config.early_stopping
    warmup = read_steps(section, 'warmup', steps_per_epoch=steps_per_epoch)
    if warmup >= num_steps:
        raise InputError(
            f'config.early_stopping.warmup takes {warmup} of the {num_steps} steps of the run, so '
            'that no epoch would count: shorten it, or raise config.num_epochs'
        )
    return EarlyStopping(
        metric=section.metric,
        mode=section.mode,
        patience=section.patience,
        min_delta=section.min_delta,
        warmup_steps=warmup,
    )
