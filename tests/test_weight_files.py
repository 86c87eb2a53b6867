"""Files of weights of every container are read to the bit, whatever they are called."""

import argparse
import collections

import h5py
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from pneumo_jax.errors import InputError
from pneumo_jax.pretrained.weight_file import read_weight_file
from tests.conftest import ROOT
from tests.weight_files import (
    Layer,
    TorchTensor,
    keras3_arrays,
    keras_arrays,
    keras_config,
    some_layers,
    torch_state_dict,
    torch_tensors,
    write_keras3,
    write_keras_by_name,
    write_keras_zip,
    write_torch_legacy,
    write_torch_zip,
)

TORCH_WRITERS = {'zip': write_torch_zip, 'legacy': write_torch_legacy}


def read(path, container):
    """The arrays, of the container."""
    file = read_weight_file(path)
    assert (file.path, file.container) == (path, container)
    return file.arrays


def assert_same(arrays, expected, *, ordered=True):
    assert set(arrays) == set(expected)
    if ordered:
        assert list(arrays) == list(expected)
    for name, array in expected.items():
        assert arrays[name].dtype == np.float32
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


@pytest.fixture
def path(tmp_path):
    """Of a file whose name tells nothing."""
    return tmp_path / 'weights.bin'


@pytest.mark.parametrize(
    'options',
    [
        pytest.param({}, id='keras2'),
        pytest.param(
            {'dataset': '{layer}_{variable}:0', 'variables': {'kernel': 'W', 'bias': 'b'}},
            id='keras1',
        ),
        pytest.param(
            {
                'dataset': '{layer}_{variable}_1:0',
                'variables': {
                    'kernel': 'W',
                    'bias': 'b',
                    'moving_mean': 'running_mean',
                    'moving_variance': 'running_std',
                },
            },
            id='keras1_counted',
        ),
        pytest.param({'dataset': '{layer}_1/{variable}:0'}, id='scope_of_another_name'),
        pytest.param({'variables': {'kernel': 'depthwise_kernel'}}, id='depthwise_kernel'),
        pytest.param({'dataset': '{layer}/{variable}', 'as_bytes': False}, id='keras3_legacy'),
        pytest.param({'dataset': 'sequential/{layer}/{variable}'}, id='keras3_sequential'),
        pytest.param({'group': 'model_weights'}, id='whole_model'),
        pytest.param({'part_size': 3}, id='split_lists'),
        pytest.param({'compression': 'gzip', 'shuffle': True, 'fletcher32': True}, id='packed'),
    ],
)
def test_keras_by_name(path, options):
    layers = some_layers()
    write_keras_by_name(path, layers, **options)
    assert_same(read(path, 'keras'), keras_arrays(layers))


@pytest.mark.parametrize('dataset', ['{layer}/{variable}:0', '{layer}_{variable}_1:0'])
@pytest.mark.parametrize('group', ['', 'model_weights'])
def test_keras_without_lists_of_names(path, dataset, group):
    layers = some_layers()
    write_keras_by_name(path, layers, dataset=dataset, group=group, attributes=False)
    assert_same(read(path, 'keras'), keras_arrays(layers), ordered=False)


def test_names_of_layers_with_slashes(path):
    layers = [
        Layer('Conv2D', 'expanded_conv/depthwise', {'kernel': np.ones((3, 3, 4, 1), 'f4')}),
        Layer('Dense', 'expanded_conv/depthwise/BatchNorm', {'gamma': np.ones(4, 'f4')}),
    ]
    for attributes in (True, False):
        write_keras_by_name(path, layers, attributes=attributes)
        assert_same(read(path, 'keras'), keras_arrays(layers), ordered=False)


@pytest.mark.parametrize('scope', ['{layer}', 'inner/{layer}'])
def test_layers_of_a_model_inside_a_model_bear_their_own_names(path, scope):
    *inner, head = some_layers()
    arrays = keras_arrays(inner)
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = [b'inner', head.name.encode()]
        file.create_group('inner').attrs['weight_names'] = [
            f'{scope.format(layer=name)}:0'.encode() for name in arrays
        ]
        for name, array in arrays.items():
            file[f'inner/{scope.format(layer=name)}:0'] = array
        file.create_group(head.name).attrs['weight_names'] = ['kernel', 'bias']
        for name, array in head.arrays.items():
            file[f'{head.name}/{name}'] = array
    assert_same(read(path, 'keras'), keras_arrays([*inner, head]))


