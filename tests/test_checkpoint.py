import json
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from pneumo_jax import checkpoint
from pneumo_jax.array_store import host_arrays
from pneumo_jax.checkpoint import Checkpoints, workdir_lock
from pneumo_jax.errors import InputError, Interrupted
from pneumo_jax.state import TrainState
from tests.checkpoint_files import best_step, files_of, latest_step, save_epochs, state, steps_of
from tests.conftest import ROOT


def test_latest_and_best_come_back_as_they_were(tmp_path):
    save_epochs(tmp_path, [True, True, False, False, False, False])
    assert latest_step(tmp_path) == 6
    assert best_step(tmp_path) == 2
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.restore_latest(state(0))[1] == {'epoch': 6}


def test_only_the_newest_two_and_the_best_stay(tmp_path):
    save_epochs(tmp_path, [True, False, True, False, False, False, False])
    assert steps_of(tmp_path) == {3, 6, 7}
    # Also those of a run that went on.
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(8, state(8), {'epoch': 8}, improved=False)
        checkpoints.save(9, state(9), {'epoch': 9}, improved=False)
    assert steps_of(tmp_path) == {3, 8, 9}
    assert best_step(tmp_path) == 3


def test_the_best_before_stays_until_the_new_one_is_not_the_only_one_to_know(tmp_path):
    save_epochs(tmp_path, [True, False, True])
    assert steps_of(tmp_path) == {1, 2, 3}
    save_epochs(tmp_path / 'longer', [True, False, True, False])
    assert steps_of(tmp_path / 'longer') == {3, 4}


def test_states_of_all_kinds_come_back_to_the_bit_where_they_were(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**32, (7, 5), np.uint32)
    params = {
        'layers': {0: {'kernel': jnp.asarray(bits.view(np.float32))}, 1: {}},
        'half': jnp.asarray(bits.astype(np.uint16).view(ml_dtypes.bfloat16)),
        'flag': jnp.asarray(True),
        'small': jnp.asarray(-0.0),
        'bytes': jnp.asarray(bits.astype(np.uint8)),
    }
    tx = optax.chain(optax.clip(1.0), optax.adamw(1e-3))
    saved = TrainState(
        step=jnp.int32(7),
        params=params,
        batch_stats={},
        opt_state=tx.init({'kernel': params['layers'][0]['kernel']}),
    )
    mesh = jax.make_mesh((1,), ('data',), axis_types=(AxisType.Auto,))
    saved = jax.device_put(saved, NamedSharding(mesh, PartitionSpec()))
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), saved
    )
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, saved, {}, improved=True)
        back, _ = checkpoints.restore_latest(like)
    assert jax.tree.structure(back) == jax.tree.structure(saved)
    assert back.ema is back.plateau is None
    for old, new in zip(jax.tree.leaves(saved), jax.tree.leaves(back), strict=True):
        assert (old.dtype, old.shape, old.sharding) == (new.dtype, new.shape, new.sharding)
        assert np.asarray(old).tobytes() == np.asarray(new).tobytes()


def test_what_is_saved_is_the_state_of_that_moment(tmp_path, monkeypatch):
    write = checkpoint.write_arrays

    def write_late(*arguments):
        time.sleep(0.3)
        write(*arguments)

    monkeypatch.setattr(checkpoint, 'write_arrays', write_late)
    train_step = jax.jit(lambda tree: jax.tree.map(lambda x: x * 2, tree), donate_argnums=0)
    tree, meta = {'w': jnp.ones(100_000)}, {'epoch': 1}
    assert host_arrays(tree)['w'].flags.owndata
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tree, meta, improved=True)
        # The next steps run, in the same memory, while it is being written.
        meta['epoch'] = 2
        for _ in range(3):
            tree = train_step(tree)
        jax.block_until_ready(tree)
    with Checkpoints(tmp_path) as checkpoints:
        back, meta = checkpoints.restore_latest(tree)
    np.testing.assert_array_equal(back['w'], np.ones(100_000))
    assert meta == {'epoch': 1}


