"""Shows evaluated films in the browser: ``python -m pneumo_jax.view WORKDIR [--split=test]``.

WORKDIR is a folder that ``python -m pneumo_jax.evaluate`` wrote into. The page leafs through its
films, with true and predicted boxes over them: sorted and filtered by score, outcome and what is
known of them, under thresholds that can be moved. Its keys are told by "?".

Pictures come from the shards that were evaluated. --data names another place: a folder of shards,
or of the films' own DICOM, PNG or JPEG files, which are shown in full resolution.

The page is served on 127.0.0.1 only, to browsers on this machine, until Ctrl-C. Research software,
not a medical device.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import sys
import threading
import webbrowser
from collections.abc import Iterator

from absl import flags
from flask import Flask

from pneumo_jax import command
from pneumo_jax.data.film import ReadOptions
from pneumo_jax.data.shards import SPLITS
from pneumo_jax.errors import InputError
from pneumo_jax.read_flags import define_read_flags, read_options
from pneumo_jax.viewer.films import page_data, read_shown
from pneumo_jax.viewer.pictures import open_pictures
from pneumo_jax.viewer.server import HOST, listening, make_app
from pneumo_jax.workers import WorkerPool

__all__ = ['viewer']

# Of files that are decoded at once: the film on display and the two beside it.
_NUM_WORKERS = 2

log = logging.getLogger(__name__)


@contextlib.contextmanager
def viewer(
    workdir: str | pathlib.Path,
    *,
    split: str = 'test',
    data: str | None = None,
    options: ReadOptions | None = None,
    film_timeout: float = 60,
) -> Iterator[Flask]:
    """The viewer's application for an evaluation; usable inside the ``with`` statement.

    Args:
        workdir: folder of the evaluation.
        split: that was evaluated.
        data: of ``pictures.open_pictures``.
        options: which files are taken; None means ``ReadOptions()``.
        film_timeout: seconds after which a film's file is given up.

    Raises:
        InputError: if there is no evaluation, or ``data`` is no folder with films.
    """
    workdir = pathlib.Path(workdir)
    evaluation, warnings = read_shown(workdir, split)
    with WorkerPool(_NUM_WORKERS, item_timeout=film_timeout) as pool:
        pictures = open_pictures(
            workdir, evaluation, data, options=options or ReadOptions(), pool=pool
        )
        for notice in pictures.notices:
            log.warning('%s', notice)
        page = page_data(
            evaluation,
            name=workdir.absolute().name,
            warnings=warnings,
            notices=pictures.notices,
            square=pictures.square,
        )
        yield make_app(page, pictures)


def main(argv: list[str]) -> None:
    """Serves the page until Ctrl-C."""
    options = flags.FLAGS
    if len(argv) != 2:
        raise InputError(
            f'{len(argv) - 1} folders are given: give one, python -m pneumo_jax.view WORKDIR'
        )
    with (
        contextlib.suppress(KeyboardInterrupt),
        viewer(
            argv[1],
            split=options.split,
            data=options.data,
            options=read_options(),
            film_timeout=options.film_timeout,
        ) as app,
        listening(app, options.port) as server,
    ):
        address = f'http://{HOST}:{server.port}/'
        command.say(f'{address}  (Ctrl-C ends it; research software, not a medical device)')
        # Whoever waits for the address may read it through a pipe.
        sys.stdout.flush()
        if options.open and _has_display():
            # Some browsers keep whoever opens them waiting.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server.serve_forever()


def _has_display():
    """Without one, Linux would open a browser in the terminal."""
    names = 'DISPLAY', 'WAYLAND_DISPLAY', 'BROWSER'
    return sys.platform != 'linux' or any(os.environ.get(name) for name in names)


if __name__ == '__main__':
    flags.DEFINE_enum('split', 'test', SPLITS, 'Split that was evaluated.')
    flags.DEFINE_string(
        'data',
        None,
        "Folder of shards, or of the films' own files; by default the shards that were evaluated.",
    )
    flags.DEFINE_integer(
        'port', 0, 'Port on 127.0.0.1; 0 for a free one.', lower_bound=0, upper_bound=65535
    )
    flags.DEFINE_bool('open', True, 'Open the page in the browser.')
    define_read_flags()
    command.run(main)
