"""What every command does around its own work: messages on stderr, errors in one line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from absl import app
from absl import logging as absl_logging

from pneumo_jax.errors import InputError, Interrupted

__all__ = ['EXIT_INPUT_ERROR', 'EXIT_INTERRUPTED', 'refuse_arguments', 'require_data', 'run', 'say']

EXIT_INPUT_ERROR = 2
# EX_TEMPFAIL of sysexits.h, a failure that goes away when the same command is run again. Not 128 +
# the signal: so ends what a signal killed, which has saved nothing.
EXIT_INTERRUPTED = 75


def run(main: Callable[[list[str]], int | None]) -> None:
    """Runs a command's ``main(argv)`` under absl; its return value is the exit code.

    This package's messages go to stderr as plain lines; those of libraries only from a warning
    upward.
    """

    def guarded(argv):
        _set_up_messages()
        try:
            return main(argv)
        except InputError as error:
            logging.getLogger('pneumo_jax').error('ERROR: %s', error)
            return EXIT_INPUT_ERROR
        except Interrupted as interruption:
            logging.getLogger('pneumo_jax').warning('%s', interruption)
            return EXIT_INTERRUPTED

    app.run(guarded)


def refuse_arguments(argv: list[str]) -> None:
    """For commands with flags alone: a forgotten ``--`` must not be ignored."""
    if len(argv) > 1:
        raise InputError(f'unknown arguments {argv[1:]}: flags are written --name=value')


def require_data(config) -> None:
    """Raises an InputError for a run's config without ``data.dir``."""
    if not config.data.dir:
        raise InputError(
            'no data: give --config.data.dir=FOLDER, a folder that data_prep/convert.py wrote'
        )


def say(text: str) -> None:
    """Writes a command's result to stdout; messages about its progress go to a logger."""
    sys.stdout.write(f'{text}\n')


def _set_up_messages() -> None:
    logging.getLogger().setLevel(logging.WARNING)
    # Orbax, which logs through absl, warns whenever a folder is opened to read, as it was asked.
    absl_logging.set_verbosity(absl_logging.ERROR)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter('%(message)s'))
    for name in ('pneumo_jax', 'data_prep', '__main__'):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers = [handler]
        logger.propagate = False
