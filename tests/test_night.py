"""Runs through a night's faults end as if there had been none: the same bits, the same figures."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from configs import smoke
from pneumo_jax import train as train_module
from pneumo_jax.checkpoint import Checkpoints
from pneumo_jax.command import EXIT_INTERRUPTED
from pneumo_jax.errors import InputError, Interrupted
from pneumo_jax.run_config import load_run
from pneumo_jax.state import params_sha256
from pneumo_jax.train import train
from pneumo_jax.trained import load_trained
from tests.conftest import ROOT, train_command

# All that is remembered between steps is in use: moments, averages, the plateau's count, balanced
# draws, early stopping, checkpoints and curves inside epochs.
FIELDS = {
    'num_epochs': 4,
    'optimizer.ema_decay': 0.9,
    'schedule.name': 'plateau',
    'schedule.warmup_epochs': 0.5,
    'schedule.patience': 1,
    'sampling.by': ('label',),
    'augment.mixup': 0.2,
    'checkpoint.every_steps': 2,
    'logging.every_steps': 1,
}
# Of the 42 training films in batches of 8.
EPOCH_ENDS = [6, 11, 16, 21]


def night_config(shards, **fields):
    config = smoke.get_config()
    config.data.dir = str(shards)
    config.model.name = 'resnet_tiny'
    config.batch_size = 8
    config.update_from_flattened_dict(FIELDS | fields)
    return config


def start(shards, workdir, **options):
    """The same run by a command."""
    flags = [f'--config.{name}={value}' for name, value in FIELDS.items()]
    return subprocess.Popen(
        [sys.executable, *train_command(shards, workdir, *flags)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def lines_of(workdir):
    """The run's figures but for its speed."""
    path = workdir / 'metrics.jsonl'
    lines = path.read_text().splitlines() if path.exists() else []
    return [
        {k: v for k, v in json.loads(line).items() if 'films_per_second' not in k} for line in lines
    ]


def steps_saved(workdir):
    folder = workdir / 'checkpoints'
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return sorted(int(name) for name in names if name.isdigit())


def outcome(workdir):
    """What must not depend on the night: last and best state, and every figure."""
    best = load_trained(workdir)
    return (
        params_sha256(best.params) + params_sha256(best.batch_stats),
        (best.epoch, best.thresholds),
        params_sha256(newest_state(workdir)),
        lines_of(workdir),
    )


def newest_state(workdir):
    config = load_run(workdir).config
    with Checkpoints(workdir) as checkpoints:
        state, _ = checkpoints.restore_latest(empty_state(config))
    return state


def empty_state(config):
    plan = train_module.make_plan(config, ROOT / 'no such run')
    return jax.jit(lambda: train_module.create_state(config, plan.tx, plan.plateau))()


