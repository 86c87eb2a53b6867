import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from configs import base
from pneumo_jax.errors import InputError
from pneumo_jax.models import BACKBONES, build_model
from pneumo_jax.models.layers import Conv, scaled_width, upsample_to
from pneumo_jax.state import create_state, model_graphs, params_sha256

TINY = ('resnet_tiny', 'vgg_tiny', 'mobilenet_tiny')


def model_config(name, **fields):
    config = base.get_config()
    config.model.name = name
    config.model.update(fields)
    return config


def count_parameters(module):
    return sum(x.size for x in jax.tree.leaves(nnx.state(module, nnx.Param)))


@pytest.mark.parametrize('name', BACKBONES)
def test_maps_have_the_strides_and_channels_they_claim(name):
    size = 96
    backbone = nnx.eval_shape(lambda: BACKBONES[name](rngs=nnx.Rngs(0)))
    maps = nnx.eval_shape(lambda b: b(jnp.zeros((2, size, size, 1))), backbone)
    assert {stride: m.shape for stride, m in maps.items()} == {
        stride: (2, size // stride, size // stride, channels)
        for stride, channels in backbone.channels.items()
    }


# Published counts of the 3-channel networks without their classifier: torchvision's totals less the
# last dense layer (resnet18 11,689,512 - 513,000, ...), Keras' for VGG19 and MobileNetV2 no_top.
@pytest.mark.parametrize(
    ('name', 'published'),
    [
        ('resnet18', 11_176_512),
        ('resnet34', 21_284_672),
        ('resnet50', 23_508_032),
        ('vgg16', 14_714_688),
        ('vgg19', 20_024_384),
        ('mobilenet_v2', 2_223_872),
    ],
)
def test_parameter_counts_are_the_published_ones(name, published):
    backbone = nnx.eval_shape(lambda: BACKBONES[name](in_channels=3, rngs=nnx.Rngs(0)))
    assert count_parameters(backbone) == published


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


def test_upsampling_repeats_cells():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    up = upsample_to(x, jnp.zeros((1, 4, 4, 7)))
    np.testing.assert_array_equal(up[0, :, :, 0], np.kron(x[0, :, :, 0], np.ones((2, 2))))


def test_scaled_width_is_mobilenets_rule():
    # From the reference implementation's channel tables for width 0.35 and 1.4.
    assert [scaled_width(c, 0.35) for c in (16, 24, 32, 64, 96, 160, 320)] == [
        8, 8, 16, 24, 32, 56, 112,
    ]  # fmt: skip
    assert [scaled_width(c, 1.4) for c in (16, 24, 32, 64, 96, 160, 320)] == [
        24, 32, 48, 88, 136, 224, 448,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('kernel', 'stride', 'groups'), [(1, 1, 1), (1, 2, 1), (3, 1, 8), (3, 2, 8)]
)
@pytest.mark.parametrize('size', [9, 12])
def test_convolutions_agree_with_xlas_own(kernel, stride, groups, size):
    pad = (kernel - 1) // 2
    arguments = (8, 8, (kernel, kernel))
    options = {
        'strides': (stride, stride),
        'padding': ((pad, pad), (pad, pad)),
        'feature_group_count': groups,
        'bias_init': nnx.initializers.normal(1.0),
    }
    ours = Conv(*arguments, **options, rngs=nnx.Rngs(0))
    theirs = nnx.Conv(*arguments, **options, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (2, size, size, 8))
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    grad = [jax.grad(lambda x, m=m: jnp.sum(m(x) ** 2))(x) for m in (ours, theirs)]
    np.testing.assert_allclose(*grad, rtol=1e-4, atol=1e-4)
