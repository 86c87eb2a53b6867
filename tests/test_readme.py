"""The commands of the README and of docs/, run in order as a reader types them."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from pneumo_jax.data.shards import load_manifest
from pneumo_jax.files import write_json
from tests.conftest import ROOT
from tests.conversions import read_records
from tests.made_viewer import films_of, write_shown
from tests.pretrained_models import as_file, random_arrays

# Run by .ci/run itself, or installing what a machine with that accelerator needs.
NOT_HERE = ('./run.sh', 'pip install')
# What makes a command a matter of seconds; nothing else is changed.
QUICK = {
    'data_prep/make_demo.py': ['--num_films=60'],
    'data_prep/convert.py': ['--image_size=64'],
    'pneumo_jax.main': ['--config.num_epochs=1', '--config.batch_size=8'],
    'pneumo_jax.cross_validate': ['--config.num_epochs=1', '--config.batch_size=8'],
    # Nobody is there to look.
    'pneumo_jax.view': ['--noopen'],
}
QUICK_MODELS = {
    'configs/resnet.py': '--config.model.name=resnet_tiny',
    'configs/mobilenet.py': '--config.model.name=mobilenet_tiny',
    'configs/smoke.py': '--config.model.name=resnet_tiny',
    'configs/detector.py': '--config.model.name=mobilenet_tiny',
}


def commands_of(page):
    text = (ROOT / page).read_text(encoding='utf-8')
    blocks = re.findall(r'```bash\n(.*?)```', text, flags=re.DOTALL)
    return commands_in('\n'.join(blocks))


def commands_in(block):
    lines = block.replace('\\\n', ' ').splitlines()
    return [command for line in lines if line.strip() for command in unrolled(shlex.split(line))]


def told_outputs(page):
    """(commands, lines that the page says they print) of each block with such a text below it."""
    text = (ROOT / page).read_text(encoding='utf-8')
    pairs = re.findall(r'```bash\n([^`]*)```\n```text\n([^`]*)```', text)
    return [(commands_in(block), lines.splitlines()) for block, lines in pairs]


def without_numbers(line):
    """A line of output as it is with other films and other figures."""
    # The quick run's model stands for the page's.
    line = line.replace('resnet_tiny', 'resnet_small')
    line = re.sub(r'\([^()]* to [^()]*\)|\b[0-9a-f]{64}\b|\d[\d.,:]*%?', '#', line)
    return re.sub(r'(?:[\s-]*#,?)+\s*|\s+', lambda m: '#' if '#' in m[0] else ' ', line).strip()


def unrolled(command):
    """The commands of ``for NAME in VALUES; do COMMAND; done``; any other as it is."""
    if command[0] != 'for':
        return [command]
    words = [word.rstrip(';') for word in command]
    start, end = words.index('do'), words.index('done')
    name, body = '$' + words[1], words[start + 1 : end]
    return [[word.replace(name, value) for word in body] for value in words[3:start]]


def quickened(command):
    extra = [flag for name, flags in QUICK.items() if name in command for flag in flags]
    extra += [flag for name, flag in QUICK_MODELS.items() if f'--config={name}' in command]
    return [sys.executable, *command[1:], *extra]


@pytest.fixture
def checkout(tmp_path):
    """A folder in which the commands run as in the repository's."""
    for name in ('configs', 'data_prep', 'pneumo_jax'):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.fixture
def shards(checkout):
    """What the pages of docs/ call ``shards``, in the checkout, of few small phantoms."""
    make_download = ['data_prep/make_demo.py', '--num_films=40', '--output_dir=download']
    run_in(checkout, [sys.executable, *make_download])
    run_in(
        checkout,
        [
            *(sys.executable, 'data_prep/convert.py', '--image_size=64', '--output_dir=shards'),
            '--images_dir=download/stage_2_train_images',
            '--labels_csv=download/stage_2_train_labels.csv',
        ],
    )


