import jax.numpy as jnp
import pytest

from configs import base
from pneumo_jax.device_memory import explained_out_of_memory
from pneumo_jax.errors import InputError


def exhaust():
    """What a device really raises: no machine has 2^50 bytes."""
    jnp.zeros((1 << 48,), jnp.float32).block_until_ready()


def message(num_devices=1, **fields):
    config = base.get_config()
    config.update(fields)
    with (
        pytest.raises(InputError) as caught,
        explained_out_of_memory(config, num_devices=num_devices),
    ):
        exhaust()
    return str(caught.value)


def test_fault_51_out_of_memory_names_the_sizes_to_try():
    said = message(batch_size=32)
    assert 'out of memory with config.batch_size=32' in said
    assert '--config.accumulation_steps=2' in said
    assert '--config.batch_size=16' in said
    assert '--config.eval.batch_size=32' in said


@pytest.mark.parametrize(
    ('batch_size', 'parts', 'devices', 'smaller'),
    [(24, 3, 2, 12), (8, 1, 4, 4), (36, 3, 4, 12), (12, 1, 1, 6)],
)
def test_the_smaller_batch_fits_devices_and_parts(batch_size, parts, devices, smaller):
    said = message(devices, batch_size=batch_size, accumulation_steps=parts)
    assert f'--config.batch_size={smaller},' in said.replace(' or', ',')
    assert smaller % (parts * devices) == 0


def test_a_batch_of_one_film_cannot_be_halved():
    said = message(batch_size=1)
    assert '--config.batch_size=' not in said.split('try')[1]
    assert '--config.model.dtype=bfloat16' in said


def test_other_errors_pass():
    with (
        pytest.raises(ZeroDivisionError),
        explained_out_of_memory(base.get_config(), num_devices=1),
    ):
        raise ZeroDivisionError
