import collections
import dataclasses
import random

import pytest
from sklearn.model_selection import train_test_split

from data_prep.rsna_labels import read_rsna_labels
from data_prep.splits import assign_splits
from pneumo_jax.errors import InputError
from tests.made_films import (
    FRACTIONS,
    SHARING,
    assert_balanced,
    assert_persons_apart,
    make_films,
    read_by_several,
)

FOURTHS = {'train': 0.5, 'validation': 0.25, 'test': 0.25}


@pytest.mark.parametrize('seed', range(5))
def test_no_person_is_in_two_splits_and_strata_are_balanced(seed):
    films = make_films(600, seed=seed)
    assignment = assign_splits(films, seed=seed)
    assert assignment.splits.keys() == {film.patient_id for film in films}
    assert assignment.protocol['name'] == 'person'
    assert_persons_apart(films, assignment.splits)
    assert_balanced(films, assignment.splits, tolerance=4)


@pytest.mark.parametrize('protocol', SHARING)
def test_order_of_films_changes_nothing_and_the_seed_does(protocol):
    films = read_by_several(make_films(200), 100)
    shuffled = random.Random(0).sample(films, len(films))
    pixels = [['film00001', 'film00100'], ['film00100', 'film00150'], ['film00007', 'film00004']]
    first = assign_splits(films, protocol=protocol, same_pixels=pixels)
    again = assign_splits(
        shuffled, protocol=protocol, same_pixels=[group[::-1] for group in pixels[::-1]]
    )
    assert first == again
    other = assign_splits(films, protocol=protocol, same_pixels=pixels, seed=1)
    assert first.splits != other.splits
    assert first.protocol['id_hash'] != other.protocol['id_hash']


def test_without_persons_the_split_is_by_image_and_says_so(caplog):
    films = make_films(200, films_per_person=0)
    assignment = assign_splits(films)
    assert assignment.protocol['name'] == 'image'
    assert assignment.protocol['sentence'].startswith('image-level split')
    assert 'IMAGE-LEVEL SPLIT' in caplog.text
    assert_balanced(films, assignment.splits, tolerance=2)


@pytest.mark.parametrize('protocol', ['person', 'kfold:4:1', 'person_multi_read'])
def test_person_protocols_put_no_person_in_two_splits(protocol, caplog):
    films = read_by_several(make_films(200), 100)
    assignment = assign_splits(films, protocol=protocol)
    assert_persons_apart(films, assignment.splits)
    assert assignment.protocol['persons_in_two_splits'] == 0
    assert assignment.protocol['share_with_person_in_train'] == 0
    assert 'no person has films in two splits' in assignment.protocol['sentence']
    assert caplog.text == ''


@pytest.mark.parametrize('protocol', ['person', 'person_multi_read'])
def test_person_protocols_need_persons(protocol):
    films = read_by_several(make_films(60, films_per_person=0), 60)
    with pytest.raises(InputError, match='--person_csv or --person_pattern'):
        assign_splits(films, protocol=protocol)


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


@pytest.mark.parametrize('films_per_person', [0, 1, 3])
def test_folds_are_equal_and_test_every_film_once(films_per_person, caplog):
    films = make_films(400, films_per_person)
    by_fold = [assign_splits(films, protocol=f'kfold:4:{i}') for i in range(4)]
    tested = collections.Counter()
    for i, assignment in enumerate(by_fold):
        following = by_fold[(i + 1) % 4].splits
        assert (assignment.protocol['k'], assignment.protocol['fold']) == (4, i)
        assert 'fractions' not in assignment.protocol
        assert_balanced(films, assignment.splits, tolerance=4, fractions=FOURTHS)
        for patient_id, split in assignment.splits.items():
            tested[patient_id] += split == 'test'
            assert (split == 'validation') == (following[patient_id] == 'test')
    assert tested == {film.patient_id: 1 for film in films}
    assert ('IMAGE-LEVEL SPLIT' in caplog.text) == (films_per_person == 0)


