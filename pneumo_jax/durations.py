"""Durations of a config: a field may be given in epochs or in steps."""

from __future__ import annotations

import math
from fractions import Fraction

__all__ = ['epoch_ends', 'read_steps']


def read_steps(section, name: str, *, steps_per_epoch: float | Fraction) -> int | tuple[int, ...]:
    """A duration in steps, or several where the field holds several.

    Args:
        section: of a run's config; has the fields ``<name>_steps`` and ``<name>_epochs``. The first
            holds where it is not 0 or ().
        name: of the duration.
        steps_per_epoch: training films / training films in a batch; as a ``Fraction`` it rounds as
            it should.

    Returns:
        Steps, rounded up: a duration of whole epochs ends where the last of them does.
    """
    if steps := section[f'{name}_steps']:
        return steps
    epochs = section[f'{name}_epochs']
    if isinstance(epochs, tuple | list):
        return tuple(_ceil(epoch, steps_per_epoch) for epoch in epochs)
    return _ceil(epochs, steps_per_epoch)


def epoch_ends(config, *, steps_per_epoch: Fraction) -> list[int]:
    """The steps after which each epoch of a run is over; the last one may end early.

    Batches run over the borders of epochs: an epoch is over with the step that holds its last film.

    Args:
        config: a run's config; ``num_epochs`` and ``num_steps`` are read.
        steps_per_epoch: training films / training films in a batch.
    """
    num_steps = read_steps(config, 'num', steps_per_epoch=steps_per_epoch)
    ends = [
        math.ceil(epoch * steps_per_epoch)
        for epoch in range(1, math.ceil(num_steps / steps_per_epoch) + 1)
    ]
    return [end for end in ends if end < num_steps] + [num_steps]


def _ceil(epochs, steps_per_epoch):
    # As it is written: the double nearest to 0.1 is a little more.
    return math.ceil(Fraction(str(epochs)) * steps_per_epoch)
