import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from pneumo_jax import optimizer
from pneumo_jax.errors import InputError
from pneumo_jax.optimizer import (
    OPTIMIZERS,
    ema_update,
    make_optimizer,
    make_run_optimizer,
)
from pneumo_jax.transfer import Phase

RNG = np.random.default_rng(0)
SHAPES = {
    'kernel': (3, 3, 4, 8),
    'depthwise': (3, 3, 1, 8),
    'dense': (8, 3),
    'bias': (8,),
    'scale': (4,),
}
WEIGHTS = ('kernel', 'depthwise', 'dense')
DECOUPLED = {'adamw', 'nadamw', 'lamb', 'lion', 'adafactor', 'muon'}


def config_with(**fields):
    config = base.get_config()
    config.update_from_flattened_dict(fields)
    return config


def section(name, **fields):
    fields = {'weight_decay': 0.0, 'clip_norm': 0.0} | fields
    return config_with(
        **{f'optimizer.{field}': value for field, value in {'name': name, **fields}.items()}
    ).optimizer


def random_tree(seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


PARAMS = random_tree()
GRADS = [random_tree(seed) for seed in range(1, 5)]


def updates_of(tx, grads=GRADS):
    """The updates of some steps at fixed parameters."""
    state, update, all_updates = tx.init(PARAMS), jax.jit(tx.update), []
    for grad in grads:
        updates, state = update(grad, state, PARAMS)
        all_updates.append(updates)
    return all_updates


@functools.cache
def updates_by(name, **fields):
    """The updates of a rule at fixed parameters, at a rate of one half."""
    return updates_of(make_optimizer(section(name, **fields), learning_rate=0.5))


def assert_close(got, expected, **tolerances):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerances), got, expected)


def assert_equal(got, expected):
    jax.tree.map(np.testing.assert_array_equal, got, expected)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_every_optimizer_goes_downhill(name):
    # Lars moves a weight by a thousandth of its size times the rate.
    rate = {'lars': 0.6, 'adagrad': 0.1, 'muon': 0.1}.get(name, 0.02)
    tx = make_optimizer(section(name), learning_rate=rate)
    loss = lambda p: sum(jnp.sum(x**2) for x in jax.tree.leaves(p))  # noqa: E731

    def step(_, carry):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    run = jax.jit(lambda params: jax.lax.fori_loop(0, 20, step, (params, tx.init(params))))
    trained, _ = run(PARAMS)
    for leaf in SHAPES:
        assert loss(trained[leaf]) < 0.9 * loss(PARAMS[leaf]), leaf


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_decay_spares_biases_and_norms(name):
    for with_decay, without in zip(
        updates_by(name, weight_decay=0.1), updates_by(name), strict=True
    ):
        for leaf in ('bias', 'scale'):
            np.testing.assert_array_equal(with_decay[leaf], without[leaf])
        for leaf in WEIGHTS:
            assert np.any(with_decay[leaf] != without[leaf]), leaf


