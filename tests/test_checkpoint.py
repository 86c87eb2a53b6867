import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pneumo_jax.checkpoint import Checkpoints, workdir_lock
from pneumo_jax.errors import InputError


def state(value):
    # Lists of layers have integer names, as here.
    return {'layers': {0: jnp.full((3,), value), 1: jnp.ones((2, 2))}, 'step': jnp.int32(value)}


def save_epochs(workdir, improved):
    with Checkpoints(workdir) as checkpoints:
        for step, better in enumerate(improved, start=1):
            checkpoints.save(step, state(step), {'epoch': step, 'x': 0.1 + 0.2}, improved=better)


def test_latest_and_best_come_back_as_they_were(tmp_path):
    save_epochs(tmp_path, [True, True, False, False, False, False])
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        latest, latest_meta = checkpoints.restore_latest(state(0))
        best, best_meta = checkpoints.restore_best(jax.eval_shape(lambda: state(0)))
    assert latest_meta == {'epoch': 6, 'x': 0.1 + 0.2}
    assert best_meta['epoch'] == 2
    np.testing.assert_array_equal(latest['layers'][0], np.full(3, 6.0))
    np.testing.assert_array_equal(best['layers'][0], np.full(3, 2.0))


def test_only_the_newest_two_and_the_best_stay(tmp_path):
    save_epochs(tmp_path, [True, False, True, False, False, False, False])
    kept = {int(p.name) for p in (tmp_path / 'checkpoints').iterdir() if p.name.isdigit()}
    assert kept == {3, 6, 7}


def test_no_checkpoint_is_none_for_training_and_an_error_for_evaluation(tmp_path):
    with pytest.raises(InputError, match='no checkpoints'):
        Checkpoints(tmp_path, read_only=True)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore_latest(state(0)) is None
    with (
        Checkpoints(tmp_path, read_only=True) as checkpoints,
        pytest.raises(InputError, match='first validation'),
    ):
        checkpoints.restore_best(state(0))


def test_fault_53_a_second_trainer_is_refused(tmp_path):
    with (
        workdir_lock(tmp_path),
        pytest.raises(InputError, match='another training'),
        workdir_lock(tmp_path),
    ):
        pass
    with workdir_lock(tmp_path):
        pass
