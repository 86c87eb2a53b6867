"""Optimizers of optax by name, and what goes with them: plateaus and moving averages."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from optax import contrib

from pneumo_jax.models import param_stages
from pneumo_jax.registry import lookup
from pneumo_jax.transfer import WHOLE, Phase, read_transfer

__all__ = [
    'OPTIMIZERS',
    'ema_update',
    'make_optimizer',
    'make_plateau',
    'make_run_optimizer',
    'plateau_step',
]


def make_optimizer(
    config, *, learning_rate: float | optax.Schedule
) -> optax.GradientTransformation:
    """The optimizer of a section ``optimizer``: clipping, weight decay, update rule.

    Updates are the learning rate of the step times what does not depend on any learning rate, under
    every rule: to scale updates is to scale the rate.

    Raises:
        InputError: for an unknown name.
    """
    return optax.chain(*_clipping(config), _rule(config)(learning_rate, config))


def make_run_optimizer(
    config, *, learning_rate: optax.Schedule, graph: nnx.GraphDef, phase: Phase = WHOLE
) -> optax.GradientTransformation:
    """The optimizer of a run, in which stages may learn at rates and from steps of their own.

    Each stage has moments of its own, which begin when it joins in, while the schedule runs for
    all alike. The state has the same structure in all phases of a run; without transfer it is that
    of ``make_optimizer``.

    Args:
        config: a run's config; ``optimizer`` and ``transfer`` are read.
        learning_rate: of the heads; other stages have their part of it.
        graph: of the model, tells which parameter is in which stage.
        phase: of the run. The stages that do not learn in it get updates of zero, and their
            moments stay as they are; their gradients must be zero, for clipping to pass them over.

    Raises:
        InputError: for an unknown name.
    """
    transfer = read_transfer(config)
    if transfer.is_plain:
        return make_optimizer(config.optimizer, learning_rate=learning_rate)
    make = _rule(config.optimizer)
    rules = {}
    for stage, rate in enumerate(transfer.rates):
        # The schedule comes behind the rules, whose own counts start late.
        rule = make(rate, config.optimizer) if rate else optax.set_to_zero()
        rules[_label(stage)] = rule if stage in phase.learning else _idle(rule)
    return optax.chain(
        *_clipping(config.optimizer),
        optax.partition(rules, lambda params: jax.tree.map(_label, param_stages(graph, params))),
        optax.scale_by_learning_rate(learning_rate, flip_sign=False),
    )


def ema_update(average, new, *, decay: float, step):
    """A moving average of parameters and statistics, one step on.

    It forgets its beginning faster at first: the decay is (1 + step) / (10 + step) as long as that
    is less, as in TensorFlow's ``ExponentialMovingAverage``.

    Args:
        average: pytree of float32 arrays.
        new: pytree of the same structure.
        decay: of the average.
        step: int, or a scalar array of ints: steps done.

    Returns:
        A pytree like ``average``; where both are equal, so is the result, to the bit.
    """
    gain = 1 - jnp.minimum(decay, (1 + step) / (10 + step))

    def follow(a, n):
        # Not even zero is added to what stays: -0.0 and subnormal numbers would become 0.0.
        return jnp.where(a == n, a, a + (gain * (n - a)).astype(a.dtype))

    return jax.tree.map(follow, average, new)


def make_plateau(config) -> optax.GradientTransformation | None:
    """What reduces the learning rate on a plateau; None under other schedules.

    The rule, once per validation: a figure better than the best so far by more than
    ``early_stopping.min_delta`` is the new best. The ``schedule.patience``-th figure in a row that
    is not multiplies the rate by ``factor``, down to ``min_factor`` of the schedule's, and the next
    ``cooldown`` figures are not counted. PyTorch's ``ReduceLROnPlateau`` bears one more figure.

    Args:
        config: a run's config; ``schedule`` and ``early_stopping`` are read.

    Returns:
        A transformation whose state has the share of the learning rate in ``scale``, a float32
        scalar; ``plateau_step`` feeds it.
    """
    section = config.schedule
    if section.name != 'plateau':
        return None
    return contrib.reduce_on_plateau(
        factor=section.factor,
        patience=section.patience,
        # Optax wants one tolerance above 0; 1 less this one is 1.
        rtol=1e-30,
        atol=config.early_stopping.min_delta,
        cooldown=section.cooldown,
        min_scale=section.min_factor,
        accumulation_size=1,
    )


def plateau_step(tx: optax.GradientTransformation, state, value: float, mode: str):
    """The state of a plateau after a validation.

    Args:
        tx: of ``make_plateau``.
        state: of it.
        value: of the watched figure. It is compared as float32.
        mode: ``max`` where more is better, ``min`` where less is.

    Returns:
        The new state.

    Raises:
        ValueError: for a value that is not finite, which would spoil all comparisons after it.
    """
    if not math.isfinite(value):
        raise ValueError(f'a plateau cannot be judged by {value}')
    loss = jnp.float32(-value if mode == 'max' else value)
    # Compiled once for a transformation; as it is, its branches would be so at every call.
    _, state = jax.jit(tx.update)({}, state, value=loss)
    return state


def _rule(config):
    return lookup(OPTIMIZERS, config.name, 'config.optimizer.name')


def _clipping(config):
    return [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []


def _label(stage):
    return f'stage{stage}'


def _idle(rule: optax.GradientTransformation) -> optax.GradientTransformation:
    """A rule at rest: updates of zero, its state untouched."""
    return optax.GradientTransformation(
        rule.init, lambda updates, state, params=None: (optax.tree.zeros_like(updates), state)
    )


def _weights(params):
    """True for the weights of convolutions and dense layers, False for biases and norms."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def _with_l2(rule: Callable) -> Callable:
    """The update rule behind an L2 penalty's gradient."""

    def make(learning_rate, config):
        return optax.chain(
            optax.add_decayed_weights(config.weight_decay, mask=_weights),
            rule(learning_rate, config),
        )

    return make


