"""Optimizers and learning-rate schedules of optax, by name."""

from __future__ import annotations

from collections.abc import Callable

import jax
import optax
from flax import nnx

from pneumo_jax.errors import InputError
from pneumo_jax.models import param_stages
from pneumo_jax.transfer import WHOLE, Phase, read_transfer

__all__ = ['OPTIMIZERS', 'SCHEDULES', 'make_optimizer', 'make_run_optimizer', 'make_schedule']


def make_schedule(config, *, num_steps: int, steps_per_epoch: float) -> optax.Schedule:
    """Learning rate as a function of the step: a linear warm-up, then the named schedule.

    Args:
        config: a run's config; ``learning_rate`` is the peak, ``schedule`` the shape.
        num_steps: length of the whole run.
        steps_per_epoch: what an epoch's duration is converted with.
    """
    shape = _lookup(SCHEDULES, config.schedule.name, 'config.schedule.name')
    warmup = min(round(config.schedule.warmup_epochs * steps_per_epoch), num_steps)
    return optax.join_schedules(
        [
            optax.linear_schedule(0.0, config.learning_rate, max(warmup, 1)),
            shape(config.learning_rate, max(num_steps - warmup, 1)),
        ],
        [warmup],
    )


def make_optimizer(config, *, learning_rate: optax.Schedule) -> optax.GradientTransformation:
    """The optimizer of ``config.optimizer``: clipping, weight decay, update rule."""
    make = _lookup(OPTIMIZERS, config.name, 'config.optimizer.name')
    return optax.chain(*_clipping(config), make(learning_rate, config.weight_decay))


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
    """
    transfer = read_transfer(config)
    if transfer.is_plain:
        return make_optimizer(config.optimizer, learning_rate=learning_rate)
    make = _lookup(OPTIMIZERS, config.optimizer.name, 'config.optimizer.name')
    rules = {}
    for stage, rate in enumerate(transfer.rates):
        # The schedule comes behind the rules, whose own counts start late.
        rule = make(rate, config.optimizer.weight_decay) if rate else optax.set_to_zero()
        rules[_label(stage)] = rule if stage in phase.learning else _idle(rule)
    return optax.chain(
        *_clipping(config.optimizer),
        optax.partition(rules, lambda params: jax.tree.map(_label, param_stages(graph, params))),
        optax.scale_by_learning_rate(learning_rate, flip_sign=False),
    )


def _clipping(config):
    return [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []


def _label(stage):
    return f'stage{stage}'


def _idle(rule: optax.GradientTransformation) -> optax.GradientTransformation:
    """A rule at rest: updates of zero, its state untouched."""
    return optax.GradientTransformation(
        rule.init, lambda updates, state, params=None: (optax.tree.zeros_like(updates), state)
    )


def _decay_mask(params):
    """True for the weights of convolutions and dense layers, False for biases and norms."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def _with_l2(rule: Callable) -> Callable:
    """The update rule behind an L2 penalty's gradient."""

    def make(learning_rate, weight_decay):
        return optax.chain(
            optax.add_decayed_weights(weight_decay, mask=_decay_mask), rule(learning_rate)
        )

    return make


def _decoupled(rule: Callable) -> Callable:
    """An update rule with weight decay of its own."""

    def make(learning_rate, weight_decay):
        return rule(learning_rate, weight_decay=weight_decay, mask=_decay_mask)

    return make


def _momentum(learning_rate):
    return optax.sgd(learning_rate, momentum=0.9)


def _lookup(table: dict, name: str, field: str):
    if name not in table:
        raise InputError(f'{field}={name!r} is unknown; choose one of {", ".join(table)}')
    return table[name]


# name -> (learning rate or schedule, weight decay) -> optax transformation.
OPTIMIZERS: dict[str, Callable] = {
    'sgd': _with_l2(optax.sgd),
    'momentum': _with_l2(_momentum),
    'rmsprop': _with_l2(optax.rmsprop),
    'adam': _with_l2(optax.adam),
    'adamw': _decoupled(optax.adamw),
    'lion': _decoupled(optax.lion),
}

# name -> (peak, steps) -> optax schedule.
SCHEDULES: dict[str, Callable] = {
    'constant': lambda peak, steps: optax.constant_schedule(peak),
    'linear': lambda peak, steps: optax.linear_schedule(peak, 0.0, steps),
    'cosine': optax.cosine_decay_schedule,
}
