"""The same weights give the same numbers as in Keras, torchvision and timm themselves.

These packages are no part of the project; without them the tests are skipped. In an environment of
its own: ``pip install -c constraints/py311.txt -r constraints/parity.txt -e '.[test]'``, then
``python -m pytest -m '' tests/parity``. Weights and statistics are random; nothing is downloaded.
"""

import dataclasses
import importlib.metadata
import importlib.util
import logging
import os
from collections.abc import Callable

import jax
import numpy as np
import pytest

from pneumo_jax.models.conventions import normalise
from pneumo_jax.pretrained import load_pretrained
from tests.pretrained_models import load_classifier


def _provide_operators():
    """Lets torchvision's build for GPUs be imported beside a torch without them.

    It describes two operators that only its own library defines; none is used here.
    """
    from torch import library

    if importlib.util.find_spec('torchvision') is None or torch.version.cuda is not None:
        return
    if not importlib.metadata.version('torchvision').endswith('+cpu'):
        # Kept, or the operators would go with it.
        _operators.append(library.Library('torchvision', 'FRAGMENT'))
        for name in ('nms', 'qnms'):
            arguments = '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'
            _operators[-1].define(name + arguments)


_operators = []
os.environ.setdefault('KERAS_BACKEND', 'jax')
keras = pytest.importorskip('keras')
torch = pytest.importorskip('torch')
_provide_operators()
torchvision = pytest.importorskip('torchvision')
timm = pytest.importorskip('timm')
safetensors_torch = pytest.importorskip('safetensors.torch')
# The originals compute in float64, so that only our own rounding is measured.
jax.config.update('jax_enable_x64', True)
keras.config.set_floatx('float64')

pytestmark = pytest.mark.slow

log = logging.getLogger(__name__)

SIZES = (64, 97)
TOLERANCE = 1e-4


@pytest.fixture(autouse=True)
def forget_compiled():
    """What is compiled for each network and size takes gigabytes in the end."""
    yield
    keras.utils.clear_session()
    jax.clear_caches()


@dataclasses.dataclass(frozen=True)
class Case:
    """A network of another project, and ours.

    Attributes:
        build: without arguments, gives the original in PyTorch; of Keras' ``include_top`` and
            ``input_shape``, the original there.
        name: of our backbone.
        width: of ours.
        preprocess: Keras' module with ``preprocess_input``.
        conventions: what the file cannot tell.
    """

    build: Callable
    name: str
    width: float = 1.0
    preprocess: object = None
    conventions: dict = dataclasses.field(default_factory=dict)


def keras_case(builder, module, name, *, alpha=None):
    options = {'classifier_activation': None} | ({'alpha': alpha} if alpha else {})

    def build(**more):
        return getattr(keras.applications, builder)(weights=None, **options, **more)

    return Case(build, name, alpha or 1.0, getattr(keras.applications, module))


def timm_case(model, name, **conventions):
    return Case(lambda: timm.create_model(model), name, conventions=conventions)


def torchvision_case(name):
    return Case(getattr(torchvision.models, name), name)


TF = {'padding': 'same', 'epsilon': 1e-3, 'normalisation': 'tf'}
KERAS = {
    'VGG19': keras_case('VGG19', 'vgg19', 'vgg19'),
    'ResNet50': keras_case('ResNet50', 'resnet', 'resnet50'),
    'ResNet101': keras_case('ResNet101', 'resnet', 'resnet101'),
    'MobileNet': keras_case('MobileNet', 'mobilenet', 'mobilenet_v1', alpha=1.0),
    'MobileNet-0.25': keras_case('MobileNet', 'mobilenet', 'mobilenet_v1', alpha=0.25),
    'MobileNetV2': keras_case('MobileNetV2', 'mobilenet_v2', 'mobilenet_v2', alpha=1.0),
    'MobileNetV2-0.35': keras_case('MobileNetV2', 'mobilenet_v2', 'mobilenet_v2', alpha=0.35),
    'MobileNetV2-0.5': keras_case('MobileNetV2', 'mobilenet_v2', 'mobilenet_v2', alpha=0.5),
    'MobileNetV2-1.4': keras_case('MobileNetV2', 'mobilenet_v2', 'mobilenet_v2', alpha=1.4),
    'MobileNetV3Large': keras_case('MobileNetV3Large', 'mobilenet_v3', 'mobilenet_v3_large'),
    'MobileNetV3Small': keras_case('MobileNetV3Small', 'mobilenet_v3', 'mobilenet_v3_small'),
    'MobileNetV3Small-0.75': keras_case(
        'MobileNetV3Small', 'mobilenet_v3', 'mobilenet_v3_small', alpha=0.75
    ),
}
TORCH = {
    f'torchvision-{name}': torchvision_case(name)
    for name in (
        'resnet18',
        'resnet34',
        'resnet50',
        'resnet101',
        'vgg19',
        'vgg19_bn',
        'mobilenet_v2',
        'mobilenet_v3_large',
        'mobilenet_v3_small',
    )
} | {
    f'timm-{model}': timm_case(model, name, **conventions)
    for model, name, conventions in (
        ('resnet18', 'resnet18', {}),
        ('resnet50', 'resnet50', {}),
        ('vgg19', 'vgg19', {}),
        ('vgg19_bn', 'vgg19_bn', {}),
        ('mobilenetv1_100', 'mobilenet_v1', {}),
        ('mobilenetv2_100', 'mobilenet_v2', {}),
        ('mobilenetv3_large_100', 'mobilenet_v3_large', {}),
        ('mobilenetv3_small_100', 'mobilenet_v3_small', {}),
        ('tf_mobilenetv3_large_100', 'mobilenet_v3_large', TF),
        ('tf_mobilenetv3_small_100', 'mobilenet_v3_small', TF),
    )
}


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('case', KERAS.values(), ids=KERAS.keys())
def test_keras(case, size, tmp_path):
    assert_same_map(case, size, tmp_path / 'weights.weights.h5')


