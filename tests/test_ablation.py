"""The ablation, with a tiny network on few films."""

import json
import re

import pytest

from benchmarks import ablation
from pneumo_jax.errors import InputError

# Column, and what of an evaluation's results stands there.
FIGURES = ((1, ('boxes', 'challenge_map')), (3, ('boxes', 'coco_ap_50')), (5, ('film', 'auroc')))
ROWS = {name: ablation.ROWS[name] for name in ('detector', 'seed-1', 'own-mask')}


def run(folder, **changes):
    given = {'num_films': 80, 'num_epochs': 1, 'image_size': 64, 'model': 'resnet_tiny'}
    return ablation.run_ablation(folder / 'work', folder / 'page.md', rows=ROWS, **given | changes)


def cells_of(page):
    lines = [line for line in page.splitlines() if line.startswith('|')][2:]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


def results_of(folder, name):
    path = folder / f'work/evaluations/{name}/results.json'
    return json.loads(path.read_text(encoding='utf-8'))


def test_every_row_names_runs_and_an_earlier_baseline():
    names = list(ablation.ROWS)
    for i, row in enumerate(ablation.ROWS.values()):
        assert set(row.runs) <= set(ablation.RUNS)
        assert row.baseline in ('', *names[:i])
    assert {name for row in ablation.ROWS.values() for name in row.runs} == set(ablation.RUNS)


@pytest.mark.slow
def test_the_page_has_the_figures_of_the_evaluations_and_nothing_is_made_twice(tmp_path):
    page = run(tmp_path)
    assert (tmp_path / 'page.md').read_text(encoding='utf-8') == page
    plain, seed, mask = rows = cells_of(page)
    found = [results_of(tmp_path, name) for name in ROWS]
    for row, results in zip(rows, found, strict=True):
        for cell, (group, figure) in FIGURES:
            assert row[cell].startswith(f'{results[group][figure]["value"]:.3f}')
    aurocs = [results['film']['auroc']['value'] for results in found]
    difference = float(seed[6].strip('*').split()[0])
    assert difference == pytest.approx(aurocs[1] - aurocs[0], abs=6e-4) != 0
    assert (plain[2], plain[4], plain[6]) == ('', '', '')
    # Boxes are others, but the film's probability is that of the same network.
    tables = [tmp_path / f'work/evaluations/{name}/films-test.csv' for name in ROWS]
    assert tables[0].read_text(encoding='utf-8') != tables[2].read_text(encoding='utf-8')
    assert mask[6] == '+0.000'
    assert all(re.fullmatch(r'\d+ s', row[7]) for row in (plain, seed))
    assert mask[7] == ''
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / 'work').rglob('films-*.csv')}
    made |= {path: path.stat().st_mtime_ns for path in (tmp_path / 'work').rglob('training.json')}
    assert run(tmp_path) == page
    assert {path: path.stat().st_mtime_ns for path in made} == made
    with pytest.raises(InputError, match='80 films of 64, not 90'):
        run(tmp_path, num_films=90)
    with pytest.raises(InputError, match='num_epochs'):
        run(tmp_path, num_epochs=2)
    halves = [
        set((tmp_path / f'work/{name}.csv').read_text().splitlines()[1:])
        for name in ('half', 'other-half')
    ]
    assert not halves[0] & halves[1]
    assert {line.rpartition(',')[2] for line in halves[1]} == {'train'}
