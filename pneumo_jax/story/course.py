"""How a training went, from what it wrote: figures of each epoch, the best one, how it ended."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from google.protobuf.message import DecodeError
from ml_collections import ConfigDict
from tensorboardX.proto.event_pb2 import Event

from pneumo_jax.early_stopping import EarlyStopping, Progress
from pneumo_jax.errors import InputError

__all__ = ['Course', 'Epoch', 'Start', 'read_course', 'read_starts']

_LOG_NAME = 'metrics.jsonl'

# Of a TFRecord, as TensorBoard's files are made of: length and its checksum, checksum of the data.
_HEADER = struct.Struct('<QI')
_CRC_BYTES = 4
_FIGURE_NAME = re.compile('[a-z_]+')
# What an event may hold at most, pictures included; a damaged length is larger.
_MOST_BYTES = 1 << 28


class Epoch(NamedTuple):
    """An epoch that is over.

    Attributes:
        number: counted from 1.
        step: at which it ended.
        figures: ``train/...`` and ``validation/...``; NaN where undefined.
    """

    number: int
    step: int
    figures: dict[str, float]


class Start(NamedTuple):
    """A start of a training: the first, or one that went on after an interruption.

    Attributes:
        step: that was done before it.
        seconds: from its first written event to its last.
    """

    step: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Course:
    """The epochs of a run under its rule of early stopping.

    Attributes:
        epochs: in order; any may be missing.
        rule: of early stopping; its ``warmup_steps`` are those of the epochs in the warm-up.
        best: what the rule remembers after the last epoch.
        planned_epochs: the length of the run at most; None where it was given in steps.
        ending: ``stopped_early``, ``all_epochs`` or, of a run that is not at its end, ``open``.
        starts: of the run, in order; empty where nothing is known of them.
    """

    epochs: list[Epoch]
    rule: EarlyStopping
    best: Progress
    planned_epochs: int | None
    ending: str
    starts: list[Start]

    @property
    def seconds(self) -> float | None:
        """Time in training over all starts; None where it is not known."""
        return sum(start.seconds for start in self.starts) or None

    @property
    def best_epoch(self) -> Epoch | None:
        """The epoch that evaluation and prediction use; None before there is one."""
        return next((each for each in self.epochs if each.number == self.best.best_epoch), None)


def read_course(folder: pathlib.Path, config: ConfigDict) -> Course:
    """Reads ``metrics.jsonl`` and the times in ``tensorboard/``; either may be missing.

    Args:
        folder: of the run.
        config: of the run.

    Raises:
        InputError: for a damaged file.
        ValueError: for a config that no run can have.
    """
    epochs = _read_epochs(folder / _LOG_NAME)
    section = config.early_stopping
    # It becomes part of a picture's name.
    if not _FIGURE_NAME.fullmatch(section.metric):
        raise ValueError(f'early_stopping.metric={section.metric!r} is no name of a figure')
    # The end of the last epoch in the warm-up is also that of a warm-up in epochs.
    warmup = section.warmup_steps or max(
        (epoch.step for epoch in epochs if epoch.number <= section.warmup_epochs), default=0
    )
    rule = EarlyStopping(
        metric=section.metric,
        mode=section.mode,
        patience=section.patience,
        min_delta=section.min_delta,
        warmup_steps=warmup,
    )
    best = Progress()
    for number, step, figures in epochs:
        value = figures.get(f'validation/{rule.metric}', math.nan)
        if math.isfinite(value):
            best = rule.update(best, {rule.metric: value}, step=step, epoch=number)
    planned = None if config.num_steps else math.ceil(config.num_epochs)
    ending = 'open'
    if rule.should_stop(best):
        ending = 'stopped_early'
    elif epochs and _all_done(epochs[-1], config, planned):
        ending = 'all_epochs'
    return Course(
        epochs=epochs,
        rule=rule,
        best=best,
        planned_epochs=planned,
        ending=ending,
        starts=_with_steps(read_starts(folder / 'tensorboard'), epochs),
    )


def read_starts(folder: pathlib.Path) -> list[Start]:
    """The starts of a run by TensorBoard's files, of which each start writes one.

    A file that ends in the middle, as a kill leaves it, counts as far as it goes; one that tells
    nothing is left out.
    """
    found = (_read_start(path) for path in sorted(folder.glob('events.out.tfevents.*')))
    return [start for start in found if start is not None]


def _with_steps(starts, epochs):
    """Those that did something: a run at its end may be started again, and ends at once."""
    last = epochs[-1].step if epochs else math.inf
    return [start for start in starts if start.step < last]


def _all_done(last, config, planned):
    return last.number >= planned if planned is not None else last.step >= config.num_steps


def _read_epochs(path) -> list[Epoch]:
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f'{path} cannot be read ({error.strerror}): put it right') from error
    found = {}
    for number, line in enumerate(lines, 1):
        # A trainer at work, or a kill, leaves the last line without its end.
        if not line.endswith(b'\n'):
            continue
        try:
            epoch = _read_epoch(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(
                f'{path} is damaged in line {number} ({error!r}): put it back from a copy, or take '
                'that line out'
            ) from error
        if epoch is not None:
            found[epoch.number] = epoch
    return sorted(found.values())


def _read_epoch(content) -> Epoch | None:
    """The epoch of a line; None for a line of a step inside one."""
    step = content['step']
    if 'epoch' not in content:
        return None
    number = content['epoch']
    if not isinstance(number, int) or not isinstance(step, int) or number < 1:
        raise ValueError(f'epoch {number!r}, step {step!r}')
    figures = {
        name: math.nan if value is None else float(value)
        for name, value in content.items()
        if name.startswith(('train/', 'validation/'))
    }
    return Epoch(number, step, figures)


def _read_start(path) -> Start | None:
    first_time = last_time = None
    step = 0
    try:
        with path.open('rb') as file:
            for number, (size, read) in enumerate(_frames(file)):
                # Pictures are passed over: what is before and after them tells the time as well.
                if number > 2 and size > 4096:
                    continue
                event = Event.FromString(read())
                if first_time is None:
                    first_time = event.wall_time
                if event.HasField('session_log'):
                    # It names the first step that is to be done.
                    step = max(event.step - 1, 0)
                last_time = event.wall_time
    except (OSError, DecodeError):
        return None
    return None if first_time is None else Start(step, max(last_time - first_time, 0.0))


def _frames(file: BinaryIO) -> Iterator:
    """(bytes, reader) of each whole record."""
    end = file.seek(0, 2)
    position = 0
    while position + _HEADER.size <= end:
        file.seek(position)
        size, _ = _HEADER.unpack(file.read(_HEADER.size))
        start = position + _HEADER.size
        position = start + size + _CRC_BYTES
        if size > _MOST_BYTES or position > end:
            return

        def read(start=start, size=size):
            file.seek(start)
            return file.read(size)

        yield size, read
