import getpass
import json
import os
import socket

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from configs import base, smoke
from pneumo_jax.describe import config_lines, model_lines
from pneumo_jax.environment import changes, environment
from pneumo_jax.models import build_model
from pneumo_jax.state import create_state, model_graphs


def test_a_config_is_shown_in_the_order_of_its_file_with_what_differs_marked():
    config = smoke.get_config()
    config.schedule.boundaries_epochs = (10, 20)
    lines = config_lines(config, base.get_config())
    fields = [line[2:].split()[0] for line in lines]
    assert fields[:3] == ['seed', 'batch_size', 'accumulation_steps']
    assert fields.index('data.dir') < fields.index('sampling.by') < fields.index('augment.flip')
    assert fields[-1] == 'eval.min_box_area'
    marked = {line[2:].split()[0]: line for line in lines if line.startswith('* ')}
    assert list(marked) == [
        'batch_size',
        'learning_rate',
        'num_epochs',
        'model.name',
        'model.pyramid_channels',
        'schedule.boundaries_epochs',
        'early_stopping.metric',
        'early_stopping.mode',
        'early_stopping.patience',
    ]
    assert marked['learning_rate'].endswith('0.003  (default 0.001)')
    assert marked['schedule.boundaries_epochs'].endswith('(10, 20)  (default ())')
    assert marked['model.name'].endswith("'resnet_small'  (default 'resnet18')")
    assert all(line.startswith('  ') for line in lines if line not in marked.values())


def test_the_values_stand_below_each_other():
    lines = config_lines(base.get_config(), base.get_config())
    column = lines[0].index('0')
    assert all(line[column] != ' ' and line[column - 2 : column] == '  ' for line in lines)
    assert len(lines) == len(set(lines)) == number_of_fields(base.get_config().to_dict())


def number_of_fields(tree):
    return sum(number_of_fields(x) if isinstance(x, dict) else 1 for x in tree.values())


@pytest.mark.parametrize('class_weight', [0.0, 1.0])
def test_a_model_is_counted_by_its_parts(class_weight):
    config = base.get_config()
    config.model.name = 'resnet_tiny'
    config.loss.class_weight = class_weight
    state = jax.eval_shape(lambda: create_state(config, optax.sgd(0.1)))
    lines = model_lines(state.params, state.batch_stats, model_graphs(config).train)
    assert [line[:22].strip() for line in lines] == [
        '',
        *(f'backbone, stage {i}' for i in range(5)),
        'film head',
        'mask head',
        'pyramid',
        'total',
    ]
    counts = [int(line[22:].split()[0].replace(',', '')) for line in lines[1:]]
    statistics = [int(line.split()[-1].replace(',', '')) for line in lines[1:]]
    assert sum(counts[:-1]) == counts[-1]
    assert sum(statistics[:-1]) == statistics[-1]
    model = nnx.eval_shape(
        lambda: build_model(config.model, class_head=bool(class_weight), rngs=nnx.Rngs(0))
    )
    for kind, total in ((nnx.Param, counts[-1]), (nnx.BatchStat, statistics[-1])):
        assert sum(x.size for x in jax.tree.leaves(nnx.state(model, kind))) == total
    # Logits of 64 channels of each map: one, and three for the classes.
    assert counts[5] == (64 + 64 + 1) * (4 if class_weight else 1)
    assert counts[6] == 64 + 1


def test_an_environment_is_versions_and_devices_and_names_nobody():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert found['jax'] == jax.__version__
    assert found['numpy'] == np.__version__
    assert found['num_devices'] == jax.device_count()
    assert found['platform'] == jax.default_backend()
    words = {word for value in found.values() for word in str(value).lower().split()}
    assert not words & {socket.gethostname().lower(), getpass.getuser().lower()}
    assert not any(os.sep in str(value) for value in found.values())


def test_changes_name_what_differs():
    now = environment()
    assert changes(now, dict(now)) == []
    before = {**now, 'jax': '0.0.1', 'num_devices': 8}
    assert changes(before, now) == [
        f'jax 0.0.1 -> {now["jax"]}',
        f'num_devices 8 -> {now["num_devices"]}',
    ]
    assert changes({}, {'optax': '1'}) == ['optax unknown -> 1']
    assert changes({'clu': '1'}, {}) == ['clu 1 -> unknown']
