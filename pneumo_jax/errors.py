"""The error that commands report in one line: something that the user gave is not right."""

__all__ = ['InputError']


class InputError(ValueError):
    """Bad input: a file, a flag, a config field, a folder. The message says what to do.

    Commands (``pneumo_jax.command.run``) print the message without a traceback and exit with 2.
    """
