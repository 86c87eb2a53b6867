"""What commands report in one line instead of a traceback."""

__all__ = ['InputError', 'Interrupted']


class InputError(ValueError):
    """Bad input: a file, a flag, a config field, a folder. The message says what to do.

    Commands (``pneumo_jax.command.run``) print the message without a traceback and exit with 2.
    """


class Interrupted(Exception):  # noqa: N818 - it is no error
    """A run that a signal ended, its state saved: the same command goes on with it.

    Commands print the message and exit with ``command.EXIT_INTERRUPTED``.
    """
