"""What a training step may do beside one gradient: parts, averages, reductions, mixtures."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from pneumo_jax.optimizer import make_optimizer, make_plateau
from pneumo_jax.state import create_state, model_graphs
from pneumo_jax.steps import make_eval_step, make_train_step
from tests.test_steps import make_batch

PLAIN = {
    **{f'augment.{name}': 0.0 for name in ('scale', 'shift', 'brightness', 'contrast')},
    'augment.flip': False,
    'model.name': 'resnet_tiny',
    'model.dropout': 0.0,
    'optimizer.name': 'sgd',
    'optimizer.clip_norm': 0.0,
    'optimizer.weight_decay': 0.0,
    'learning_rate': 0.1,
}


def make_run(*, fixed_norms=(), **fields):
    config = base.get_config()
    config.update_from_flattened_dict(PLAIN | fields)
    tx = make_optimizer(config.optimizer, learning_rate=config.learning_rate)
    step = make_train_step(
        graphs=model_graphs(config, fixed_norms=fixed_norms),
        tx=tx,
        schedule=optax.constant_schedule(config.learning_rate),
        config=config,
    )
    return config, step, create_state(config, tx, make_plateau(config))


def assert_close(a, b, **tolerances):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerances), a, b)


def test_a_batch_in_parts_has_the_gradient_of_the_whole():
    batch = make_batch(8)
    # Parts have more or fewer films of which boxes and class are known.
    batch['num_boxes'][[1, 3, 5]] = 0
    batch['class_id'][:5] = -1
    runs = {}
    for parts in (1, 4):
        fields = {'accumulation_steps': parts, 'loss.class_weight': 0.5}
        # Statistics of the batch would differ from those of its parts.
        _, step, state = make_run(fixed_norms=tuple(range(6)), **fields)
        runs[parts] = step(state, batch)
    assert_close(runs[4][1], runs[1][1], rtol=2e-4)
    assert_close(runs[4][0].params, runs[1][0].params, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_batch_statistics_are_those_of_every_part_in_turn():
    batch = make_batch(8)
    _, step, state = make_run(accumulation_steps=2, learning_rate=0.0)
    got, _ = step(state, batch)
    _, step, state = make_run(learning_rate=0.0)
    for rows in (slice(0, None, 2), slice(1, None, 2)):
        state, _ = step(state, {name: column[rows] for name, column in batch.items()})
    assert_close(got.batch_stats, state.batch_stats, rtol=1e-5, atol=1e-7)


def test_the_average_follows_parameters_and_statistics():
    fields = {'optimizer.ema_decay': 0.5}
    _, step, state = make_run(**fields)
    expected = {'params': state.params, 'batch_stats': state.batch_stats}
    assert_close(state.ema, expected, rtol=0)
    expected = jax.tree.map(np.array, expected)
    for i in range(9):
        state, _ = step(state, make_batch(8, seed=i))
        newest = {'params': state.params, 'batch_stats': state.batch_stats}
        decay = min(0.5, (2 + i) / (11 + i))
        expected = jax.tree.map(
            lambda a, x, d=decay: d * a + (1 - d) * np.asarray(x), expected, newest
        )
    assert_close(state.ema, expected, rtol=1e-4, atol=1e-6)
    params, batch_stats = state.best_guess
    assert params is state.ema['params']
    assert batch_stats is state.ema['batch_stats']


def test_a_reduction_scales_the_step_and_is_told():
    batch = make_batch(8)
    _, step, state = make_run(**{'schedule.name': 'plateau'})
    before = jax.tree.map(jnp.copy, state.params)
    reduced = state.replace(plateau=state.plateau._replace(scale=jnp.float32(0.25)))
    reduced = jax.tree.map(jnp.copy, reduced)
    full, metrics = step(state, batch)
    small, told = step(reduced, batch)
    moves = [jax.tree.map(lambda a, b: a - b, run.params, before) for run in (full, small)]
    assert_close(moves[1], jax.tree.map(lambda m: 0.25 * m, moves[0]), rtol=1e-3, atol=1e-7)
    assert float(told['learning_rate']) == pytest.approx(0.25 * float(metrics['learning_rate']))


def test_the_class_head_learns_from_films_of_known_class_alone():
    fields = {'loss.class_weight': 1.0, 'loss.film_weight': 0.0, 'learning_rate': 1.0}
    batch = make_batch(8)
    _, step, state = make_run(**fields)
    unknown = batch | {'class_id': np.full(8, -1, np.int32)}
    before = jax.tree.map(np.array, state.params['film_head'])
    same, metrics = step(jax.tree.map(jnp.copy, state), unknown)
    assert metrics['class_loss'] == 0
    assert_close(same.params['film_head'], before, rtol=0)
    moved, metrics = step(state, batch)
    # From zero, three classes are equally likely.
    assert float(metrics['class_loss']) == pytest.approx(np.log(3), rel=1e-5)
    assert np.any(moved.params['film_head']['classes']['kernel'])
    np.testing.assert_array_equal(moved.params['film_head']['dense']['kernel'], 0)


def test_without_film_loss_the_highest_mask_value_answers_for_the_film():
    config, _, state = make_run(**{'loss.film_weight': 0.0})
    evaluate = make_eval_step(graphs=model_graphs(config), config=config)
    scores = evaluate(state.params, state.batch_stats, make_batch(4))
    highest = np.asarray(scores['mask_probs']).max(axis=(1, 2, 3))
    np.testing.assert_array_equal(scores['film_prob'], highest)
    config.loss.film_weight = 1.0
    evaluate = make_eval_step(graphs=model_graphs(config), config=config)
    scores = evaluate(state.params, state.batch_stats, make_batch(4))
    np.testing.assert_array_equal(scores['film_prob'], 0.5)


def test_mixtures_train_and_depend_on_the_step_alone():
    _, step, state = make_run(**{'augment.mixup': 0.4, 'loss.class_weight': 0.1})
    again = jax.tree.map(jnp.copy, state)
    first, metrics = step(state, make_batch(8))
    second, _ = step(again, make_batch(8))
    assert_close(first.params, second.params, rtol=0)
    assert all(np.isfinite(value) for value in metrics.values())
