"""Names of weight files against the lists of Keras, torchvision and timm, and one another."""

import re

import numpy as np
import pytest

from pneumo_jax.errors import InputError
from pneumo_jax.models import BACKBONES
from pneumo_jax.pretrained import from_weight_file, to_torch_names
from pneumo_jax.pretrained.layouts import FORMS
from pneumo_jax.pretrained.network import network_modules
from pneumo_jax.pretrained.origins import CONVENTIONS, FAMILIES, NAMINGS
from pneumo_jax.pretrained.recognition import read_as
from pneumo_jax.pretrained.weight_file import WeightFile
from tests.conftest import ROOT
from tests.pretrained_models import as_file, random_arrays

LAYOUTS = ROOT.parent / 'shared' / 'weights' / 'layouts'
# List of names and shapes -> (container, network, origin).
LISTS = {
    'mobilenet_1.0_with_top': ('keras', 'mobilenet_v1', 'keras'),
    'mobilenetv2_1.0_with_top': ('keras', 'mobilenet_v2', 'keras'),
    'resnet50_no_top': ('keras', 'resnet50', 'keras'),
    'vgg19_no_top': ('keras', 'vgg19', 'keras'),
    'timm_mobilenetv2_100': ('torch', 'mobilenet_v2', 'timm'),
    'timm_mobilenetv3_large_100': ('torch', 'mobilenet_v3_large', 'timm'),
    'timm_tf_mobilenetv3_large_100': ('torch', 'mobilenet_v3_large', 'timm'),
    # Names, shapes and conventions are torchvision's.
    'timm_resnet18': ('torch', 'resnet18', 'torchvision'),
    'timm_resnet50': ('torch', 'resnet50', 'torchvision'),
    'timm_vgg19': ('torch', 'vgg19', 'timm'),
    'torchvision_mobilenet_v2': ('torch', 'mobilenet_v2', 'torchvision'),
    'torchvision_mobilenet_v3_large': ('torch', 'mobilenet_v3_large', 'torchvision'),
    'torchvision_mobilenet_v3_small': ('torch', 'mobilenet_v3_small', 'torchvision'),
    'torchvision_resnet18': ('torch', 'resnet18', 'torchvision'),
    'torchvision_resnet34': ('torch', 'resnet34', 'torchvision'),
    'torchvision_resnet50': ('torch', 'resnet50', 'torchvision'),
    'torchvision_vgg19': ('torch', 'vgg19', 'torchvision'),
    'torchvision_vgg19_bn': ('torch', 'vgg19_bn', 'torchvision'),
}
PUBLISHED = [
    (name, key)
    for name, family in FAMILIES.items()
    for key, naming in NAMINGS.items()
    if family in naming.families
]


@pytest.mark.skipif(not LAYOUTS.is_dir(), reason='no folder ../shared/weights/layouts')
@pytest.mark.parametrize('layout', LISTS)
def test_every_name_and_shape_of_the_originals_has_its_place(layout):
    container, name, origin = LISTS[layout]
    file = listed_file(layout, container)
    reading = read_as(file, name, 1.0)
    assert not reading.problems
    assert NAMINGS[reading.naming].origin == origin
    assert sorted(entry.name for entry in reading.entries) == sorted(file.arrays)
    paths = [entry.path for entry in reading.entries if not entry.is_folded]
    assert len(set(paths)) == len(paths)


@pytest.mark.skipif(not LAYOUTS.is_dir(), reason='no folder ../shared/weights/layouts')
def test_fault_59_resnet50v2_is_no_resnet50():
    file = listed_file('resnet50v2_no_top', 'keras')
    with pytest.raises(InputError, match='conv2_block1_preact_bn/gamma') as error:
        from_weight_file(file, name='resnet50')
    assert 'post_bn/moving_variance' in str(error.value)
    assert 'conv5_block3_3_bn/gamma' in str(error.value)


