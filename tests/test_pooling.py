"""Evaluations of folds to one."""

import dataclasses

import numpy as np
import pytest

from pneumo_jax.errors import InputError
from pneumo_jax.evaluate import recompute
from pneumo_jax.evaluation.output import Evaluation, read_evaluation, write_evaluation
from pneumo_jax.evaluation.pooling import pool_evaluations
from pneumo_jax.evaluation.results import Settings
from pneumo_jax.metrics.detection import best_score_threshold
from tests.made_evaluations import THRESHOLDS, made_films

NUM_FILMS = 24
QUICK = Settings(num_draws=20)


def fold(number: int, **about) -> Evaluation:
    """Its films are others than those of other folds; its validation is the next fold's films."""

    def named(films, prefix):
        ones = {name: np.ones(NUM_FILMS) for name in (*films.mask_sums, *films.extent)}
        return dataclasses.replace(
            films,
            ids=[f'{prefix}-{name}' for name in films.ids],
            mask_sums={name: ones[name] for name in films.mask_sums},
            extent={name: ones[name] for name in films.extent},
            true_extent={name: ones[name] for name in films.extent},
        )

    films = made_films(NUM_FILMS, skill=1 + number, seed=number, truth_seed=number)
    validation = made_films(NUM_FILMS, seed=10 + number, truth_seed=number + 1)
    return Evaluation(
        about={
            'split': 'test',
            'protocol': f'fold {number} is test',
            'persons_apart': True,
            'data_fingerprint': f'data{number}',
            'num_rejected': 0,
            'model': 'resnet_small',
            'changes': [],
            'members': [
                {'model': 'resnet_small', 'epoch': 3, 'params_sha256': f'm{number}', 'init': None}
            ],
        }
        | about,
        overlap={'films': 0, 'persons': number, 'unchecked': 0},
        thresholds=THRESHOLDS,
        films=named(films, number),
        validation=named(validation, number + 1),
    )


FOLDS = {f'fold{i}': fold(i) for i in range(3)}


def test_each_film_keeps_the_answer_of_its_fold():
    pooled = pool_evaluations(FOLDS)
    folds = FOLDS.values()
    assert pooled.films.ids == [film for each in folds for film in each.films.ids]
    for name in ('labels', 'probs'):
        expected = np.concatenate([getattr(each.films, name) for each in folds])
        np.testing.assert_allclose(getattr(pooled.films, name), expected, rtol=1e-6)
    # The persons of folds are different ones, whatever their numbers.
    assert len(np.unique(pooled.films.persons)) == 3 * NUM_FILMS
    assert pooled.overlap == {'films': 0, 'persons': 3, 'unchecked': 0}
    assert [member['params_sha256'] for member in pooled.about['members']] == ['m0', 'm1', 'm2']
    assert pooled.about['protocol'].startswith('3 evaluations pooled')


def test_thresholds_are_chosen_on_the_validation_films_of_all_folds():
    pooled = pool_evaluations(FOLDS)
    together = [each.validation for each in FOLDS.values()]
    located = [
        [item for films in together for item in getattr(films, name)]
        for name in ('truths', 'boxes', 'box_scores')
    ]
    assert pooled.thresholds.box == pytest.approx(best_score_threshold(*located)[0], rel=1e-6)


def test_the_order_of_folds_makes_no_difference_to_what_the_data_are():
    one, other = pool_evaluations(FOLDS), pool_evaluations(dict(reversed(FOLDS.items())))
    two = pool_evaluations({name: FOLDS[name] for name in ('fold0', 'fold1')})
    assert one.about['data_fingerprint'] == other.about['data_fingerprint']
    assert one.about['data_fingerprint'] != two.about['data_fingerprint']
    assert one.thresholds == other.thresholds


@pytest.mark.parametrize(
    ('other', 'message'),
    [
        (
            dataclasses.replace(fold(5), films=fold(0).films),
            '24 films are judged in two of fold0, other',
        ),
        (dataclasses.replace(fold(5), validation=None), 'has no answers for validation films'),
        (fold(5, changes=['flip=true']), 'under different --eval'),
        (dataclasses.replace(fold(5), site=fold(7).films), 'recalibrated to a site'),
    ],
)
def test_what_is_no_fold_of_the_same_is_refused(other, message):
    with pytest.raises(InputError, match=message):
        pool_evaluations({'fold0': FOLDS['fold0'], 'other': other})


def test_one_fold_is_nothing_to_pool():
    with pytest.raises(InputError, match='at least two'):
        pool_evaluations({'fold0': FOLDS['fold0']})


@pytest.mark.slow
def test_figures_are_made_of_the_folders_of_folds(tmp_path):
    """The whole command: evaluations as they were written, and one of all of them."""
    for name, evaluation in FOLDS.items():
        (tmp_path / name).mkdir()
        write_evaluation(tmp_path / name, evaluation, wanted_error=0.05, settings=QUICK)
    read = {name: read_evaluation(tmp_path / name, 'test') for name in FOLDS}
    content = write_evaluation(tmp_path, pool_evaluations(read), wanted_error=0.05, settings=QUICK)
    assert content['num_films'] == 3 * NUM_FILMS
    assert recompute(tmp_path, split='test', wanted_error=0.05, settings=QUICK) == content
