"""Weight files in our networks: the originals' numbers, what is placed where, what is refused."""

import dataclasses

import h5py
import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from pneumo_jax.errors import InputError
from pneumo_jax.models.conventions import Conventions
from pneumo_jax.pretrained import (
    export_safetensors,
    from_weight_file,
    load_pretrained,
)
from pneumo_jax.pretrained.weight_file import WeightFile
from tests.conftest import ROOT
from tests.pretrained_models import (
    as_classifier,
    as_file,
    load_classifier,
    maps_of,
    random_arrays,
    random_pictures,
)

WEIGHTS = ROOT.parent / 'shared' / 'weights'
TF = {'padding': 'same', 'epsilon': 1e-3, 'normalisation': 'tf'}

needs_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason='no folder ../shared/weights')


@pytest.fixture(scope='module')
def imagenet():
    """The real MobileNetV2."""
    return load_pretrained(WEIGHTS / 'mobilenet_v2_imagenet_keras.h5', name='mobilenet_v2')


@pytest.fixture(scope='module')
def photographs():
    """(uint8 RGB [4,224,224,3], Keras' softmax [4,1000], Keras' map [4,7,7,1280])."""
    with np.load(WEIGHTS / 'expected_mobilenet_v2.npz') as expected:
        return expected['input_u8_224'], expected['v2_softmax'], expected['v2_map']


@needs_weights
def test_real_mobilenet_gives_the_softmax_and_the_map_of_keras(imagenet, photographs):
    pictures, softmax, deepest = photographs
    model = as_classifier(imagenet)
    assert imagenet.origin == 'keras'
    assert imagenet.conventions == Conventions(padding='same', epsilon=1e-3, normalisation='tf')
    np.testing.assert_allclose(softmax_of(model, pictures), softmax, atol=1e-4)
    found = maps_of(model, pictures)[32]
    assert np.abs(found - deepest).max() < 1e-4 * np.abs(deepest).max()


@needs_weights
def test_real_mobilenet_survives_a_round_trip_in_the_names_of_timm(imagenet, photographs, tmp_path):
    pictures, softmax, _ = photographs
    _, params, batch_stats = nnx.split(as_classifier(imagenet), nnx.Param, nnx.BatchStat)
    path = tmp_path / 'weights.safetensors'
    export_safetensors(
        path, nnx.to_pure_dict(params), nnx.to_pure_dict(batch_stats), name='mobilenet_v2'
    )
    model = load_classifier(path, 'mobilenet_v2', conventions=TF)
    np.testing.assert_allclose(softmax_of(model, pictures), softmax, atol=1e-4)


@needs_weights
@pytest.mark.parametrize(
    'mistake',
    [
        {},
        {'padding': 'symmetric'},
        {'epsilon': 1e-5},
        {'normalisation': 'torch'},
        {'normalisation': 'caffe'},
    ],
    ids=str,
)
def test_each_wrong_convention_shows_in_the_softmax(imagenet, photographs, mistake):
    """The file's batch norms are folded to the identity, where epsilon hardly shows: undo that."""
    pictures, softmax, _ = photographs
    model = as_classifier(
        with_statistics(imagenet),
        conventions=dataclasses.replace(imagenet.conventions, **mistake),
    )
    difference = np.abs(softmax_of(model, pictures) - softmax).max()
    assert difference > 1e-2 if mistake else difference < 1e-4


@needs_weights
@pytest.mark.parametrize('size', [64, 75])
@pytest.mark.parametrize('name', ['vgg19', 'resnet50'])
def test_random_weights_give_the_maps_of_keras(name, size):
    model = load_classifier(WEIGHTS / 'fixtures' / f'{name}_no_top_random_keras2.h5', name)
    with np.load(WEIGHTS / 'fixtures' / 'expected_random.npz') as expected:
        pictures, wanted = (expected[f'{name}/{size}/{key}'] for key in ('input_u8', 'map'))
    found = maps_of(model, pictures)[32]
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_v1_and_v1_5_load_alike_and_differ():
    file = as_file(random_arrays('resnet50', width=0.125), 'resnet50', 'torchvision')
    pretrained = from_weight_file(file, name='resnet50', width=0.125)
    assert pretrained.conventions.version == 'v1.5'
    assert any('version=v1' in note for note in pretrained.notes)
    told = from_weight_file(
        file, name='resnet50', width=0.125, conventions={'version': 'v1', 'padding': ''}
    )
    assert told.conventions == dataclasses.replace(pretrained.conventions, version='v1')
    old, new = (
        maps_of(as_classifier(p, width=0.125), random_pictures(64))[32] for p in (told, pretrained)
    )
    assert np.abs(old - new).max() > 1e-2 * np.abs(new).max()


