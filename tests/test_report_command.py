"""``python -m pneumo_jax.report``: what it refuses, prints and writes."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from pneumo_jax.errors import InputError
from pneumo_jax.report import report
from tests.conftest import run_command
from tests.made_evaluations import made_films, write_evaluation


@pytest.fixture
def folders(tmp_path):
    return [
        write_evaluation(tmp_path / 'runs' / name, made_films(40, seed=i, skill=1 + i / 2))
        for i, name in enumerate(('first', 'second', '<b>third&'))
    ]


def test_writes_all_files_without_ids_of_films_in_text_and_page(tmp_path, folders):
    made = report(folders, output_dir=tmp_path / 'out')
    out = tmp_path / 'out'
    assert sorted(path.name for path in out.iterdir()) == [
        'comparison.csv',
        'comparison.html',
        'comparison.json',
        'comparison.md',
        'run_differences.png',
        'runs.png',
    ]
    assert json.loads((out / 'comparison.json').read_text()) == made
    for path in out.iterdir():
        content = path.read_bytes()
        assert b'film0000' not in content and str(tmp_path).encode() not in content
        if path.suffix in ('.html', '.md', '.json'):
            assert b'not a medical device' in content
    page = (out / 'comparison.html').read_text()
    assert '&lt;b&gt;third&amp;' in page and '<b>third' not in page
    assert '<script' not in page and not re.search(r'(?:src|href)="(?!#|data:)', page)
    assert 'Paired differences' in page


def test_a_single_run_has_a_page_too(tmp_path, folders):
    made = report(folders[:1], output_dir=tmp_path / 'out')
    assert made['differences'] == []
    assert not (tmp_path / 'out' / 'run_differences.png').exists()
    assert 'Paired differences' not in (tmp_path / 'out' / 'comparison.html').read_text()


def test_an_output_folder_is_only_replaced_if_it_is_a_comparison(tmp_path, folders):
    out = tmp_path / 'out'
    report(folders[:1], output_dir=out)
    with pytest.raises(InputError, match='--overwrite'):
        report(folders[:1], output_dir=out)
    report(folders[:2], output_dir=out, overwrite=True)
    assert len(json.loads((out / 'comparison.json').read_text())['runs']) == 2
    with pytest.raises(InputError, match='not written by this command'):
        report(folders[:1], output_dir=folders[0], overwrite=True)


def test_the_baseline_is_the_first_run_or_the_one_asked_for(folders):
    assert report(folders[:2])['baseline'] == 'first'
    made = report(folders[:2], baseline=f'{folders[1]}/../second')
    assert made['baseline'] == 'second'
    assert made['differences'][0]['run'] == 'first'
    with pytest.raises(InputError, match='none of the runs'):
        report(folders[:2], baseline=folders[2])


def test_another_split_is_read_from_its_own_files(tmp_path):
    folder = write_evaluation(tmp_path / 'a', made_films(20), split='validation')
    assert report([folder], split='validation')['split'] == 'validation'
    with pytest.raises(InputError, match=r'results.json: evaluate the run first'):
        report([folder])


def test_no_runs_and_a_run_named_twice_are_refused(folders):
    with pytest.raises(InputError, match='give their workdirs'):
        report([])
    with pytest.raises(InputError, match='2 times'):
        report([folders[0], folders[1], f'{folders[0]}/'])


def edited(folder, change):
    path = folder / 'results.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def without_auroc(content):
    del content['film']['auroc']


def other_count(content):
    content['num_films'] += 1


def other_auroc(content):
    content['film']['auroc']['value'] -= 0.001


def other_threshold(content):
    content['thresholds']['film'] = 0.1


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda content: content.update(schema=1), 'schema 1, not 2'),
        (lambda content: content.pop('schema'), 'schema 1, not 2'),
        (lambda content: content.pop('members'), "damaged .*'members'"),
        (lambda content: content.update(film=[]), 'damaged'),
        (lambda content: content.update(thresholds=None), 'damaged'),
        (without_auroc, "damaged .*'auroc'"),
        (other_count, 'not of the same evaluation .films: 41 there, 40 here'),
        (other_auroc, 'not of the same evaluation .AUROC'),
        (other_threshold, 'not of the same evaluation .(true|false) positives'),
    ],
)
def test_results_that_do_not_fit_are_refused(folders, change, message):
    edited(folders[0], change)
    with pytest.raises(InputError, match=message):
        report(folders[:2])


@pytest.mark.parametrize('content', ['', '[]', '{', '[' * 100000])
def test_damaged_results_are_refused(folders, content):
    (folders[0] / 'results.json').write_text(content)
    with pytest.raises(InputError, match=r'results\.json'):
        report(folders[:1])


def test_a_table_with_a_film_twice_is_refused(tmp_path):
    folder = write_evaluation(tmp_path / 'a', made_films(10).select(np.array([0, 1, 1, 2])))
    with pytest.raises(InputError, match='1 films stand in the table more than once'):
        report([folder])


def test_the_table_of_films_must_be_there(folders):
    (folders[0] / 'films-test.csv').unlink()
    with pytest.raises(InputError, match=r'films-test\.csv'):
        report(folders[:1])


def test_the_command(tmp_path, folders):
    out = tmp_path / 'out'
    done = run_command('-m', 'pneumo_jax.report', *map(str, folders), f'--output_dir={out}')
    assert done.returncode == 0, done.stderr
    assert 'AUROC, DeLong' in done.stdout and 'second' in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert (out / 'comparison.html').is_file()
    done = run_command('-m', 'pneumo_jax.report', str(tmp_path / 'none'))
    assert done.returncode == 2
    assert done.stderr.startswith('ERROR: no ') and 'Traceback' not in done.stderr


def test_no_device_and_no_model_is_loaded():
    code = 'import sys, pneumo_jax.report; print({"jax", "flax", "orbax"} & set(sys.modules))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'set()'
