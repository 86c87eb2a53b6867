"""Where a run's figures go: JSON lines and TensorBoard events, in the workdir."""

from __future__ import annotations

import contextlib
import json
import math
import pathlib
import time
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog

from pneumo_jax.data.tfrecord import make_frame
from pneumo_jax.errors import InputError
from pneumo_jax.files import write_atomically

__all__ = ['MetricsWriter']


class MetricsWriter:
    """Writes figures to ``metrics.jsonl`` and ``tensorboard/``; use it in a ``with``.

    What is written has been handed to the system when a method returns: a kill loses none of it.

    Args:
        workdir: folder of the run.
        resume_step: step that the run goes on from; what an interrupted run wrote after it is
            removed, since those steps are about to be done again.
        resume_epoch: epochs that are over by then; likewise of lines with a greater ``epoch``.
            None: whatever the steps say.

    Raises:
        InputError: here and in all methods, if the folder cannot be written to.
    """

    def __init__(self, workdir, *, resume_step: int = 0, resume_epoch: int | None = None):
        self._workdir = pathlib.Path(workdir)
        lines, events = self._workdir / 'metrics.jsonl', self._workdir / 'tensorboard'
        with self._explained():
            again = _remove_later(lines, resume_step, resume_epoch)
            events.mkdir(exist_ok=True)
            # Without a buffer, so that closing after a failure has nothing left to fail with.
            self._lines = lines.open('ab', buffering=0)
            # TensorBoard reads files in the order of their names. Seconds in their place would
            # give two starts within one second one file.
            name = f'events.out.tfevents.{time.time_ns()}'
            self._events = (events / name).open('ab', buffering=0)
            self._write_event(file_version='brain.Event:2')
            self._forget_events(resume_step, again)

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, *exception) -> None:
        self._lines.close()
        self._events.close()

    def write(self, step: int, scalars: Mapping[str, float], **context) -> None:
        """One line, and one TensorBoard point per scalar; NaN becomes null there and no point."""
        scalars = {name: float(value) for name, value in scalars.items()}
        line = json.dumps({'step': step, **context, **_finite(scalars)}, allow_nan=False)
        with self._explained():
            _append(self._lines, f'{line}\n'.encode())
            self._write_scalars(step, scalars)

    def write_images(self, step: int, pictures: Mapping[str, Image.Image | np.ndarray]) -> None:
        """Pictures for TensorBoard, by name.

        Args:
            step: of the run.
            pictures: of Pillow, grey or RGB, or uint8 arrays [H,W] or [H,W,3].
        """
        with self._explained():
            for name, picture in pictures.items():
                pixels = np.asarray(picture)
                layout = 'HW' if pixels.ndim == 2 else 'HWC'
                event = summary.image(name, pixels, dataformats=layout)
                self._write_event(step=step, summary=event)

    def write_text(self, step: int, name: str, text: str) -> None:
        """A text for TensorBoard, which shows it line by line as it is, in type of one width."""
        # To Markdown, what is indented by four is code.
        indented = ''.join(f'    {line}\n' for line in text.splitlines())
        with self._explained():
            self._write_event(step=step, summary=summary.text(name, indented))

    def _write_scalars(self, step, scalars):
        for name, value in scalars.items():
            if math.isfinite(value):
                self._write_event(step=step, summary=summary.scalar(name, value))

    def _forget_events(self, resume_step, again):
        """Tells TensorBoard to drop what was removed from the lines.

        It drops whole steps only: what stays of the one that the run goes on from is repeated.
        """
        first = resume_step + 1 if again is None else resume_step
        self._write_event(step=first, session_log=SessionLog(status=SessionLog.START))
        for scalars in again or ():
            self._write_scalars(resume_step, scalars)

    def _write_event(self, **fields):
        # Not by tensorboardX's own writer: on a full disk its thread dies unheard, and the run
        # waits for it for ever.
        event = Event(wall_time=time.time(), **fields)
        _append(self._events, make_frame(event.SerializeToString()))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f'{self._workdir} cannot be written to ({error.strerror}): make room there, or put '
                'right what is wrong with the folder; the same command then goes on from the last '
                'checkpoint'
            ) from error


def _remove_later(path, last_step, last_epoch):
    """Keeps the lines up to a step and an epoch; what a kill or a crash left unreadable goes too.

    Returns:
        None, or if lines of ``last_step`` itself were removed, the scalars of those that stay.
    """
    if not path.exists():
        return None
    text = path.read_bytes()
    kept, stays, removed = [], [], False
    for line in text.splitlines(keepends=True):
        if (content := _read_line(line)) is None or content['step'] > last_step:
            continue
        if last_epoch is not None and content.get('epoch', 0) > last_epoch:
            removed = removed or content['step'] == last_step
            continue
        kept.append(line)
        if content['step'] == last_step:
            stays.append(_scalars(content))
    if len(whole := b''.join(kept)) < len(text):
        write_atomically(path, whole.decode())
    return stays if removed else None


def _read_line(line):
    if not line.endswith(b'\n'):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def _scalars(content):
    """What ``write`` was given: it writes floats, and null for a NaN."""
    return {
        name: math.nan if value is None else value
        for name, value in content.items()
        if isinstance(value, float | None)
    }


def _append(file, data):
    """All of the bytes: a file without buffer may take a part of them."""
    while data:
        data = data[file.write(data) :]


def _finite(scalars):
    return {k: v if math.isfinite(v) else None for k, v in scalars.items()}