@pytest.mark.parametrize('normalisation', ['tf', 'torch', 'caffe'])
def test_grey_film_equals_the_repeated_film_borders_included(normalisation):
    file = as_file(random_arrays('mobilenet_v1', width=0.25), 'mobilenet_v1', 'keras')
    model = as_classifier(
        from_weight_file(
            file, name='mobilenet_v1', width=0.25, conventions={'normalisation': normalisation}
        ),
        width=0.25,
    )
    films = random_pictures(75)[..., :1]
    grey, colour = maps_of(model, films), maps_of(model, np.repeat(films, 3, axis=-1))
    for stride in (4, 8, 16, 32):
        assert np.ptp(grey[stride]) > 0
        np.testing.assert_array_equal(grey[stride], colour[stride])


def test_bias_in_front_of_batch_norm_is_taken_off_its_mean():
    arrays = random_arrays('resnet50', width=0.125)
    file = as_file(arrays, 'resnet50', 'keras')
    rng = np.random.default_rng(1)
    biases = {
        key.replace('/kernel', '/bias'): rng.normal(size=array.shape[-1]).astype(np.float32)
        for key, array in file.arrays.items()
        if key.endswith('_conv/kernel')
    }
    assert len(biases) == 53
    file = dataclasses.replace(file, arrays=file.arrays | biases)
    pretrained = from_weight_file(file, name='resnet50', width=0.125)
    for name, path in {
        'conv1_conv': ('stem', 0),
        'conv2_block1_0_conv': ('stages', 0, 0, 'shortcut'),
        'conv5_block3_3_conv': ('stages', 3, 2, 'conv3'),
    }.items():
        mean = ('backbone', *path, 'norm', 'mean')
        np.testing.assert_array_equal(
            pretrained.batch_stats[mean], arrays[mean] - biases[f'{name}/bias']
        )
    del file.arrays['conv2_block1_0_conv/bias']
    with pytest.raises(InputError, match=r'missing in the file \(1\): conv2_block1_0_conv/bias$'):
        from_weight_file(file, name='resnet50', width=0.125)


def test_background_class_is_dropped():
    arrays = random_arrays('mobilenet_v1', width=0.25)
    file = as_file(arrays, 'mobilenet_v1', 'keras')
    for key in ('conv_preds/kernel', 'conv_preds/bias'):
        array = file.arrays[key]
        file.arrays[key] = np.concatenate([np.full_like(array[..., :1], 9), array], axis=-1)
    pretrained = from_weight_file(file, name='mobilenet_v1', width=0.25)
    for key in ('kernel', 'bias'):
        path = ('top', 'predictions', key)
        np.testing.assert_array_equal(pretrained.params[path], arrays[path])
    assert any('background' in note for note in pretrained.notes)


def test_batch_norm_without_scale_has_ones():
    arrays = random_arrays('mobilenet_v1', width=0.25)
    file = as_file(arrays, 'mobilenet_v1', 'keras')
    kept = {key: array for key, array in file.arrays.items() if not key.endswith('gamma')}
    pretrained = from_weight_file(
        WeightFile(file.path, 'keras', kept), name='mobilenet_v1', width=0.25
    )
    for path in arrays:
        if path[-1] == 'scale':
            assert (pretrained.params[path] == 1).all()
    assert pretrained.params.keys() | pretrained.batch_stats.keys() == arrays.keys()