def test_figures_come_back_exactly_and_must_be_finite(tmp_path):
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 2**64, 1000, np.uint64).view(np.float64)
    meta = {'x': [*numbers[np.isfinite(numbers)].tolist(), -0.0, 5e-324, 0.1 + 0.2], 'none': None}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state(1), meta, improved=True)
        for value in (float('nan'), float('inf')):
            with pytest.raises(InputError, match='not finite'):
                checkpoints.save(2, state(2), {'x': value}, improved=True)
        _, back = checkpoints.restore_best(state(0))
    assert back == meta
    assert str(back['x'][-3]) == '-0.0'
    assert steps_of(tmp_path) == {1}


def test_no_checkpoint_is_none_for_training_and_an_error_for_evaluation(tmp_path):
    with pytest.raises(InputError, match='no checkpoints'):
        Checkpoints(tmp_path, read_only=True)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore_latest(state(0)) is None
    with pytest.raises(InputError, match='no epoch has been validated yet'):
        best_step(tmp_path)


def test_checkpoints_amid_an_epoch_are_never_the_best_and_never_push_it_out(tmp_path):
    save_epochs(tmp_path, [False, False, False])
    with pytest.raises(InputError, match='no epoch has been validated yet'):
        best_step(tmp_path)
    save_epochs(tmp_path, [False, True, False, False, False])
    assert best_step(tmp_path) == 2
    assert steps_of(tmp_path) == {2, 4, 5}


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path):
    save_epochs(tmp_path, [True, False])
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, state(2), {'epoch': 2, 'validated': True}, improved=True)
        _, meta = checkpoints.restore_latest(state(0))
    assert meta == {'epoch': 2, 'validated': True}
    assert steps_of(tmp_path) == {1, 2}
    assert best_step(tmp_path) == 2


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'w': np.zeros(3, np.float16)},
            'params/w is saved as float32[3] and wanted as float16[3]',
        ),
        ({'w': np.zeros((3, 1), np.float32)}, 'saved as float32[3] and wanted as float32[3,1]'),
        ({'w': np.zeros(3, np.float64)}, 'saved as float32[3] and wanted as float64[3]'),
        ({'n': np.zeros((), np.int16)}, 'params/n is saved as int32[] and wanted as int16[]'),
        ({'n': None}, 'params/n is saved and not wanted'),
        ({'v': np.zeros(1)}, 'params/v is wanted and not saved'),
        ({f'v{n}': np.zeros(1) for n in range(20)}, 'and 12 more'),
    ],
)
def test_fault_49_other_arrays_than_the_models_are_refused(tmp_path, change, message):
    params = {'w': jnp.zeros(3), 'n': jnp.int32(0)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {'params': params}, {}, improved=True)
        for restore in (checkpoints.restore_latest, checkpoints.restore_best):
            with pytest.raises(InputError) as error:
                restore({'params': params | change})
            assert message in str(error.value)
            assert 'checkpoints/1 does not fit the model' in str(error.value)
        restore({'params': params})


def test_fault_49_jax_does_not_cut_64_bits_silently(tmp_path):
    tree = {'w': np.full(3, 1 / 3)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tree, {}, improved=True)
        with pytest.raises(InputError, match=r'w is saved as float64\[3\] and wanted as float32'):
            checkpoints.restore_latest(tree)
        with jax.enable_x64(True):
            back, _ = checkpoints.restore_latest(tree)
    np.testing.assert_array_equal(back['w'], tree['w'])