@pytest.mark.slow
def test_commands_work_in_the_order_they_are_read(checkout, tmp_path):
    commands = [c for c in commands_of('README.md') if not ' '.join(c).startswith(NOT_HERE)]
    assert len(commands) >= 7
    said = {}
    for command in commands:
        assert command[0] == 'python', f'no test runs {command}'
        said[tuple(command)] = run_in(tmp_path, quickened(command))
    told = told_outputs('README.md')
    assert len(told) == 8
    for block, lines in told:
        printed = [without_numbers(x) for c in block for x in said[tuple(c)].splitlines()]
        for line in lines:
            start = without_numbers(line.removesuffix('...'))
            assert any(found.startswith(start) for found in printed), f'{line}\n{printed}'
    assert (tmp_path / 'runs' / 'mask' / 'results.json').exists()
    assert (tmp_path / 'comparison' / 'comparison.html').exists()
    assert (tmp_path / 'predictions' / 'contact_sheet.png').exists()


@pytest.mark.slow
@pytest.mark.usefixtures('shards')
def test_commands_of_the_training_page_work(tmp_path):
    commands = commands_of('docs/training.md')
    assert len(commands) == 9
    for command in commands:
        run_in(tmp_path, quickened(command))
    assert (tmp_path / 'sheet.png').stat().st_size > 10_000
    assert (
        json.loads((tmp_path / 'runs' / 'weighted' / 'config.json').read_text())['config']['loss'][
            'positive_weight'
        ]
        > 1
    )


@pytest.mark.slow
@pytest.mark.usefixtures('checkout')
def test_commands_of_the_pages_on_evaluation_and_report_work(tmp_path):
    # What the README's commands have made before.
    convert = next(c for c in commands_of('README.md') if '--output_dir=shards' in c)
    made = ['data_prep/make_demo.py', '--output_dir=download', '--num_films=60', '--seed=0']
    run_in(tmp_path, [sys.executable, *made])
    run_in(tmp_path, quickened(convert))
    for model in ('resnet', 'mobilenet'):
        train = ['python', '-m', 'pneumo_jax.main', f'--config=configs/{model}.py']
        flags = [f'--workdir=runs/{model}', '--config.data.dir=shards']
        run_in(tmp_path, quickened([*train, *flags]))
    run_in(tmp_path, [sys.executable, '-m', 'pneumo_jax.evaluate', '--workdir=runs/mobilenet'])
    report = commands_of('docs/report.md')
    assert len(report) == 3
    commands = [*report, *commands_of('docs/evaluation.md')]
    assert len(commands) == 9
    for command in commands:
        run_in(tmp_path, quickened(command))
    for folder in ('runs/resnet', 'for_a_colleague'):
        assert (tmp_path / folder / 'report.html').exists()
        assert (tmp_path / folder / 'model_card.md').exists()
    assert (tmp_path / 'comparison' / 'comparison.html').exists()
    found = json.loads((tmp_path / 'runs' / 'resnet' / 'results.json').read_text())
    assert found['abstention']['wanted_error'] == 0.1
    assert found['operating_points']['youden']['projected']['prevalence'] == 0.2


@pytest.mark.slow
@pytest.mark.usefixtures('shards')
def test_commands_of_the_localizer_page_work(tmp_path):
    # The weights of a run stand for those of ImageNet.
    train = ['python', '-m', 'pneumo_jax.main', '--config=configs/mobilenet.py', '--workdir=FILE']
    run_in(tmp_path, quickened([*train, '--config.data.dir=shards']))
    (tmp_path / 'shards_other').symlink_to('shards')
    commands = commands_of('docs/localizer.md')
    assert len(commands) == 14
    said = [run_in(tmp_path, quickened(command)) for command in commands]
    assert 'detector-mask' in said[3]
    other = json.loads((tmp_path / 'runs' / 'other' / 'results.json').read_text())
    assert len(other['members']) == 3
    results = json.loads((tmp_path / 'runs' / 'detector-flip' / 'results.json').read_text())
    assert results['num_films'] > 0


@pytest.mark.slow
@pytest.mark.usefixtures('shards')
def test_commands_of_the_models_page_start_from_the_files_they_name(tmp_path):
    commands = commands_of('docs/models.md')
    assert len(commands) == 2
    for command in commands:
        file = re.search(r'init_from=(\S+)', ' '.join(command))[1]
        name = 'vgg19' if 'vgg19' in file else 'mobilenet_v2'
        # What a file is, is seen from its content.
        arrays = as_file(random_arrays(name), name, 'torchvision').arrays
        arrays = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
        save_file(arrays, tmp_path / file)
        few = ['--config.num_epochs=1', '--config.transfer.head_epochs=0']
        run_in(tmp_path, [sys.executable, *command[1:], *few])
        workdir = re.search(r'workdir=(\S+)', ' '.join(command))[1]
        report = json.loads((tmp_path / workdir / 'init_report.json').read_text())
        assert len(report['loaded']) > 30
        assert not [path for path in report['newly initialised'] if 'backbone' in path]