@pytest.mark.parametrize('container', ['keras', 'h5'])
@pytest.mark.parametrize('name', ['ResNet50', 'MobileNet-0.25', 'MobileNetV3Small-0.75'])
def test_keras_containers(name, container, tmp_path):
    assert_same_map(KERAS[name], 75, tmp_path / f'weights.{container}')


@pytest.mark.parametrize('case', KERAS.values(), ids=KERAS.keys())
def test_keras_logits(case, tmp_path):
    original = case.build(include_top=True, input_shape=(224, 224, 3))
    pictures = random_pictures(224)
    inputs = preprocessed_by_keras(case, pictures)
    randomise_keras(original, inputs)
    path = save_keras(original, tmp_path / 'weights.weights.h5')
    expected = original.predict(inputs, verbose=0)
    ours = load_classifier(path, case.name, width=case.width)
    assert_close(jax.jit(ours.__call__)(as_unit(pictures)), expected, 'logits')


@pytest.mark.parametrize('case', TORCH.values(), ids=TORCH.keys())
def test_torch(case, tmp_path):
    original = case.build()
    randomise_torch(original, preprocessed_by_torch(original, random_pictures(97)))
    path = tmp_path / 'weights.safetensors'
    safetensors_torch.save_file(original.state_dict(), path)
    ours = load_classifier(path, case.name, conventions=case.conventions)
    original.double()
    # A VGG has logits at 224 px only.
    for size in (97, 224 if 'vgg' in case.name else 64):
        pictures = random_pictures(size)
        inputs = preprocessed_by_torch(original, pictures).double()
        with torch.no_grad():
            maps = torch_map(original, inputs).numpy().transpose(0, 2, 3, 1)
            logits = original(inputs).numpy() if size % 2 == 0 else None
        assert_close(maps_of(ours, pictures)[32], maps, f'map at {size} px')
        if logits is not None:
            assert_close(jax.jit(ours.__call__)(as_unit(pictures)), logits, f'logits at {size} px')


@pytest.mark.parametrize('name', ['resnet18', 'mobilenet_v3_small'])
def test_a_wrapped_pth_is_the_same(name, tmp_path):
    original = getattr(torchvision.models, name)()
    randomise_torch(original, preprocessed_by_torch(original, random_pictures(64)))
    state = original.state_dict()
    wrapped = {
        'epoch': 3,
        'state_dict': {
            f'module.{key}': value
            for key, value in state.items()
            if not key.endswith('num_batches_tracked')
        },
    }
    torch.save(wrapped, tmp_path / 'weights.pth')
    safetensors_torch.save_file(state, tmp_path / 'weights.safetensors')
    from_pth, from_safetensors = (
        load_pretrained(tmp_path / file, name=name)
        for file in ('weights.pth', 'weights.safetensors')
    )
    jax.tree.map(np.testing.assert_array_equal, from_pth.params, from_safetensors.params)
    jax.tree.map(np.testing.assert_array_equal, from_pth.batch_stats, from_safetensors.batch_stats)