@pytest.mark.parametrize('name', sorted(DECOUPLED - {'lamb'}))
def test_decoupled_decay_is_added_to_the_update(name):
    for got, plain in zip(updates_by(name, weight_decay=0.1), updates_by(name), strict=True):
        decayed = {leaf: plain[leaf] - 0.5 * 0.1 * PARAMS[leaf] for leaf in WEIGHTS}
        assert_close(got, plain | decayed, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', sorted(OPTIMIZERS.keys() - DECOUPLED))
def test_other_decay_is_added_to_the_gradient(name):
    penalised = [
        grad | {leaf: grad[leaf] + 0.1 * PARAMS[leaf] for leaf in WEIGHTS} for grad in GRADS
    ]
    expected = updates_of(make_optimizer(section(name), learning_rate=0.5), penalised)
    assert_close(updates_by(name, weight_decay=0.1), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_updates_are_the_rate_of_the_step_times_what_knows_no_rate(name):
    rates = (0.5, 3.0, 0.0, 0.25)
    tx = make_optimizer(
        section(name, weight_decay=0.1), learning_rate=lambda step: jnp.array(rates)[step]
    )
    for rate, got, at_half in zip(
        rates, updates_of(tx), updates_by(name, weight_decay=0.1), strict=True
    ):
        expected = jax.tree.map(lambda u, rate=rate: u * (rate / 0.5), at_half)
        assert_close(got, expected, rtol=1e-5, atol=1e-7)


# Formulas from the papers in NumPy's float64: (gradients, parameters) -> updates at a rate of 1.


def literal_nadam(grads, params, wd):
    """Dozat 2016, with the bias of the look-ahead corrected by the next step's count."""
    m, v = np.zeros_like(params), np.zeros_like(params)
    for t, g in enumerate(grads, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        look_ahead = 0.9 * m / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t)
        yield -look_ahead / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def literal_lion(grads, params, wd):
    """Chen et al. 2023, arXiv:2302.06675, algorithm 2."""
    m, decay = np.zeros_like(params), wd * params * (params.ndim > 1)
    for g in grads:
        yield -(np.sign(0.9 * m + 0.1 * g) + decay)
        m = 0.99 * m + 0.01 * g


def literal_lamb(grads, params, wd):
    """You et al. 2019, algorithm 2; for what has no decay, Adam."""
    m, v = np.zeros_like(params), np.zeros_like(params)
    for t, g in enumerate(grads, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        r = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6)
        if params.ndim > 1:
            r += wd * params
            r *= np.linalg.norm(params) / np.linalg.norm(r)
        yield -r


def literal_lars(grads, params, wd):
    """You et al. 2017, algorithm 1 at a constant rate, the norm being that of the whole gradient.

    The authors add the norms of gradient and decay; optax has the norm of the sum.
    """
    velocity = np.zeros_like(params)
    for g in grads:
        if params.ndim > 1:
            g = g + wd * params
            g = g * 0.001 * np.linalg.norm(params) / np.linalg.norm(g)
        velocity = 0.9 * velocity + g
        yield -velocity


def literal_adafactor(grads, params, wd):
    """Shazeer and Stern 2018, algorithm 4, with the second moments of small matrices in full."""
    v = np.zeros_like(params)
    for t, g in enumerate(grads, start=1):
        decay = 1 - t**-0.8
        v = decay * v + (1 - decay) * (g * g + 1e-30)
        u = g / np.sqrt(v)
        u /= max(1, np.sqrt(np.mean(u * u)))
        size = max(1e-3, np.sqrt(np.mean(params**2)))
        yield -(size * u + wd * params * (params.ndim > 1))


def literal_muon(grads, params, wd):
    """Jordan 2024: Nesterov's momentum with its bias corrected, made orthogonal; else Adam."""
    m, v = np.zeros_like(params), np.zeros_like(params)
    decay = wd * params * (params.ndim > 1)
    for t, g in enumerate(grads, start=1):
        if params.ndim != 4 or params.shape[2] == 1:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            look_ahead = 0.9 * m / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t)
            yield -look_ahead / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) - decay
            continue
        m = 0.9 * m + 0.1 * g
        x = 0.9 * m / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t)
        x = x.reshape(-1, x.shape[-1])
        rows, columns = x.shape
        x = x / np.linalg.norm(x)
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x - 4.775 * gram @ x + 2.0315 * gram @ gram @ x
        # So that a matrix's update has a root mean square of 0.2.
        yield -(0.2 * np.sqrt(max(rows, columns)) * x).reshape(g.shape) - decay


LITERAL = {
    'nadam': literal_nadam,
    'lion': literal_lion,
    'lamb': literal_lamb,
    'lars': literal_lars,
    'adafactor': literal_adafactor,
    'muon': literal_muon,
}


@pytest.mark.parametrize('name', LITERAL)
def test_rules_are_the_formulas_of_the_papers(name):
    # Adam's kind with an L2 penalty is tested above.
    wd = 0.0 if name == 'nadam' else 0.1
    got = updates_by(name, weight_decay=wd)
    for leaf, p in PARAMS.items():
        grads = [grad[leaf].astype(np.float64) for grad in GRADS]
        expected = LITERAL[name](grads, p.astype(np.float64), wd)
        for updates, update in zip(got, expected, strict=True):
            np.testing.assert_allclose(
                updates[leaf], 0.5 * update, rtol=1e-4, atol=1e-5, err_msg=leaf
            )


def test_muon_makes_kernels_nearly_orthogonal_and_no_other_parameter():
    updates = updates_by('muon')[0]
    matrix = np.asarray(updates['kernel']).reshape(36, 8) / (0.5 * 0.2 * 6)
    assert np.linalg.svd(matrix, compute_uv=False) == pytest.approx(np.ones(8), abs=0.35)
    for leaf in SHAPES.keys() - {'kernel'}:
        np.testing.assert_allclose(
            updates[leaf], updates_by('nadam')[0][leaf], rtol=1e-6, err_msg=leaf
        )


@pytest.mark.parametrize(
    ('name', 'fields', 'expected'),
    [
        ('momentum', {'momentum': 0.5}, optax.sgd(0.5, momentum=0.5)),
        ('nesterov', {'momentum': 0.5}, optax.sgd(0.5, momentum=0.5, nesterov=True)),
        ('adam', {'beta1': 0.5, 'beta2': 0.8}, optax.adam(0.5, b1=0.5, b2=0.8)),
        ('adam', {'beta2': 0.8}, optax.adam(0.5, b2=0.8)),
        ('adamw', {'beta1': 0.5}, optax.adamw(0.5, b1=0.5, weight_decay=0.0)),
        ('nadam', {'beta1': 0.5}, optax.nadam(0.5, b1=0.5)),
        ('nadamw', {'beta2': 0.8}, optax.nadamw(0.5, b2=0.8, weight_decay=0.0)),
        ('lion', {'beta1': 0.5, 'beta2': 0.8}, optax.lion(0.5, b1=0.5, b2=0.8, weight_decay=0.0)),
        ('rmsprop', {'beta2': 0.5}, optax.rmsprop(0.5, decay=0.5)),
        ('rmsprop', {'beta1': 0.5}, optax.rmsprop(0.5)),
        ('adagrad', {}, optax.adagrad(0.5)),
    ],
)
def test_moments_decay_as_the_config_says(name, fields, expected):
    assert_close(updates_by(name, **fields), updates_of(expected), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ('name', 'field', 'value'),
    [('lars', 'momentum', 0.5), ('muon', 'momentum', 0.5)]
    + [(name, beta, 0.5) for name in ('lamb', 'muon') for beta in ('beta1', 'beta2')],
)
def test_moments_of_rules_of_our_own_decay_as_the_config_says(name, field, value):
    got, plain = updates_by(name, **{field: value})[-1], updates_by(name)[-1]
    moved = {leaf for leaf in SHAPES if np.any(got[leaf] != plain[leaf])}
    matrices = {'kernel'} if name == 'muon' else SHAPES.keys()
    assert moved == (
        matrices if field == 'momentum' or name != 'muon' else SHAPES.keys() - matrices
    )