def damage(folder):
    """Flips a bit in the largest file."""
    victim = max((p for p in folder.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)


@pytest.fixture(scope='module')
def straight(phantom_shards, tmp_path_factory):
    """The outcome of a run that was left alone."""
    workdir = tmp_path_factory.mktemp('straight') / 'workdir'
    train(night_config(phantom_shards), workdir)
    return outcome(workdir)


@pytest.fixture
def interrupt(monkeypatch):
    """Makes the run be stopped by SIGTERM when it notes a step, or scores validation films."""

    def arrange(*, at_step=None, in_validation=False):
        note, score = train_module._Run._note, train_module.scoring.score_split

        def note_and_stop(run, step, *rest):
            note(run, step, *rest)
            if step == at_step:
                os.kill(os.getpid(), signal.SIGTERM)

        def stop_and_score(*args, **kwargs):
            if in_validation:
                os.kill(os.getpid(), signal.SIGTERM)
            return score(*args, **kwargs)

        monkeypatch.setattr(train_module._Run, '_note', note_and_stop)
        monkeypatch.setattr(train_module.scoring, 'score_split', stop_and_score)

    yield arrange


def comes_before_the_end(process, condition, seconds=120):
    """Waits for a condition; False if the run was at its end before."""
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            assert process.returncode == 0, process.communicate()
            return False
        assert time.monotonic() < end
        time.sleep(0.005)
    return True


@pytest.mark.slow
def test_fault_46_killed_at_random_moments_ends_as_if_never_killed(
    phantom_shards, tmp_path, straight
):
    moments, seen = random.Random(1), set()
    for _ in range(3):
        before = set(steps_saved(tmp_path))
        process = start(phantom_shards, tmp_path)
        # From a new checkpoint on, in whatever it does then: steps, saves, validation.
        comes_before_the_end(process, lambda before=before: set(steps_saved(tmp_path)) - before)
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        seen |= set(steps_saved(tmp_path))
    assert seen - set(EPOCH_ENDS), 'no run went on inside an epoch'
    process = start(phantom_shards, tmp_path)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert outcome(tmp_path) == straight


@pytest.mark.parametrize('moment', [{'at_step': 4}, {'at_step': 11}, {'in_validation': True}])
def test_fault_54_stopped_inside_an_epoch_or_its_validation_goes_on_with_the_same_bits(
    phantom_shards, tmp_path, straight, interrupt, monkeypatch, moment
):
    config = night_config(phantom_shards)
    # Only what the signal makes it save.
    config.checkpoint.every_steps = 0
    with monkeypatch.context():
        interrupt(**moment)
        with pytest.raises(Interrupted, match='SIGTERM: stopped at step'):
            train(config, tmp_path)
    monkeypatch.undo()
    stopped = steps_saved(tmp_path)[-1]
    # At the step itself or the one after, which was under way.
    assert stopped - moment.get('at_step', 6) in (0, 1)
    assert lines_of(tmp_path)[: stopped - 1] == straight[3][: stopped - 1]
    train(config, tmp_path)
    assert outcome(tmp_path) == straight


@pytest.mark.slow
def test_fault_52_a_storm_of_signals_saves_once_and_says_so(phantom_shards, tmp_path, straight):
    for kind in (signal.SIGTERM, signal.SIGINT):
        done = len(lines_of(tmp_path))
        process = start(phantom_shards, tmp_path)
        assert comes_before_the_end(process, lambda done=done: len(lines_of(tmp_path)) > done)
        process.send_signal(kind)
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.002)
        _, stderr = process.communicate()
        assert process.returncode == EXIT_INTERRUPTED == 75, stderr
        assert f'{kind.name}: stopped at step' in stderr.splitlines()[-1]
        assert 'the same command goes on' in stderr
        assert 'Traceback' not in stderr
        assert len(lines_of(tmp_path)) > done
    train(night_config(phantom_shards), tmp_path)
    assert outcome(tmp_path) == straight


def test_fault_47_a_corrupt_checkpoint_is_passed_over_with_a_warning(
    phantom_shards, tmp_path, straight, interrupt, monkeypatch, caplog
):
    interrupt(at_step=9)
    with pytest.raises(Interrupted):
        train(night_config(phantom_shards), tmp_path)
    monkeypatch.undo()
    newest = tmp_path / 'checkpoints' / str(steps_saved(tmp_path)[-1])
    damage(newest)
    train(night_config(phantom_shards), tmp_path)
    assert f'checkpoints/{newest.name}' in caplog.text
    assert (tmp_path / 'damaged_checkpoints' / newest.name).is_dir()
    assert outcome(tmp_path) == straight