@pytest.mark.parametrize(('name', 'naming'), PUBLISHED)
def test_all_arrays_come_back_from_a_file_in_any_naming(name, naming):
    arrays = random_arrays(name, width=0.25)
    pretrained = from_weight_file(as_file(arrays, name, naming), name=name, width=0.25)
    found = pretrained.params | pretrained.batch_stats
    assert found.keys() == arrays.keys()
    for path, array in arrays.items():
        np.testing.assert_array_equal(found[path], array, str(path))
    origin = NAMINGS[naming].origin
    if FAMILIES[name].startswith('resnet') and origin == 'timm':
        origin = 'torchvision'
    assert pretrained.origin == origin
    assert pretrained.conventions == CONVENTIONS[origin, FAMILIES[name]]
    assert len(pretrained.report['loaded']) == len(as_file(arrays, name, naming).arrays)


@pytest.mark.parametrize('naming', ['timm', 'torchvision'])
@pytest.mark.parametrize('name', ['resnet34', 'mobilenet_v2', 'mobilenet_v3_small'])
def test_exported_names_are_those_that_are_read(name, naming):
    arrays = random_arrays(name, width=0.25)
    params, batch_stats = nested(arrays)
    exported = to_torch_names(params, batch_stats, name, naming)
    expected = as_file(arrays, name, naming).arrays
    assert exported.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(exported[key], array, key)


def test_export_says_which_names_a_network_has():
    with pytest.raises(InputError, match=r"mobilenet_v1 has no names of torchvision.*'timm'"):
        to_torch_names({}, {}, 'mobilenet_v1', 'torchvision')
    with pytest.raises(InputError, match='resnet_tiny has no names of timm: none exist'):
        to_torch_names({}, {}, 'resnet_tiny')


def test_first_names_of_keras_resnets_tell_convolutions_and_shortcut_apart():
    """In the first block the shortcut and the last convolution have equal shapes."""
    names = {
        layer.path[1:]: layer.weights
        for layer in NAMINGS['keras_first'].layers('resnet_bottleneck', network_modules('resnet50'))
    }
    assert names['stages', 0, 0, 'shortcut'] == 'res2a_branch1'
    assert names['stages', 0, 0, 'conv3'] == 'res2a_branch2c'
    assert names['stages', 3, 2, 'conv2'] == 'res5c_branch2b'
    assert names['predictions',] == 'fc1000'


def test_first_names_of_mobilenets_of_keras():
    names = layer_names('keras_first', 'mobilenet_v2')
    assert names['stem',] == ('Conv1', 'bn_Conv1')
    assert names['blocks', 0, 'depthwise'] == ('mobl0_conv_0_depthwise', 'bn0_conv_0_bn_depthwise')
    assert names['blocks', 16, 'expand'] == ('mobl16_conv_16_expand', 'bn16_conv_16_bn_expand')
    assert names['last',] == ('Conv_1', 'Conv_1_bn')
    names = layer_names('tf_keras', 'mobilenet_v3_large')
    assert names['stem',] == ('Conv', 'Conv/BatchNorm')
    assert names['blocks', 0, 'project'][1] == 'expanded_conv/project/BatchNorm'
    assert names['blocks', 3, 'squeeze', 'expand'][0] == 'expanded_conv_3/squeeze_excite/Conv_1'
    names = layer_names('keras', 'mobilenet_v3_large')
    assert names['blocks', 0, 'project'][1] == 'expanded_conv_project_bn'
    assert names['blocks', 3, 'squeeze', 'expand'][0] == 'expanded_conv_3_squeeze_excite_conv_1'


def test_order_alone_names_layers_in_files_of_keras_3():
    """In ResNets the shortcut's convolution is the third of the first block, not the fourth."""
    names = layer_names('keras3', 'resnet50')
    assert names['stem', 0] == ('conv2d', 'batch_normalization')
    assert names['stages', 0, 0, 'shortcut'] == ('conv2d_3', 'batch_normalization_3')
    assert names['stages', 0, 0, 'conv3'] == ('conv2d_4', 'batch_normalization_4')
    assert names['stages', 0, 1, 'conv3'] == ('conv2d_7', 'batch_normalization_7')
    assert names['predictions',] == ('dense', '')


