"""Loaded weights in the places of a model, and the list of all that became of them."""

import numpy as np
import pytest
from flax import nnx, traverse_util

from configs import base
from pneumo_jax.errors import InputError
from pneumo_jax.models import build_model
from pneumo_jax.models.conventions import Conventions
from pneumo_jax.pretrained import (
    from_weight_file,
    load_pretrained,
    place,
)
from pneumo_jax.pretrained.weight_file import WeightFile
from pneumo_jax.run_config import load_run
from tests.pretrained_models import as_file, random_arrays


def test_placing_in_a_film_model_lists_everything():
    arrays = random_arrays('mobilenet_v1', width=0.25)
    file = as_file(arrays, 'mobilenet_v1', 'keras')
    pretrained = from_weight_file(file, name='mobilenet_v1', width=0.25)
    params, batch_stats = film_model_arrays('mobilenet_v1', width=0.25, in_channels=3)
    placed_params, placed_stats, report = place(pretrained, params, batch_stats)

    before, after = flat(params, batch_stats), flat(placed_params, placed_stats)
    assert after.keys() == before.keys()
    for path, array in after.items():
        expected = arrays[path] if path[0] == 'backbone' else before[path]
        np.testing.assert_array_equal(array, expected)
    assert {*report['loaded'], *report['skipped']} == set(file.arrays)
    assert set(report['skipped']) == {'conv_preds/kernel', 'conv_preds/bias'}
    assert report['loaded']['conv_dw_1_bn/gamma'] == 'backbone.blocks.0.depthwise.norm.scale'
    assert {name.split('.')[0] for name in report['newly initialised']} == {
        'pyramid',
        'film_head',
        'mask_head',
    }
    assert len(report['newly initialised']) == sum(path[0] != 'backbone' for path in before)


def test_classifier_keeps_its_own_top_where_the_file_has_none():
    arrays = random_arrays('mobilenet_v1', width=0.25)
    file = as_file(arrays, 'mobilenet_v1', 'keras')
    kept = {key: array for key, array in file.arrays.items() if 'preds' not in key}
    pretrained = from_weight_file(
        WeightFile(file.path, 'keras', kept), name='mobilenet_v1', width=0.25
    )
    initial = {path: np.full_like(array, 2) for path, array in arrays.items()}
    params, batch_stats = split_statistics(traverse_util.unflatten_dict(initial))
    params, _, report = place(pretrained, params, batch_stats)
    assert sorted(report['newly initialised']) == ['top.predictions.bias', 'top.predictions.kernel']
    assert (params['top']['predictions']['kernel'] == 2).all()


def test_placing_in_another_width_lists_shapes():
    file = as_file(random_arrays('mobilenet_v1', width=0.25), 'mobilenet_v1', 'keras')
    pretrained = from_weight_file(file, name='mobilenet_v1', width=0.25)
    params, batch_stats = film_model_arrays('mobilenet_v1', width=0.5, in_channels=3)
    with pytest.raises(InputError, match=r'backbone.stem.conv.kernel 3x3x3x8 instead of 3x3x3x16'):
        place(pretrained, params, batch_stats)


def test_own_run_gives_its_whole_model(trained_workdir):
    pretrained = load_pretrained(trained_workdir, name='resnet_tiny')
    assert pretrained.origin == 'pneumo_jax'
    assert pretrained.conventions == Conventions()
    channels = load_run(trained_workdir).config.model.pyramid_channels
    params, batch_stats = film_model_arrays('resnet_tiny', pyramid_channels=channels)
    placed_params, placed_stats, report = place(pretrained, params, batch_stats)
    assert not report['newly initialised']
    assert not report['skipped']
    given = pretrained.params | pretrained.batch_stats
    for path, array in flat(placed_params, placed_stats).items():
        np.testing.assert_array_equal(array, given[path])


def test_own_run_with_other_heads_gives_what_fits(trained_workdir):
    pretrained = load_pretrained(trained_workdir, name='resnet_tiny')
    params, batch_stats = film_model_arrays('resnet_tiny', pyramid_channels=24)
    _, _, report = place(pretrained, params, batch_stats)
    assert 'pyramid.smooth.conv.kernel' in report['newly initialised']
    assert 'is not the shape' in report['skipped']['pyramid.smooth.conv.kernel']
    assert 'backbone.stem.0.conv.kernel' in report['loaded']


def test_own_run_of_another_network_is_refused(trained_workdir):
    with pytest.raises(InputError, match=r'a run of resnet_tiny, width 1.0, not of vgg_tiny'):
        load_pretrained(trained_workdir, name='vgg_tiny')


def film_model_arrays(name, *, pyramid_channels=16, **fields):
    config = base.get_config()
    config.model.update(name=name, pyramid_channels=pyramid_channels, **fields)
    model = build_model(config.model, rngs=nnx.Rngs(0))
    _, params, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    return nnx.to_pure_dict(params), nnx.to_pure_dict(batch_stats)


def split_statistics(tree):
    leaves = traverse_util.flatten_dict(tree)
    return tuple(
        traverse_util.unflatten_dict(
            {path: leaf for path, leaf in leaves.items() if (path[-1] in ('mean', 'var')) == wanted}
        )
        for wanted in (False, True)
    )


def flat(params, batch_stats):
    return traverse_util.flatten_dict(params) | traverse_util.flatten_dict(batch_stats)
