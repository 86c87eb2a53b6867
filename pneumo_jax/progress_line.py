"""How far a run is, in one line on a terminal; nothing where there is none."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

__all__ = ['ProgressLine']

# Steps that the moving average of their duration reaches back.
_WINDOW = 50
# Seconds between two drawings.
_INTERVAL = 0.2


class ProgressLine:
    """Draws the line on stderr and measures the speed; use it in a ``with``.

    Messages of loggers that go to the same terminal appear above the line meanwhile. The speed is
    measured where there is no terminal, too.

    Args:
        num_steps: of the whole run.
        first_step: steps done before this start.
        batch_size: films per step.
        epochs: of the whole run.
        clock: gives seconds.
    """

    def __init__(
        self,
        *,
        num_steps: int,
        first_step: int,
        batch_size: int,
        epochs: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._num_steps, self._epochs, self._batch_size = num_steps, epochs, batch_size
        self._clock = clock
        self._step, self._epoch, self._last = first_step, None, None
        self._step_seconds, self._measured = math.nan, 0
        self._pause_seconds = 0.0
        self._drawn = -math.inf
        self._bar = None
        self._terminal = contextlib.ExitStack()

    def __enter__(self) -> ProgressLine:
        if sys.stderr.isatty():
            self._terminal.enter_context(logging_redirect_tqdm(_loggers_of_stderr()))
            self._bar = self._terminal.enter_context(
                tqdm(
                    desc='waiting for the first step, which is compiled',
                    total=self._num_steps,
                    initial=self._step,
                    bar_format='{desc}  |{bar}|',
                    file=sys.stderr,
                    leave=False,
                    dynamic_ncols=True,
                )
            )
        return self

    def __exit__(self, *exception) -> None:
        self._terminal.__exit__(*exception)

    def update(self, step: int, epoch: int, loss: float) -> None:
        """Tells that ``step`` steps of the run are done, the last of them in ``epoch`` (from 1)."""
        now = self._clock()
        if self._last is not None:
            self._measure(now - self._last, step - self._step, epoch)
        self._step, self._epoch, self._last = step, epoch, now
        if self._bar is not None:
            # Messages draw the line anew, too.
            self._bar.n = step
            self._bar.set_description_str(self._text(loss), refresh=False)
            if now - self._drawn >= _INTERVAL:
                self._bar.refresh()
                self._drawn = now

    @property
    def films_per_second(self) -> float:
        """While training; NaN until the step after the first, which compiles, is done."""
        return self._batch_size / self._step_seconds if self._step_seconds > 0 else math.nan

    def time_left(self) -> str:
        """Of the run at most, validations included, as hours:minutes:seconds; ``?`` if unknown."""
        if math.isnan(self._step_seconds):
            return '?'
        # Between two epochs, the pause that is under way tells how long one takes.
        since = self._clock() - self._last
        pauses = (self._epochs - self._epoch + 1) * max(self._pause_seconds, since)
        steps = (self._num_steps - self._step) * self._step_seconds
        return _as_time(max(0.0, steps + pauses - since))

    def _measure(self, seconds, steps, epoch):
        if epoch == self._epoch:
            self._measured += 1
            share = 1 / min(self._measured, _WINDOW)
            before = 0.0 if self._measured == 1 else self._step_seconds
            self._step_seconds = before + share * (seconds / steps - before)
        elif not math.isnan(self._step_seconds):
            # Validation and saving came between; the newest counts, as the first ones compile.
            self._pause_seconds = max(0.0, seconds - steps * self._step_seconds)
            # More of the network may learn from now on, at another speed.
            self._measured = 0

    def _text(self, loss):
        rate = self.films_per_second
        speed = '' if math.isnan(rate) else f'  {rate:.1f} films/s  left {self.time_left()}'
        return (
            f'epoch {self._epoch}/{self._epochs}  step {self._step}/{self._num_steps}  '
            f'loss {loss:.4f}{speed}'
        )


def _loggers_of_stderr():
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    return [
        logger
        for logger in loggers
        if any(
            isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr
            for handler in logger.handlers
        )
    ]


def _as_time(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    return f'{minutes // 60}:{minutes % 60:02}:{seconds:02}'