def test_half_precision_files_load(tmp_path):
    arrays = random_arrays('resnet18', width=0.125)
    file = as_file(arrays, 'resnet18', 'timm')
    path = tmp_path / 'weights.safetensors'
    save_file({key: np.ascontiguousarray(a, np.float16) for key, a in file.arrays.items()}, path)
    pretrained = load_pretrained(path, name='resnet18', width=0.125)
    kernel = ('backbone', 'stem', 0, 'conv', 'kernel')
    assert pretrained.params[kernel].dtype == np.float32
    np.testing.assert_array_equal(pretrained.params[kernel], arrays[kernel].astype(np.float16))


def test_first_names_of_keras_load_from_a_file_of_keras_1(tmp_path):
    arrays = random_arrays('resnet50', width=0.125)
    spelled = {'kernel': 'W', 'bias': 'b', 'moving_mean': 'running_mean'}
    # It holds the variance, whatever its name says.
    spelled |= {'moving_variance': 'running_std'}
    with h5py.File(tmp_path / 'weights.h5', 'w') as file:
        for layer, variables in by_layer(as_file(arrays, 'resnet50', 'keras_first')).items():
            for variable, array in variables.items():
                name = spelled.get(variable, variable)
                file[f'{layer}/{layer}_{name}:0'] = array
    pretrained = load_pretrained(tmp_path / 'weights.h5', name='resnet50', width=0.125)
    assert_arrays(pretrained, arrays)
    assert pretrained.conventions.epsilon == 1.001e-5
    assert any('epsilon=1e-3' in note for note in pretrained.notes)


def test_names_of_tf_keras_with_slashes_load_from_a_file_of_keras_2(tmp_path):
    arrays = random_arrays('mobilenet_v3_small', width=0.25)
    layers = by_layer(as_file(arrays, 'mobilenet_v3_small', 'tf_keras'))
    with h5py.File(tmp_path / 'weights.h5', 'w') as file:
        file.attrs['layer_names'] = [layer.encode() for layer in layers]
        for layer, variables in layers.items():
            group = file.require_group(layer)
            group.attrs['weight_names'] = [f'{layer}/{v}:0'.encode() for v in variables]
            for variable, array in variables.items():
                group[f'{layer}/{variable}:0'] = array
    pretrained = load_pretrained(tmp_path / 'weights.h5', name='mobilenet_v3_small', width=0.25)
    assert_arrays(pretrained, arrays)


def by_layer(file):
    """{layer: {variable: array}} of a file of Keras."""
    layers = {}
    for key, array in file.arrays.items():
        layer, variable = key.rsplit('/', 1)
        layers.setdefault(layer, {})[variable] = array
    return layers


def assert_arrays(pretrained, arrays):
    found = pretrained.params | pretrained.batch_stats
    assert found.keys() == arrays.keys()
    for path, array in arrays.items():
        np.testing.assert_array_equal(found[path], array, str(path))


def with_statistics(pretrained):
    """The same function with statistics that differ between channels, for the same epsilon."""
    rng = np.random.default_rng(0)
    epsilon = pretrained.conventions.epsilon
    params, batch_stats = dict(pretrained.params), dict(pretrained.batch_stats)
    for path in pretrained.batch_stats:
        if path[-1] != 'mean':
            continue
        module = path[:-2]
        kernel, scale, shift, mean, var = (
            (*module, *end)
            for end in (
                ('conv', 'kernel'),
                ('norm', 'scale'),
                ('norm', 'bias'),
                ('norm', 'mean'),
                ('norm', 'var'),
            )
        )
        old_var = batch_stats[var].astype(np.float64) + epsilon
        # Such that the variance is 1e-3 to 1 times the old one.
        factor = 10 ** rng.uniform(-1.4, 0, old_var.shape)
        move = rng.normal(size=old_var.shape)
        params[kernel] = (params[kernel] * factor).astype(np.float32)
        batch_stats[mean] = (batch_stats[mean] * factor + move).astype(np.float32)
        batch_stats[var] = (old_var * factor**2 - epsilon).astype(np.float32)
        params[shift] = (params[shift] + params[scale] * move / (factor * np.sqrt(old_var))).astype(
            np.float32
        )
    return dataclasses.replace(pretrained, params=params, batch_stats=batch_stats)


def softmax_of(classifier, pictures):
    logits = jax.jit(classifier.__call__)(pictures.astype(np.float32) / 255)
    return np.asarray(jax.nn.softmax(logits))
