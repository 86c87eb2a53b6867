import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx, traverse_util

from configs import base
from pneumo_jax.errors import InputError
from pneumo_jax.models import BACKBONES, NUM_STAGES, build_model, param_stages
from pneumo_jax.models.conventions import OWN, Conventions
from pneumo_jax.models.resnet import BasicBlock, BottleneckBlock, ResNet
from pneumo_jax.state import create_state, model_graphs, params_sha256

TINY = ('resnet_tiny', 'vgg_tiny', 'mobilenet_v1_tiny', 'mobilenet_tiny', 'mobilenet_v3_tiny')


def model_config(name, **fields):
    config = base.get_config()
    config.model.name = name
    config.model.update(fields)
    return config


@functools.cache
def abstract_backbone(name, conventions=OWN):
    return nnx.eval_shape(lambda: BACKBONES[name](conventions=conventions, rngs=nnx.Rngs(0)))


def map_sizes(name, size, conventions=OWN):
    """{stride: side of the map} of a picture; channels are checked on the way."""
    backbone = abstract_backbone(name, conventions)
    maps = nnx.eval_shape(lambda b: b(jnp.zeros((2, size, size, 1))), backbone)
    for stride, channels in backbone.channels.items():
        batch, height, width, features = maps[stride].shape
        assert (batch, width, features) == (2, height, channels)
    return {stride: m.shape[1] for stride, m in maps.items()}


@pytest.mark.parametrize('name', BACKBONES)
def test_maps_have_the_strides_and_channels_they_claim(name):
    assert map_sizes(name, 96) == {4: 24, 8: 12, 16: 6, 32: 3}


