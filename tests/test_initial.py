import copy
import hashlib
import json
import logging
import shutil
import types

import jax
import numpy as np
import optax
import pytest
from flax import traverse_util

from configs import base
from pneumo_jax import scoring
from pneumo_jax.errors import InputError
from pneumo_jax.initial import initial_state, resolve_start
from pneumo_jax.pretrained import export_safetensors
from pneumo_jax.pretrained.cards import NIH, RSNA
from pneumo_jax.run_config import check_run, save_run
from pneumo_jax.sharding import make_mesh
from pneumo_jax.state import create_state, params_sha256
from pneumo_jax.train import train
from pneumo_jax.trained import load_trained
from tests.pretrained_models import random_arrays

MANIFEST = {
    'fingerprint': 'f',
    'source': 'rsna',
    'image_size': 64,
    'decoding': 'exact',
    'protocol': 'p',
}
NAME, WIDTH = 'mobilenet_v1', 0.25


@pytest.fixture
def parent(tiny_config, tmp_path):
    """The workdir of a run that is computed otherwise than by default."""
    config = copy.deepcopy(tiny_config)
    config.num_epochs = 1
    config.model.in_channels = 3
    config.model.conventions.update({'epsilon': 1e-3, 'normalisation': 'torch'})
    train(config, tmp_path / 'parent')
    return tmp_path / 'parent'


