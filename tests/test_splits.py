import collections
import dataclasses
import random

import numpy as np
import pytest

from data_prep.labels import FilmLabel, read_rsna_labels
from data_prep.splits import assign_splits, id_hash
from pneumo_jax.errors import InputError

FRACTIONS = {'train': 0.7, 'validation': 0.15, 'test': 0.15}


def make_films(num_films, films_per_person=3, seed=0):
    """Films whose classes and views are drawn unevenly; 0 films per person: persons unknown."""
    rng = np.random.default_rng(seed)
    class_ids = rng.choice(3, num_films, p=(0.3, 0.45, 0.25))
    views = rng.choice(('AP', 'PA'), num_films, p=(0.4, 0.6))
    return [
        FilmLabel(
            patient_id=f'film{i:05d}',
            label=int(class_ids[i] == 2),
            class_id=int(class_ids[i]),
            boxes=np.zeros((0, 4), np.float32),
            person_id=f'person{i // films_per_person}' if films_per_person else '',
            view_position=str(views[i]),
            sex='',
            age=-1,
            label_domain='unknown',
        )
        for i in range(num_films)
    ]


def counts_by(films, splits, key):
    counts = collections.defaultdict(collections.Counter)
    for film in films:
        counts[key(film)][splits[film.patient_id]] += 1
    return counts


def assert_persons_apart(films, splits):
    for person, counts in counts_by(films, splits, lambda film: film.person_id).items():
        assert len(counts) == 1, person


def assert_balanced(films, splits, tolerance):
    """Every split has its share of the films, of each class and of each view, in films."""
    for key in (lambda f: '', lambda f: f.class_id, lambda f: f.view_position):
        for counts in counts_by(films, splits, key).values():
            for split, fraction in FRACTIONS.items():
                assert abs(counts[split] - fraction * counts.total()) <= tolerance


@pytest.mark.parametrize('seed', range(5))
def test_no_person_is_in_two_splits_and_strata_are_balanced(seed):
    films = make_films(600, seed=seed)
    assignment = assign_splits(films, seed=seed)
    assert assignment.splits.keys() == {film.patient_id for film in films}
    assert assignment.protocol['name'] == 'person'
    assert_persons_apart(films, assignment.splits)
    assert_balanced(films, assignment.splits, tolerance=4)


def test_order_of_films_changes_nothing_and_the_seed_does():
    films = make_films(200)
    shuffled = random.Random(0).sample(films, len(films))
    assert assign_splits(films) == assign_splits(shuffled)
    assert assign_splits(films).splits != assign_splits(films, seed=1).splits


def test_without_persons_the_split_is_by_image_and_says_so(caplog):
    films = make_films(200, films_per_person=0)
    assignment = assign_splits(films)
    assert assignment.protocol['name'] == 'image'
    assert assignment.protocol['sentence'].startswith('image-level split')
    assert 'IMAGE-LEVEL SPLIT' in caplog.text
    assert_balanced(films, assignment.splits, tolerance=2)


def test_films_without_person_count_as_persons_of_their_own(caplog):
    films = make_films(100) + [
        dataclasses.replace(film, patient_id=f'lone{i}', person_id='')
        for i, film in enumerate(make_films(50))
    ]
    assignment = assign_splits(films)
    assert '50 films without a known person' in assignment.protocol['sentence']
    assert {assignment.splits[f'lone{i}'] for i in range(50)} == set(FRACTIONS)


def test_a_person_named_like_a_film_is_another_group():
    names = {'a': '', 'b': 'a', 'c': 'c'}
    films = [
        dataclasses.replace(film, patient_id=name, person_id=names[name])
        for film, name in zip(make_films(3), names, strict=True)
    ]
    # Three groups fill three splits, two would not.
    splits = assign_splits(films, fractions=(0.34, 0.33, 0.33)).splits
    assert set(splits.values()) == set(FRACTIONS)


def test_hash_names_the_division():
    splits = {'b': 'test', 'a': 'train'}
    assert id_hash(splits) == id_hash(dict(sorted(splits.items())))
    assert id_hash(splits) != id_hash({'b': 'train', 'a': 'test'})
    assert assign_splits(make_films(60)).protocol['id_hash'] == id_hash(
        assign_splits(make_films(60)).splits
    )


@pytest.mark.parametrize('fractions', [(0.7, 0.3), (0.7, 0.2, 0.2), (2, -0.5, -0.5)])
def test_bad_fractions_are_refused(fractions):
    with pytest.raises(InputError, match='three numbers from 0'):
        assign_splits(make_films(60), fractions=fractions)


@pytest.mark.parametrize(('num_films', 'per_person'), [(2, 1), (60, 60), (60, 30)])
def test_fault_56_an_empty_split_is_an_error(num_films, per_person):
    with pytest.raises(InputError, match='no films are left for'):
        assign_splits(make_films(num_films, per_person))


@pytest.mark.parametrize(('folder', 'tolerance'), [('rsna', 2), ('rsna_full_csv', 2)])
def test_real_tables_are_split_by_person_and_balanced(shared_data, folder, tolerance):
    folder = shared_data / folder
    films = read_rsna_labels(
        folder / 'stage_2_train_labels.csv',
        folder / 'stage_2_detailed_class_info.csv',
        folder / 'rsna_to_nih_mapping.csv',
    ).films
    assignment = assign_splits(films)
    assert_persons_apart(films, assignment.splits)
    assert_balanced(films, assignment.splits, tolerance)
