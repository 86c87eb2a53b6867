"""The detector's losses against loops, on mixed films, at the extremes; and that they teach."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pneumo_jax.boxes.detector_targets import detector_targets
from pneumo_jax.boxes.match import iou_matrix
from pneumo_jax.detector_losses import giou_loss, heat_loss

SIZE, MAP, STRIDE = 128, 16, 8
# Of four films: three boxes, one, none, and two that overlap.
BOXES = np.zeros((4, 8, 4), np.float32)
BOXES[0, :3] = [(5, 12, 30, 44), (70, 10, 41, 60), (40.5, 85, 50, 38)]
BOXES[1, 0] = (80, 66, 24, 31)
BOXES[3, :2] = [(10, 10, 100, 90), (62, 40, 30, 30)]
NUM_BOXES = np.array([3, 1, 0, 2], np.int32)
jitted_targets = jax.jit(detector_targets, static_argnames=('image_size', 'map_size'))
TARGETS = jitted_targets(BOXES, NUM_BOXES, image_size=SIZE, map_size=MAP)
HEAT, SIDES, WEIGHT = (np.asarray(TARGETS[name]) for name in TARGETS)


def _random_logits():
    return np.random.default_rng(0).normal(-1, 3, HEAT.shape).astype(np.float32)


def _random_sides():
    return np.random.default_rng(1).uniform(0, 60, SIDES.shape).astype(np.float32)


def _looped_heat_loss(logits, heat):
    """As the papers have it: positives are the cells of heat 1."""
    losses = []
    for film, film_heat in zip(logits.astype(np.float64), heat, strict=True):
        total, middles = 0.0, 0
        for x, y in zip(film.ravel(), film_heat.ravel(), strict=True):
            p = 1 / (1 + np.exp(-x))
            if y == 1:
                total -= (1 - p) ** 2 * np.log(p)
                middles += 1
            else:
                total -= (1 - float(y)) ** 4 * p**2 * np.log(1 - p)
        losses.append(total / max(1, middles))
    return losses


def _looped_giou(a, b):
    """Of two boxes (left, top, right, bottom)."""
    area = lambda c: max(c[2] - c[0], 0) * max(c[3] - c[1], 0)  # noqa: E731
    shared = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    hull = area((min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])))
    union = area(a) + area(b) - shared
    return shared / union - (hull - union) / hull


def test_heat_loss_is_the_published_one():
    logits = _random_logits()
    assert (HEAT == 1).sum(axis=(1, 2, 3)).tolist() == NUM_BOXES.tolist()
    np.testing.assert_allclose(heat_loss(logits, HEAT), _looped_heat_loss(logits, HEAT), rtol=1e-5)


def test_giou_loss_is_the_weighted_mean_over_cells():
    pred = _random_sides()
    expected = np.zeros(4)
    for film in range(4):
        total = 0.0
        for i, j in np.argwhere(WEIGHT[film, :, :, 0] > 0):
            # Where the cell stands makes no difference to the overlap, but keeps the loop honest.
            x, y = (j + 0.5) * STRIDE, (i + 0.5) * STRIDE
            corners = [
                (x - left, y - top, x + right, y + bottom)
                for left, top, right, bottom in np.float64([pred[film, i, j], SIDES[film, i, j]])
            ]
            total += WEIGHT[film, i, j, 0] * (1 - _looped_giou(*corners))
        expected[film] = total / max(WEIGHT[film].sum(), 1e-9)
    np.testing.assert_allclose(giou_loss(pred, SIDES, WEIGHT), expected, rtol=1e-5)
    assert expected[2] == 0


def test_the_truth_costs_nothing():
    logits = np.where(HEAT == 1, 30, -30).astype(np.float32)
    np.testing.assert_allclose(heat_loss(logits, HEAT), 0, atol=1e-6)
    np.testing.assert_allclose(giou_loss(SIDES, SIDES, WEIGHT), 0, atol=1e-6)


def test_a_middle_seen_beside_its_cell_costs_less_than_one_far_away():
    row, column = np.argwhere(HEAT[1, :, :, 0] == 1)[0]
    losses = []
    for shift in (0, 1, 6):
        logits = np.full((1, MAP, MAP, 1), -5, np.float32)
        logits[0, row - shift, column] = 5
        losses.append(float(heat_loss(logits, HEAT[1:2])[0]))
    assert losses == sorted(losses)
    assert losses[1] + 0.1 < losses[2]


@pytest.mark.parametrize('share', [0.3, 0.5, 0.8])
def test_a_middle_of_a_mixed_film_counts_its_share(share):
    logits = np.full((1, MAP, MAP, 1), -12, np.float32)
    # A film with one box and one without any: all else is silent, so the middle alone costs.
    mixed = share * HEAT[1:2] + (1 - share) * HEAT[2:3]
    at_middle = HEAT[1:2] == 1
    p = 0.2
    seen = np.where(at_middle, np.log(p / (1 - p)), logits).astype(np.float32)
    expected = -share * (1 - p) ** 2 * np.log(p) - (1 - share) * p**2 * np.log(1 - p)
    np.testing.assert_allclose(heat_loss(seen, mixed), expected, rtol=1e-3)
    # The answer that costs least is near to the share, neither yes nor no.
    answers = np.linspace(0.01, 0.99, 99).reshape(-1, 1, 1, 1)
    seen = np.where(at_middle, np.log(answers / (1 - answers)), logits).astype(np.float32)
    best = answers[heat_loss(seen, np.repeat(mixed, 99, axis=0)).argmin(), 0, 0, 0]
    assert abs(best - share) < 0.2


def test_mixed_films_with_boxes_apart_count_the_shares_of_all_their_middles():
    # Nothing is seen, so only missed middles cost, -log p = 9 each.
    logits = np.full((1, MAP, MAP, 1), -9, np.float32)
    for share in (0.25, 0.6):
        mixed = share * HEAT[:1] + (1 - share) * HEAT[1:2]
        # The shares add up to 1.5 and 2.2 middles, which the loss is divided by.
        np.testing.assert_allclose(heat_loss(logits, mixed), 9, rtol=1e-3)
    np.testing.assert_allclose(heat_loss(logits, 0.5 * HEAT[1:2]), 9 * 0.5, rtol=1e-3)


def test_middles_are_found_in_heat_that_is_compiled_with_the_loss():
    share = np.array([0.7, 0.6, 0.9, 0.83], np.float32).reshape(4, 1, 1, 1)

    def loss_of(boxes, num_boxes, logits):
        targets = detector_targets(boxes, num_boxes, image_size=SIZE, map_size=MAP)
        return heat_loss(logits, share * targets['heat'] + (1 - share) * targets['heat'][::-1])

    mixed = share * HEAT + (1 - share) * HEAT[::-1]
    np.testing.assert_allclose(
        jax.jit(loss_of)(BOXES, NUM_BOXES, _random_logits()),
        heat_loss(_random_logits(), mixed),
        rtol=1e-5,
    )


def test_the_largest_box_has_one_middle():
    box = np.array([[[0, 0, 1024, 1024]]], np.float32)
    heat = jitted_targets(box, np.array([1]), image_size=1024, map_size=128)['heat']
    logits = np.full(heat.shape, -9, np.float32)
    np.testing.assert_allclose(heat_loss(logits, 0.5 * heat), 9 * 0.5, rtol=1e-3)


@pytest.mark.parametrize('value', [-80, -20, 0, 20, 80])
def test_heat_loss_and_its_gradient_are_finite_at_any_logit(value):
    logits = np.full(HEAT.shape, value, np.float32)
    loss, gradient = jax.value_and_grad(lambda x: heat_loss(x, HEAT).sum())(logits)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    # Far off, the cross entropy's slope of a miss or of a false alarm.
    if value == -80:
        np.testing.assert_allclose(gradient[1][HEAT[1] == 1], -1, rtol=1e-5)


def test_giou_gradients_are_finite_where_a_prediction_is_no_box():
    for pred in (np.zeros_like(SIDES), np.full_like(SIDES, 1e4), SIDES):
        loss, gradient = jax.value_and_grad(lambda x: giou_loss(x, SIDES, WEIGHT).sum())(pred)
        assert np.isfinite(loss)
        assert np.isfinite(gradient).all()


def test_cells_without_weight_teach_no_sides():
    gradient = jax.grad(lambda x: giou_loss(x, SIDES, WEIGHT).sum())(_random_sides())
    has_gradient = np.abs(gradient).max(axis=-1, keepdims=True) > 0
    np.testing.assert_array_equal(has_gradient, WEIGHT > 0)


def test_both_losses_lead_to_the_boxes():
    logits, log_sides, losses = _learned(steps=300)
    assert (losses < 0.02).all(), losses
    probs = np.asarray(jax.nn.sigmoid(logits))[..., 0]
    sides = np.exp(log_sides)
    for film in range(4):
        truth = BOXES[film, : NUM_BOXES[film]]
        rows, columns = np.nonzero(probs[film] > 0.5)
        points = (np.stack([columns, rows], axis=1) + 0.5) * STRIDE
        found = sides[film, rows, columns]
        found = np.concatenate([points - found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
        assert len(found) == len(truth)
        assert (iou_matrix(truth, found).max(axis=1, initial=0) > 0.95).all()


@jax.jit
def _loss(free):
    return jnp.stack(
        [
            heat_loss(free['logits'], HEAT),
            giou_loss(jnp.exp(free['log_sides']), SIDES, WEIGHT),
        ]
    )


def _learned(*, steps):
    """Logits and logarithms of sides after Adam on both losses, and the losses [2,B]."""
    # The rate falls, since GIoU's slope does not: at a fixed one sides would swing about the truth.
    tx = optax.adam(optax.cosine_decay_schedule(0.1, steps))
    free = {
        'logits': jnp.full(HEAT.shape, -4.6),
        'log_sides': jnp.full(SIDES.shape, np.log(SIZE / 8)),
    }

    def step(carry, _):
        free, opt_state = carry
        gradient = jax.grad(lambda x: _loss(x).sum())(free)
        updates, opt_state = tx.update(gradient, opt_state)
        return (optax.apply_updates(free, updates), opt_state), None

    (free, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, length=steps))((free, tx.init(free)))
    return free['logits'], free['log_sides'], _loss(free)
