import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pneumo_jax.errors import InputError
from pneumo_jax.models import BACKBONES
from pneumo_jax.models.classifier import build_classifier
from pneumo_jax.models.conventions import Conventions


@pytest.mark.parametrize('name', BACKBONES)
def test_gives_a_logit_per_class(name):
    model = nnx.eval_shape(lambda: build_classifier(name, num_classes=7, rngs=nnx.Rngs(0)))
    logits = nnx.eval_shape(lambda m: m(jnp.zeros((2, 224, 224, 3))), model)
    assert (logits.shape, logits.dtype) == ((2, 7), jnp.float32)


def test_logits_are_float32_with_bfloat16_activations():
    model = nnx.eval_shape(
        lambda: build_classifier('mobilenet_v3_tiny', dtype='bfloat16', rngs=nnx.Rngs(0))
    )
    x = jnp.zeros((1, 32, 32, 3))
    assert nnx.eval_shape(lambda m: m.backbone(x)[32], model).dtype == jnp.bfloat16
    assert nnx.eval_shape(lambda m: m(x), model).dtype == jnp.float32


@pytest.mark.parametrize('name', ['resnet_tiny', 'mobilenet_v1_tiny', 'mobilenet_tiny'])
def test_pooled_top_is_the_mean_and_a_dense_layer(name):
    top, deepest, logits = evaluated(name)
    expected = dense(top['predictions'], deepest.mean(axis=(1, 2)))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_top_of_mobilenet_v3_has_a_hard_swish_between():
    top, deepest, logits = evaluated('mobilenet_v3_tiny')
    y = dense(top['hidden'], deepest.mean(axis=(1, 2)))
    y = y * np.clip(y + 3, 0, 6) / 6
    np.testing.assert_allclose(logits, dense(top['predictions'], y), rtol=1e-4, atol=1e-4)


def test_top_of_vgg_reads_the_map_row_by_row_with_channels_innermost():
    top, deepest, logits = evaluated('vgg_tiny', size=224)
    y = np.concatenate([deepest[:, r, c] for r in range(7) for c in range(7)], axis=1)
    for layer in ('hidden1', 'hidden2'):
        y = np.maximum(dense(top[layer], y), 0)
    np.testing.assert_allclose(logits, dense(top['predictions'], y), rtol=1e-4, atol=1e-4)


def test_vgg_takes_pictures_of_224_pixels_only():
    model = nnx.eval_shape(lambda: build_classifier('vgg_tiny', rngs=nnx.Rngs(0)))
    with pytest.raises(InputError, match='not 8 x 8: give pictures of 224 px'):
        nnx.eval_shape(lambda m: m(jnp.zeros((1, 256, 256, 3))), model)


# By Keras Applications at alpha=0.75 and 0.25 without top, and by torchvision.
@pytest.mark.parametrize(
    ('name', 'width', 'deepest', 'hidden'),
    [
        ('mobilenet_v1', 0.25, 256, None),
        ('mobilenet_v2', 0.35, 1280, None),
        ('mobilenet_v2', 1.4, 1792, None),
        ('mobilenet_v3_large', 0.75, 720, 1280),
        ('mobilenet_v3_small', 0.75, 432, 1024),
    ],
)
def test_width_multiplies_as_in_the_published_networks(name, width, deepest, hidden):
    model = nnx.eval_shape(lambda: build_classifier(name, width=width, rngs=nnx.Rngs(0)))
    assert model.backbone.channels[32] == deepest
    assert getattr(model.backbone, 'top_features', None) == hidden


def test_unknown_name_is_refused():
    with pytest.raises(InputError, match=r"'mobilenet'.*mobilenet_v1"):
        build_classifier('mobilenet', rngs=nnx.Rngs(0))


def evaluated(name, *, size=64):
    """A new model's top, and by NumPy its map of stride 32 and its logits of random pictures."""

    @jax.jit
    def compute(images, normalised):
        model = build_classifier(
            name, num_classes=5, conventions=Conventions(normalisation='caffe'), rngs=nnx.Rngs(0)
        )
        top = nnx.to_pure_dict(nnx.state(model.top, nnx.Param))
        return top, model.backbone(normalised)[32], model(images)

    images = np.asarray(jax.random.uniform(jax.random.key(1), (2, size, size, 3)))
    normalised = images[..., ::-1] * 255 - np.array([103.939, 116.779, 123.68])
    return jax.tree.map(np.asarray, compute(images, normalised.astype(np.float32)))


def dense(layer, x):
    return x @ layer['kernel'] + layer['bias']