def test_fault_53_a_second_trainer_is_refused(tmp_path):
    code = (
        'import sys, time; from pneumo_jax.checkpoint import workdir_lock\n'
        'with workdir_lock(sys.argv[1]): print("held", flush=True); sys.stdin.read()'
    )
    first = subprocess.Popen(
        [sys.executable, '-c', code, tmp_path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout.readline() == 'held\n'
    with pytest.raises(InputError, match='another training'), workdir_lock(tmp_path):
        pass
    # The lock goes with its process, however that ends.
    first.kill()
    first.communicate()
    with workdir_lock(tmp_path):
        second = subprocess.run(
            [sys.executable, '-c', code, tmp_path],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 1
    assert second.stdout == ''
    assert 'another training runs in' in second.stderr.splitlines()[-1]


def test_a_full_disk_is_an_error_and_the_last_whole_checkpoint_is_gone_on_from(tmp_path):
    code = """
import resource, sys
import numpy as np
from pneumo_jax.checkpoint import Checkpoints
from pneumo_jax.errors import InputError
small, large = ({'w': np.random.default_rng(0).random(size, np.float32)} for size in (10, 100_000))
with Checkpoints(sys.argv[1]) as checkpoints:
    checkpoints.save(1, small, {'epoch': 1}, improved=True)
    # Waits until it is saved.
    checkpoints.restore_latest(small)
    # A file that grows beyond this fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    checkpoints.save(2, large, {'epoch': 2}, improved=True)
    try:
        checkpoints.save(3, large, {'epoch': 3}, improved=True)
    except InputError as error:
        print(error)
    checkpoints.save(4, large, {'epoch': 4}, improved=True)
"""
    done = subprocess.run(
        [sys.executable, '-c', code, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    for output in (done.stdout, done.stderr):
        error = output.splitlines()[-1]
        assert f'no space is left in {tmp_path}/checkpoints' in error
        assert 'The last whole checkpoint is kept' in error
    # The only traceback is this script's own; a command has none.
    assert done.stderr.startswith('Traceback')
    assert steps_of(tmp_path) == {1}
    assert not (tmp_path / 'damaged_checkpoints').exists()
    small = {'w': np.random.default_rng(0).random(10, np.float32)}
    with Checkpoints(tmp_path) as checkpoints:
        back, meta = checkpoints.restore_latest(small)
        np.testing.assert_array_equal(back['w'], small['w'])
        assert meta == {'epoch': 1}
        checkpoints.save(2, small, {}, improved=True)
    assert steps_of(tmp_path) == {1, 2}


def test_an_error_of_the_last_save_comes_out_unless_another_is_on_its_way(
    tmp_path, monkeypatch, caplog
):
    def refuse(*_):
        raise OSError(5, 'Input/output error')

    monkeypatch.setattr(checkpoint, 'write_arrays', refuse)
    with pytest.raises(InputError, match='Input/output error'), Checkpoints(tmp_path) as opened:
        opened.save(1, state(1), {}, improved=True)
    # An interruption says that the state is saved.
    with pytest.raises(InputError, match='could not be saved'), Checkpoints(tmp_path) as opened:
        opened.save(1, state(1), {}, improved=True)
        raise Interrupted('saved')
    assert caplog.text == ''
    with pytest.raises(InputError, match='diverged'), Checkpoints(tmp_path) as opened:
        opened.save(1, state(1), {}, improved=True)
        raise InputError('diverged')
    assert 'could not be saved' in caplog.text
    assert steps_of(tmp_path) == set()


def test_evaluation_beside_a_training_that_removes_what_is_being_read(tmp_path, monkeypatch):
    save_epochs(tmp_path, [True])
    read, trainer = checkpoint.read_arrays, Checkpoints(tmp_path)

    def read_late(folder):
        monkeypatch.setattr(checkpoint, 'read_arrays', read)
        with trainer:
            for step in (2, 3, 4):
                trainer.save(step, state(step), {'epoch': step}, improved=True)
        return read(folder)

    monkeypatch.setattr(checkpoint, 'read_arrays', read_late)
    assert best_step(tmp_path) == 4


def test_reading_writes_nothing(tmp_path):
    save_epochs(tmp_path, [True, False])
    (tmp_path / 'checkpoints/.saving').mkdir()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    assert best_step(tmp_path) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == before


def test_the_seal_is_one_that_sha256sum_reads(tmp_path):
    save_epochs(tmp_path, [True])
    folder = tmp_path / 'checkpoints/1'
    check = ['sha256sum', '--check', '--strict', '--quiet', 'SHA256SUMS']
    assert subprocess.run(check, cwd=folder, check=False).returncode == 0
    listed = {line.split('  ')[1] for line in (folder / 'SHA256SUMS').read_text().splitlines()}
    found = {path.relative_to(folder).as_posix() for path in files_of(folder)}
    assert found - listed == {'SHA256SUMS'}
    assert json.loads((folder / 'checkpoint.json').read_text())['arrays']['layers/1'] == (
        'float32[2,2]'
    )
