import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from pneumo_jax.errors import InputError
from pneumo_jax.losses import (
    FILM_LOSSES,
    MASK_LOSSES,
    Targets,
    film_losses,
    known_films,
    mean_losses,
)

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(5, 4, 4, 1)).astype(np.float32) * 3
SHARES = RNG.uniform(size=(5, 4, 4, 1)).astype(np.float32)
CLASS_LOGITS = RNG.normal(size=(5, 3)).astype(np.float32) * 2
LABELS = np.array([0, 1, 1, 0, 0.3], np.float32)
OUTPUTS = {
    'film_logits': LOGITS[:, 0, 0, 0],
    'mask_logits': LOGITS,
    'class_logits': CLASS_LOGITS,
}
TARGETS = Targets(
    label=LABELS,
    classes=np.array([[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0], [0.7, 0, 0.3]], np.float32),
    class_known=np.array([True, True, True, False, True]),
    mask=SHARES,
    boxes_known=np.array([True, False, True, True, True]),
    film_known=np.ones(5, bool),
    weak_known=np.zeros(5, bool),
)
FILMS = slice(None)


def section(**fields):
    config = base.get_config().loss
    config.update_from_flattened_dict(
        {'positive_weight': 3.0, 'film_weight': 0.3, 'class_weight': 0.6} | fields
    )
    return config


def log_probs(logits):
    """log p and log(1 - p) in float64."""
    logits = logits.astype(np.float64)
    return -np.logaddexp(0, -logits), -np.logaddexp(0, logits)


def losses_of(config, *, outputs=OUTPUTS, targets=TARGETS, films=FILMS):
    outputs, targets = jax.tree.map(lambda x: jnp.asarray(x[films]), (outputs, targets))
    return film_losses(outputs, targets, config)


def means_of(config, **kwargs):
    targets = kwargs.get('targets', TARGETS)
    known = jax.tree.map(lambda x: jnp.asarray(x[kwargs.get('films', FILMS)]), known_films(targets))
    return mean_losses(losses_of(config, **kwargs), known, config)


def all_known(targets):
    yes = np.ones(len(targets.label), bool)
    return dataclasses.replace(targets, class_known=yes, boxes_known=yes)


def test_film_losses_are_their_closed_forms():
    config = section(**{'focal.alpha': 0.4, 'focal.gamma': 1.5})
    logits = OUTPUTS['film_logits']
    log_p, log_q = log_probs(logits)
    p, q = np.exp(log_p), np.exp(log_q)
    expected = {
        'bce': -LABELS * log_p - (1 - LABELS) * log_q,
        'weighted_bce': -3 * LABELS * log_p - (1 - LABELS) * log_q,
        'focal': -0.4 * LABELS * q**1.5 * log_p - 0.6 * (1 - LABELS) * p**1.5 * log_q,
    }
    assert expected.keys() == FILM_LOSSES.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(
            FILM_LOSSES[name](logits, LABELS, config), values, rtol=1e-5, err_msg=name
        )


def test_mask_losses_are_their_closed_forms():
    config = section(**{'tversky.alpha': 0.2, 'tversky.beta': 0.9})
    log_p, log_q = log_probs(LOGITS)
    p, q, t = np.exp(log_p), np.exp(log_q), SHARES.astype(np.float64)
    total = lambda x: x.sum(axis=(1, 2, 3))  # noqa: E731
    hits, false_alarms, misses = total(p * t), total(p * (1 - t)), total((1 - p) * t)
    union = total(p + t - p * t)
    expected = {
        'bce': total(-t * log_p - (1 - t) * log_q) / 16,
        'soft_iou': 1 - (hits + 1) / (union + 1),
        'dice': 1 - (2 * hits + 1) / (total(p) + total(t) + 1),
        'tversky': 1 - (hits + 1) / (hits + 0.2 * false_alarms + 0.9 * misses + 1),
        'focal': total(-0.25 * t * q**2 * log_p - 0.75 * (1 - t) * p**2 * log_q) / 16,
    }
    assert expected.keys() == MASK_LOSSES.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(
            MASK_LOSSES[name](LOGITS, SHARES, config), values, rtol=1e-5, err_msg=name
        )


def test_tversky_of_equal_weights_is_dice_up_to_the_smoothing():
    config = section(**{'tversky.alpha': 0.5, 'tversky.beta': 0.5})
    # A film repeated over so many cells that the smoothing is nothing beside the sums.
    logits, shares = (np.tile(x, (1, 64, 64, 1)) for x in (LOGITS, SHARES))
    np.testing.assert_allclose(
        MASK_LOSSES['tversky'](logits, shares, config),
        MASK_LOSSES['dice'](logits, shares, config),
        rtol=1e-4,
    )
    both = section(**{'tversky.alpha': 1.0, 'tversky.beta': 1.0})
    np.testing.assert_allclose(
        MASK_LOSSES['tversky'](LOGITS, SHARES, both),
        MASK_LOSSES['soft_iou'](LOGITS, SHARES, both),
        rtol=1e-5,
    )


