import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from pneumo_jax.boxes.decode import mask_to_boxes
from pneumo_jax.boxes.match import iou_matrix
from pneumo_jax.optimizer import make_optimizer
from pneumo_jax.state import create_state, model_graphs, params_sha256
from pneumo_jax.steps import make_eval_step, make_predict_step, make_train_step

SIZE = 64


def make_batch(films, seed=0):
    """Noise pictures; every second one with a brighter rectangle and its box in film pixels."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 100, (films, SIZE, SIZE, 1))
    boxes = np.zeros((films, 8, 4), np.float32)
    label = np.arange(films, dtype=np.int32) % 2
    for i in np.flatnonzero(label):
        x, y = rng.integers(4, 28, 2)
        w, h = rng.integers(16, 32, 2)
        image[i, y : y + h, x : x + w] += 120
        boxes[i, 0] = np.array([x, y, w, h]) * 1024 / SIZE
    return {
        'image': image.astype(np.uint8),
        'label': label,
        'class_id': 2 * label,
        'boxes': boxes,
        'num_boxes': label,
        'film_size': np.full((films, 2), 1024, np.int32),
        'mask': np.ones(films, bool),
        'weak': np.zeros(films, bool),
    }


def make_run(**fields):
    config = base.get_config()
    config.model.name = 'resnet_tiny'
    config.update_from_flattened_dict(fields)
    tx = make_optimizer(config.optimizer, learning_rate=config.learning_rate)
    graphs = model_graphs(config)
    schedule = optax.constant_schedule(config.learning_rate)
    step = make_train_step(graphs=graphs, tx=tx, schedule=schedule, config=config)
    return config, graphs, step, create_state(config, tx)


def test_overfits_16_films_with_their_boxes():
    config, graphs, step, state = make_run(**{'learning_rate': 3e-3, 'model.dropout': 0.0})
    for name in config.augment:
        config.augment[name] = type(config.augment[name])(0)
    batch = make_batch(16)
    for _ in range(150):
        state, _ = step(state, batch)
    scores = make_eval_step(graphs=graphs, config=config)(state.params, state.batch_stats, batch)
    np.testing.assert_array_equal(np.asarray(scores['film_prob']) > 0.5, batch['label'] == 1)
    for i, probs in enumerate(np.asarray(scores['mask_probs'])[..., 0]):
        boxes, _ = mask_to_boxes(
            probs, film_size=(1024, 1024), image_size=SIZE, threshold=0.5, min_area=0.002
        )
        truth = batch['boxes'][i, : batch['num_boxes'][i]]
        assert len(boxes) == len(truth)
        assert np.all(np.diag(iou_matrix(truth, boxes)) > 0.5)


def test_a_film_of_unknown_boxes_trains_the_mask_as_if_it_were_absent():
    fields = {f'augment.{name}': 0.0 for name in ('scale', 'shift', 'brightness', 'contrast')}
    _, _, step, state = make_run(
        **fields | {'augment.flip': False, 'model.dropout': 0.0, 'optimizer.name': 'sgd'}
    )
    positives = {name: rows[1::2] for name, rows in make_batch(8).items()}
    # Every film twice: the normalisation over the batch sees the same with and without the copies'
    # boxes, and a mean over films is the same with and without the copies.
    twice = {name: np.concatenate([rows, rows]) for name, rows in positives.items()}
    unknown = twice | {'num_boxes': np.repeat([1, 0], 4).astype(np.int32)}
    expected, expected_metrics = step(jax.tree.map(jnp.copy, state), twice)
    got, metrics = step(state, unknown)
    for name, value in expected_metrics.items():
        assert float(metrics[name]) == pytest.approx(float(value), rel=1e-4), name
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        got.params,
        expected.params,
    )


def test_evaluation_gives_a_film_of_unknown_boxes_no_mask_loss():
    config, graphs, _, state = make_run()
    step = make_eval_step(graphs=graphs, config=config)
    batch = make_batch(4)
    weak = batch | {'num_boxes': np.array([0, 0, 0, 1], np.int32)}
    scores = step(state.params, state.batch_stats, weak)
    assert (np.asarray(scores['mask_loss']) > 0).tolist() == [True, False, True, True]
    expected = step(state.params, state.batch_stats, batch)
    np.testing.assert_array_equal(scores['film_loss'], expected['film_loss'])


def test_padded_rows_change_nothing():
    config, graphs, _, state = make_run()
    step = make_eval_step(graphs=graphs, config=config)
    batch = make_batch(8)
    other = {k: v.copy() for k, v in batch.items()}
    other['image'][5:] = 0
    other['mask'][5:] = False
    first = step(state.params, state.batch_stats, batch)
    second = step(state.params, state.batch_stats, other)
    for name in first:
        np.testing.assert_allclose(first[name][:5], second[name][:5], rtol=1e-5, atol=1e-6)


def test_one_trace_and_bits_that_depend_on_state_and_batch_alone():
    _, _, step, state = make_run()
    hashes = []
    for _ in range(2):
        run = jax.tree.map(jnp.copy, state)
        for seed in range(3):
            run, metrics = step(run, make_batch(8, seed))
        hashes.append(params_sha256(run.params))
        assert int(run.step) == 3
        assert all(np.isfinite(value) for value in metrics.values())
    assert hashes[0] == hashes[1] != params_sha256(state.params)
    assert step._cache_size() == 1


def test_prediction_equals_evaluation():
    config, graphs, _, state = make_run(**{'loss.label_smoothing': 0.2})
    state.params['film_head']['dense']['bias'] += 1.0
    batch = make_batch(4)
    evaluated = make_eval_step(graphs=graphs, config=config)(state.params, state.batch_stats, batch)
    predict = make_predict_step(graphs=graphs, config=config)
    predicted = predict(state.params, state.batch_stats, batch['image'])
    for name in predicted:
        np.testing.assert_allclose(predicted[name], evaluated[name], rtol=1e-5)
    # Labels are smoothed in training alone.
    of_truth = np.where(batch['label'], predicted['film_prob'], 1 - predicted['film_prob'])
    np.testing.assert_allclose(evaluated['film_loss'], -np.log(of_truth), rtol=1e-5)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_master_parameters_stay_float32(dtype):
    _, _, step, state = make_run(**{'model.dtype': dtype})
    state, metrics = step(state, make_batch(8))
    assert {x.dtype for x in jax.tree.leaves(state.params)} == {jnp.dtype('float32')}
    assert np.isfinite(metrics['loss'])