def assert_same_map(case, size, path):
    # Keras' MobileNets pad by the size that they are built for.
    original = case.build(include_top=False, input_shape=(size, size, 3))
    pictures = random_pictures(size)
    inputs = preprocessed_by_keras(case, pictures)
    randomise_keras(original, inputs)
    ours = load_classifier(save_keras(original, path), case.name, width=case.width)
    expected = original.predict(inputs, verbose=0)
    assert_close(maps_of(ours, pictures)[32], expected, f'map at {size} px')


def randomise_keras(model, inputs):
    rng = np.random.default_rng(0)
    model.set_weights([random_array(rng, v.name, v.shape, keras_fan_in(v)) for v in model.weights])
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    model(inputs, training=True)
    for layer in norms:
        gamma, beta, mean, var = layer.get_weights()
        layer.set_weights([gamma, beta, *moved_statistics(rng, mean, var)])


def randomise_torch(model, inputs):
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            fan_in = np.prod(tensor.shape[1:])
            kind = name.rsplit('.', 1)[1].replace('weight', 'gamma')
            tensor.copy_(torch.from_numpy(random_array(rng, kind, tensor.shape, fan_in)))
        norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for layer in norms:
            layer.momentum = 1.0
        model.train()(inputs)
        model.eval()
        for layer in norms:
            buffers = layer.running_mean, layer.running_var
            moved = moved_statistics(rng, *(buffer.numpy() for buffer in buffers))
            for buffer, value in zip(buffers, moved, strict=True):
                buffer.copy_(torch.from_numpy(value))


def keras_fan_in(variable):
    *window, last = variable.shape
    # Of a depthwise kernel [k,k,C,1] a channel sees itself only.
    return np.prod(window[:2] if len(window) == 3 and last == 1 else window)


def random_array(rng, name, shape, fan_in):
    if len(shape) > 1:
        # He et al. 2015 (arXiv:1502.01852).
        return rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)
    if name == 'gamma':
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return rng.normal(0, 0.2, shape).astype(np.float32)


def moved_statistics(rng, mean, var):
    """Random ones near the true ones, of many cells.

    Far from these a deep network either forgets its input behind its constants, so that nothing
    shows, or blows up the rounding of float32: the originals are then up to 8e-4 from themselves
    in float64.
    """
    mean = mean + rng.normal(0, 0.2, mean.shape) * np.sqrt(var)
    # No channel that was silent may shout at another picture.
    var = rng.uniform(0.5, 1.5, var.shape) * (var + var.mean()) / 2
    return mean.astype(np.float32), var.astype(np.float32)


def save_keras(model, path):
    if path.name.endswith('.weights.h5'):
        model.save_weights(path)
    else:
        model.save(path)
    return path


def random_pictures(size):
    """uint8 [4,size,size,3]: smooth colours and noise, so that borders and channels tell."""
    rng = np.random.default_rng(size)
    coarse = rng.uniform(0, 255, (4, 5, 5, 3))
    smooth = np.array(jax.image.resize(coarse, (4, size, size, 3), 'linear'))
    return np.clip(smooth + rng.normal(0, 20, smooth.shape), 0, 255).astype(np.uint8)


def as_unit(pictures):
    return pictures.astype(np.float32) / 255


def preprocessed_by_keras(case, pictures):
    return case.preprocess.preprocess_input(pictures.astype(np.float32))


def preprocessed_by_torch(model, pictures):
    cfg = getattr(model, 'default_cfg', {})
    mean = np.array(cfg.get('mean', (0.485, 0.456, 0.406)), np.float32)
    std = np.array(cfg.get('std', (0.229, 0.224, 0.225)), np.float32)
    inputs = (as_unit(pictures) - mean) / std
    return torch.from_numpy(inputs.transpose(0, 3, 1, 2))


def torch_map(model, inputs):
    if hasattr(model, 'forward_features'):
        return model.forward_features(inputs)
    if hasattr(model, 'features'):
        return model.features(inputs)
    return torch.nn.Sequential(*list(model.children())[:-2])(inputs)


def maps_of(classifier, pictures):
    inputs = normalise(as_unit(pictures), classifier.normalisation, 3)
    return jax.jit(classifier.backbone.__call__)(inputs)


def assert_close(found, expected, what):
    found = np.asarray(found)
    assert found.shape == expected.shape, what
    scale = np.abs(expected).max()
    spread = np.abs(expected - expected.mean(axis=tuple(range(expected.ndim - 1)))).max()
    assert spread > 0.02 * scale, f'{what}: nothing to compare'
    error = np.abs(found - expected).max() / scale
    log.info('%s: %.1e', what, error)
    assert error < TOLERANCE, f'{what}: {error:.2e}'
