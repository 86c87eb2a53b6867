import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from pneumo_jax.losses import Targets, known_films
from pneumo_jax.memory import estimate_memory
from pneumo_jax.optimizer import make_plateau, make_run_optimizer
from pneumo_jax.state import create_state, model_graphs
from pneumo_jax.steps import training_loss

SIZE = 64


def make_run(**fields):
    config = base.get_config()
    config.model.name = 'resnet_tiny'
    config.batch_size = 8
    config.update_from_flattened_dict(fields)
    graphs = model_graphs(config)
    tx = make_run_optimizer(config, learning_rate=lambda _: 1e-3, graph=graphs.train)
    return config, graphs, lambda: create_state(config, tx, make_plateau(config))


def estimate(*, size=SIZE, num_devices=1, **fields):
    config, graphs, make_state = make_run(**fields)
    return estimate_memory(jax.eval_shape(make_state), graphs, config, size, num_devices)


def num_bytes(tree):
    return sum(np.asarray(x).nbytes for x in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    'fields',
    [
        {'optimizer.ema_decay': 0.99},
        {'optimizer.name': 'adafactor', 'schedule.name': 'plateau'},
    ],
)
def test_what_a_state_holds_is_counted_to_the_byte(fields):
    config, graphs, make_state = make_run(**fields)
    state = make_state()
    found = estimate_memory(state, graphs, config, SIZE)
    assert found.parameters == num_bytes((state.params, state.batch_stats))
    assert found.optimizer == num_bytes((state.opt_state, state.plateau))
    assert found.ema == num_bytes(state.ema)
    assert found.gradients == num_bytes(state.params)
    assert found == estimate_memory(jax.eval_shape(make_state), graphs, config, SIZE)
    parts = (found.parameters, found.optimizer, found.ema, found.gradients)
    assert found.total == sum(parts) + found.activations + found.batch


@pytest.mark.parametrize(
    ('fields', 'size'),
    [
        ({}, 64),
        ({'model.name': 'vgg_tiny'}, 32),
        ({'model.dtype': 'bfloat16', 'loss.class_weight': 1.0}, 32),
    ],
)
def test_activations_are_as_large_as_what_the_compiler_reserves(fields, size):
    config, graphs, make_state = make_run(**fields)
    state = jax.eval_shape(make_state)
    reserved = compiled_bytes(state, graphs, config, size)
    found = estimate_memory(state, graphs, config, size).activations
    assert 0.8 * reserved < found < 1.6 * reserved


def compiled_bytes(state, graphs, config, size):
    """What XLA reserves for the gradients beside arguments and results."""
    films, cells = config.batch_size, size // 4
    images = jnp.zeros((films, size, size, 1))
    targets = Targets(
        label=jnp.zeros(films),
        classes=jnp.zeros((films, 3)),
        class_known=jnp.ones(films, bool),
        mask=jnp.zeros((films, cells, cells, 1)),
        boxes_known=jnp.ones(films, bool),
        film_known=jnp.ones(films, bool),
        weak_known=jnp.zeros(films, bool),
    )

    def loss(params, batch_stats, images, targets):
        counts = {name: known.sum() for name, known in known_films(targets).items()}
        key = jax.random.key(0)
        return training_loss(
            params, batch_stats, images, targets, counts, key, graphs=graphs, config=config
        )

    gradients = jax.jit(jax.grad(loss, has_aux=True))
    lowered = gradients.lower(state.params, state.batch_stats, images, targets)
    return lowered.compile().memory_analysis().temp_size_in_bytes


def test_devices_and_parts_share_the_activations():
    whole = estimate()
    divided = estimate(num_devices=2)
    in_parts = estimate(accumulation_steps=4)
    # But for what is kept once, whatever the number of films.
    assert divided.activations == pytest.approx(whole.activations / 2, rel=1e-3)
    assert in_parts.activations == pytest.approx(whole.activations / 4, rel=1e-3)
    assert divided.batch == whole.batch / 2
    assert in_parts.batch == whole.batch
    assert in_parts.gradients == 2 * whole.gradients
    assert divided.parameters == whole.parameters == in_parts.parameters


def test_the_batch_is_its_pictures_masks_and_labels():
    found = estimate(batch_size=16)
    pictures, masks = 16 * SIZE**2 * (1 + 4), 16 * (SIZE // 4) ** 2 * 4
    labels = 16 * (4 + 3 * 4 + 4 * 1)
    assert found.batch == pictures + masks + labels


def test_halves_are_about_half():
    float32, bfloat16 = estimate(), estimate(**{'model.dtype': 'bfloat16'})
    assert 0.4 < bfloat16.activations / float32.activations < 0.9


def test_lines_tell_mebibytes():
    found = estimate()
    head, *lines = found.lines()
    assert 'estimated' in head
    told = {line.split()[0]: float(line.split()[1].replace(',', '')) for line in lines}
    assert 'ema' not in told
    assert told['total'] == pytest.approx(found.total / 2**20, abs=0.05)
    assert math.isclose(told['activations'], found.activations / 2**20, abs_tol=0.05)
