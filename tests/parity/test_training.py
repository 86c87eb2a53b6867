"""Losses, schedules and optimizers give the same numbers as PyTorch's.

Run as ``test_parity``; without PyTorch the tests are skipped.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from pneumo_jax.losses import FILM_LOSSES, MASK_LOSSES, Targets, film_losses
from pneumo_jax.optimizer import make_optimizer, make_plateau, plateau_step
from pneumo_jax.schedules import make_schedule

torch = pytest.importorskip('torch')

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=64).astype(np.float32) * 4
LABELS = RNG.integers(0, 2, 64).astype(np.float32)


def config_with(**fields):
    config = base.get_config()
    config.update_from_flattened_dict(fields)
    return config


def test_cross_entropies_are_torch_s():
    functional, section = torch.nn.functional, config_with(**{'loss.positive_weight': 3.4}).loss
    logits, labels = torch.tensor(LOGITS), torch.tensor(LABELS)
    bce = functional.binary_cross_entropy_with_logits
    expected = bce(logits, labels, reduction='none')
    np.testing.assert_allclose(
        FILM_LOSSES['bce'](LOGITS, LABELS, section), expected, rtol=1e-5, atol=1e-6
    )
    expected = bce(logits, labels, reduction='none', pos_weight=torch.tensor(3.4))
    np.testing.assert_allclose(
        FILM_LOSSES['weighted_bce'](LOGITS, LABELS, section), expected, rtol=1e-5, atol=1e-6
    )
    masks, shares = RNG.normal(size=(5, 4, 4, 1)), RNG.uniform(size=(5, 4, 4, 1))
    expected = bce(torch.tensor(masks), torch.tensor(shares), reduction='none').mean(dim=(1, 2, 3))
    got = MASK_LOSSES['bce'](masks.astype(np.float32), shares.astype(np.float32), section)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_the_focal_loss_is_torchvision_s():
    try:
        from torchvision.ops import sigmoid_focal_loss
    except (ImportError, RuntimeError):
        # Its build for GPUs wants operators beside a torch without them; test_parity provides them.
        pytest.skip('needs torchvision')
    section = config_with(**{'loss.focal.alpha': 0.3, 'loss.focal.gamma': 1.7}).loss
    # Of a soft label torchvision takes the power of its mixed probability.
    expected = sigmoid_focal_loss(torch.tensor(LOGITS), torch.tensor(LABELS), alpha=0.3, gamma=1.7)
    got = FILM_LOSSES['focal'](LOGITS, LABELS, section)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_the_cross_entropy_of_three_classes_is_torch_s(smoothing):
    section = config_with(**{'loss.class_weight': 1.0, 'loss.label_smoothing': smoothing}).loss
    logits, classes = RNG.normal(size=(16, 3)).astype(np.float32) * 3, RNG.integers(0, 3, 16)
    targets = Targets(
        label=jnp.zeros(16),
        classes=jax.nn.one_hot(classes, 3),
        class_known=jnp.ones(16, bool),
        mask=jnp.zeros((16, 2, 2, 1)),
        boxes_known=jnp.ones(16, bool),
        film_known=jnp.ones(16, bool),
        weak_known=jnp.zeros(16, bool),
    )
    outputs = {
        'film_logits': jnp.zeros(16),
        'class_logits': jnp.asarray(logits),
        'mask_logits': jnp.zeros((16, 2, 2, 1)),
    }
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(logits), torch.tensor(classes), reduction='none', label_smoothing=smoothing
    )
    got = film_losses(outputs, targets, section)['class_loss']
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


STEPS = 40
SCHEDULES = {
    'constant': (
        {'schedule.warmup_steps': 16},
        # Its LinearLR cannot start at zero.
        lambda o, s: s.LambdaLR(o, lambda step: min(step / 16, 1.0)),
    ),
    'linear': ({}, lambda o, s: s.LinearLR(o, 1.0, 0.25, STEPS)),
    'cosine': ({}, lambda o, s: s.CosineAnnealingLR(o, STEPS, eta_min=0.5 * 0.25)),
    'step': (
        {'schedule.boundaries_steps': (10, 30)},
        lambda o, s: s.MultiStepLR(o, [10, 30], gamma=0.1),
    ),
    'exponential': ({}, lambda o, s: s.ExponentialLR(o, 0.25 ** (1 / STEPS))),
}


@pytest.mark.parametrize('name', SCHEDULES)
def test_schedules_are_torch_s(name):
    fields, make = SCHEDULES[name]
    fields = {'schedule.warmup_epochs': 0.0, 'schedule.end_factor': 0.25} | fields
    config = config_with(learning_rate=0.5, **{'schedule.name': name}, **fields)
    ours = make_schedule(config, num_steps=STEPS, steps_per_epoch=10)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    theirs = make(optimizer, torch.optim.lr_scheduler)
    for step in range(STEPS):
        assert float(ours(step)) == pytest.approx(optimizer.param_groups[0]['lr'], rel=1e-4), step
        optimizer.step()
        theirs.step()


def test_one_cycle_is_torch_s():
    fields = {'schedule.name': 'one_cycle', 'schedule.warmup_epochs': 0.0, 'schedule.rise': 0.25}
    # PyTorch's cycle ends with its last step, ours with the end of it.
    ours = make_schedule(
        config_with(learning_rate=0.5, **fields), num_steps=STEPS, steps_per_epoch=10
    )
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.5, total_steps=STEPS + 1, pct_start=11 / (STEPS + 1), cycle_momentum=False
    )
    for step in range(STEPS):
        assert float(ours(step)) == pytest.approx(
            optimizer.param_groups[0]['lr'], rel=1e-3, abs=1e-5
        ), step
        optimizer.step()
        theirs.step()


def test_plateaus_are_torch_s_but_for_one_figure_of_patience():
    fields = {
        'schedule.name': 'plateau',
        'schedule.patience': 3,
        'schedule.cooldown': 2,
        'schedule.factor': 0.5,
        'early_stopping.min_delta': 0.01,
    }
    tx = make_plateau(config_with(**fields))
    state = tx.init({})
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode='max',
        factor=0.5,
        patience=2,
        cooldown=2,
        threshold=0.01,
        threshold_mode='abs',
        min_lr=1e-3,
    )
    for value in np.random.default_rng(1).uniform(0.5, 0.9, 60):
        state = plateau_step(tx, state, float(value), 'max')
        theirs.step(value)
        assert float(state.scale) == pytest.approx(optimizer.param_groups[0]['lr'])


OPTIMIZERS = {
    'sgd': lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1),
    'momentum': lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    'nesterov': lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    'adam': lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1),
    'adamw': lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1),
    # Of these two the epsilon stands elsewhere, which gradients of this size hide; and the moments
    # of the second begin at another value.
    'rmsprop': lambda p: torch.optim.RMSprop(p, lr=0.1, weight_decay=0.1, alpha=0.9),
    'adagrad': lambda p: torch.optim.Adagrad(
        p, lr=0.1, weight_decay=0.1, initial_accumulator_value=0.1, eps=0.0
    ),
}


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_optimizers_are_torch_s(name):
    start = RNG.normal(size=(4, 3)).astype(np.float32) + 2
    centre = RNG.normal(size=(4, 3)).astype(np.float32)
    config = config_with(
        **{'optimizer.name': name, 'optimizer.weight_decay': 0.1, 'optimizer.clip_norm': 0.0}
    )
    tx = make_optimizer(config.optimizer, learning_rate=0.1)
    ours = {'kernel': jnp.asarray(start)}
    state = tx.init(ours)
    theirs = torch.tensor(start, requires_grad=True)
    optimizer = OPTIMIZERS[name]([theirs])
    for _ in range(20):
        gradient = {'kernel': 2 * (ours['kernel'] - centre)}
        updates, state = tx.update(gradient, state, ours)
        ours = {'kernel': ours['kernel'] + updates['kernel']}
        optimizer.zero_grad()
        ((theirs - torch.tensor(centre)) ** 2).sum().backward()
        optimizer.step()
        np.testing.assert_allclose(ours['kernel'], theirs.detach(), rtol=2e-4, atol=5e-5)