def test_the_optimizer_of_a_whole_model_is_no_weight(path):
    layers = some_layers()
    write_keras_by_name(path, layers, group='model_weights')
    with h5py.File(path, 'a') as file:
        file['optimizer_weights/adam/momentum'] = np.ones(3)
        file['model_weights'].create_group('top_level_model_weights')
    assert_same(read(path, 'keras'), keras_arrays(layers))


def test_keras3_without_names(path):
    write_keras3(path, some_layers())
    expected = keras3_arrays(some_layers())
    arrays = read(path, 'keras3')
    assert_same(arrays, expected, ordered=False)
    # conv2d_10 after conv2d_9, and variables by their numbers.
    norms = [name for name in arrays if name.startswith('batch_normalization')]
    assert norms == [name for name in expected if name in set(norms)]


def test_keras3_with_names_beside_the_variables(path):
    write_keras3(path, some_layers(), names=True)
    assert_same(read(path, 'keras'), keras_arrays(some_layers()), ordered=False)


def test_keras3_of_tensorflow_2_13(path):
    write_keras3(path, some_layers(), level='_layer_checkpoint_dependencies')
    assert_same(read(path, 'keras3'), keras3_arrays(some_layers()), ordered=False)


def test_names_that_keras_made_up_tell_no_more_than_the_class(path):
    layers = [
        Layer('Conv2D', f'conv2d_{17 + i}', {'kernel': np.full((1, 1, 2, 2), i, 'f4')})
        for i in range(3)
    ]
    write_keras3(path, layers, names=True)
    assert_same(read(path, 'keras3'), keras3_arrays(layers))


def test_keras3_optimizer_and_seeds_are_no_weights(path):
    write_keras3(path, some_layers())
    with h5py.File(path, 'a') as file:
        file['optimizer/vars/0'] = np.ones(3)
        file['layers/dropout/seed_generator/vars/0'] = np.array([1, 2], np.uint32)
    assert_same(read(path, 'keras3'), keras3_arrays(some_layers()), ordered=False)


def test_keras3_of_a_model_inside_a_model(path):
    *inner, head = some_layers()
    write_keras3(path, [head])
    write_keras3(path, inner, inside='layers/functional')
    expected = keras3_arrays(inner) | keras3_arrays([head])
    assert_same(read(path, 'keras3'), expected, ordered=False)


def test_the_larger_of_two_models_has_the_name_that_both_claim(path):
    inner = some_layers()
    outer = [Layer('Dense', 'dense', {'kernel': np.ones((7, 2), 'f4')})]
    write_keras3(path, outer)
    write_keras3(path, inner, inside='layers/functional')
    expected = keras3_arrays(inner) | {'model/dense/0': outer[0].arrays['kernel']}
    assert_same(read(path, 'keras3'), expected, ordered=False)


@pytest.mark.parametrize('nested', [False, True])
def test_keras_zip_names_layers_as_its_config_does(path, tmp_path, nested):
    weights = tmp_path / 'weights.h5'
    *inner, head = some_layers()
    config = keras_config([*inner, head])
    if nested:
        config = keras_config([head])
        model = {'class_name': 'Functional', 'config': {'name': 'base'}}
        model['config']['layers'] = keras_config(inner)['config']['layers']
        config['config']['layers'].insert(0, model)
        write_keras3(weights, [head])
        write_keras3(weights, inner, inside='layers/functional')
    else:
        write_keras3(weights, [*inner, head])
    write_keras_zip(path, config, weights)
    assert_same(read(path, 'keras'), keras_arrays([*inner, head]))


