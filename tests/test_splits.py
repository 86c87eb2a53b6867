import collections
import dataclasses
import hashlib

import numpy as np
import pytest

from data_prep.splits import PROTOCOLS, assign_splits, id_hash, read_split_csv
from data_prep.tables import LabelError
from pneumo_jax.errors import InputError
from tests.made_films import FRACTIONS, SHARING, make_films, read_by_several


def test_auto_is_given_then_person_then_image():
    films = make_films(90)
    lists = {film.patient_id: 'test' for film in films}
    own = [dataclasses.replace(film, split='train') for film in films]
    names = [
        assign_splits(*args, **kwargs).protocol['name']
        for args, kwargs in (
            ([films], {'split_lists': lists}),
            ([own], {}),
            ([films], {}),
            ([make_films(90, films_per_person=0)], {}),
        )
    ]
    assert names == ['given', 'given', 'person', 'image']


@pytest.mark.parametrize('films_per_person', [0, 3])
def test_films_that_are_not_divided_warn_of_nobody(films_per_person, caplog):
    films = make_films(30, films_per_person=films_per_person)
    assignment = assign_splits(films, protocol='image', fractions=(0.0, 0.0, 1.0))
    assert set(assignment.splits.values()) == {'test'}
    assert assignment.protocol['sentence'] == 'undivided: all films are test'
    assert not caplog.text


def test_auto_shares_out_and_warns_where_only_some_films_have_a_split(caplog):
    films = make_films(90)
    films[0] = dataclasses.replace(films[0], split='train')
    assert assign_splits(films).protocol['name'] == 'person'
    assert '1 of 90 films have a split' in caplog.text


def brute_force_leaks(films, splits):
    held_out = [film for film in films if splits[film.patient_id] != 'train']
    leaked = [
        film
        for film in held_out
        if any(f.person_id == film.person_id and splits[f.patient_id] == 'train' for f in films)
    ]
    placed = {(film.person_id, splits[film.patient_id]) for film in films}
    persons = collections.Counter(person for person, _ in placed)
    return sum(n > 1 for n in persons.values()), len(leaked) / len(held_out)


