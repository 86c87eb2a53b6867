"""Fixtures shared by the tests."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from configs import smoke

ROOT = pathlib.Path(__file__).parent.parent

# Compiling is most of what the tests do, and they compile the same tiny models again and again,
# in processes of their own too. Set before JAX is imported. Code that runs for a moment is not
# worth the costly passes of LLVM.
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(ROOT / '.pytest_cache' / 'jax'))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')
FAST_COMPILATION = '--xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true'
os.environ.setdefault('XLA_FLAGS', FAST_COMPILATION)

# A shell that puts us in the background has Ctrl-C ignored, and what we start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope='session')
def shared_data() -> pathlib.Path:
    """The folder of real films beside the checkout; a test that needs it is skipped without."""
    folder = ROOT.parent / 'shared' / 'data'
    if not folder.is_dir():
        pytest.skip('the real films are not beside the checkout: no folder ../shared/data')
    return folder


def run_command(*arguments, **options) -> subprocess.CompletedProcess:
    """Runs ``python ARGUMENTS...`` in the repository as a user does; output as text."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


@pytest.fixture(scope='session')
def phantom_download(tmp_path_factory) -> pathlib.Path:
    """A phantom Kaggle download of 60 films."""
    folder = tmp_path_factory.mktemp('phantoms') / 'download'
    made = run_command(
        'data_prep/make_demo.py', f'--output_dir={folder}', '--num_films=60', '--seed=3'
    )
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope='session')
def phantom_shards(phantom_download, tmp_path_factory) -> pathlib.Path:
    """Shards of the phantom films, 64 px."""
    folder = tmp_path_factory.mktemp('shards') / 'shards'
    converted = run_command(
        'data_prep/convert.py',
        f'--images_dir={phantom_download}/stage_2_train_images',
        f'--labels_csv={phantom_download}/stage_2_train_labels.csv',
        f'--class_info_csv={phantom_download}/stage_2_detailed_class_info.csv',
        f'--person_csv={phantom_download}/phantom_person_mapping.csv',
        f'--output_dir={folder}',
        '--image_size=64',
        '--num_shards=2',
    )
    assert converted.returncode == 0, converted.stderr
    return folder


@pytest.fixture
def tiny_config(phantom_shards):
    """A run of seconds on the phantom shards."""
    config = smoke.get_config()
    config.data.dir = str(phantom_shards)
    config.model.name = 'resnet_tiny'
    config.batch_size = 8
    config.num_epochs = 2
    # The length of a run is compiled into other schedules: runs of all lengths share this one.
    config.schedule.name = 'constant'
    return config


@pytest.fixture(scope='session')
def trained_workdir(phantom_shards, tmp_path_factory) -> pathlib.Path:
    """The workdir of a finished tiny run that calls so little an opacity that it draws boxes."""
    folder = tmp_path_factory.mktemp('trained') / 'workdir'
    trained = run_command(
        *train_command(
            phantom_shards,
            folder,
            '--config.num_epochs=12',
            '--config.schedule.name=constant',
            '--config.eval.mask_threshold=0.1',
        )
    )
    assert trained.returncode == 0, trained.stderr
    return folder


def train_command(shards, workdir, *flags, config='smoke', model='resnet_tiny') -> list[str]:
    """The arguments of a tiny training."""
    return [
        '-m',
        'pneumo_jax.main',
        f'--config=configs/{config}.py',
        f'--workdir={workdir}',
        f'--config.data.dir={shards}',
        f'--config.model.name={model}',
        '--config.batch_size=8',
        '--config.num_epochs=3',
        *flags,
    ]
