import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from pneumo_jax.losses import FILM_LOSSES, MASK_LOSSES, film_losses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(5, 4, 4, 1)).astype(np.float32) * 3
TARGET = RNG.uniform(size=(5, 4, 4, 1)).astype(np.float32)
PROBS = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))


def per_film(x):
    return x.reshape(len(x), -1)


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
    outputs = {'film_logits': LOGITS[:, 0, 0, 0], 'mask_logits': LOGITS}
    labels = np.array([0, 1, 1, 0, 1])
    losses = film_losses(outputs, labels=labels, mask_target=TARGET, config=config)
    mask = 2 * MASK_LOSSES['bce'](LOGITS, TARGET) + 3 * MASK_LOSSES['dice'](LOGITS, TARGET)
    film = FILM_LOSSES['bce'](LOGITS[:, 0, 0, 0], labels)
    np.testing.assert_allclose(losses['loss'], 0.25 * film + mask, rtol=1e-6)