def test_keras_zip_says_which_variables_a_norm_has(path, tmp_path):
    arrays = {name: np.full(3, i, 'f4') for i, name in enumerate(['beta', 'moving_mean'])}
    layers = [
        Layer('BatchNormalization', 'bn', {**arrays, 'moving_variance': np.ones(3, 'f4')}),
    ]
    write_keras3(tmp_path / 'weights.h5', layers)
    write_keras_zip(path, keras_config(layers), tmp_path / 'weights.h5')
    assert_same(read(path, 'keras'), keras_arrays(layers))
    with pytest.raises(InputError, match='3 variables, and which of'):
        read_weight_file(tmp_path / 'weights.h5')


@pytest.mark.parametrize('writer', TORCH_WRITERS)
@pytest.mark.parametrize('protocol', [2, 4])
def test_torch(path, writer, protocol):
    arrays = torch_state_dict()
    TORCH_WRITERS[writer](path, torch_tensors(arrays), protocol=protocol)
    assert_same(read(path, 'torch'), arrays)


def test_torch_of_a_big_endian_machine(path):
    arrays = torch_state_dict()
    write_torch_zip(path, torch_tensors(arrays), big_endian=True)
    assert_same(read(path, 'torch'), arrays)


@pytest.mark.parametrize('writer', TORCH_WRITERS)
@pytest.mark.parametrize('wrapper', ['state_dict', 'model', 'model_state_dict', 'net', 'mine'])
def test_torch_checkpoint_of_a_training(path, writer, wrapper):
    arrays = torch_state_dict()
    tensors = torch_tensors(arrays)
    content = {
        wrapper: collections.OrderedDict((f'module.{name}', x) for name, x in tensors.items()),
        'epoch': 3,
        'best': 0.5,
        # Keyed by numbers, as optimizers do.
        'optimizer': {'state': {0: {'momentum': TorchTensor.of(np.ones(5, 'f4'))}}},
        'args': argparse.Namespace(lr=0.1, names=['a', 'b'], data=b'\xff'),
        'classes': {1, 2},
        'milestones': collections.Counter([1, 2]),
    }
    content[wrapper]['module.bn1.num_batches_tracked'] = TorchTensor.of(np.array(7))
    TORCH_WRITERS[writer](path, content)
    assert_same(read(path, 'torch'), arrays)


@pytest.mark.parametrize('key', ['model_ema', 'state_dict_ema'])
def test_torch_moving_average_is_taken_first(path, key):
    arrays, others = torch_state_dict(0), torch_state_dict(1)
    averaged = torch_tensors({f'module.{name}': array for name, array in arrays.items()})
    averaged['n_averaged'] = TorchTensor.of(np.array(3))
    write_torch_zip(path, {'model': torch_tensors(others), key: averaged})
    assert_same(read(path, 'torch'), arrays)


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module.module.', '_orig_mod.module.'])
def test_torch_wrapped_modules(path, prefix):
    arrays = torch_state_dict()
    write_torch_zip(path, torch_tensors({f'{prefix}{k}': array for k, array in arrays.items()}))
    assert_same(read(path, 'torch'), arrays)
    save_file({f'{prefix}{k}': array for k, array in arrays.items()}, path)
    assert_same(read(path, 'torch'), arrays, ordered=False)


def test_torch_parts_of_storages(path):
    numbers = np.arange(12, dtype=np.float32)
    tensors = {
        'rows': TorchTensor(numbers, (2, 3), (3, 1), offset=3),
        'transposed': TorchTensor(numbers, (3, 4), (1, 3), kind='parameter'),
        'expanded': TorchTensor(numbers, (2, 3), (0, 1), offset=9),
        'scalar': TorchTensor(numbers, (), (), offset=5),
    }
    write_torch_zip(path, tensors)
    expected = {
        'rows': numbers[3:9].reshape(2, 3),
        'transposed': np.ascontiguousarray(numbers.reshape(4, 3).T),
        'expanded': np.stack([numbers[9:]] * 2),
        'scalar': numbers[5],
    }
    assert_same(read(path, 'torch'), expected)


