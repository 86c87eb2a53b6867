import json
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx, traverse_util

import pneumo_jax.plan as plan_module
import pneumo_jax.train as train_module
from configs import base
from pneumo_jax import scoring
from pneumo_jax.boxes.targets import box_mask
from pneumo_jax.errors import InputError
from pneumo_jax.losses import Targets, film_losses, known_films, mean_losses
from pneumo_jax.models import param_stages
from pneumo_jax.optimizer import make_run_optimizer
from pneumo_jax.schedules import make_schedule
from pneumo_jax.state import create_state, model_graphs, params_sha256
from pneumo_jax.steps import make_train_step
from pneumo_jax.trained import load_trained
from pneumo_jax.transfer import Transfer, current_phase, make_phases, read_transfer
from tests.test_steps import make_batch

NEVER = math.inf
BATCH, STEPS_PER_EPOCH = 8, 2
NO_AUGMENT = {f'augment.{name}': 0.0 for name in ('scale', 'shift', 'brightness', 'contrast')} | {
    'augment.flip': False
}


def config_with(**fields):
    config = base.get_config()
    config.model.name = 'resnet_tiny'
    config.model.zero_init = False
    config.batch_size = BATCH
    config.num_epochs = 4
    config.schedule.name = 'constant'
    config.schedule.warmup_epochs = 0.0
    config.update_from_flattened_dict(fields)
    return config


class Run:
    """The steps of a run on random batches, and its states by step."""

    def __init__(self, config, num_steps, state=None):
        self.config = config
        self.phases = make_phases(config, steps_per_epoch=Fraction(STEPS_PER_EPOCH))
        self.schedule = make_schedule(
            config,
            num_steps=config.num_epochs * STEPS_PER_EPOCH,
            steps_per_epoch=STEPS_PER_EPOCH,
        )
        self.train_steps = {phase: self._make_step(phase) for phase in self.phases}
        self.states = [state or create_state(config, self.make_tx(self.phases[0]))]
        self.metrics = []
        for step in range(num_steps):
            train_step = self.train_steps[current_phase(self.phases, step)]
            given = jax.tree.map(jnp.copy, self.states[-1])
            state, metrics = train_step(given, make_batch(BATCH, seed=step))
            self.states.append(state)
            self.metrics.append(metrics)

    def make_tx(self, phase):
        graph = model_graphs(self.config).train
        return make_run_optimizer(
            self.config, learning_rate=self.schedule, graph=graph, phase=phase
        )

    def _make_step(self, phase):
        graphs = model_graphs(self.config, fixed_norms=phase.fixed_norms)
        return make_train_step(
            graphs=graphs,
            tx=self.make_tx(phase),
            schedule=self.schedule,
            config=self.config,
            phase=phase,
        )

    def moves(self, step, what='params'):
        """{stage: [change of each leaf in a step]}."""
        graph = model_graphs(self.config).train
        before, after = (getattr(self.states[i], what) for i in (step, step + 1))
        stages = traverse_util.flatten_dict(param_stages(graph, before))
        before, after = traverse_util.flatten_dict(before), traverse_util.flatten_dict(after)
        moves = {stage: [] for stage in range(6)}
        for path, stage in stages.items():
            moves[stage].append(np.asarray(after[path]) - np.asarray(before[path]))
        return moves

    def moving(self, step, what='params'):
        """The stages whose every leaf changes in a step; none of them may change in part."""
        moves = {
            stage: [np.any(m) for m in leaves] for stage, leaves in self.moves(step, what).items()
        }
        assert all(all(leaves) == any(leaves) for leaves in moves.values()), moves
        return {stage for stage, leaves in moves.items() if all(leaves)}


def test_starts_compose_by_the_later():
    assert Transfer().starts == (0, 0, 0, 0, 0, 0)
    assert Transfer(head_epochs=2.5).starts == (2.5,) * 5 + (0,)
    assert Transfer(unfreeze_epochs=(2, 4)).starts == (NEVER, NEVER, NEVER, 4, 2, 0)
    assert Transfer(head_epochs=3.0, unfreeze_epochs=(2, 4)).starts == (
        *(NEVER, NEVER, NEVER),
        *(4, 3, 0),
    )
    assert Transfer(frozen_stages=2, head_epochs=1.0).starts == (NEVER, NEVER, 1, 1, 1, 0)
    assert Transfer(frozen_stages=5).starts == (NEVER,) * 5 + (0,)


