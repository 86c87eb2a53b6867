import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from pneumo_jax import checkpoint
from pneumo_jax.checkpoint import Checkpoints
from pneumo_jax.errors import InputError
from tests.checkpoint_files import (
    best_step,
    files_of,
    flip,
    latest_step,
    save_epochs,
    state,
    steps_of,
)
from tests.conftest import ROOT


def test_fault_46_killed_at_any_moment_goes_on_from_the_newest_whole_one(tmp_path):
    """A trainer in its own process, killed again and again; what it said is saved must be."""
    code = """
import sys
import numpy as np
from pneumo_jax.checkpoint import Checkpoints, workdir_lock
workdir = sys.argv[1]
with workdir_lock(workdir), Checkpoints(workdir) as checkpoints:
    restored = checkpoints.restore_latest({'w': np.zeros((64, 1024), np.float32)})
    step = 0 if restored is None else restored[1]['step']
    assert restored is None or (np.asarray(restored[0]['w']) == step).all()
    while True:
        step += 1
        w = np.full((64, 1024), step, np.float32)
        checkpoints.save(step, {'w': w}, {'step': step}, improved=step % 5 == 0)
        print(step - 1, flush=True)
        checkpoints.save(step, {'w': w}, {'step': step}, improved=step % 5 == 0)
"""
    rng, reached = random.Random(0), 0
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, '-c', code, tmp_path],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        stdout, stderr = process.communicate()
        assert stderr == ''
        like = {'w': np.zeros((64, 1024), np.float32)}
        with Checkpoints(tmp_path) as checkpoints:
            _, meta = checkpoints.restore_latest(like)
        # The line of a step is written once the save of the step before has ended.
        assert meta['step'] >= max([reached, *map(int, stdout.split())])
        reached = meta['step']
        assert len(steps_of(tmp_path)) <= 4
    assert reached > 5
    assert not (tmp_path / 'damaged_checkpoints').exists()


def test_fault_46_killed_between_any_two_changes_of_the_folder(tmp_path, monkeypatch, caplog):
    """Copies of the folder before each change are what a kill at that moment leaves."""
    save_epochs(tmp_path / 'run', [True, False, False])
    moments = []

    def copied_before(function):
        def call(*arguments, **options):
            moments.append(tmp_path / f'moment{len(moments)}')
            shutil.copytree(tmp_path / 'run', moments[-1])
            return function(*arguments, **options)

        return call

    def half_deleted(folder):
        for path in files_of(folder)[::2]:
            path.unlink()
        moments.append(tmp_path / f'moment{len(moments)}')
        shutil.copytree(tmp_path / 'run', moments[-1])
        delete(folder)

    delete = checkpoint._delete
    monkeypatch.setattr(checkpoint, 'write_arrays', copied_before(checkpoint.write_arrays))
    monkeypatch.setattr(checkpoint, 'seal', copied_before(checkpoint.seal))
    monkeypatch.setattr(checkpoint, '_delete', copied_before(half_deleted))
    monkeypatch.setattr(pathlib.Path, 'rename', copied_before(pathlib.Path.rename))
    with Checkpoints(tmp_path / 'run') as checkpoints:
        for step in (3, 4):
            checkpoints.save(step, state(step), {'epoch': step}, improved=False)
    monkeypatch.undo()
    found = [latest_step(moment) for moment in moments]
    assert len(found) > 12
    assert found == sorted(found)
    assert set(found) == {3, 4}
    assert all(best_step(moment) == 1 for moment in moments)
    assert all(steps_of(moment) <= {1, 2, 3, 4} for moment in moments)
    assert caplog.text == ''


def test_fault_47_one_flipped_bit_in_any_file_is_noticed(tmp_path, caplog):
    save_epochs(tmp_path / 'run', [True, True])
    rng = random.Random(0)
    files = files_of(tmp_path / 'run/checkpoints/2')
    assert len(files) > 6
    for n, file in enumerate(files):
        workdir = tmp_path / str(n)
        shutil.copytree(tmp_path / 'run', workdir)
        flip(workdir / file.relative_to(tmp_path / 'run'), rng)
        name = file.relative_to(tmp_path / 'run/checkpoints/2').as_posix()
        with pytest.raises(InputError, match=r'checkpoints/2 is damaged: .* run the training'):
            best_step(workdir)
        assert steps_of(workdir) == {1, 2}
        caplog.clear()
        assert latest_step(workdir) == 1
        (warning,) = caplog.messages
        assert 'checkpoint 2 is damaged and passed over' in warning
        assert name in warning or name == 'SHA256SUMS'
        assert str(workdir / 'damaged_checkpoints/2') in warning
        assert len(files_of(workdir / 'damaged_checkpoints/2')) == len(files)
        assert best_step(workdir) == 1


@pytest.mark.parametrize(
    'harm',
    [
        lambda folder: (folder / 'SHA256SUMS').unlink(),
        lambda folder: (folder / 'state/_METADATA').unlink(),
        lambda folder: (folder / 'state/more').write_text(''),
        lambda folder: os.truncate(max(files_of(folder), key=lambda x: x.stat().st_size), 100),
        lambda folder: os.truncate(folder / 'SHA256SUMS', 0),
        shutil.rmtree,
        lambda folder: [path.unlink() for path in files_of(folder)],
    ],
)
def test_fault_47_files_that_are_missing_cut_or_too_many(tmp_path, harm):
    save_epochs(tmp_path, [True, False, True])
    harm(tmp_path / 'checkpoints/3')
    assert latest_step(tmp_path) == 2
    assert best_step(tmp_path) == 1


def test_fault_47_damaged_ones_are_kept_aside_under_names_of_their_own(tmp_path, caplog):
    for _ in range(3):
        with Checkpoints(tmp_path) as checkpoints:
            for step in (1, 2):
                checkpoints.save(step, state(step), {'epoch': step}, improved=True)
        for step in (1, 2):
            flip(tmp_path / f'checkpoints/{step}/checkpoint.json', random.Random(step))
        assert latest_step(tmp_path) is None
    assert 'the run begins anew' in caplog.text
    aside = {path.name for path in (tmp_path / 'damaged_checkpoints').iterdir()}
    assert aside == {'1', '1-2', '1-3', '2', '2-2', '2-3'}


def test_fault_47_the_best_is_lost_and_that_is_said(tmp_path, caplog):
    save_epochs(tmp_path, [True, False, False])
    largest = max(files_of(tmp_path / 'checkpoints/1'), key=lambda path: path.stat().st_size)
    flip(largest, random.Random(0))
    with pytest.raises(InputError, match='checkpoints/1 is damaged'):
        best_step(tmp_path)
    assert latest_step(tmp_path) == 3
    assert 'the best checkpoint, of step 1, is lost' in caplog.text
    with pytest.raises(InputError, match='lacks the best checkpoint, of step 1'):
        best_step(tmp_path)
    # A copy of it is as good as new.
    damaged = tmp_path / 'damaged_checkpoints/1'
    flip(damaged / largest.relative_to(tmp_path / 'checkpoints/1'), random.Random(0))
    damaged.rename(tmp_path / 'checkpoints/1')
    assert best_step(tmp_path) == 1


def test_fault_47_a_damaged_newest_one_does_not_keep_the_best_from_use(tmp_path):
    save_epochs(tmp_path, [True, False, False])
    for file in files_of(tmp_path / 'checkpoints/3/state'):
        flip(file, random.Random(0))
    assert best_step(tmp_path) == 1
