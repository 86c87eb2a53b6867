import jax
import pytest
from flax import nnx

from configs import base
from pneumo_jax.models import BACKBONES, build_model, table
from pneumo_jax.models.classifier import build_classifier
from tests.conftest import run_command

# torchvision's, of its weights' meta data (num_params).
PARAMETERS = {
    'resnet18': 11_689_512,
    'resnet34': 21_797_672,
    'resnet50': 25_557_032,
    'resnet101': 44_549_160,
    'vgg16': 138_357_544,
    'vgg16_bn': 138_365_992,
    'vgg19': 143_667_240,
    'vgg19_bn': 143_678_248,
    # Keras' 4,253,864 less the statistics, which it counts: 2 for each channel of the batch norms.
    'mobilenet_v1': 4_253_864 - 21_888,
    'mobilenet_v2': 3_504_872,
    'mobilenet_v3_large': 5_483_032,
    'mobilenet_v3_small': 2_542_856,
}
# Of torchvision's VGGs with batch norm: a bias of each convolution, which the normalisation behind
# it takes away again. Ours have none.
IDLE_BIASES = {'vgg16_bn': 4224, 'vgg19_bn': 5504}

# Millions at 224 px: torchvision's meta data (_ops), and table 8 of the MobileNet paper.
MULTIPLY_ADDS = {
    'resnet18': 1814,
    'resnet34': 3664,
    'resnet50': 4089,
    'resnet101': 7801,
    'vgg16': 15470,
    'vgg19': 19632,
    'mobilenet_v1': 569,
    'mobilenet_v2': 301,
    'mobilenet_v3_large': 217,
    'mobilenet_v3_small': 57,
}


@pytest.mark.parametrize('name', PARAMETERS)
def test_parameters_are_the_published_ones(name):
    classifier = nnx.eval_shape(lambda: build_classifier(name, rngs=nnx.Rngs(0)))
    expected = PARAMETERS[name] - IDLE_BIASES.get(name, 0)
    assert table.count_parameters(classifier) == expected


@pytest.mark.parametrize('name', MULTIPLY_ADDS)
def test_multiply_adds_are_the_published_ones(name):
    classifier = nnx.eval_shape(lambda: build_classifier(name, rngs=nnx.Rngs(0)))
    assert table.multiply_adds(classifier, 224) / 1e6 == pytest.approx(
        MULTIPLY_ADDS[name], rel=0.01
    )


def test_multiply_adds_of_a_hand_counted_network():
    class Small(nnx.Module):
        def __init__(self, rngs):
            self.in_channels = 2
            self.conv = nnx.Conv(2, 6, (3, 5), strides=2, padding='VALID', rngs=rngs)
            self.groups = nnx.Conv(6, 9, (1, 3), feature_group_count=3, rngs=rngs)
            self.dense = nnx.Linear(9, 4, rngs=rngs)

        def __call__(self, x):
            # In a traced function of its own, as activations are.
            return jax.jit(lambda x: self.dense(self.groups(self.conv(x))).sum() * 7.0)(x)

    small = nnx.eval_shape(lambda: Small(nnx.Rngs(0)))
    cells = 4 * 3  # Of 9 x 9 pixels.
    assert table.multiply_adds(small, 9) == cells * (6 * 3 * 5 * 2 + 9 * 3 * 2 + 9 * 4)


def test_multiply_adds_grow_with_the_pixels():
    size = table.network_size('mobilenet_v1_tiny')
    assert size.multiply_adds[512] == 4 * size.multiply_adds[256]
    assert size.multiply_adds[256] * 49 == size.multiply_adds[224] * 64


def test_film_model_is_that_of_the_default_config():
    config = base.get_config().model
    config.name = 'resnet_tiny'
    model = nnx.eval_shape(lambda: build_model(config, rngs=nnx.Rngs(0)))
    assert table.network_size('resnet_tiny').film_model == table.count_parameters(model)


@pytest.mark.slow
def test_command_prints_a_row_for_every_network():
    printed = run_command('-m', 'pneumo_jax.models')
    assert printed.returncode == 0, printed.stderr
    rows = {line.split()[0]: line.split()[1:] for line in printed.stdout.splitlines() if line}
    assert set(BACKBONES) <= set(rows)
    assert rows['resnet50'][0] == '25,557,032'
    assert len(rows['resnet50']) == 2 + len(table.IMAGE_SIZES)


def test_command_takes_no_arguments():
    printed = run_command('-m', 'pneumo_jax.models', 'resnet50')
    assert printed.returncode == 2
    assert 'unknown arguments' in printed.stderr
