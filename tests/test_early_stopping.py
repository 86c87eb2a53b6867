import math

import pytest

from pneumo_jax.early_stopping import EarlyStopping, Progress
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


@pytest.mark.parametrize('fields', [{'mode': 'up', 'patience': 1}, {'mode': 'max', 'patience': 0}])
def test_impossible_rules_are_refused(fields):
    with pytest.raises(InputError):
        EarlyStopping(metric='auroc', **fields)