@pytest.mark.slow
def test_in_the_place_of_a_lost_best_comes_the_best_of_the_rest(phantom_shards, tmp_path, caplog):
    # No epoch is so much better than the first.
    fields = {'early_stopping.min_delta': 100.0, 'schedule.name': 'constant'}
    train(night_config(phantom_shards, **fields, num_epochs=3), tmp_path)
    assert load_trained(tmp_path).epoch == 1
    damage(tmp_path / 'checkpoints' / str(EPOCH_ENDS[0]))
    with pytest.raises(InputError, match='is damaged'):
        load_trained(tmp_path)
    train(night_config(phantom_shards, **fields, num_epochs=4), tmp_path, force_config=True)
    assert 'best checkpoint, of step 6, is lost' in caplog.text
    assert load_trained(tmp_path).epoch == 4


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_the_run_goes_on_when_there_is_room(
    phantom_shards, tmp_path, straight, interrupt, monkeypatch
):
    interrupt(at_step=4)
    with pytest.raises(Interrupted):
        train(night_config(phantom_shards), tmp_path)
    monkeypatch.undo()
    saved = steps_saved(tmp_path)
    # A file that grows beyond 32 KiB fails as on a full disk.
    flags = [f'--config.{name}={value}' for name, value in FIELDS.items()]
    command = [sys.executable, *train_command(phantom_shards, tmp_path, *flags)]
    done = subprocess.run(
        ['bash', '-c', 'ulimit -f 32; exec "$@"', 'bash', *command],
        cwd=ROOT,
        env=os.environ | {'PYTHONDONTWRITEBYTECODE': '1', 'JAX_ENABLE_COMPILATION_CACHE': '0'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith('ERROR: ')
    assert 'no space is left in' in error
    assert 'Traceback' not in done.stderr
    assert saved[-1] in steps_saved(tmp_path)
    train(night_config(phantom_shards), tmp_path)
    assert outcome(tmp_path) == straight


@pytest.mark.slow
def test_fault_49_a_state_of_another_shape_is_refused_with_its_leaves(phantom_shards, tmp_path):
    fields = {'num_epochs': 1, 'schedule.warmup_epochs': 0.0}
    train(night_config(phantom_shards, **fields), tmp_path)
    wider = night_config(phantom_shards, **fields, **{'model.pyramid_channels': 16})
    with pytest.raises(InputError, match=r'pyramid/\S+ is saved as float32\[32\] and wanted as'):
        train(wider, tmp_path, force_config=True)
    more = night_config(phantom_shards, **fields, **{'loss.class_weight': 0.1})
    with pytest.raises(InputError, match=r'film_head/classes/bias is wanted and not saved'):
        train(more, tmp_path, force_config=True)


def test_fault_48_another_config_is_refused_unless_forced(phantom_shards, tmp_path, caplog):
    train(night_config(phantom_shards, num_epochs=1), tmp_path)
    longer = night_config(phantom_shards, num_epochs=2)
    with pytest.raises(InputError, match=r'config.num_epochs: 1 -> 2.*--force_config'):
        train(longer, tmp_path)
    assert (
        load_run(tmp_path).config.to_dict() == night_config(phantom_shards, num_epochs=1).to_dict()
    )
    train(longer, tmp_path, force_config=True)
    assert 'config.num_epochs: 1 -> 2' in caplog.text
    assert [line['epoch'] for line in lines_of(tmp_path) if 'epoch' in line] == [1, 2]
    assert load_run(tmp_path).config.num_epochs == 2


def test_what_changes_no_result_may_change_between_starts(phantom_shards, tmp_path):
    train(night_config(phantom_shards, num_epochs=1), tmp_path / 'workdir')
    shutil.copytree(phantom_shards, tmp_path / 'moved')
    other = {'num_epochs': 1, 'logging.every_steps': 3, 'checkpoint.every_steps': 0}
    train(night_config(tmp_path / 'moved', **other), tmp_path / 'workdir')


def test_fault_50_a_diverged_run_names_the_films_and_keeps_the_last_good_state(
    phantom_shards, tmp_path
):
    config = night_config(phantom_shards, learning_rate=1e30)
    config.optimizer.update({'name': 'sgd', 'clip_norm': 0.0})
    config.checkpoint.every_steps = 1
    with pytest.raises(InputError, match=r'the training diverged: .*loss is nan') as caught:
        train(config, tmp_path)
    step = int(str(caught.value).split('in step ')[1].split(',')[0])
    ids = str(caught.value).split('on the films ')[1].split(';')[0].split(', ')
    table = (phantom_shards / 'films.csv').read_text()
    assert len(ids) == 8
    assert all(film in table for film in ids)
    assert steps_saved(tmp_path)[-1] == step - 1
    good = jax.tree.leaves(newest_state(tmp_path).params)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in good)
