import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx, traverse_util

from configs import base
from pneumo_jax.batch_moments import reestimate_batch_norms
from pneumo_jax.models import BACKBONES
from pneumo_jax.sharding import make_mesh
from pneumo_jax.state import create_state, model_graphs
from tests.test_steps import make_batch

TINY = sorted(name for name in BACKBONES if name.endswith('tiny'))


class Network:
    """A network whose batch norms have statistics that are none of its inputs."""

    def __init__(self, name='resnet_tiny', films=10):
        config = base.get_config()
        config.model.update({'name': name, 'dropout': 0.0, 'zero_init': False})
        self.graphs = model_graphs(config)
        state = create_state(config, optax.identity())
        rng = np.random.default_rng(0)
        self.params = _map_named(
            state.params,
            scale=lambda x: jnp.asarray(rng.uniform(0.5, 1.5, x.shape), jnp.float32),
            bias=lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape), jnp.float32),
        )
        self.batch_stats = _map_named(
            state.batch_stats,
            mean=lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape), jnp.float32),
            var=lambda x: jnp.asarray(rng.uniform(0.2, 3.0, x.shape), jnp.float32),
        )
        batch = make_batch(films)
        self.images = jnp.asarray(batch['image'] / 255, jnp.float32)
        self.films = [
            {name: rows[i] for name, rows in batch.items()} | {'film_height': 1, 'film_width': 1}
            for i in range(films)
        ]

    def reestimated(self, batch_size=4):
        return reestimate_batch_norms(
            self.params,
            self.batch_stats,
            graph=self.graphs.eval,
            split=self.films,
            mesh=make_mesh(),
            batch_size=batch_size,
        )

    def model(self, mode, params, batch_stats):
        return nnx.merge(getattr(self.graphs, mode), params, batch_stats)

    def answers(self, mode, params, batch_stats):
        """The backbone's maps, the film's and the cells' logits."""

        @jax.jit
        def answer(params, batch_stats, images):
            model = self.model(mode, params, batch_stats)
            return model.backbone(2 * images - 1), model(images, rngs=nnx.Rngs(dropout=0))

        return answer(params, batch_stats, self.images)


def _map_named(tree, **functions):
    flat = traverse_util.flatten_dict(tree)
    changed = {
        path: functions[path[-1]](leaf) if path[-1] in functions and leaf.ndim == 1 else leaf
        for path, leaf in flat.items()
    }
    return traverse_util.unflatten_dict(changed)


def relative_error(got, expected):
    return max(
        float(jnp.abs(a - b).max() / jnp.abs(b).max())
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
    )


# The largest takes as long as all others.
SLOW = {'mobilenet_v3_tiny': pytest.mark.slow}


@pytest.mark.parametrize('name', [pytest.param(n, marks=SLOW.get(n, ())) for n in TINY])
def test_answers_stay_and_training_mode_comes_to_give_them_too(name):
    network = Network(name)
    before = network.answers('eval', network.params, network.batch_stats)
    params, batch_stats = network.reestimated()
    assert relative_error(network.answers('eval', params, batch_stats), before) < 1e-4
    # The maps alone: the norms of the heads are as they were.
    maps, _ = before
    assert relative_error(network.answers('train', params, batch_stats)[0], maps) < 1e-3
    far, _ = network.answers('train', network.params, network.batch_stats)
    assert relative_error(far, maps) > 0.1


def test_moments_are_those_of_the_inputs_over_the_films_without_padding():
    network = Network()
    _, batch_stats = network.reestimated(batch_size=4)
    backbone = network.model('eval', network.params, network.batch_stats).backbone
    first = backbone.stem[0].conv(2 * network.images - 1)
    deeper = backbone.stages[0][0].conv1.conv(
        backbone.stem[1](backbone.stem[0](2 * network.images - 1))
    )
    for inputs, stats in (
        (first, batch_stats['backbone']['stem'][0]['norm']),
        (deeper, batch_stats['backbone']['stages'][0][0]['conv1']['norm']),
    ):
        cells = np.asarray(inputs, np.float64).reshape(-1, inputs.shape[-1])
        np.testing.assert_allclose(stats['mean'], cells.mean(axis=0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(stats['var'], cells.var(axis=0), rtol=1e-4)


def test_the_heads_and_all_weights_but_scale_and_bias_of_norms_stay():
    network = Network()
    params, batch_stats = network.reestimated()
    for old, new in ((network.params, params), (network.batch_stats, batch_stats)):
        old, new = traverse_util.flatten_dict(old), traverse_util.flatten_dict(new)
        assert old.keys() == new.keys()
        for path in old:
            same = bool(jnp.all(old[path] == new[path]))
            assert same == (path[0] != 'backbone' or path[-2] != 'norm'), path


def test_channels_that_never_vary_do_no_harm():
    network = Network()
    stem = network.params['backbone']['stem'][0]
    stem['conv']['kernel'] = stem['conv']['kernel'].at[..., :2].set(0.0)
    before = network.answers('eval', network.params, network.batch_stats)
    params, batch_stats = network.reestimated()
    norm = batch_stats['backbone']['stem'][0]['norm']
    np.testing.assert_array_equal(norm['var'][:2], 0)
    assert relative_error(network.answers('eval', params, batch_stats), before) < 1e-4
    assert relative_error(network.answers('train', params, batch_stats)[0], before[0]) < 1e-3
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(params))
    assert largest < 100


def test_the_same_films_give_the_same_bits():
    network = Network()
    first, second = network.reestimated(), network.reestimated()
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)
