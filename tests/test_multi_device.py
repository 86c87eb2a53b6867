"""Four devices equal one. In processes of their own: the device count is fixed at JAX's start."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT

PROGRAM = """
import json, sys
import jax, numpy as np
from pneumo_jax import sharding
from tests.test_steps import make_batch
from tests.test_train_step import make_run

mesh = sharding.make_mesh()
# Rows of all devices are in each part of a batch, and mixed with those of others.
_, step, state = make_run(**{
    'model.dropout': 0.2,
    'accumulation_steps': 2,
    'augment.mixup': 0.4,
    'augment.rotation': 10.0,
    'augment.noise': 0.02,
    'optimizer.ema_decay': 0.5,
    'loss.class_weight': 0.1,
})
state = sharding.replicate(state, mesh)
losses = []
for seed in range(3):
    state, metrics = step(state, sharding.shard_batch(make_batch(8, seed), mesh))
    losses.append(float(metrics['loss']))
leaves = jax.tree.leaves((state.params, state.batch_stats, state.ema))
json.dump({
    'devices': jax.device_count(),
    'losses': losses,
    'norms': [float(np.linalg.norm(x)) for x in leaves],
}, sys.stdout)
"""


def run_on(devices):
    flags = f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count={devices}'
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM],
        cwd=ROOT,
        env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_four_devices_equal_one():
    one, four = run_on(1), run_on(4)
    assert (one['devices'], four['devices']) == (1, 4)
    np.testing.assert_allclose(one['losses'], four['losses'], rtol=1e-5)
    np.testing.assert_allclose(one['norms'], four['norms'], rtol=1e-4, atol=1e-6)
