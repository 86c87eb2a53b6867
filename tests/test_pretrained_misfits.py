"""Weights that are not of the network asked for: every name is listed, and the remedy said."""

import re

import numpy as np
import pytest

from pneumo_jax.errors import InputError
from pneumo_jax.pretrained import (
    from_weight_file,
    load_pretrained,
)
from pneumo_jax.pretrained.origins import FAMILIES, NAMINGS
from pneumo_jax.pretrained.weight_file import WeightFile
from tests.pretrained_models import as_classifier, as_file, maps_of, random_arrays, random_pictures


@pytest.mark.parametrize(
    ('held', 'naming', 'name'),
    [
        ('resnet50', 'keras', 'vgg19'),
        ('resnet50', 'torchvision', 'resnet18'),
        ('resnet50', 'keras3', 'mobilenet_v1'),
        ('resnet50', 'keras', 'resnet18'),
        ('mobilenet_v3_small', 'timm', 'mobilenet_v3_large'),
    ],
)
def test_fault_59_weights_of_another_network_are_named_and_all_listed(held, naming, name):
    file = as_file(random_arrays(held), held, naming)
    with pytest.raises(InputError, match=f'It holds a {held}: set --config.model.name={held}') as e:
        from_weight_file(file, name=name)
    published = FAMILIES[name] in NAMINGS[naming].families
    own = as_file(random_arrays(name), name, naming).arrays if published else {}
    for key in file.arrays.keys() - own.keys():
        assert listed(key, e.value), key
    for key in own.keys() - file.arrays.keys():
        # A file may lack the classifier.
        assert listed(key, e.value) or key.startswith('fc'), key


def test_fault_59_each_missing_unknown_and_misshapen_array_is_listed():
    file = as_file(random_arrays('resnet18', width=0.125), 'resnet18', 'torchvision')
    del file.arrays['layer1.0.bn1.weight'], file.arrays['layer1.0.bn1.running_var']
    file.arrays['conv1.weight'] = np.zeros((8, 3, 3, 3), np.float32)
    file.arrays['layer4.0.se.fc.weight'] = np.zeros(3, np.float32)
    with pytest.raises(InputError) as error:
        from_weight_file(file, name='resnet18', width=0.125)
    assert str(error.value).endswith(
        'missing in the file (2): layer1.0.bn1.weight, layer1.0.bn1.running_var; '
        'unknown in the file (1): layer4.0.se.fc.weight; '
        'wrong shape (1): conv1.weight 8x3x3x3 instead of 8x3x7x7'
    )


def test_fault_59_another_width_is_named():
    file = as_file(random_arrays('mobilenet_v2', width=0.5), 'mobilenet_v2', 'keras')
    with pytest.raises(
        InputError, match=r'width=1.0. Its width is 0.5: set --config.model.width=0.5'
    ):
        from_weight_file(file, name='mobilenet_v2')


def test_impossible_numbers_are_refused_by_name():
    file = as_file(random_arrays('resnet18', width=0.125), 'resnet18', 'torchvision')
    file.arrays['bn1.running_var'][0] = -1
    file.arrays['fc.bias'] = file.arrays['fc.bias'].astype(np.int32)
    with pytest.raises(InputError) as error:
        from_weight_file(file, name='resnet18', width=0.125)
    for part in (
        'bn1.running_var (negative variance)',
        'fc.bias (int32, not floating-point)',
    ):
        assert part in str(error.value)


def test_networks_of_one_channel_need_a_normalisation_of_one():
    arrays = random_arrays('resnet18', width=0.125, in_channels=1)
    file = as_file(arrays, 'resnet18', 'torchvision')
    with pytest.raises(InputError, match=r'1 channel.*normalisation=tf'):
        from_weight_file(file, name='resnet18', width=0.125)
    pretrained = from_weight_file(
        file, name='resnet18', width=0.125, conventions={'normalisation': 'tf'}
    )
    assert pretrained.in_channels == 1
    films = random_pictures(64)[..., :1]
    assert np.isfinite(maps_of(as_classifier(pretrained, width=0.125), films)[32]).all()


def test_own_networks_have_no_published_weights(tmp_path):
    (tmp_path / 'weights.h5').touch()
    with pytest.raises(InputError, match=r"nobody publishes.*'resnet_seed'"):
        from_weight_file(WeightFile(tmp_path, 'torch', {}), name='resnet_seed')


def test_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match='is not there'):
        load_pretrained(tmp_path / 'weights.h5', name='resnet50')


def listed(key, error):
    return re.search(rf'(^|[ :]){re.escape(key)}($|[,; ])', str(error)) is not None
