import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from pneumo_jax.errors import InputError
from pneumo_jax.optimizer import make_plateau, plateau_step
from pneumo_jax.schedules import SCHEDULES, make_schedule

PEAK, NUM_STEPS, WARMUP = 0.5, 110, 10
STEPS = np.arange(NUM_STEPS)


def schedule_of(name, *, num_steps=NUM_STEPS, steps_per_epoch=10, **fields):
    config = base.get_config()
    config.learning_rate = PEAK
    config.schedule.update({'name': name, 'boundaries_steps': ()} | fields)
    if name == 'step' and 'boundaries_epochs' not in fields and not fields.get('boundaries_steps'):
        config.schedule.boundaries_steps = (40, 70)
    return make_schedule(config, num_steps=num_steps, steps_per_epoch=steps_per_epoch)


def rates(schedule, steps=STEPS):
    return np.array([float(schedule(int(step))) for step in steps])


# One loop over the steps each, of plain floats.


def constant(step, length):
    return 1.0


def linear(step, length):
    return 1 - 0.9 * step / length


def cosine(step, length):
    return 0.1 + 0.9 * (1 + math.cos(math.pi * step / length)) / 2


def exponential(step, length):
    return math.exp(math.log(0.1) * step / length)


def one_cycle(step, length):
    share, rise = step / length, 0.25
    if share < rise:
        return 1 / 25 + 24 / 25 * (1 - math.cos(math.pi * share / rise)) / 2
    end = 1 / 25 / 10_000
    return end + (1 - end) * (1 + math.cos(math.pi * (share - rise) / (1 - rise))) / 2


def steps_of_40_and_70(step, length):
    share = 1.0
    for boundary in (40, 70):
        if step + NUM_STEPS - length >= boundary:
            share *= 0.2
    return share


CLOSED = {
    'constant': (constant, {}),
    'linear': (linear, {'end_factor': 0.1}),
    'cosine': (cosine, {'end_factor': 0.1}),
    'step': (steps_of_40_and_70, {'factor': 0.2}),
    'exponential': (exponential, {'end_factor': 0.1}),
    'one_cycle': (one_cycle, {'rise': 0.25}),
    'plateau': (constant, {}),
}


@pytest.mark.parametrize('warmup', [0, WARMUP])
@pytest.mark.parametrize('name', SCHEDULES)
def test_schedules_are_their_closed_forms(name, warmup):
    shape, fields = CLOSED[name]
    schedule = schedule_of(name, **fields, warmup_epochs=0.0, warmup_steps=warmup)
    length = NUM_STEPS - warmup
    expected = [
        PEAK * (shape(0, length) * step / warmup if step < warmup else shape(step - warmup, length))
        for step in STEPS
    ]
    np.testing.assert_allclose(rates(schedule), expected, rtol=2e-6, atol=5e-8)


# A step needs its boundaries behind the warm-up.
@pytest.mark.parametrize('name', sorted(SCHEDULES.keys() - {'step'}))
def test_a_trial_as_long_as_the_warm_up_is_the_warm_up(name):
    trial = schedule_of(name, **CLOSED[name][1], warmup_epochs=0.0, warmup_steps=NUM_STEPS)
    assert np.isfinite(rates(trial)).all()
    assert np.all(np.diff(rates(trial)) > 0)


@pytest.mark.parametrize('name', SCHEDULES)
def test_schedules_are_the_same_inside_jit_and_on_many_steps_at_once(name):
    schedule = schedule_of(name, **CLOSED[name][1])
    expected = rates(schedule)
    assert schedule(STEPS).shape == STEPS.shape
    np.testing.assert_allclose(schedule(STEPS), expected, rtol=2e-6, atol=5e-8)
    compiled = jax.jit(schedule)
    got = [float(compiled(jnp.int32(step))) for step in (0, 5, 10, 37, 40, 70, 109)]
    np.testing.assert_allclose(got, expected[[0, 5, 10, 37, 40, 70, 109]], rtol=2e-6, atol=5e-8)


def test_warm_up_begins_at_zero_and_meets_the_shape_where_it_begins():
    for name in SCHEDULES:
        start = PEAK / 25 if name == 'one_cycle' else PEAK
        got = rates(schedule_of(name, **CLOSED[name][1]), range(WARMUP + 1))
        np.testing.assert_allclose(got, start * np.arange(11) / 10, rtol=1e-6, err_msg=name)


def test_the_ends_are_where_the_config_says():
    end = lambda name, **fields: float(schedule_of(name, **fields)(NUM_STEPS)) / PEAK  # noqa: E731
    assert end('linear') == pytest.approx(0, abs=1e-7)
    assert end('cosine') == pytest.approx(0, abs=1e-7)
    for name in ('linear', 'cosine', 'exponential'):
        assert end(name, end_factor=0.02) == pytest.approx(0.02, rel=1e-5)
    assert end('one_cycle') == pytest.approx(1 / 25 / 10_000, rel=1e-3)
    # One step more changes nothing.
    assert float(schedule_of('cosine')(NUM_STEPS + 7)) == pytest.approx(0, abs=1e-7)