def test_persons_read_by_several_are_held_out_and_nobody_else():
    films = read_by_several(make_films(900), 450)
    assignment = assign_splits(films, protocol='person_multi_read', fractions=(0.6, 0.3, 0.1))
    several = {film.person_id for film in films if film.label_domain == 'multi_read'}
    held_out = [film for film in films if film.person_id in several]
    for film in films:
        assert (assignment.splits[film.patient_id] == 'train') == (film.person_id not in several)
    assert_balanced(
        held_out, assignment.splits, tolerance=4, fractions={'validation': 0.75, 'test': 0.25}
    )
    along = collections.Counter(
        assignment.splits[film.patient_id]
        for film in held_out
        if film.label_domain == 'single_read'
    )
    assert assignment.protocol['single_read_films'] == along
    assert f'{along.total()} films of theirs by a single reader' in assignment.protocol['sentence']


def test_person_multi_read_needs_films_of_several_readers():
    with pytest.raises(InputError, match='stage-2 table of labels is complete, with 26684 ids'):
        assign_splits(make_films(60), protocol='person_multi_read')


@pytest.mark.parametrize('fractions', [(1, 0, 0), (0, 0.5, 0.5)])
def test_person_multi_read_needs_shares_for_both_sides(fractions):
    films = read_by_several(make_films(60), 30)
    with pytest.raises(InputError, match='needs --split_fractions above 0'):
        assign_splits(films, protocol='person_multi_read', fractions=fractions)


@pytest.mark.parametrize('num_films', [4, 10, 101, 1000, 26_684])
def test_p1_is_the_published_draw(num_films):
    films = make_films(num_films)
    # As GLoRIA wrote it, with pandas' groupby to sort the ids.
    ids = sorted(film.patient_id for film in films)
    train, test_val = train_test_split(ids, test_size=0.15 * 2, random_state=0)
    test, validation = train_test_split(test_val, test_size=0.5, random_state=0)
    expected = (
        dict.fromkeys(train, 'train')
        | dict.fromkeys(test, 'test')
        | dict.fromkeys(validation, 'validation')
    )
    shuffled = random.Random(0).sample(films, len(films))
    assignment = assign_splits(shuffled, protocol='p1')
    assert assignment.splits == expected
    assert 'image-level' in assignment.protocol['sentence']
    assert ('hold other films' in assignment.protocol['sentence']) == (num_films != 26_684)


@pytest.mark.parametrize('protocol', ['p1', 'p2', 'given'])
def test_lists_rule_and_films_in_none_are_left_out(protocol, caplog):
    films = make_films(60)
    lists = {film.patient_id: tuple(FRACTIONS)[i % 3] for i, film in enumerate(films[:50])}
    unknown = {'elsewhere1': 'train', 'elsewhere2': 'test'}
    assignment = assign_splits(films[::-1], protocol=protocol, split_lists=lists | unknown)
    assert assignment.splits == lists
    assert assignment.left_out == tuple(film.patient_id for film in films[50:])
    told = assignment.protocol
    assert (told['name'], told['list_source']) == (protocol, 'split_csv')
    assert (told['films_left_out'], told['ids_without_film']) == (10, 2)
    assert '10 films without a split are left out' in told['sentence']
    assert '10 of 60 films are left out' in caplog.text
    assert not {'fractions', 'seed'} & told.keys()


def test_the_films_own_splits_are_taken():
    films = [
        dataclasses.replace(film, split=('train', 'test', '')[i % 3])
        for i, film in enumerate(make_films(60))
    ]
    assignment = assign_splits(films, protocol='given')
    assert assignment.splits == {film.patient_id: film.split for film in films if film.split}
    assert len(assignment.left_out) == assignment.protocol['films_left_out'] == 20
    assert assignment.protocol['list_source'] == 'labels'


@pytest.mark.parametrize('lists', [None, {'elsewhere': 'train'}])
def test_lists_of_no_film_are_refused(lists):
    with pytest.raises(InputError, match='none of the 60 films has a split'):
        assign_splits(make_films(60), protocol='given', split_lists=lists)


