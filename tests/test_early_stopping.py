import math

import pytest

from configs import base
from pneumo_jax.early_stopping import EarlyStopping, Progress, make_early_stopping
from pneumo_jax.errors import InputError


def run(rule, values):
    progress, history = Progress(), []
    for epoch, value in enumerate(values, start=1):
        progress = rule.update(progress, {rule.metric: value}, step=10 * epoch, epoch=epoch)
        history.append((progress.best_epoch, rule.should_stop(progress)))
    return history


def test_stops_after_exactly_patience_epochs_without_improvement():
    rule = EarlyStopping(metric='auroc', mode='max', patience=2)
    assert run(rule, [0.5, 0.7, 0.6, 0.7]) == [(1, False), (2, False), (2, False), (2, True)]


def test_minimises_with_mode_min():
    rule = EarlyStopping(metric='loss', mode='min', patience=1)
    assert run(rule, [1.0, 0.5, 0.6]) == [(1, False), (2, False), (2, True)]


def test_a_gain_below_min_delta_is_none():
    rule = EarlyStopping(metric='auroc', mode='max', patience=9, min_delta=0.1)
    assert [best for best, _ in run(rule, [0.5, 0.55, 0.65])] == [1, 1, 3]


def test_fault_55_undefined_metric_is_an_error_not_a_value():
    rule = EarlyStopping(metric='auroc', mode='max', patience=1)
    with pytest.raises(InputError, match=r'one class only.*metric=loss'):
        run(rule, [math.nan])


def test_unknown_metric_names_the_known_ones():
    rule = EarlyStopping(metric='acc', mode='max', patience=1)
    with pytest.raises(InputError, match='choose one of loss, auroc'):
        rule.update(Progress(), {'loss': 1.0, 'auroc': 1.0}, step=1, epoch=1)


def test_without_patience_a_run_is_never_stopped_and_still_has_a_best():
    rule = EarlyStopping(metric='auroc', mode='max', patience=0)
    assert run(rule, [0.5, 0.7] + [0.1] * 50)[-1] == (2, False)


def test_epochs_of_the_warm_up_do_not_count():
    rule = EarlyStopping(metric='auroc', mode='max', patience=2, warmup_steps=20)
    # Epochs end at steps 10, 20, 30, ...: the first two are over by step 20.
    assert run(rule, [0.9, 0.9, 0.5, 0.4, 0.4]) == [
        *((0, False), (0, False)),
        *((3, False), (3, False), (3, True)),
    ]


def test_the_warm_up_is_given_in_epochs_or_steps_and_ends_before_the_run():
    config = base.get_config()
    config.early_stopping.warmup_epochs = 1.5
    rule = make_early_stopping(config, num_steps=100, steps_per_epoch=10)
    assert (rule.warmup_steps, rule.metric, rule.patience) == (15, 'auroc', 8)
    config.early_stopping.warmup_steps = 100
    with pytest.raises(InputError, match=r'warmup takes 100 of the 100 steps.*no epoch would'):
        make_early_stopping(config, num_steps=100, steps_per_epoch=10)


def test_the_reason_names_metric_value_and_patience():
    rule = EarlyStopping(metric='loss', mode='min', patience=2, min_delta=0.01)
    progress = Progress(best_value=0.25, best_step=10, best_epoch=1, epochs_since_best=2)
    reason = rule.reason(progress)
    assert 'loss was not below its best of 0.2500 by more than 0.01 for 2 epochs' in reason