def test_rates_fall_towards_the_shallow_end_and_end_at_the_frozen():
    assert Transfer(frozen_stages=1, stage_decay=0.5).rates == (0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
    assert Transfer().is_plain
    assert not Transfer(stage_decay=0.5).is_plain
    assert not Transfer(head_epochs=0.1).is_plain


def test_phases_start_with_epochs_as_the_run_counts_them_or_inside_one():
    config = config_with(
        **{'batch_size': 8, 'transfer.unfreeze_epochs': (1, 2.5), 'transfer.frozen_stages': 1}
    )
    phases = make_phases(config, steps_per_epoch=Fraction(45, 8))
    # Epoch 1 ends with the step that holds film 45; two and a half are 112.5 films.
    assert [(p.start, p.learning) for p in phases] == [(0, (5,)), (6, (4, 5)), (15, (3, 4, 5))]
    assert [p.fixed_norms for p in phases] == [(0, 1, 2, 3, 4), (0, 1, 2, 3), (0, 1, 2)]
    assert [current_phase(phases, step).start for step in (0, 5, 6, 14, 15, 99)] == [
        *(0, 0, 6),
        *(6, 15, 15),
    ]
    steps = [phase.start for phase in phases][1:]
    config.transfer.update({'unfreeze_epochs': (), 'unfreeze_steps': tuple(steps)})
    assert make_phases(config, steps_per_epoch=Fraction(45, 8)) == phases
    config.transfer.batch_norm = 'frozen'
    assert {p.fixed_norms for p in make_phases(config, steps_per_epoch=Fraction(45, 8))} == {
        (0, 1, 2, 3, 4)
    }


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'frozen_stages': -1}, r'frozen_stages=-1 must be 0 to 5'),
        ({'frozen_stages': 6}, r'frozen_stages=6 must be 0 to 5'),
        ({'head_epochs': -1.0}, r'head_epochs=-1.0 must be 0 or more'),
        ({'head_epochs': math.nan}, r'head_epochs=nan must be'),
        ({'head_epochs': 4.0}, r'head_epochs=4.0 lets .*run of 50 steps.*frozen_stages=5'),
        ({'unfreeze_epochs': (-1,)}, r'unfreeze_epochs=\(-1,\) must be epochs of 0 or more'),
        ({'unfreeze_epochs': ('a',)}, r"unfreeze_epochs=\('a',\) must be epochs"),
        ({'unfreeze_epochs': (2, 2)}, r'unfreeze_epochs=\(2, 2\) must rise'),
        (
            {'unfreeze_epochs': (0, 1, 2, 3, 4, 5)},
            r'unfreeze_epochs=.* has 6 entries for the 5 stages.* leave the last 1 out',
        ),
        (
            {'unfreeze_epochs': (1, 2), 'frozen_stages': 4},
            r'unfreeze_epochs=.* has 2 entries for the 1 stages .*frozen_stages=4',
        ),
        ({'unfreeze_epochs': (1, 4)}, r'unfreeze_epochs=\(1, 4\) lets .* after epoch 4, .*list'),
        ({'head_steps': -1}, r'head_steps=-1 must be 0 or more steps'),
        ({'head_steps': 50}, r'head_steps=50 lets .* after step 50, .*frozen_stages=5'),
        ({'unfreeze_steps': (9, 50)}, r'unfreeze_steps=\(9, 50\) lets .* after step 50.*list'),
        (
            {'unfreeze_steps': (9,), 'head_epochs': 1.0},
            r'unfreeze_steps=\(9,\) is in steps, config.transfer.head_epochs=1.0 is not',
        ),
        (
            {'unfreeze_epochs': (1,), 'head_steps': 1},
            r'unfreeze_epochs=\(1,\) is in epochs, config.transfer.head_steps=1 is not',
        ),
        ({'stage_decay': 0.0}, r'stage_decay=0.0 must be more than 0'),
        ({'stage_decay': 1.5}, r'stage_decay=1.5 must be .* at most 1'),
        ({'batch_norm': 'eval'}, r"batch_norm='eval' is unknown; choose one of train, frozen"),
    ],
)
def test_nonsense_is_refused_with_field_value_and_remedy(fields, message):
    config = config_with(**{f'transfer.{name}': value for name, value in fields.items()})
    with pytest.raises(InputError, match=f'config.transfer.{message}'):
        make_phases(config, steps_per_epoch=Fraction(100, 8))


