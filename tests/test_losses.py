import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from pneumo_jax.losses import FILM_LOSSES, MASK_LOSSES, film_losses, mean_losses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(5, 4, 4, 1)).astype(np.float32) * 3
TARGET = RNG.uniform(size=(5, 4, 4, 1)).astype(np.float32)
OUTPUTS = {'film_logits': LOGITS[:, 0, 0, 0], 'mask_logits': LOGITS}
LABELS = np.array([0, 1, 1, 0, 1])
PROBS = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))


def per_film(x):
    return x.reshape(len(x), -1)


def losses_of(films, config, *, known=None, outputs=OUTPUTS):
    """The losses of a choice of the films; by default the boxes of all are known."""
    target = jnp.asarray(TARGET[films])
    return film_losses(
        jax.tree.map(lambda x: x[films], outputs),
        labels=jnp.asarray(LABELS[films]),
        mask_target=target,
        known=jnp.ones(len(target), bool) if known is None else known,
        config=config,
    )


def test_mask_losses_are_their_closed_forms():
    bce = -(TARGET * np.log(PROBS) + (1 - TARGET) * np.log(1 - PROBS))
    np.testing.assert_allclose(MASK_LOSSES['bce'](LOGITS, TARGET), per_film(bce).mean(1), rtol=1e-5)
    inter = per_film(PROBS * TARGET).sum(1)
    total = per_film(PROBS).sum(1) + per_film(TARGET).sum(1)
    np.testing.assert_allclose(
        MASK_LOSSES['soft_iou'](LOGITS, TARGET), 1 - (inter + 1) / (total - inter + 1), rtol=1e-5
    )
    np.testing.assert_allclose(
        MASK_LOSSES['dice'](LOGITS, TARGET), 1 - (2 * inter + 1) / (total + 1), rtol=1e-5
    )


def test_film_losses_are_their_closed_forms():
    logits, labels = LOGITS[:, 0, 0, 0], np.array([0, 1, 1, 0, 1], np.float32)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    p_true = np.where(labels == 1, p, 1 - p)
    np.testing.assert_allclose(FILM_LOSSES['bce'](logits, labels), -np.log(p_true), rtol=1e-5)
    alpha = np.where(labels == 1, 0.25, 0.75)
    np.testing.assert_allclose(
        FILM_LOSSES['focal'](logits, labels),
        -alpha * (1 - p_true) ** 2 * np.log(p_true),
        rtol=1e-4,
    )


@pytest.mark.parametrize('name', MASK_LOSSES)
def test_a_perfect_mask_costs_nothing_and_every_film_counts_alone(name):
    target = (TARGET > 0.5).astype(np.float32)
    perfect = MASK_LOSSES[name](jnp.where(target == 1, 30.0, -30.0), target)
    np.testing.assert_allclose(perfect, 0, atol=1e-5)
    whole = MASK_LOSSES[name](LOGITS, TARGET)
    np.testing.assert_allclose(whole[2:3], MASK_LOSSES[name](LOGITS[2:3], TARGET[2:3]), rtol=1e-6)


@pytest.mark.parametrize('name', MASK_LOSSES)
def test_gradients_stay_finite_for_extreme_logits(name):
    extreme = jnp.array([-1e4, 1e4, 0.0, 50.0]).reshape(1, 2, 2, 1)
    grad = jax.grad(lambda x: MASK_LOSSES[name](x, TARGET[:1, :2, :2]).sum())(extreme)
    assert np.isfinite(grad).all()


def test_the_sum_is_weighted_as_the_config_says():
    config = base.get_config().loss
    config.film_weight = 0.25
    config.mask = {'bce': 2.0, 'soft_iou': 0.0, 'dice': 3.0}
    losses = losses_of(slice(None), config)
    mask = 2 * MASK_LOSSES['bce'](LOGITS, TARGET) + 3 * MASK_LOSSES['dice'](LOGITS, TARGET)
    film = FILM_LOSSES['bce'](LOGITS[:, 0, 0, 0], LABELS)
    np.testing.assert_allclose(losses['loss'], 0.25 * film + mask, rtol=1e-6)


def test_a_film_of_unknown_boxes_has_its_film_loss_alone():
    config = base.get_config().loss
    known = np.array([True, False, True, True, False])
    all_known, losses = losses_of(slice(None), config), losses_of(slice(None), config, known=known)
    np.testing.assert_array_equal(losses['film_loss'], all_known['film_loss'])
    np.testing.assert_array_equal(losses['mask_loss'][~known], 0)
    np.testing.assert_array_equal(losses['mask_loss'][known], all_known['mask_loss'][known])
    np.testing.assert_allclose(losses['loss'][~known], losses['film_loss'][~known], rtol=1e-6)


def test_a_film_of_unknown_boxes_moves_the_mask_as_if_it_were_absent():
    config = base.get_config().loss
    config.film_weight = 0.3
    known = jnp.array([True, False, True, True, False])

    def loss(outputs, films, known):
        return mean_losses(losses_of(films, config, known=known, outputs=outputs), known)['loss']

    with_unknown = jax.grad(loss)(OUTPUTS, slice(None), known)
    absent = jax.grad(loss)(OUTPUTS, np.flatnonzero(known), jnp.ones(3, bool))
    assert np.any(absent['mask_logits'])
    np.testing.assert_allclose(
        with_unknown['mask_logits'], absent['mask_logits'], rtol=1e-5, atol=1e-9
    )
    # The film head learns from all films.
    film = jax.grad(lambda x: 0.3 * FILM_LOSSES['bce'](x, LABELS).mean())(OUTPUTS['film_logits'])
    np.testing.assert_allclose(with_unknown['film_logits'], film, rtol=1e-5)


def test_where_all_boxes_are_known_the_means_are_plain_to_the_bit():
    config = base.get_config().loss

    def plain(outputs):
        losses = losses_of(slice(None), config, outputs=outputs)
        means = {name: values.mean() for name, values in losses.items()}
        return means['loss'], means

    def ours(outputs):
        losses = losses_of(slice(None), config, outputs=outputs)
        means = mean_losses(losses, jnp.ones(len(LABELS), bool))
        return means['loss'], means

    expected = jax.jit(jax.value_and_grad(plain, has_aux=True))(OUTPUTS)
    got = jax.jit(jax.value_and_grad(ours, has_aux=True))(OUTPUTS)
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_the_means_are_those_of_the_known_films_in_numpy_too():
    losses = {name: RNG.uniform(size=4) for name in ('film_loss', 'mask_loss')}
    losses['mask_loss'][[0, 3]] = 0
    losses['loss'] = 0.5 * losses['film_loss'] + losses['mask_loss']
    means = mean_losses(losses, np.array([False, True, True, False]))
    assert means['film_loss'] == losses['film_loss'].mean()
    assert means['mask_loss'] == pytest.approx(losses['mask_loss'][1:3].mean())
    assert means['loss'] == pytest.approx(0.5 * means['film_loss'] + means['mask_loss'])


def test_without_a_known_film_the_mask_costs_nothing():
    config = base.get_config().loss
    known = jnp.zeros(len(LABELS), bool)

    def loss(outputs):
        return mean_losses(losses_of(slice(None), config, known=known, outputs=outputs), known)[
            'loss'
        ]

    value, grad = jax.value_and_grad(loss)(OUTPUTS)
    assert value == pytest.approx(FILM_LOSSES['bce'](OUTPUTS['film_logits'], LABELS).mean())
    np.testing.assert_array_equal(grad['mask_logits'], 0)