@pytest.mark.parametrize('top', ['predictions', 'Logits'])
def test_tops_go_by_several_names(top):
    arrays = random_arrays('mobilenet_v2', width=0.25)
    file = as_file(arrays, 'mobilenet_v2', 'keras')
    renamed = {re.sub('^predictions', top, key): array for key, array in file.arrays.items()}
    pretrained = from_weight_file(
        WeightFile(file.path, 'keras', renamed), name='mobilenet_v2', width=0.25
    )
    kernel = ('top', 'predictions', 'kernel')
    np.testing.assert_array_equal(pretrained.params[kernel], arrays[kernel])


def test_every_network_is_published_by_somebody_or_ours_alone():
    ours = {name for name in BACKBONES if 'tiny' in name} | {'resnet_small', 'resnet_seed'}
    assert FAMILIES.keys() == BACKBONES.keys() - ours
    for naming in NAMINGS.values():
        for family in naming.families:
            assert (naming.origin, family) in CONVENTIONS


def test_kernels_of_pytorch_compute_the_same():
    """Against the definitions: PyTorch sums over w[o,i,u,v], and flattens maps as [C,7,7]."""
    rng = np.random.default_rng(0)
    weight, patch = rng.random((5, 3, 2, 4)), rng.random((3, 2, 4))
    kernel = FORMS['torch']['conv'].load(weight)
    expected = (weight * patch).sum((1, 2, 3))
    np.testing.assert_allclose(
        (kernel * patch.transpose(1, 2, 0)[..., None]).sum((0, 1, 2)), expected
    )

    dense, cells = rng.random((5, 2 * 49)), rng.random((2, 7, 7))
    rows_first = cells.transpose(1, 2, 0).reshape(-1)
    np.testing.assert_allclose(
        rows_first @ FORMS['torch']['flat'].load(dense), dense @ cells.reshape(-1)
    )
    np.testing.assert_allclose(
        rows_first @ FORMS['torch']['flat_conv'].load(dense.reshape(5, 2, 7, 7)),
        dense @ cells.reshape(-1),
    )


def test_depthwise_kernels_keep_their_channels():
    """Keras has [k,k,C,1], PyTorch [C,1,k,k]."""
    ours = np.arange(3 * 3 * 4.0).reshape(3, 3, 1, 4)
    keras = FORMS['keras']['depthwise'].save(ours)
    torch = FORMS['torch']['depthwise'].save(ours)
    assert (keras.shape, torch.shape) == ((3, 3, 4, 1), (4, 1, 3, 3))
    for channel in range(4):
        np.testing.assert_array_equal(keras[:, :, channel, 0], ours[:, :, 0, channel])
        np.testing.assert_array_equal(torch[channel, 0], ours[:, :, 0, channel])


def layer_names(naming, name):
    """{path without its first part: (name of the convolution, of its batch norm)}."""
    layers = NAMINGS[naming].layers(FAMILIES[name], network_modules(name))
    return {layer.path[1:]: (layer.weights, layer.norm) for layer in layers}


def nested(arrays):
    """Params and batch_stats as a model's nested dicts."""
    trees = {}, {}
    for path, array in arrays.items():
        tree = trees[path[-1] in ('mean', 'var')]
        for key in path[:-1]:
            tree = tree.setdefault(key, {})
        tree[path[-1]] = array
    return trees


def listed_file(layout, container):
    """A file with the names and shapes of a list; its arrays are zeros that take no memory."""
    arrays = {}
    for line in (LAYOUTS / f'{layout}.tsv').read_text().splitlines():
        if line.startswith('#') or 'num_batches_tracked' in line:
            continue
        *_, name, shape = line.split('\t')
        if container == 'keras':
            name = name.removesuffix(':0').replace('depthwise_kernel', 'kernel')
        shape = tuple(int(n) for n in shape.split('x'))
        arrays[name] = np.broadcast_to(np.float32(0), shape)
    return WeightFile(LAYOUTS / f'{layout}.tsv', container, arrays)