@pytest.mark.slow
def test_stages_join_in_when_told_and_are_fixed_functions_until_then():
    config = config_with(
        **{
            'transfer.frozen_stages': 2,
            'transfer.head_epochs': 0.5,
            'transfer.unfreeze_epochs': (0, 1, 1.5),
        }
    )
    start = Run(config, 0).states[0]
    # The bits of a negative zero must outlive the addition of nothing.
    start = start.replace(params=jax.tree.map(lambda p: jnp.where(p == 0, -0.0, p), start.params))
    # As many films have an opacity as have none: the first answer, one half, would not move it.
    start.params['film_head']['dense']['bias'] += 0.5
    run = Run(config, 5, state=start)
    expected = [{5}, {4, 5}, {3, 4, 5}, {2, 3, 4, 5}, {2, 3, 4, 5}]
    assert [run.moving(step) for step in range(5)] == expected
    assert [run.moving(step, 'batch_stats') for step in range(5)] == expected
    for what in ('params', 'batch_stats'):
        first, last = (traverse_util.flatten_dict(getattr(run.states[i], what)) for i in (0, -1))
        for path in first:
            if path[:2] == ('backbone', 'stem') or path[:3] == ('backbone', 'stages', 0):
                assert first[path].tobytes() == last[path].tobytes(), path
    assert [step._cache_size() for step in run.train_steps.values()] == [1] * 4


@pytest.mark.slow
def test_frozen_batch_norms_keep_the_statistics_and_learn_their_scale():
    run = Run(config_with(**{'transfer.batch_norm': 'frozen'}), 2)
    assert run.moving(1) == {0, 1, 2, 3, 4, 5}
    assert run.moving(1, 'batch_stats') == {5}


@pytest.mark.slow
def test_a_late_stage_begins_like_a_fresh_adam():
    config = config_with(
        **{
            'optimizer.name': 'adam',
            'optimizer.weight_decay': 0.0,
            'optimizer.clip_norm': 0.0,
            'transfer.head_epochs': 3.0,
        }
    )
    run = Run(config, 7)
    for stage in range(5):
        sizes = np.abs(np.concatenate([m.ravel() for m in run.moves(6)[stage]]))
        # Adam's first step is the learning rate wherever a gradient is well above epsilon; with
        # moments or a count from before, it would be half of that.
        assert np.quantile(sizes, 0.25) == pytest.approx(config.learning_rate, rel=1e-2), stage
        assert sizes.max() < 1.001 * config.learning_rate


@pytest.mark.slow
def test_the_schedule_goes_on_for_a_late_stage():
    config = config_with(
        **{
            'optimizer.name': 'lion',
            'optimizer.weight_decay': 0.0,
            'schedule.name': 'linear',
            'learning_rate': 0.08,
            'transfer.head_epochs': 2.0,
        }
    )
    run = Run(config, 5)
    # Eight steps from 0.08 to nothing; lion's step is the rate itself.
    for stage in range(6):
        sizes = np.abs(np.concatenate([m.ravel() for m in run.moves(4)[stage]]))
        assert np.median(sizes) == pytest.approx(0.04, rel=1e-3), stage


@pytest.mark.slow
def test_rates_of_stages_scale_the_update_and_its_decay():
    config = config_with(**{'optimizer.clip_norm': 0.0, 'transfer.stage_decay': 0.5})
    graph = model_graphs(config).train
    params = jax.tree.map(jnp.ones_like, create_state(config, optax.identity()).params)
    stages = param_stages(graph, params)
    for name, grad, wd, expected in (
        ('sgd', 1.0, 0.0, -1e-3),
        ('adamw', 0.0, 0.25, -0.25e-3),
    ):
        config.optimizer.update({'name': name, 'weight_decay': wd})
        tx = make_run_optimizer(config, learning_rate=lambda _: 1e-3, graph=graph)
        grads = jax.tree.map(lambda p, g=grad: jnp.full_like(p, g), params)
        updates, _ = tx.update(grads, tx.init(params), params)
        for u, stage in zip(jax.tree.leaves(updates), jax.tree.leaves(stages), strict=True):
            if u.ndim > 1:
                np.testing.assert_array_equal(u, np.float32(expected) * 0.5 ** (5 - stage))