def test_commands_of_the_converter_s_page_work_on_real_films(shared_data, tmp_path):
    (tmp_path / 'data_prep').symlink_to(ROOT / 'data_prep')
    for name in ('nih_weak', 'kermany224', 'rsna_full_csv'):
        (tmp_path / name).symlink_to(shared_data / name)
    commands = commands_of('docs/convert.md')
    said = [run_in(tmp_path, [sys.executable, *command[1:]]) for command in commands]
    for expected, found in zip(
        (
            '600 films accepted, 0 rejected',
            '2703 films accepted, 0 rejected',
            '25928 films accepted, 0 rejected',
            '600 records of shards_nih are whole',
        ),
        said,
        strict=True,
    ):
        assert expected in found
    # The person is in a child's file name; persons are kept apart in all of them.
    report = json.loads((tmp_path / 'shards_children' / 'report.json').read_text())
    assert report['audit']['persons']['persons'] == 1407
    for found in said[:3]:
        assert 'no person has films in two splits' in found


@pytest.mark.slow
@pytest.mark.usefixtures('shards')
def test_commands_of_the_exploration_page_work(tmp_path):
    commands = commands_of('docs/explore.md')
    assert len(commands) == 2
    for command in commands:
        assert '40 films' in run_in(tmp_path, quickened(command))
    pages = [
        tmp_path / folder / 'explore.html' for folder in ('exploration', 'exploration_of_shards')
    ]
    assert all('Classes, and what they mean' in page.read_text() for page in pages)


@pytest.mark.slow
@pytest.mark.usefixtures('shards')
def test_commands_of_the_viewer_page_work(tmp_path):
    records = read_records(tmp_path / 'shards')['test']
    run = write_shown(
        tmp_path / 'runs' / 'resnet',
        films_of(records),
        data_fingerprint=load_manifest(tmp_path / 'shards')['fingerprint'],
    )
    write_json(run / 'config.json', {'config': {'data': {'dir': 'shards'}}, 'data': {}})
    commands = commands_of('docs/viewer.md')
    assert len(commands) == 2
    shown = [look(tmp_path, quickened(command))[1] for command in commands]
    assert [Image.open(io.BytesIO(picture)).size for picture in shown] == [
        (64, 64),
        (1024, 1024),
    ]


def look(folder, command):
    """What a command says that serves a page until Ctrl-C, and the first film's picture."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = process.stdout.readline()
        with urllib.request.urlopen(f'{said.split()[0]}pictures/0.png') as answer:
            picture = answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0, command
    finally:
        process.kill()
    return said, picture


def run_in(folder, command):
    if 'pneumo_jax.view' in command:
        return look(folder, command)[0]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f'{command}\n{done.stderr}'
    return done.stdout + done.stderr


def test_run_sh_knows_what_the_readme_says():
    script = (ROOT / 'run.sh').read_text(encoding='utf-8')
    for command in commands_of('README.md'):
        if command[0] == './run.sh':
            assert all(word in script for word in command[1:] if word.startswith('-')), command
    usage = subprocess.run(
        ['./run.sh', '--help'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert '--data DIR' in usage.stdout


@pytest.mark.parametrize(
    'command',
    [
        ['data_prep/make_demo.py'],
        ['data_prep/convert.py'],
        ['data_prep/explore.py'],
        ['-m', 'pneumo_jax.main'],
        ['-m', 'pneumo_jax.evaluate'],
        ['-m', 'pneumo_jax.report'],
        ['-m', 'pneumo_jax.predict'],
        ['-m', 'pneumo_jax.view'],
        ['-m', 'pneumo_jax.models'],
    ],
    ids=lambda command: command[-1],
)
def test_help_names_every_flag_that_the_readme_uses(command):
    done = subprocess.run(
        [sys.executable, *command, '--help'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    for used in commands_of('README.md'):
        if command[-1] in used:
            for flag in used:
                name = flag.removeprefix('--').split('=')[0]
                if flag.startswith('--') and not name.startswith(('config.', 'noconfig.')):
                    assert f'{name}:' in done.stdout, f'{command} has no {flag}'
