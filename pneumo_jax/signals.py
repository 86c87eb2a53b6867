"""SIGTERM and Ctrl-C as a request to stop, which a loop looks at between its steps."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

__all__ = ['StopSignals']

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STDERR = 2


class StopSignals:
    """Notes SIGTERM and SIGINT while its ``with`` lasts, instead of ending the process.

    The first one is announced on stderr; any number of further ones changes nothing, but a second
    SIGINT raises KeyboardInterrupt at once. Outside of the main thread, where Python allows no
    handlers, it notes nothing, and signals that the process was started to ignore stay ignored.

    Args:
        ends_process: after a request the process ends with the ``with``: further SIGTERMs change
            nothing to the very end, so that it ends with an exit code of its own.

    Attributes:
        requested: the first signal received, or None.
    """

    def __init__(self, *, ends_process: bool = False):
        self._ends_process = ends_process
        self.requested: signal.Signals | None = None
        self._announced: set[int] = set()
        self._old_handlers: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # None is a handler that is not Python's and could not be put back.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._old_handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._old_handlers.items():
            stays = self._ends_process and self.requested and number == signal.SIGTERM
            signal.signal(number, signal.SIG_IGN if stays else handler)

    def _note(self, number, frame):
        """The handler: runs between any two instructions of the main thread."""
        if number in self._announced:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self._announced.add(number)
        name = signal.Signals(number)
        if self.requested is None:
            self.requested = name
        # Not by a logger: the main thread may be in the midst of writing to the same stream, whose
        # buffer refuses to be entered again. The loop, though, sees the request only when the step
        # is done, and a person who reads nothing until then presses Ctrl-C once more.
        again = '; once more ends the run at once' if number == signal.SIGINT else ''
        # A terminal may show a line that is not at its end.
        start = '\n' if os.isatty(_STDERR) else ''
        text = f'{start}{name.name}: finishing the step, then saving{again}\n'
        with contextlib.suppress(OSError):
            os.write(_STDERR, text.encode())