@pytest.mark.parametrize('padding', ['symmetric', 'same'])
@pytest.mark.parametrize(
    'name', ['resnet18', 'resnet50', 'mobilenet_v1', 'mobilenet_v2', 'mobilenet_v3_small']
)
def test_odd_sizes_round_up(name, padding):
    sizes = {stride: -(-97 // stride) for stride in (4, 8, 16, 32)}
    assert map_sizes(name, 97, Conventions(padding=padding)) == sizes


@pytest.mark.parametrize(
    ('name', 'padding', 'size', 'sizes'),
    [
        # Keras' MobileNet V1 loses a row where TensorFlow's SAME does not.
        ('mobilenet_v1', 'late', 96, {4: 24, 8: 12, 16: 6, 32: 3}),
        ('mobilenet_v1', 'late', 97, {4: 24, 8: 12, 16: 6, 32: 3}),
        ('mobilenet_v1', 'late', 75, {4: 19, 8: 9, 16: 4, 32: 2}),
        ('mobilenet_v1', 'same', 75, {4: 19, 8: 10, 16: 5, 32: 3}),
        # Pooling without padding rounds down.
        ('vgg16', 'same', 97, {4: 24, 8: 12, 16: 6, 32: 3}),
    ],
)
def test_where_odd_sizes_round_down(name, padding, size, sizes):
    assert map_sizes(name, size, Conventions(padding=padding)) == sizes


@pytest.mark.parametrize('name', BACKBONES)
def test_every_parameter_belongs_to_exactly_one_stage(name):
    backbone = abstract_backbone(name)
    prefixes = [prefix for group in backbone.stage_prefixes for prefix in group]
    assert len(backbone.stage_prefixes) == NUM_STAGES
    params = nnx.to_pure_dict(nnx.state(backbone, nnx.Param))
    for path in traverse_util.flatten_dict(params):
        dotted = '.'.join(map(str, path)) + '.'
        assert sum(dotted.startswith(f'{prefix}.') for prefix in prefixes) == 1, dotted


@pytest.mark.parametrize('name', TINY)
def test_parts_of_a_stage_work_at_its_resolution(name):
    """Each part of a stage changes the maps from the stage's own stride on, and none before."""
    own = (2, 4, 8, 16, 32) if name != 'vgg_tiny' else (1, 2, 4, 8, 16)
    config = model_config(name, zero_init=False)
    graph, state = model_graphs(config).eval, initial_state(config)
    images = jax.random.normal(jax.random.key(1), (1, 64, 64, 1))

    @jax.jit
    def maps_of(params):
        return nnx.merge(graph, params, state.batch_stats).backbone(images)

    maps = maps_of(state.params)
    groups = nnx.merge(graph, state.params, state.batch_stats).backbone.stage_prefixes
    for stride, group in zip(own, groups, strict=True):
        for prefix in group:
            params = jax.tree_util.tree_map_with_path(
                lambda path, x, prefix=prefix: x + 0.05 * is_below(path, prefix), state.params
            )
            changed = {s for s, m in maps_of(params).items() if not np.array_equal(m, maps[s])}
            assert changed == {s for s in (4, 8, 16, 32) if s >= stride}, prefix


@pytest.mark.parametrize('name', TINY)
def test_param_stages_are_the_groups_in_order_and_heads_last(name):
    config = model_config(name)
    graph, state = model_graphs(config).eval, initial_state(config)
    model = nnx.merge(graph, state.params, state.batch_stats)
    stages = param_stages(graph, state.params)
    assert stages == param_stages(model, state.params)
    for path, stage in jax.tree_util.tree_leaves_with_path(stages):
        if stage == NUM_STAGES:
            assert path[0].key != 'backbone'
        else:
            assert any(is_below(path, p) for p in model.backbone.stage_prefixes[stage])


def is_below(path, prefix):
    """Whether a parameter of a model belongs to a part of the backbone."""
    names = [str(key.key) for key in path]
    return names[: prefix.count('.') + 2] == ['backbone', *prefix.split('.')]


def initial_state(config):
    return create_state(config, optax.identity())


@pytest.mark.parametrize('name', TINY)
def test_eval_answers_depend_on_one_film_alone(name):
    config = model_config(name)
    graph, state = model_graphs(config).eval, initial_state(config)
    model = jax.jit(lambda images: nnx.merge(graph, state.params, state.batch_stats)(images))
    images = jax.random.normal(jax.random.key(1), (3, 64, 64, 1))
    others = images.at[1:].multiply(5.0)
    for head in ('film_logits', 'mask_logits'):
        np.testing.assert_allclose(
            model(images)[head][0], model(others)[head][0], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize('name', TINY)
def test_train_mode_drops_out_and_updates_statistics(name):
    config = model_config(name, dropout=0.5)
    graph, state = model_graphs(config).train, initial_state(config)
    # The film head's weights start at zero, which hides what is dropped.
    state.params['film_head']['dense']['kernel'] += 1.0
    images = jax.random.normal(jax.random.key(1), (4, 64, 64, 1))

    @jax.jit
    def train_logits(key):
        model = nnx.merge(graph, state.params, state.batch_stats)
        logits = model(images, rngs=nnx.Rngs(dropout=key))['film_logits']
        return logits, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

    first, new_stats = train_logits(jax.random.key(0))
    second, _ = train_logits(jax.random.key(1))
    assert not np.allclose(first, second)
    assert all(
        not np.array_equal(old, new)
        for old, new in zip(
            jax.tree.leaves(state.batch_stats), jax.tree.leaves(new_stats), strict=True
        )
    )


def test_width_multiplies_channels_and_bfloat16_keeps_float32_parameters():
    config = model_config('mobilenet_v2', width=0.5, dtype='bfloat16')
    model = nnx.eval_shape(lambda: build_model(config.model, rngs=nnx.Rngs(0)))
    assert model.backbone.channels[16] == 48  # 96 at full width
    assert {x.dtype for x in jax.tree.leaves(nnx.state(model, nnx.Param))} == {jnp.dtype('float32')}
    outputs = nnx.eval_shape(
        lambda m: m(jnp.zeros((1, 64, 64, 1)), rngs=nnx.Rngs(dropout=0)), model
    )
    assert {x.dtype for x in outputs.values()} == {jnp.dtype('float32')}


def test_unknown_model_is_named_with_the_choices():
    with pytest.raises(InputError, match=r'resnet_18.*choose one of .*resnet18'):
        build_model(model_config('resnet_18').model, rngs=nnx.Rngs(0))


def test_same_seed_same_parameters():
    config = model_config('resnet_tiny')
    first, second = (params_sha256(initial_state(config).params) for _ in range(2))
    config.seed = 1
    assert first == second != params_sha256(initial_state(config).params)


@pytest.mark.parametrize(('version', 'reads_odd'), [('v1', False), ('v1.5', True)])
def test_version_says_where_a_bottleneck_loses_resolution(version, reads_odd):
    """Every other row is all that a 1x1 convolution of stride 2 sees."""
    block = BottleneckBlock(
        8,
        4,
        stride=2,
        zero_init=False,
        conventions=Conventions(version=version),
        dtype=jnp.float32,
        rngs=nnx.Rngs(0),
    )
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 8))
    odd = x.at[:, 1::2].add(1.0)
    assert bool(np.array_equal(block(x), block(odd))) != reads_odd


@pytest.mark.parametrize(('block', 'last'), [(BasicBlock, 'conv2'), (BottleneckBlock, 'conv3')])
@pytest.mark.parametrize('zero_init', [True, False])
def test_zero_init_starts_residual_blocks_as_the_identity(block, last, zero_init):
    @jax.jit
    def initial_params():
        backbone = ResNet(
            stage_sizes=(1, 1, 1, 1), block=block, base=8, zero_init=zero_init, rngs=nnx.Rngs(0)
        )
        return nnx.to_pure_dict(nnx.state(backbone, nnx.Param))

    flat = traverse_util.flatten_dict(initial_params())
    scales = {path: x for path, x in flat.items() if path[-2:] == ('norm', 'scale')}
    assert any(last in path for path in scales)
    for path, scale in scales.items():
        assert np.all(scale == (0 if zero_init and last in path else 1)), path


@pytest.mark.parametrize('name', ['resnet_small', 'vgg_tiny', 'mobilenet_tiny'])
def test_weights_start_with_the_spread_of_he(name):
    params = traverse_util.flatten_dict(initial_state(model_config(name)).params['backbone'])
    kernels = {path: x for path, x in params.items() if path[-1] == 'kernel' and x.size > 4000}
    assert kernels
    for path, x in kernels.items():
        height, width, _, features = x.shape
        assert np.std(x) == pytest.approx(np.sqrt(2 / (height * width * features)), rel=0.05), path


@pytest.mark.parametrize('name', [*TINY, 'resnet_seed'])
def test_epsilon_reaches_every_norm_of_the_backbone_and_no_other(name):
    config = model_config(name)
    config.model.conventions.epsilon = 0.125
    model = nnx.eval_shape(lambda: build_model(config.model, rngs=nnx.Rngs(0)))
    norms = [(p, m) for p, m in nnx.iter_modules(model) if isinstance(m, nnx.BatchNorm)]
    assert {m.epsilon for path, m in norms if path[0] == 'backbone'} == {0.125}
    assert {m.epsilon for path, m in norms if path[0] != 'backbone'} == {1e-5}


def test_empty_conventions_are_our_own_and_wrong_ones_are_refused():
    config = model_config('resnet_tiny').model
    assert build(config).normalisation == OWN.normalisation
    config.conventions.padding = 'valid'
    with pytest.raises(InputError, match=r"padding='valid'.*symmetric, same, late"):
        build(config)


@pytest.mark.parametrize('normalisation', ['tf', 'torch', 'caffe'])
def test_grey_film_is_repeated_and_normalised_for_three_channels(normalisation):
    config = model_config('mobilenet_v1_tiny', in_channels=3)
    config.model.conventions.normalisation = normalisation
    graph, state = model_graphs(config).eval, initial_state(config)
    film = np.asarray(jax.random.uniform(jax.random.key(0), (2, 32, 32, 1)))
    normalised = {
        'tf': film * 2 - np.ones(3),
        'torch': (film - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        'caffe': film * 255 - [103.939, 116.779, 123.68],
    }[normalisation]

    @jax.jit
    def logits(film, normalised):
        model = nnx.merge(graph, state.params, state.batch_stats)
        by_hand = model.mask_head(model.pyramid(model.backbone(normalised)))
        return model(film)['mask_logits'], by_hand

    np.testing.assert_allclose(*logits(film, normalised), rtol=1e-4, atol=1e-4)


def test_one_channel_refuses_a_normalisation_of_colours():
    config = model_config('mobilenet_tiny').model
    config.conventions.normalisation = 'torch'
    with pytest.raises(InputError, match='in_channels=3'):
        build_model(config, rngs=nnx.Rngs(0))(jnp.zeros((1, 32, 32, 1)))


def build(config):
    return nnx.eval_shape(lambda: build_model(config, rngs=nnx.Rngs(0)))
