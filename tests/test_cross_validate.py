"""Folds trained, judged and pooled by one command, and their runs as one ensemble."""

import pytest

from data_prep.conversion import convert
from data_prep.demo_download import IMAGES, LABELS, PERSONS
from data_prep.options import Options
from pneumo_jax.cross_validate import cross_validate
from pneumo_jax.ensemble import load_ensemble
from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.chosen import read_chosen
from pneumo_jax.evaluation.film_table import read_films
from pneumo_jax.evaluation.results import Settings

NUM_FOLDS = 3
QUICK = Settings(num_draws=20)


@pytest.fixture(scope='module')
def folds(phantom_download, tmp_path_factory) -> list[str]:
    """Shards of the folds of a phantom download."""
    paths = {'images_dir': IMAGES, 'labels_csv': LABELS, 'person_csv': PERSONS}
    given = {name: str(phantom_download / path) for name, path in paths.items()}
    folders = [str(tmp_path_factory.mktemp('folds') / f'{i}') for i in range(NUM_FOLDS)]
    for i, folder in enumerate(folders):
        division = f'kfold:{NUM_FOLDS}:{i}'
        convert(Options(output_dir=folder, image_size=64, split=division, **given))
    return folders


@pytest.mark.slow
def test_folds_that_share_test_films_are_refused_before_anything_is_trained(
    folds, tiny_config, tmp_path
):
    tiny_config.data.dir = ''
    (tmp_path / 'again').symlink_to(folds[0])
    with pytest.raises(InputError, match='films are judged in two of'):
        cross_validate(tiny_config, tmp_path / 'cv', [*folds, str(tmp_path / 'again')])
    with pytest.raises(InputError, match='named twice'):
        cross_validate(tiny_config, tmp_path / 'cv', [*folds, folds[0]])
    with pytest.raises(InputError, match='once for each fold'):
        cross_validate(tiny_config, tmp_path / 'cv', folds[:1])
    assert not (tmp_path / 'cv').exists()


@pytest.mark.slow
def test_every_film_is_answered_once_by_a_run_that_did_not_know_it(folds, tiny_config, tmp_path):
    tiny_config.data.dir = ''
    workdir = tmp_path / 'cv'
    results = cross_validate(tiny_config, workdir, folds, settings=QUICK)
    assert results['num_films'] == 60
    assert results['overlap'] == {'films': 0, 'persons': 0, 'unchecked': 0}
    assert tiny_config.data.dir == ''
    pooled = read_films(workdir / 'films-test.csv')
    answers = dict(zip(pooled.ids, pooled.probs, strict=True))
    for i in range(NUM_FOLDS):
        of_fold = read_films(workdir / f'fold{i}' / 'films-test.csv')
        for film, prob in zip(of_fold.ids, of_fold.probs, strict=True):
            assert answers.pop(film) == prob
    assert not answers

    # The same command finds all done, and the folder of the folds is their ensemble.
    assert cross_validate(tiny_config, workdir, folds, settings=QUICK) == results
    members = [member['params_sha256'] for member in results['members']]
    assert [member.sha256 for member in load_ensemble([str(workdir)]).members] == members
    with pytest.raises(InputError, match='named twice'):
        load_ensemble([str(workdir), str(workdir / 'fold1')])
    # Prediction finds their thresholds there.
    assert read_chosen(workdir / 'calibration.json', members).thresholds.film > 0