def test_durations_in_epochs_and_in_steps_are_the_same():
    for fields, same in (
        ({'warmup_epochs': 1.5}, {'warmup_steps': 15}),
        ({'boundaries_epochs': (3, 6.5)}, {'boundaries_steps': (30, 65)}),
        (
            {'boundaries_epochs': (3, 6.5), 'boundaries_steps': (30, 65)},
            {'boundaries_steps': (30, 65)},
        ),
    ):
        np.testing.assert_array_equal(
            rates(schedule_of('step', **fields)), rates(schedule_of('step', **same))
        )
    # A boundary after epoch 1 of 45 films in batches of 8 is after the step that holds film 45.
    third = schedule_of(
        'step', boundaries_epochs=(1,), warmup_epochs=0.0, steps_per_epoch=Fraction(45, 8)
    )
    assert [float(third(step)) for step in (5, 6)] == pytest.approx([PEAK, PEAK / 10])


@pytest.mark.parametrize(
    ('name', 'fields', 'message'),
    [
        ('cos', {}, r"config.schedule.name='cos' is unknown; choose one of constant, .*cosine"),
        ('cosine', {'warmup_epochs': 11.1}, r'warmup_epochs=11.1 takes 111 of the 110 steps'),
        ('constant', {'warmup_steps': 200}, r'warmup_steps=200 takes 200 of .*warmup_steps=0'),
        ('exponential', {}, r'end_factor=0.0 must be more than 0 .*end_factor=0.01'),
        ('step', {'boundaries_epochs': ()}, r'boundaries_epochs=\(\) must say when .*=10,20'),
        ('step', {'boundaries_steps': (50, 40)}, r'boundaries_steps=\(50, 40\).* must rise'),
        ('step', {'boundaries_epochs': (2.01, 2.02)}, r'boundaries_epochs=.*21, 21, must rise'),
        ('step', {'boundaries_steps': (10, 40)}, r'must be after the warm-up of 10 steps'),
        ('step', {'boundaries_epochs': (4, 11)}, r'steps 40, 110, must be .*end of the run of 110'),
    ],
)
def test_nonsense_is_refused_with_field_value_and_remedy(name, fields, message):
    with pytest.raises(InputError, match=message):
        schedule_of(name, **fields)


def test_boundaries_may_lie_anywhere_between_warm_up_and_end():
    schedule = schedule_of('step', boundaries_steps=(11, 109))
    assert [float(schedule(step)) / PEAK for step in (10, 11, 108, 109)] == pytest.approx(
        [1, 0.1, 0.1, 0.01]
    )


def plateau_config(min_delta=0.0, **fields):
    config = base.get_config()
    config.early_stopping.min_delta = min_delta
    config.schedule.update({'name': 'plateau'} | fields)
    return config


def literal_plateau(values, mode, *, factor, patience, cooldown, min_factor, min_delta):
    """The share of the rate after each value."""
    best, bad, resting, scale = None, 0, 0, 1.0
    for value in values:
        gain = None if best is None else (value - best if mode == 'max' else best - value)
        if gain is None or gain > min_delta:
            best, bad = value, 0
        else:
            bad += 1
        if resting:
            resting -= 1
            bad = 0
        elif bad == patience:
            scale, bad, resting = max(scale * factor, min_factor), 0, cooldown
        yield scale


@pytest.mark.parametrize('mode', ['min', 'max'])
@pytest.mark.parametrize(
    'fields',
    [
        {'patience': 1, 'cooldown': 0, 'min_delta': 0.0},
        {'patience': 3, 'cooldown': 0, 'min_delta': 0.125},
        {'patience': 2, 'cooldown': 3, 'min_delta': 0.0},
    ],
)
def test_a_plateau_is_what_its_rule_says(mode, fields):
    fields = {'factor': 0.5, 'min_factor': 0.1} | fields
    tx = make_plateau(plateau_config(**fields))
    state = tx.init({'w': jnp.zeros(2)})
    # In eighths: float32 holds them exactly, and many are equal or just as far apart as min_delta.
    drift = np.linspace(0, 1, 60) * (1 if mode == 'max' else -1)
    values = np.round(8 * (np.random.default_rng(0).normal(size=60) * 0.2 + drift)) / 8
    got = []
    for value in values.tolist():
        state = plateau_step(tx, state, value, mode)
        got.append(float(state.scale))
    expected = list(literal_plateau(values.tolist(), mode, **fields))
    assert got == pytest.approx(expected, rel=1e-6)
    assert 0.1 in expected


def test_equal_figures_are_a_plateau_at_any_size():
    for value in (0.0, 1e-30, 0.75, 1e30):
        tx = make_plateau(plateau_config(patience=2))
        state = tx.init({'w': jnp.zeros(2)})
        for _ in range(3):
            state = plateau_step(tx, state, value, 'max')
        assert float(state.scale) == pytest.approx(0.1)


def test_only_the_schedule_of_that_name_has_a_plateau():
    assert make_plateau(base.get_config()) is None


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_a_plateau_is_not_fed_what_is_not_finite(value):
    tx = make_plateau(plateau_config())
    with pytest.raises(ValueError, match='cannot be judged'):
        plateau_step(tx, tx.init({'w': jnp.zeros(2)}), value, 'min')


def test_the_state_of_a_plateau_compiles_nothing_anew():
    tx = make_plateau(plateau_config(patience=1))
    use = jax.jit(lambda state: jax.tree.map(lambda x: x, state), donate_argnums=0)
    state = use(tx.init({'w': jnp.zeros(2)}))
    for value in (1.0, 0.5, 0.5, 0.7):
        state = use(plateau_step(tx, state, value, 'min'))
    assert use._cache_size() == 1
    assert float(state.scale) == pytest.approx(0.01)
    assert {x.dtype.name for x in state} == {'float32', 'int32'}