def _decoupled(rule: Callable) -> Callable:
    """An update rule with weight decay of its own."""

    def make(learning_rate, config):
        return rule(
            learning_rate, **_betas(config), weight_decay=config.weight_decay, mask=_weights
        )

    return make


def _betas(config, names=('b1', 'b2')):
    """The decays of moments that the config sets, by optax's names for them."""
    values = (config.beta1, config.beta2)
    return {name: value for name, value in zip(names, values, strict=True) if value}


def _adam(learning_rate, config):
    return optax.adam(learning_rate, **_betas(config))


def _nadam(learning_rate, config):
    return optax.nadam(learning_rate, **_betas(config))


def _sgd(learning_rate, config):
    return optax.sgd(learning_rate)


def _momentum(learning_rate, config):
    return optax.sgd(learning_rate, momentum=config.momentum)


def _nesterov(learning_rate, config):
    return optax.sgd(learning_rate, momentum=config.momentum, nesterov=True)


def _rmsprop(learning_rate, config):
    return optax.rmsprop(learning_rate, **({'decay': config.beta2} if config.beta2 else {}))


def _adagrad(learning_rate, config):
    return optax.adagrad(learning_rate)


def _lamb(learning_rate, config):
    """You et al. 2019, arXiv:1904.00962, with the epsilon of optax.

    As in the authors' code, what has no decay has no trust ratio either: biases that start at zero
    would be held there.
    """
    return optax.chain(
        optax.scale_by_adam(**_betas(config), eps=1e-6),
        optax.add_decayed_weights(config.weight_decay, mask=_weights),
        optax.masked(optax.scale_by_trust_ratio(), _weights),
        optax.scale_by_learning_rate(learning_rate),
    )


def _lars(learning_rate, config):
    """You et al. 2017, arXiv:1708.03888, with the rate behind the momentum.

    In the paper and in optax the momentum remembers the rates of past steps. Here a change of the
    rate acts at once, as in the other rules with momentum.
    """
    return optax.chain(
        optax.masked(optax.scale_by_trust_ratio(trust_coefficient=0.001), _weights),
        optax.trace(decay=config.momentum),
        optax.scale_by_learning_rate(learning_rate),
    )


def _adafactor(learning_rate, config):
    """Shazeer and Stern 2018, arXiv:1804.04235, updates relative to a parameter's size."""
    # Given a rate, optax would not multiply the decay with it.
    rule = optax.adafactor(weight_decay_rate=config.weight_decay, weight_decay_mask=_weights)
    return optax.chain(rule, optax.scale_by_learning_rate(learning_rate, flip_sign=False))


def _muon(learning_rate, config):
    """Jordan et al. 2024 (Muon) for convolutions, Adam for all other parameters.

    Updates of matrices have the size that Adam's have, so that one learning rate fits both (Liu et
    al. 2025, arXiv:2502.16982).
    """
    rule = contrib.muon(
        1.0,
        beta=config.momentum,
        **_betas(config, ('adam_b1', 'adam_b2')),
        muon_weight_dimension_numbers=_matrices,
        consistent_rms=0.2,
    )
    return optax.chain(
        rule,
        # Behind both rules, since Muon's own decay of Adam's parameters knows no mask. The updates
        # have their sign by then.
        optax.add_decayed_weights(-config.weight_decay, mask=_weights),
        optax.scale_by_learning_rate(learning_rate, flip_sign=False),
    )


def _matrices(params):
    """How Muon reads a kernel [h,w,in,out] as a matrix; None for what is no such matrix."""
    numbers = contrib.MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
    # Of depthwise convolutions each output channel is a filter of its own.
    return jax.tree.map(lambda p: numbers if p.ndim == 4 and p.shape[2] > 1 else None, params)


# name -> (learning rate or schedule, section `optimizer`) -> optax transformation.
OPTIMIZERS: dict[str, Callable] = {
    'sgd': _with_l2(_sgd),
    'momentum': _with_l2(_momentum),
    'nesterov': _with_l2(_nesterov),
    'adam': _with_l2(_adam),
    'adamw': _decoupled(optax.adamw),
    'nadam': _with_l2(_nadam),
    'nadamw': _decoupled(optax.nadamw),
    'rmsprop': _with_l2(_rmsprop),
    'adagrad': _with_l2(_adagrad),
    'lamb': _lamb,
    'lars': _with_l2(_lars),
    'lion': _decoupled(optax.lion),
    'adafactor': _adafactor,
    'muon': _muon,
}