def test_classes_cost_their_cross_entropy_where_they_are_known():
    expected = -np.log(np.exp(CLASS_LOGITS) / np.exp(CLASS_LOGITS).sum(1, keepdims=True))
    expected = (TARGETS.classes * expected).sum(1) * TARGETS.class_known
    np.testing.assert_allclose(losses_of(section())['class_loss'], expected, rtol=1e-5)
    assert expected[3] == 0
    without = {name: x for name, x in OUTPUTS.items() if name != 'class_logits'}
    assert losses_of(section(), outputs=without).keys() == {'film_loss', 'mask_loss'}


@pytest.mark.parametrize('name', FILM_LOSSES)
def test_a_mixed_film_costs_the_mixture_of_the_losses(name):
    loss = lambda y: FILM_LOSSES[name](LOGITS[:, 0, 0, 0], y, section())  # noqa: E731
    ones, zeros = np.ones(5, np.float32), np.zeros(5, np.float32)
    mixture = LABELS * loss(ones) + (1 - LABELS) * loss(zeros)
    np.testing.assert_allclose(loss(LABELS), mixture, rtol=1e-5)


@pytest.mark.parametrize('name', ['bce', 'focal'])
def test_a_mixed_cell_costs_the_mixture_of_the_losses(name):
    loss = lambda t: MASK_LOSSES[name](LOGITS, t, section())  # noqa: E731
    first, second = SHARES, RNG.uniform(size=SHARES.shape).astype(np.float32)
    np.testing.assert_allclose(
        loss(0.3 * first + 0.7 * second), 0.3 * loss(first) + 0.7 * loss(second), rtol=1e-5
    )


@pytest.mark.parametrize('name', FILM_LOSSES)
def test_smoothing_is_a_label_nearer_to_even_odds(name):
    got = losses_of(section(film=name, label_smoothing=0.1))
    moved = dataclasses.replace(
        TARGETS,
        label=0.9 * LABELS + np.float32(0.05),
        classes=0.9 * TARGETS.classes + np.float32(0.1 / 3),
    )
    expected = losses_of(section(film=name), targets=moved)
    for loss in ('film_loss', 'class_loss', 'mask_loss'):
        np.testing.assert_allclose(got[loss], expected[loss], rtol=1e-5, err_msg=loss)
    assert got['class_loss'][3] == 0


@pytest.mark.parametrize('name', MASK_LOSSES)
def test_a_perfect_mask_costs_nothing_and_every_film_counts_alone(name):
    loss = lambda *args: MASK_LOSSES[name](*args, section())  # noqa: E731
    target = (SHARES > 0.5).astype(np.float32)
    perfect = loss(jnp.where(target == 1, 30.0, -30.0), target)
    np.testing.assert_allclose(perfect, 0, atol=1e-5)
    whole = loss(LOGITS, SHARES)
    np.testing.assert_allclose(whole[2:3], loss(LOGITS[2:3], SHARES[2:3]), rtol=1e-6)


@pytest.mark.parametrize('name', ['soft_iou', 'dice', 'tversky'])
def test_overlap_asks_nothing_of_a_film_without_boxes(name):
    loss = lambda x: MASK_LOSSES[name](x, jnp.zeros_like(x), section()).sum()  # noqa: E731
    value, grad = jax.value_and_grad(loss)(jnp.asarray(LOGITS))
    assert value == 0
    np.testing.assert_array_equal(grad, 0)


@pytest.mark.parametrize('label', [0.0, 0.4, 1.0])
def test_losses_and_gradients_stay_finite_for_extreme_logits(label):
    extreme = jnp.array([-1e4, 1e4, 0.0, 50.0, -50.0, 1e-4])
    outputs = {
        'film_logits': extreme,
        'class_logits': jnp.stack([extreme, -extreme, jnp.zeros(6)], axis=1),
        'mask_logits': jnp.tile(extreme[:, None, None, None], (1, 2, 2, 1)),
    }
    targets = Targets(
        label=jnp.full(6, label),
        classes=jnp.tile(jnp.array([label, 1 - label, 0.0]), (6, 1)),
        class_known=jnp.ones(6, bool),
        mask=jnp.full((6, 2, 2, 1), label),
        boxes_known=jnp.ones(6, bool),
        film_known=jnp.ones(6, bool),
        weak_known=jnp.zeros(6, bool),
    )
    for film in FILM_LOSSES:
        config = section(film=film, **{f'mask.{name}': 1.0 for name in MASK_LOSSES})
        grads, losses = jax.grad(
            lambda outputs, config=config: (
                sum(x.sum() for x in film_losses(outputs, targets, config).values()),
                film_losses(outputs, targets, config),
            ),
            has_aux=True,
        )(outputs)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves((grads, losses))), film


