"""What the tests of checkpoints share: small states, and how files are damaged."""

import jax
import jax.numpy as jnp
import numpy as np

from pneumo_jax.checkpoint import Checkpoints


def state(value):
    # Lists of layers have integer names, as here.
    return {'layers': {0: jnp.full((3,), value), 1: jnp.ones((2, 2))}, 'step': jnp.int32(value)}


def save_epochs(workdir, improved):
    with Checkpoints(workdir) as checkpoints:
        for step, better in enumerate(improved, start=1):
            checkpoints.save(step, state(step), {'epoch': step}, improved=better)


def steps_of(workdir):
    """The names in the folder of checkpoints; what is no step has no business there."""
    return {int(path.name) for path in (workdir / 'checkpoints').iterdir()}


def latest_step(workdir):
    with Checkpoints(workdir) as checkpoints:
        restored = checkpoints.restore_latest(state(0))
    if restored is None:
        return None
    tree, meta = restored
    assert tree['step'] == meta['epoch']
    np.testing.assert_array_equal(tree['layers'][0], np.full(3, meta['epoch']))
    return meta['epoch']


def best_step(workdir):
    with Checkpoints(workdir, read_only=True) as checkpoints:
        tree, meta = checkpoints.restore_best(jax.eval_shape(lambda: state(0)))
    assert tree['step'] == meta['epoch']
    return meta['epoch']


def flip(path, rng):
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def files_of(folder):
    return sorted(path for path in folder.rglob('*') if path.is_file())
