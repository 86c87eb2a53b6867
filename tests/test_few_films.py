"""The table of few films, with random weights on few phantoms."""

import pytest

from benchmarks import few_films
from data_prep.demo_download import CLASSES, IMAGES, LABELS, PERSONS, make_demo
from pneumo_jax.run_config import load_run
from tests.test_ablation import cells_of, results_of


def test_every_row_names_a_run_and_an_earlier_baseline():
    names = list(few_films.ROWS)
    for i, row in enumerate(few_films.ROWS.values()):
        assert row.baseline in ('', *names[:i])
    named = {run for row in few_films.ROWS.values() for run in row.runs}
    assert named == set(few_films.RUNS)


@pytest.mark.slow
def test_each_film_is_judged_once_by_a_run_that_began_with_phantoms(tmp_path):
    make_demo(tmp_path / 'download', num_films=45, seed=3, with_contact_sheet=False)
    paths = dict(images_dir=IMAGES, labels_csv=LABELS, class_info_csv=CLASSES, person_csv=PERSONS)
    given = dict(
        download={name: str(tmp_path / 'download' / path) for name, path in paths.items()},
        # Random ones: the phantoms are the start that counts here.
        weights='',
        rows={'phantoms': few_films.ROWS['phantoms']},
        num_folds=3,
        num_phantoms=40,
        phantom_epochs=1,
        image_size=64,
        changes={
            'model.name': 'mobilenet_tiny',
            'num_epochs': 1,
            'batch_size': 8,
            'transfer.frozen_stages': 0,
            'transfer.batch_norm': 'train',
        },
    )
    page = few_films.run_few_films(tmp_path / 'work', tmp_path / 'page.md', **given)
    assert (tmp_path / 'page.md').read_text(encoding='utf-8') == page
    assert 'Films: 45,' in page
    (row,) = cells_of(page)
    results = results_of(tmp_path, 'phantoms')
    assert results['num_films'] == 45
    assert len(results['members']) == 3
    assert row[1].startswith(f'{results["boxes"]["challenge_map"]["value"]:.3f}')
    # Weights from phantoms, so nothing warns of films that they may have seen.
    assert not any('may have seen' in warning for warning in results['warnings'])
    first = tmp_path / 'work/runs/phantoms'
    assert load_run(first).data['source'] == 'phantom'
    for fold in range(3):
        assert load_run(f'{first}-{fold}').config.model.init_from == str(first)