@pytest.mark.slow
def test_a_run_from_weights_needs_them_once(parent, tiny_config, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    trained = load_trained(parent)
    tiny_config.model.init_from = str(parent)
    tiny_config.transfer.update({'frozen_stages': 3, 'head_epochs': 1.0})
    straight = train(tiny_config, tmp_path / 'straight')

    flat = [traverse_util.flatten_dict(state.params) for state in (trained, straight)]
    kept = [path for path in flat[0] if path[:3] == ('backbone', 'stages', 1)]
    for path in kept:
        np.testing.assert_array_equal(flat[0][path], flat[1][path])
    assert kept
    content = json.loads((tmp_path / 'straight' / 'config.json').read_text())
    model, init = content['config']['model'], content['data']['init']
    assert (model['in_channels'], model['conventions']['normalisation']) == (3, 'torch')
    assert (model['conventions']['epsilon'], init['origin']) == (1e-3, 'pneumo_jax')
    # Its films were of the source that the challenge's tables are.
    assert init['card']['saw'] == [RSNA]
    assert 'may have seen films of this evaluation' in caplog.text
    report = json.loads((tmp_path / 'straight' / 'init_report.json').read_text())
    assert set(report['loaded'].values()) >= {'.'.join(map(str, path)) for path in flat[0]}
    assert f'{len(report["loaded"])} arrays loaded, 0 skipped, 0 newly initialised' in caplog.text

    score = scoring.validation_figures
    calls = iter([1])

    def interrupted(*args):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return score(*args)

    monkeypatch.setattr(scoring, 'validation_figures', interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_config, tmp_path / 'resumed')
    monkeypatch.setattr(scoring, 'validation_figures', score)
    shutil.rmtree(parent)
    for field, change in (('epsilon', {'epsilon': 0.5}), ('padding', {'padding': 'same'})):
        other = copy.deepcopy(tiny_config)
        other.model.conventions.update(change)
        with pytest.raises(InputError, match=rf'\(config.model.conventions.{field}: '):
            train(other, tmp_path / 'resumed')
    resumed = train(tiny_config, tmp_path / 'resumed')
    assert params_sha256(resumed.params) == params_sha256(straight.params)
    assert resumed.step > 0
    best = load_trained(tmp_path / 'resumed')
    assert best.config.model.in_channels == 3


def write_weights(path, seed=0, trained_on=''):
    rng = np.random.default_rng(seed)
    arrays = {
        key: array + rng.random(dtype=np.float32)
        for key, array in random_arrays(NAME, width=WIDTH).items()
    }
    tree = traverse_util.unflatten_dict(arrays)
    export_safetensors(path, tree, {}, name=NAME, trained_on=trained_on)


@pytest.fixture
def file_config(tmp_path):
    write_weights(tmp_path / 'weights.safetensors')
    config = base.get_config()
    config.model.update({'name': NAME, 'width': WIDTH})
    config.model.init_from = str(tmp_path / 'weights.safetensors')
    return config


def test_the_file_decides_what_the_user_leaves_open(file_config, tmp_path):
    file_config.model.conventions.padding = 'same'
    start = resolve_start(file_config, tmp_path)
    assert start.config.model.in_channels == 3
    conventions = start.config.model.conventions.to_dict()
    assert conventions == {
        **{'padding': 'same', 'epsilon': 1e-5},
        **{'version': 'v1.5', 'normalisation': 'tf'},
    }
    data = (tmp_path / 'weights.safetensors').read_bytes()
    assert start.init['sha256'] == hashlib.sha256(data).hexdigest()
    assert start.init['origin'] == 'timm'
    # The caller's config stays as given.
    assert file_config.model.in_channels == 1


def test_what_weights_saw_is_kept_with_the_run(file_config, tmp_path):
    # Without a card nothing is known.
    assert resolve_start(file_config, tmp_path).init['card'] is None
    write_weights(tmp_path / 'weights.safetensors', trained_on='ChestX-ray14')
    start = resolve_start(file_config, tmp_path)
    assert start.init['card'] == {'saw': [NIH], 'file': 'weights.safetensors'}
    save_run(start.config, tmp_path, manifest=MANIFEST, environment={}, init=start.init)
    assert resolve_start(file_config, tmp_path).init['card'] == start.init['card']


def test_a_file_that_changed_before_the_first_checkpoint_is_refused(file_config, tmp_path):
    start = resolve_start(file_config, tmp_path)
    save_run(start.config, tmp_path, manifest=MANIFEST, environment={}, init=start.init)
    again = resolve_start(file_config, tmp_path)
    assert again.pretrained is None
    assert again.config.to_dict() == start.config.to_dict()
    check_run(again.config, tmp_path, manifest=MANIFEST, init=again.init)
    write_weights(tmp_path / 'weights.safetensors', seed=1)
    empty = types.SimpleNamespace(params={}, batch_stats={})
    with pytest.raises(InputError, match=r'weights.safetensors.* changed since the run was begun'):
        initial_state(empty, again, graphs=None, split=None, mesh=None, workdir=tmp_path)


@pytest.mark.parametrize(('batch_norm', 'warned'), [('train', True), ('frozen', False)])
def test_folded_statistics_are_warned_of(batch_norm, warned, tmp_path, caplog):
    arrays = random_arrays(NAME, width=WIDTH)
    for path, array in arrays.items():
        if path[-1] in ('mean', 'var'):
            array[:] = path[-1] == 'var'
    export_safetensors(
        tmp_path / 'folded.safetensors', traverse_util.unflatten_dict(arrays), {}, name=NAME
    )
    config = base.get_config()
    config.model.update({'name': NAME, 'width': WIDTH})
    config.model.init_from = str(tmp_path / 'folded.safetensors')
    config.transfer.batch_norm = batch_norm
    start = resolve_start(config, tmp_path)
    state = create_state(start.config, optax.identity())
    initial_state(state, start, graphs=None, split=None, mesh=make_mesh(), workdir=tmp_path)
    assert ('they were folded' in caplog.text) == warned


def test_weights_that_are_not_there_leave_no_run_behind(tiny_config, tmp_path):
    tiny_config.model.name = 'mobilenet_v2'
    tiny_config.model.init_from = str(tmp_path / 'absent.h5')
    with pytest.raises(InputError, match=r'absent.h5.* is not there'):
        train(tiny_config, tmp_path / 'run')
    assert not (tmp_path / 'run' / 'config.json').exists()


@pytest.mark.slow
def test_batch_norms_are_reestimated_once_before_the_first_step(tiny_config, tmp_path):
    tiny_config.transfer.update({'batch_norm': 'reestimate', 'frozen_stages': 5})
    tiny_config.num_epochs = 1
    state = train(tiny_config, tmp_path)
    means = state.batch_stats['backbone']['stem'][0]['norm']['mean']
    assert not np.any(np.asarray(means) == 0)
    first = jax.tree.map(np.asarray, state.batch_stats['backbone'])
    tiny_config.num_epochs = 2
    again = train(tiny_config, tmp_path / 'longer')
    jax.tree.map(np.testing.assert_array_equal, again.batch_stats['backbone'], first)