@pytest.mark.slow
def test_clipping_sees_the_learning_stages_alone():
    config = config_with(
        **{
            'optimizer.name': 'sgd',
            'optimizer.weight_decay': 0.0,
            'optimizer.clip_norm': 1e-3,
            'learning_rate': 1.0,
            'transfer.frozen_stages': 4,
        }
    )
    run = Run(config, 1)
    assert float(run.metrics[0]['grad_norm']) > 1e-3
    moved = np.concatenate([m.ravel() for stage in (4, 5) for m in run.moves(0)[stage]])
    assert np.linalg.norm(moved) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.slow
def test_the_defaults_train_as_plain_optax_does():
    config = config_with(**NO_AUGMENT | {'model.dropout': 0.0, 'optimizer.clip_norm': 0.5})
    run = Run(config, 3)
    tx = optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.adamw(
            lambda _: 1e-3, weight_decay=1e-4, mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p)
        ),
    )
    graph, state = model_graphs(config).train, run.states[0]
    params, batch_stats, opt_state = state.params, state.batch_stats, tx.init(state.params)

    @jax.jit
    def grad(params, batch_stats, batch, target):
        def loss(params):
            model = nnx.merge(graph, params, batch_stats)
            outputs = model(batch['image'] / 255.0, rngs=nnx.Rngs(dropout=0))
            targets = Targets(
                label=batch['label'].astype(jnp.float32),
                classes=jnp.zeros((BATCH, 3)),
                class_known=jnp.zeros(BATCH, bool),
                mask=target,
                boxes_known=jnp.ones(BATCH, bool),
                film_known=jnp.ones(BATCH, bool),
                weak_known=jnp.zeros(BATCH, bool),
            )
            losses = film_losses(outputs, targets, config.loss)
            stats = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
            return mean_losses(losses, known_films(targets), config.loss)['loss'], stats

        return jax.grad(loss, has_aux=True)(params)

    for step in range(3):
        batch = make_batch(BATCH, seed=step)
        boxes = batch['boxes'] * 64 / 1024
        target = box_mask(boxes, batch['num_boxes'], image_size=64, mask_size=16)
        grads, batch_stats = grad(params, batch_stats, batch, target)
        updates, opt_state = tx.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
    got = run.states[3]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), got.params, params
    )
    assert jax.tree.structure(got.opt_state) == jax.tree.structure(opt_state)


# Borders inside epochs 1 and 2, and between them.
PHASED = {
    'num_epochs': 3,
    'transfer.head_epochs': 0.5,
    'transfer.unfreeze_epochs': (1, 1.5),
    'transfer.stage_decay': 0.5,
}


@pytest.fixture
def phased_config(tiny_config):
    tiny_config.update_from_flattened_dict(PHASED)
    return tiny_config


@pytest.mark.slow
def test_a_run_resumed_in_any_phase_ends_with_the_same_bits(phased_config, tmp_path, monkeypatch):
    made = []

    def remember(**kwargs):
        made.append(make_train_step(**kwargs))
        return made[-1]

    monkeypatch.setattr(plan_module, 'make_train_step', remember)
    straight = train_module.train(phased_config, tmp_path / 'straight')
    assert [step._cache_size() for step in made] == [1, 1, 1]

    score = scoring.validation_figures
    # Through epoch 1, then through epoch 2; each time the next one is lost.
    for _ in range(2):
        finished = iter([True])

        def interrupted(*args, finished=finished):
            if not next(finished, False):
                raise KeyboardInterrupt
            return score(*args)

        monkeypatch.setattr(scoring, 'validation_figures', interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_module.train(phased_config, tmp_path / 'resumed')
    monkeypatch.setattr(scoring, 'validation_figures', score)
    resumed = train_module.train(phased_config, tmp_path / 'resumed')
    for what in ('params', 'batch_stats', 'opt_state'):
        assert params_sha256(getattr(resumed, what)) == params_sha256(getattr(straight, what))

    trained = load_trained(tmp_path / 'resumed')
    assert jax.tree.structure(trained.params) == jax.tree.structure(straight.params)


def test_runs_from_before_the_section_are_read_as_plain_ones(tiny_config, tmp_path):
    tiny_config.num_epochs = 1
    state = train_module.train(tiny_config, tmp_path)
    path = tmp_path / 'config.json'
    content = json.loads(path.read_text())
    del content['config']['transfer']
    for name in ('init_from', 'conventions', 'zero_init'):
        del content['config']['model'][name]
    path.write_text(json.dumps(content))
    trained = load_trained(tmp_path)
    assert read_transfer(trained.config) == Transfer()
    assert params_sha256(trained.params) == params_sha256(state.params)
