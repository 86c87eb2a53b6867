"""The detector and the weak head in the steps of training and prediction."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pneumo_jax.boxes.match import iou_matrix
from pneumo_jax.detector_losses import giou_loss, heat_loss
from pneumo_jax.localizers import Localizer
from pneumo_jax.losses import film_losses, known_films, mean_losses
from pneumo_jax.steps import make_eval_step, make_predict_step
from tests.test_losses import OUTPUTS, TARGETS, section
from tests.test_steps import SIZE, make_batch, make_run

PLAIN = {f'augment.{name}': 0.0 for name in ('scale', 'shift', 'brightness', 'contrast')} | {
    'augment.flip': False,
    'model.dropout': 0.0,
}
RNG = np.random.default_rng(3)


def test_it_learns_the_boxes_of_8_films_beside_the_mask():
    config, graphs, step, state = make_run(
        **PLAIN | {'model.localizer': 'detector', 'learning_rate': 1e-2}
    )
    batch = make_batch(8)
    for _ in range(120):
        state, metrics = step(state, batch)
    assert metrics['detector_loss'] < 0.3
    answers = jax.device_get(
        make_predict_step(graphs=graphs, config=config)(
            state.params, state.batch_stats, batch['image']
        )
    )
    located = Localizer('detector', config.eval, SIZE).boxes(answers, [(1024, 1024)] * 8)
    for i, (boxes, scores) in enumerate(located):
        truth = batch['boxes'][i, : batch['num_boxes'][i]]
        assert np.sum(scores > 0.5) == len(truth)
        assert np.all(iou_matrix(truth, boxes[: len(truth)]).diagonal() > 0.6)


def test_the_loss_is_the_weighted_sum_of_both_parts_on_films_of_known_boxes():
    heat = RNG.normal(size=(5, 4, 4, 1)).astype(np.float32)
    sides = RNG.uniform(1, 9, (5, 4, 4, 4)).astype(np.float32)
    truth = {
        'heat': np.where(RNG.random((5, 4, 4, 1)) < 0.1, 1, 0.3).astype(np.float32),
        'sides': RNG.uniform(1, 9, (5, 4, 4, 4)).astype(np.float32),
        'sides_weight': RNG.random((5, 4, 4, 1)).astype(np.float32),
    }
    outputs = jax.tree.map(jnp.asarray, OUTPUTS | {'heat_logits': heat, 'box_sides': sides})
    config = section(**{'detector.heat': 0.7, 'detector.giou': 3.0})
    found = film_losses(outputs, dataclasses.replace(TARGETS, detection=truth), config)
    expected = 0.7 * heat_loss(heat, truth['heat'])
    expected += 3 * giou_loss(sides, truth['sides'], truth['sides_weight'])
    known = TARGETS.boxes_known
    expected = np.asarray(expected)
    np.testing.assert_allclose(found['detector_loss'], np.where(known, expected, 0), rtol=1e-5)
    means = mean_losses(found, jax.tree.map(jnp.asarray, known_films(TARGETS)), config)
    assert means['detector_loss'] == pytest.approx(expected[known].mean(), rel=1e-5)


def test_a_weakly_labelled_film_teaches_the_weak_head_alone():
    weak = np.array([False, True, False, True, False])
    no = np.zeros(5, bool)
    targets = dataclasses.replace(
        TARGETS,
        film_known=~weak,
        weak_known=weak,
        class_known=TARGETS.class_known & ~weak,
        boxes_known=TARGETS.boxes_known & ~weak,
    )
    logits = RNG.normal(size=5).astype(np.float32)
    config = section(weak_weight=0.25, label_smoothing=0.0)

    def loss(outputs):
        losses = film_losses(outputs, targets, config)
        films = jax.tree.map(jnp.asarray, known_films(targets))
        return mean_losses(losses, films, config)['loss']

    grads = jax.grad(loss)(OUTPUTS | {'weak_logits': logits})
    for name in ('film_logits', 'class_logits', 'mask_logits'):
        moved = np.abs(grads[name]).reshape(5, -1).sum(axis=1) > 0
        assert not moved[weak].any(), name
    assert (np.asarray(grads['weak_logits']) != 0).tolist() == weak.tolist()
    # The gradient of a mean of two cross entropies.
    expected = 0.25 * (1 / (1 + np.exp(-logits)) - TARGETS.label)[weak] / 2
    np.testing.assert_allclose(grads['weak_logits'][weak], expected, rtol=1e-5)
    assert known_films(dataclasses.replace(targets, weak_known=no))['weak_loss'].sum() == 0


@pytest.mark.slow
def test_weak_rows_of_a_batch_are_of_no_other_head():
    """Whatever label, class or boxes such a film has, it counts as weak alone."""
    fields = PLAIN | {'model.localizer': 'detector', 'optimizer.name': 'sgd'}
    fields |= {'loss.class_weight': 0.1, 'data.extra_dirs': ('shards',)}
    _, _, step, state = make_run(**fields)
    batch = make_batch(8)
    weak = batch | {'weak': np.arange(8) >= 6}
    other = weak | {
        'class_id': np.where(weak['weak'], 0, batch['class_id']),
        'boxes': np.where(weak['weak'][:, None, None], 0, batch['boxes']),
        'num_boxes': np.where(weak['weak'], 0, batch['num_boxes']),
    }
    one, metrics = step(jax.tree.map(jnp.copy, state), weak)
    two, _ = step(state, other)
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)
    assert float(metrics['weak_loss']) > 0


def test_evaluation_answers_as_prediction_does_and_knows_no_weak_loss():
    fields = {'model.localizer': 'detector', 'eval.flip': True, 'data.extra_dirs': ('shards',)}
    config, graphs, _, state = make_run(**fields)
    batch = make_batch(4)
    evaluated = make_eval_step(graphs=graphs, config=config)(state.params, state.batch_stats, batch)
    predict = make_predict_step(graphs=graphs, config=config)
    predicted = predict(state.params, state.batch_stats, batch['image'])
    for name in ('heat_probs', 'box_sides', 'film_prob', 'mask_probs'):
        np.testing.assert_allclose(predicted[name], evaluated[name], rtol=1e-5)
    assert 'weak_loss' not in evaluated
    assert np.isfinite(evaluated['detector_loss']).all()


def test_mixed_films_train_the_detector():
    _, _, step, state = make_run(**PLAIN | {'model.localizer': 'detector', 'augment.mixup': 0.5})
    for seed in range(2):
        state, metrics = step(state, make_batch(8, seed))
        assert np.isfinite(float(metrics['detector_loss']))