def test_clipping_bounds_the_step():
    tx = make_optimizer(section('sgd', clip_norm=1.0), learning_rate=1.0)
    (updates,) = updates_of(tx, [jax.tree.map(lambda p: 100 * p, PARAMS)])
    assert float(optax.tree.norm(updates)) == pytest.approx(1.0)
    small = jax.tree.map(lambda p: 1e-3 * p, PARAMS)
    assert_close(updates_of(tx, [small])[0], jax.tree.map(jnp.negative, small), rtol=1e-6)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_stages_have_rules_of_their_own(name, monkeypatch):
    """Idle ones stay as they are to the bit, and the others have their rates."""
    monkeypatch.setattr(
        optimizer,
        'param_stages',
        lambda graph, params: {
            stage: jax.tree.map(lambda _, stage=stage: int(stage), tree)
            for stage, tree in params.items()
        },
    )
    config = config_with(**{'transfer.frozen_stages': 3, 'transfer.stage_decay': 0.5})
    config.optimizer = section(name, weight_decay=0.1)
    params, grads = ({str(stage): tree for stage in range(6)} for tree in (PARAMS, GRADS[0]))
    make = lambda **kwargs: make_run_optimizer(  # noqa: E731
        config, learning_rate=lambda step: 0.25, graph=None, **kwargs
    )
    tx = make(phase=Phase(start=0, learning=(4, 5), fixed_norms=()))
    states = [tx.init(params)]
    update = jax.jit(tx.update)
    for _ in range(2):
        updates, state = update(grads, states[-1], params)
        states.append(state)

    alone = updates_of(make_optimizer(config.optimizer, learning_rate=0.25), [GRADS[0]] * 2)
    for stage, rate in ((4, 0.5), (5, 1.0)):
        expected = jax.tree.map(lambda u, rate=rate: rate * u, alone[-1])
        assert_close(updates[str(stage)], expected, rtol=1e-5, atol=1e-7)
    assert_equal(
        {stage: updates[str(stage)] for stage in range(4)},
        dict.fromkeys(range(4), jax.tree.map(jnp.zeros_like, PARAMS)),
    )
    inner = [state[0].inner_states for state in states]
    for stage in range(4):
        assert_equal(inner[2][f'stage{stage}'], inner[0][f'stage{stage}'])
    # Stage 3 joins in, with a state of the same structure, and begins as any rule does.
    late = make(phase=Phase(start=2, learning=(3, 4, 5), fixed_norms=()))
    assert jax.tree.structure(late.init(params)) == jax.tree.structure(states[2])
    updates, _ = jax.jit(late.update)(grads, states[2], params)
    expected = jax.tree.map(lambda u: 0.25 * u, alone[0])
    assert_close(updates['3'], expected, rtol=1e-5, atol=1e-7)


def test_unknown_names_are_refused_with_the_choices():
    with pytest.raises(InputError, match=r"config.optimizer.name='adamx' is unknown.*adamw"):
        make_optimizer(section('adamx'), learning_rate=1.0)


def test_the_average_forgets_its_beginning_faster_at_first():
    values = RNG.normal(size=400)
    average = expected = 3.0
    update = jax.jit(lambda a, n, step: ema_update(a, n, decay=0.95, step=step))
    tree = {'a': jnp.float32(average)}
    for step, value in enumerate(values, start=1):
        decay = min(0.95, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        tree = update(tree, {'a': jnp.float32(value)}, step)
        assert float(tree['a']) == pytest.approx(expected, rel=1e-5, abs=1e-6), step
    assert tree['a'].dtype == jnp.float32
    assert update._cache_size() == 1


def test_the_average_of_what_stays_is_the_same_to_the_bit():
    fixed = np.concatenate([RNG.normal(size=1000), [0.0, -0.0, 2e-38, -3e38]]).astype(np.float32)
    for step in (1, 7, 10_000):
        got = jax.jit(lambda a, n, step=step: ema_update(a, n, decay=0.999, step=step))(
            fixed, fixed.copy()
        )
        assert np.asarray(got).tobytes() == fixed.tobytes()
