import dataclasses

import numpy as np
import pytest

from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.film_table import read_films, write_films
from pneumo_jax.evaluation.films import ScoredFilms, concatenate, number_persons
from pneumo_jax.thresholds import Thresholds
from tests.made_scored_films import BOX, film, table_of

THRESHOLDS = Thresholds(film=0.5, box=0.5)
TENTH = 1 / 10
FILMS = table_of(
    [
        film(
            1,
            TENTH,
            boxes=[(1 / 3, 2, 3, 4), BOX],
            scores=[0.7, 0.3],
            person_id='b',
            view_position='AP',
            sex='F',
            age=41,
            class_id=2,
            class_probs=[0.1, 0.2, 0.7],
            extent=1 / 7,
            true_extent={'film': 0.1, 'lungs': 0.2, 'right': 0.0, 'left': 0.4, 'zones': 48},
        ),
        film(0, 1.0, person_id='a', label_domain='multi_read', class_probs=[1 / 3, 1 / 3, 1 / 3]),
        film(1, 0.0, person_id='', drawn=False, class_probs=[1.0, 0.0, 0.0]),
        film(0, 1e-7, person_id='b', class_probs=[0.5, 0.25, 0.25]),
    ]
)


def assert_same(a: ScoredFilms, b: ScoredFilms):
    for field in dataclasses.fields(ScoredFilms):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            for name in one:
                np.testing.assert_array_equal(one[name], other[name], field.name)
        elif isinstance(one, list):
            assert len(one) == len(other)
            for each, again in zip(one, other, strict=True):
                np.testing.assert_array_equal(each, again, field.name)
        else:
            np.testing.assert_array_equal(one, other, field.name)


def test_a_table_reads_as_it_was_written(tmp_path):
    write_films(tmp_path / 'films.csv', FILMS, THRESHOLDS)
    assert_same(read_films(tmp_path / 'films.csv'), FILMS)


def test_a_model_without_class_head_has_no_class_probabilities(tmp_path):
    without = dataclasses.replace(FILMS, class_probs=None)
    write_films(tmp_path / 'films.csv', without, THRESHOLDS)
    assert read_films(tmp_path / 'films.csv').class_probs is None


def test_readers_see_the_answers_at_the_thresholds_and_no_person_s_id(tmp_path):
    named = table_of([film(1, 0.6, boxes=[BOX] * 2, scores=[0.9, 0.2], person_id='00001836')])
    write_films(tmp_path / 'films.csv', named, THRESHOLDS)
    text = (tmp_path / 'films.csv').read_text()
    assert '00001836' not in text
    assert ',1,' in text
    assert '0.9000 100.0 100.0 200.0 300.0,' in text
    assert '0.2000 100' not in text


def test_unknown_persons_are_nobody_s_but_their_own():
    persons, known = number_persons(['b', '', 'a', 'b', ''])
    assert persons.tolist() == [1, 2, 0, 1, 3]
    assert known.tolist() == [True, False, True, True, False]


def test_some_of_the_films():
    chosen = FILMS.select(np.array([False, True, False, True]))
    assert chosen.ids == ['film1', 'film3']
    assert_same(FILMS.select(np.array([1, 3])), chosen)
    assert len(FILMS.select(np.zeros(4, bool))) == 0


def test_tables_one_after_the_other_share_no_person():
    both = concatenate([FILMS, FILMS.select(np.array([0, 1]))])
    assert both.ids == [*FILMS.ids, 'film0', 'film1']
    assert not set(both.persons[:4]) & set(both.persons[4:])
    assert_same(concatenate([FILMS]), FILMS)
    mixed = concatenate([FILMS, dataclasses.replace(FILMS, class_probs=None)])
    assert mixed.class_probs is None


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda text: text.replace('probability', 'chance'), "no column 'probability'"),
        (lambda text: text.split('\n')[0] + '\n', 'has no films'),
        (lambda text: text.replace('100 100 200 300', '100 100 200'), 'is damaged'),
        (lambda text: text.replace('film1,0', 'film1,person'), 'is damaged'),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, change, message):
    path = tmp_path / 'films.csv'
    write_films(path, FILMS, THRESHOLDS)
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=message):
        read_films(path)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match=r'none\.csv cannot be read'):
        read_films(tmp_path / 'none.csv')