@pytest.mark.parametrize('protocol', ['image', 'p1', 'given'])
def test_persons_in_two_splits_are_counted_and_told(protocol, caplog):
    films = make_films(120)
    lists = {film.patient_id: tuple(FRACTIONS)[i // 4 % 3] for i, film in enumerate(films)}
    assignment = assign_splits(
        films, protocol=protocol, split_lists=lists if protocol == 'given' else None
    )
    persons, share = brute_force_leaks(films, assignment.splits)
    told = assignment.protocol
    assert 10 < persons < 40
    assert told['persons_in_two_splits'] == persons
    assert told['share_with_person_in_train'] == pytest.approx(share)
    for text in (told['sentence'], caplog.text):
        assert f'{persons} known persons have films in two splits' in text
        assert f'{share:.1%} of the validation and test films' in text


def test_leaks_are_not_told_where_no_person_is_known():
    told = assign_splits(make_films(60, films_per_person=0)).protocol
    assert not {'persons_in_two_splits', 'share_with_person_in_train'} & told.keys()
    assert 'persons are not known' in told['sentence']


def test_hash_names_the_division():
    splits = {'b': 'test', 'a': 'train'}
    assert id_hash(splits) == id_hash(dict(sorted(splits.items())))
    assert id_hash(splits) != id_hash({'b': 'train', 'a': 'test'})
    assert assign_splits(make_films(60)).protocol['id_hash'] == id_hash(
        assign_splits(make_films(60)).splits
    )


def test_hashes_of_the_splits_are_of_their_ids():
    assignment = assign_splits(make_films(60, films_per_person=0))
    ids = sorted(id_ for id_, split in assignment.splits.items() if split == 'test')
    text = ''.join(f'{id_}\n' for id_ in ids)
    assert assignment.protocol['id_hashes'].keys() == set(FRACTIONS)
    assert (
        assignment.protocol['id_hashes']['test'] == hashlib.sha256(text.encode('utf-8')).hexdigest()
    )


@pytest.mark.parametrize(
    'protocol',
    ['kfold', 'kfold:5', 'kfold:2:0', 'kfold:5:5', 'kfold:5:-1', 'kfold:a:0', 'kfold:K:I'],
)
def test_bad_folds_are_refused_with_the_form(protocol):
    with pytest.raises(InputError, match=r'kfold:K:I.*kfold:5:0'):
        assign_splits(make_films(60), protocol=protocol)


@pytest.mark.parametrize('protocol', ['p1', 'given'])
@pytest.mark.parametrize('option', [{'fractions': (0.8, 0.1, 0.1)}, {'seed': 1}])
def test_options_that_a_fixed_division_ignores_are_refused(protocol, option):
    lists = {film.patient_id: 'train' for film in make_films(60)}
    with pytest.raises(InputError, match='fixed division'):
        assign_splits(make_films(60), protocol=protocol, split_lists=lists, **option)


@pytest.mark.parametrize('protocol', SHARING)
def test_lists_that_a_protocol_ignores_are_refused(protocol):
    films = read_by_several(make_films(60), 30)
    with pytest.raises(InputError, match='leave out --split_csv'):
        assign_splits(films, protocol=protocol, split_lists={'film00000': 'train'})


def test_fractions_of_folds_are_refused():
    with pytest.raises(InputError, match='leave out --split_fractions'):
        assign_splits(make_films(60), protocol='kfold:5:0', fractions=(0.8, 0.1, 0.1))


def test_an_unknown_protocol_is_refused_with_the_names():
    with pytest.raises(InputError) as error:
        assign_splits(make_films(60), protocol='patient')
    assert 'patient' in str(error.value)
    assert all(name in str(error.value) for name in PROTOCOLS)


@pytest.mark.parametrize('fractions', [(), (0.7, 0.3), (0.7, 0.2, 0.2), (2, -0.5, -0.5)])
def test_bad_fractions_are_refused(fractions):
    with pytest.raises(InputError, match='three numbers from 0'):
        assign_splits(make_films(60), fractions=fractions)


def test_a_fraction_that_is_no_number_is_refused():
    for i in range(3):
        fractions = np.insert([0.5, 0.5], i, np.nan).tolist()
        with pytest.raises(InputError, match='three numbers from 0'):
            assign_splits(make_films(60), fractions=fractions)


def test_fault_38_same_pixels_in_two_splits_are_counted_under_lists():
    films = make_films(60)
    ids = [film.patient_id for film in films]
    lists = {id_: 'train' if i < 30 else 'test' for i, id_ in enumerate(ids[:-1])}
    groups = [[ids[0], ids[1]], [ids[2], ids[40]], [ids[3], ids[41], ids[4]], [ids[5], ids[-1]]]
    assignment = assign_splits(films, split_lists=lists, same_pixels=groups)
    assert assignment.splits == lists
    assert assignment.protocol['same_pixels_in_two_splits'] == 2
    assert '2 groups of films with the very same pixels' in assignment.protocol['sentence']


def test_same_pixels_of_absent_films_are_not_told():
    told = assign_splits(make_films(60), same_pixels=[['film00001', 'absent']]).protocol
    assert 'pixels' not in told['sentence']


@pytest.mark.parametrize('column', ['id', 'patientId', 'patient_id', 'image_id', 'film'])
def test_split_csv_of_any_usual_names(tmp_path, column):
    path = tmp_path / 'splits.csv'
    splits = ('train', 'validation', 'val', 'valid', 'dev', 'test', 'Test')
    rows = [f'{i:03};note;{split}' for i, split in enumerate(splits)]
    path.write_text('\ufeff' + '\r\n'.join([f'{column};other;split', *rows, rows[0]]))
    assert read_split_csv(path) == {
        '000': 'train',
        **dict.fromkeys(('001', '002', '003', '004'), 'validation'),
        '005': 'test',
        '006': 'test',
    }


def test_split_csv_takes_the_films_id_before_the_persons(tmp_path):
    path = tmp_path / 'films.csv'
    path.write_text('patient_id,split,id\nperson,train,film1\nperson,train,film2\n')
    assert read_split_csv(path) == {'film1': 'train', 'film2': 'train'}


def test_a_film_without_a_split_is_in_none(tmp_path):
    path = tmp_path / 'films.csv'
    path.write_text('id,split\na,train\nb,\n')
    assert read_split_csv(path) == {'a': 'train'}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('id,part\na,train\n', 'lacks the columns split'),
        ('name,split\na,train\n', 'lacks a column of ids.*it has name, split'),
        ('id,split\na,train\nb,holdout\n', "row 3: split is 'holdout', none of train"),
        ('id,split\n,train\n', 'row 2: id is empty'),
        ('id,split\na,train\nb,test\na,test\n', 'row 4: a is in test, .* in train'),
        ('id,split\n', 'no rows'),
    ],
)
def test_bad_split_csv_is_an_error_with_the_row(tmp_path, text, message):
    path = tmp_path / 'splits.csv'
    path.write_text(text)
    with pytest.raises(LabelError, match=message):
        read_split_csv(path)
