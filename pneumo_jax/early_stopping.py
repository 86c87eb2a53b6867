"""When to stop, and which epoch was best.

Flax's own only minimises, counts one epoch too many, and never recovers from a NaN.
"""

from __future__ import annotations

import dataclasses
import math

from pneumo_jax.errors import InputError

__all__ = ['EarlyStopping', 'Progress']


@dataclasses.dataclass(frozen=True)
class Progress:
    """What early stopping remembers; plain numbers, saved with each checkpoint.

    Attributes:
        best_value: of the metric; None before the first epoch.
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
        patience: epochs without improvement after which the run stops.
        min_delta: a smaller gain is no improvement.
    """

    metric: str
    mode: str
    patience: int
    min_delta: float = 0.0

    def __post_init__(self):
        if self.mode not in ('max', 'min'):
            raise InputError(f'config.early_stopping.mode={self.mode!r} must be max or min')
        if self.patience < 1:
            raise InputError(f'config.early_stopping.patience={self.patience} must be 1 or more')

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
        if self._improved(value, progress.best_value):
            return Progress(best_value=value, best_step=step, best_epoch=epoch)
        return dataclasses.replace(progress, epochs_since_best=progress.epochs_since_best + 1)

    def should_stop(self, progress: Progress) -> bool:
        """True when the patience is used up."""
        return progress.epochs_since_best >= self.patience

    def _improved(self, value, best):
        if best is None:
            return True
        gain = value - best if self.mode == 'max' else best - value
        return gain > self.min_delta
