import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from pneumo_jax.errors import InputError
from pneumo_jax.optimizer import OPTIMIZERS, make_optimizer, make_schedule


def config_with(**fields):
    config = base.get_config()
    config.update_from_flattened_dict(fields)
    return config


def test_cosine_warms_up_peaks_and_ends_at_zero():
    config = config_with(learning_rate=0.5)
    schedule = make_schedule(config, num_steps=110, steps_per_epoch=10)
    assert schedule(0) == 0
    assert float(schedule(5)) == pytest.approx(0.25)
    assert float(schedule(10)) == pytest.approx(0.5)
    # Halfway down the cosine.
    assert float(schedule(60)) == pytest.approx(0.25)
    assert float(schedule(110)) == pytest.approx(0, abs=1e-7)


def test_linear_and_constant_schedules():
    flat = make_schedule(
        config_with(**{'schedule.name': 'constant', 'schedule.warmup_epochs': 0.0}),
        num_steps=10,
        steps_per_epoch=1,
    )
    assert [float(flat(s)) for s in (0, 9)] == pytest.approx([1e-3, 1e-3])
    line = make_schedule(
        config_with(**{'schedule.name': 'linear', 'schedule.warmup_epochs': 0.0}),
        num_steps=10,
        steps_per_epoch=1,
    )
    assert [float(line(s)) for s in (0, 5, 10)] == pytest.approx([1e-3, 5e-4, 0])


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_every_optimizer_goes_downhill(name):
    config = config_with(**{'optimizer.name': name, 'optimizer.weight_decay': 0.0}).optimizer
    tx = make_optimizer(config, learning_rate=0.02)
    params = {'w': jnp.full((3, 3), 2.0)}
    loss = lambda p: jnp.sum(p['w'] ** 2)  # noqa: E731
    start, state = loss(params), tx.init(params)
    for _ in range(20):
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    assert loss(params) < 0.9 * start


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_decay_spares_biases_and_norms(name):
    params = {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)}
    config = config_with(**{'optimizer.name': name, 'optimizer.weight_decay': 0.1}).optimizer
    tx = make_optimizer(config, learning_rate=1.0)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zero, tx.init(params), params)
    assert np.all(updates['kernel'] < 0)
    np.testing.assert_array_equal(updates['bias'], 0)


def test_clipping_bounds_the_step():
    config = config_with(**{'optimizer.name': 'sgd', 'optimizer.weight_decay': 0.0}).optimizer
    tx = make_optimizer(config, learning_rate=1.0)
    params = {'w': jnp.zeros((2, 2))}
    updates, _ = tx.update({'w': jnp.full((2, 2), 100.0)}, tx.init(params), params)
    assert float(jnp.linalg.norm(updates['w'])) == pytest.approx(1.0)


def test_unknown_names_are_refused_with_the_choices():
    with pytest.raises(InputError, match=r'config.optimizer.name.*adamw'):
        make_optimizer(config_with(**{'optimizer.name': 'adamx'}).optimizer, learning_rate=1.0)
    with pytest.raises(InputError, match=r'config.schedule.name.*cosine'):
        make_schedule(config_with(**{'schedule.name': 'cos'}), num_steps=1, steps_per_epoch=1)