@pytest.mark.parametrize('writer', TORCH_WRITERS)
@pytest.mark.parametrize('kind', ['parameter', 'parameter_of_0_3', 'attributed'])
def test_torch_other_kinds_of_tensors(path, writer, kind):
    arrays = torch_state_dict()
    tensors = {name: TorchTensor.of(array, kind=kind) for name, array in arrays.items()}
    TORCH_WRITERS[writer](path, collections.OrderedDict(tensors))
    assert_same(read(path, 'torch'), arrays)


@pytest.mark.parametrize('writer', TORCH_WRITERS)
def test_torch_channels_last(path, writer):
    array = np.random.default_rng(0).standard_normal((4, 3, 2, 2)).astype('f4')
    stored = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
    tensor = TorchTensor(stored.reshape(-1), (4, 3, 2, 2), (12, 1, 6, 3))
    TORCH_WRITERS[writer](path, {'weight': tensor})
    assert_same(read(path, 'torch'), {'weight': array})


def test_safetensors(path):
    arrays = torch_state_dict()
    counter = {'bn1.num_batches_tracked': np.array(7)}
    save_file(arrays | counter, path, metadata={'format': 'pt'})
    assert_same(read(path, 'torch'), arrays, ordered=False)


def test_safetensors_whose_length_begins_like_a_pickle(path):
    arrays = {'w': np.arange(4, dtype='f4')}
    # Headers are padded to multiples of 8: one of these lengths has 0x80 as its lowest byte.
    for size in range(0, 256, 8):
        save_file(arrays, path, metadata={'comment': 'x' * size})
        if path.read_bytes()[:1] == b'\x80':
            break
    else:
        pytest.fail('no such length')
    assert_same(read(path, 'torch'), arrays)


def _write_torch(path, array):
    write_torch_zip(path, {'w': TorchTensor.of(array)})


def _write_torch_legacy(path, array):
    write_torch_legacy(path, {'w': TorchTensor.of(array)})


def _write_safetensors(path, array):
    save_file({'w': array}, path)


def _write_hdf5(path, array):
    with h5py.File(path, 'w') as file:
        # As Keras does, for HDF5 does not know bfloat16.
        file['w/w/kernel:0'] = array.view('V2') if array.dtype == ml_dtypes.bfloat16 else array


ONE_ARRAY_WRITERS = [_write_torch, _write_torch_legacy, _write_safetensors, _write_hdf5]


@pytest.mark.parametrize('write', ONE_ARRAY_WRITERS)
@pytest.mark.parametrize('dtype', [np.float16, np.float64, ml_dtypes.bfloat16])
def test_other_floats_become_float32(path, write, dtype):
    array = np.random.default_rng(0).standard_normal((5, 3)).astype(dtype)
    write(path, array)
    (result,) = read_weight_file(path).arrays.values()
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, array.astype(np.float32))


@pytest.mark.parametrize('write', ONE_ARRAY_WRITERS)
@pytest.mark.parametrize('value', [np.nan, np.inf, 1e300])
def test_numbers_that_are_not_finite_are_refused(path, write, value):
    write(path, np.array([1, value, 2]))
    with pytest.raises(InputError, match=rf"{path}: 'w(/kernel)?' holds numbers that are not fin"):
        read_weight_file(path)


def test_the_shared_files(shared_weights):
    keras = read_weight_file(shared_weights / 'mobilenet_v2_imagenet_keras.h5')
    assert keras.container == 'keras'
    with h5py.File(keras.path) as file:
        assert len(keras.arrays) == 262
        for key, array in keras.arrays.items():
            layer, _, variable = key.partition('/')
            stored = file[f'{layer}/{layer}']
            name = variable if f'{variable}:0' in stored else f'depthwise_{variable}'
            np.testing.assert_array_equal(array, stored[f'{name}:0'])
    for name, count in (('vgg19', 32), ('resnet50', 318)):
        file = read_weight_file(shared_weights / f'fixtures/{name}_no_top_random_keras2.h5')
        assert len(file.arrays) == count


@pytest.fixture
def shared_weights():
    """The folder of real weights beside the checkout."""
    folder = ROOT.parent / 'shared' / 'weights'
    if not folder.is_dir():
        pytest.skip('the real weights are not beside the checkout: no folder ../shared/weights')
    return folder