def test_means_are_weighted_as_the_config_says():
    config = section(**{'mask.bce': 0.0, 'mask.soft_iou': 0.5, 'mask.dice': 2.0})
    losses, means = losses_of(config), means_of(config)
    parts = {name: MASK_LOSSES[name](LOGITS, SHARES, config) for name in ('soft_iou', 'dice')}
    mask = np.where(TARGETS.boxes_known, 0.5 * parts['soft_iou'] + 2 * parts['dice'], 0)
    np.testing.assert_allclose(losses['mask_loss'], mask, rtol=1e-6)
    expected = {
        'film_loss': np.mean(losses['film_loss']),
        'class_loss': losses['class_loss'].sum() / 4,
        'mask_loss': losses['mask_loss'].sum() / 4,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(means[name], value, rtol=1e-6, err_msg=name)
    total = 0.3 * means['film_loss'] + 0.6 * means['class_loss'] + means['mask_loss']
    np.testing.assert_allclose(means['loss'], total, rtol=1e-6)
    assert means.keys() == {'loss', *losses}


def test_a_film_of_unknown_truth_moves_a_head_as_if_it_were_absent():
    config = section()
    grad = jax.grad(lambda outputs, **kwargs: means_of(config, outputs=outputs, **kwargs)['loss'])
    with_unknown = grad(OUTPUTS)
    for field, logits in (('boxes_known', 'mask_logits'), ('class_known', 'class_logits')):
        known = np.flatnonzero(getattr(TARGETS, field))
        absent = grad(OUTPUTS, films=known)[logits]
        assert np.any(absent), field
        np.testing.assert_allclose(with_unknown[logits], absent, rtol=1e-5, atol=1e-9)
        unknown = np.setdiff1d(np.arange(5), known)
        np.testing.assert_array_equal(with_unknown[logits][unknown], 0)
    # The film head learns from all films.
    film = jax.grad(lambda x: 0.3 * FILM_LOSSES['bce'](x, LABELS, config).mean())
    np.testing.assert_allclose(with_unknown['film_logits'], film(OUTPUTS['film_logits']), rtol=1e-5)


def test_where_all_is_known_the_means_are_plain():
    targets, config = all_known(TARGETS), section()
    losses, means = losses_of(config, targets=targets), means_of(config, targets=targets)
    for name, values in losses.items():
        np.testing.assert_allclose(means[name], np.mean(values), rtol=1e-6, err_msg=name)


def test_parts_with_the_counts_of_the_whole_add_up_to_it():
    config = section()
    counts = {name: jnp.maximum(known.sum(), 1) for name, known in known_films(TARGETS).items()}
    parts = []
    # The second part has no film of known boxes at all.
    for films in np.array([0, 2, 4]), np.array([1]), np.array([3]):
        known = {name: jnp.asarray(x[films]) for name, x in known_films(TARGETS).items()}
        parts.append(mean_losses(losses_of(config, films=films), known, config, counts))
    for name, value in means_of(config).items():
        np.testing.assert_allclose(sum(p[name] for p in parts), value, rtol=1e-6, err_msg=name)


def test_the_means_are_those_of_the_known_films_in_numpy_too():
    losses = {name: RNG.uniform(size=4) for name in ('film_loss', 'class_loss', 'mask_loss')}
    known = {
        'film_loss': np.ones(4, bool),
        'class_loss': np.zeros(4, bool),
        'mask_loss': np.array([False, True, True, False]),
    }
    means = mean_losses(losses, known, section(film_weight=0.5))
    assert means['film_loss'] == pytest.approx(losses['film_loss'].mean(), rel=1e-15)
    assert means['class_loss'] == 0
    assert means['mask_loss'] == pytest.approx(losses['mask_loss'][1:3].mean(), rel=1e-15)
    assert means['loss'] == pytest.approx(0.5 * means['film_loss'] + means['mask_loss'], rel=1e-15)


def test_without_a_known_film_a_head_learns_nothing():
    no = np.zeros(5, bool)
    targets = dataclasses.replace(TARGETS, class_known=no, boxes_known=no)
    loss = lambda outputs: means_of(section(), outputs=outputs, targets=targets)['loss']  # noqa: E731
    value, grad = jax.value_and_grad(loss)(OUTPUTS)
    film = FILM_LOSSES['bce'](OUTPUTS['film_logits'], LABELS, section()).mean()
    np.testing.assert_allclose(value, 0.3 * film, rtol=1e-6)
    np.testing.assert_array_equal(grad['mask_logits'], 0)
    np.testing.assert_array_equal(grad['class_logits'], 0)


def test_unknown_names_are_refused_with_the_choices():
    with pytest.raises(InputError, match=r"config.loss.film='hinge' is unknown.*weighted_bce"):
        losses_of(section(film='hinge'))
    config = section()
    with config.unlocked():
        config.mask.hausdorff = 1.0
    with pytest.raises(InputError, match=r"config.loss.mask='hausdorff' is unknown.*tversky"):
        losses_of(config)
