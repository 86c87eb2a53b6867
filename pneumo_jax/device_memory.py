"""What to do when a device has too little memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax

from pneumo_jax.errors import InputError

__all__ = ['explained_out_of_memory']


@contextlib.contextmanager
def explained_out_of_memory(config, *, num_devices: int) -> Iterator[None]:
    """Makes of a device's out-of-memory error one that names the sizes to try.

    Args:
        config: a run's config.
        num_devices: over which a batch is split.

    Raises:
        InputError: instead of the device's error; others pass.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if 'RESOURCE_EXHAUSTED' not in str(error):
            raise
        batch, parts = config.batch_size, config.accumulation_steps
        remedies = []
        if batch % (2 * parts * num_devices) == 0:
            remedies.append(
                f'--config.accumulation_steps={2 * parts} (the same batch in smaller parts)'
            )
        if (half := batch // 2 // (parts * num_devices) * parts * num_devices) > 0:
            remedies.append(f'--config.batch_size={half}')
        if config.eval.batch_size > num_devices:
            remedies.append(
                f'--config.eval.batch_size='
                f'{max(1, config.eval.batch_size // 2 // num_devices) * num_devices}, if it was '
                'in validation'
            )
        remedies.append('--config.model.dtype=bfloat16')
        raise InputError(
            f'the device is out of memory with config.batch_size={batch}, '
            f'config.accumulation_steps={parts}: try {", or ".join(remedies)}, in a new --workdir. '
            f'It said: {str(error).splitlines()[0]}'
        ) from error