def test_p2_needs_its_lists():
    with pytest.raises(InputError, match=r'25,184 .* 1,500 .* 3,000 .*--split_csv'):
        assign_splits(make_films(60), protocol='p2')


@pytest.mark.parametrize(('num_films', 'per_person'), [(2, 1), (60, 60), (60, 30)])
def test_fault_56_an_empty_split_is_an_error(num_films, per_person):
    with pytest.raises(InputError, match='no films are left for'):
        assign_splits(make_films(num_films, per_person))


@pytest.mark.parametrize(
    ('protocol', 'num_films', 'per_person', 'num_several', 'empty'),
    [
        ('p1', 3, 1, 0, 'test'),
        ('kfold:5:0', 12, 3, 0, 'fold 4'),
        ('person_multi_read', 60, 5, 60, 'train'),
        ('person_multi_read', 60, 5, 3, 'test'),
    ],
)
def test_fault_56_in_every_protocol(protocol, num_films, per_person, num_several, empty):
    films = read_by_several(make_films(num_films, per_person), num_several)
    with pytest.raises(InputError, match=f'no films are left for {empty}: '):
        assign_splits(films, protocol=protocol)


@pytest.mark.parametrize('protocol', SHARING)
def test_fault_38_same_pixels_stay_in_one_split(protocol):
    films = read_by_several(make_films(400), 200)
    ids = [film.patient_id for film in films]
    # Pairs, a group of three, and two groups that a third one joins.
    groups = [[ids[i], ids[i + 200]] for i in range(0, 90, 3)]
    groups += [[ids[100], ids[150], ids[399]], [ids[110], ids[120]], [ids[130], ids[140]]]
    groups += [[ids[140], ids[120], 'no film']]
    assignment = assign_splits(films, protocol=protocol, same_pixels=groups)
    for group in groups:
        assert len({assignment.splits[id_] for id_ in group if id_ in ids}) == 1
    assert len({assignment.splits[ids[i]] for i in (110, 120, 130, 140)}) == 1
    if protocol != 'image':
        assert_persons_apart(films, assignment.splits)
    assert f'stay together ({len(groups)} groups)' in assignment.protocol['sentence']
    assert set(assignment.splits.values()) == set(FRACTIONS)


def read_shared(folder):
    return read_rsna_labels(
        folder / 'stage_2_train_labels.csv',
        folder / 'stage_2_detailed_class_info.csv',
        folder / 'rsna_to_nih_mapping.csv',
    ).films


@pytest.fixture(scope='module')
def all_films(shared_data):
    """The 25,928 films of the real tables."""
    return read_shared(shared_data / 'rsna_full_csv')


def test_real_sample_is_split_by_person_and_balanced(shared_data):
    films = read_shared(shared_data / 'rsna')
    splits = assign_splits(films).splits
    assert_persons_apart(films, splits)
    assert_balanced(films, splits, tolerance=2)


def test_real_tables_are_split_by_person_and_balanced(all_films):
    splits = assign_splits(all_films).splits
    assert_persons_apart(all_films, splits)
    assert_balanced(all_films, splits, tolerance=2)


def test_real_tables_are_shared_into_folds_and_balanced(all_films):
    tested = collections.Counter()
    for i in range(4):
        splits = assign_splits(all_films, protocol=f'kfold:4:{i}').splits
        assert_persons_apart(all_films, splits)
        assert_balanced(all_films, splits, tolerance=2, fractions=FOURTHS)
        tested.update(id_ for id_, split in splits.items() if split == 'test')
    assert tested == {film.patient_id: 1 for film in all_films}


def test_real_persons_stand_in_two_splits_of_an_image_level_split(all_films):
    assignment = assign_splits(all_films, protocol='image')
    assert_balanced(all_films, assignment.splits, tolerance=2)
    assert 0.5 < assignment.protocol['share_with_person_in_train'] < 0.9
