import collections
import json

import pytest

from data_prep.labels import RejectError
from data_prep.persons import Person, PersonSource, merged_person, person_from_cells, read_persons
from data_prep.tables import LabelError
from pneumo_jax.errors import InputError
from tests.film_files import write_rows


def read_csv(tmp_path, header, rows, **columns):
    return read_persons(write_rows(tmp_path / 'persons.csv', header, rows), **columns)


def read_json(tmp_path, entries, name='mapping.json'):
    path = tmp_path / name
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return read_persons(path)


def person_in(path, pattern):
    source = PersonSource(person_pattern=pattern)
    return source.person_of('film', path, (), collections.Counter()).person_id


@pytest.mark.parametrize(
    ('id_column', 'person_column'),
    [
        ('patientId', 'nih_patient'),
        ('image_id', 'Person ID'),
        ('Film Id', 'person'),
        ('path', 'subject_id'),
    ],
)
def test_usual_columns_are_found(tmp_path, id_column, person_column):
    persons = read_csv(tmp_path, [id_column, 'other', person_column], [['f', 'x', '007']])
    assert persons == {'f': [Person('007')]}


def test_columns_can_be_named(tmp_path):
    header = ['patientId', 'image_id', 'case', 'person']
    rows = [['p', 'f', 'c', 'x']]
    persons = read_csv(tmp_path, header, rows, id_column='image_id', person_column='case')
    assert persons == {'f': [Person('c')]}


@pytest.mark.parametrize(
    ('header', 'columns', 'message'),
    [
        (['film', 'person'], {}, r'has film, person: .* --id_column'),
        (['patientId', 'owner'], {}, r'has patientId, owner: .* --person_column'),
        (['patientId', 'image_id', 'person'], {}, r'patientId, image_id may be .* --id_column'),
        (['id', 'person', 'subject_id'], {}, r'person, subject_id may be .* --person_column'),
        (['id', 'person'], {'id_column': 'film'}, r"no column 'film' for --id_column; it has id"),
        (['id', 'person', 'sex', 'gender'], {}, 'sex, gender may be the sex: rename'),
    ],
)
def test_unclear_columns_are_an_error(tmp_path, header, columns, message):
    with pytest.raises(LabelError, match=message):
        read_csv(tmp_path, header, [['a'] * len(header)], **columns)


def test_rows_tell_view_sex_and_age_too(tmp_path):
    header = ['patientId', 'person_id', 'ViewPosition', 'Patient Gender', 'age']
    rows = [['f', 'p', 'ap', 'Female', '045Y'], ['g', 'p', '', '', '']]
    assert read_csv(tmp_path, header, rows) == {
        'f': [Person('p', 'AP', 'F', 45)],
        'g': [Person('p')],
    }


@pytest.mark.parametrize(
    ('cells', 'person'),
    [
        ({'age': '45'}, Person(age=45)),
        ({'age': '45.0'}, Person(age=45)),
        ({'age': '005y'}, Person(age=5)),
        ({'age': '45.5'}, Person()),
        ({'age': '006M'}, Person()),
        ({'age': '-4'}, Person()),
        ({'age': 'adult'}, Person()),
        ({'sex': 'm'}, Person(sex='M')),
        ({'sex': 'MALE'}, Person(sex='M')),
        ({'sex': 'O'}, Person()),
        ({'view': 'pa'}, Person(view_position='PA')),
        ({'view': 'LATERAL'}, Person()),
        ({}, Person()),
    ],
)
def test_what_is_no_view_sex_or_age_is_unknown(cells, person):
    assert person_from_cells(cells) == person


def test_rows_of_one_film_add_up():
    persons = [Person(sex='F'), Person('p', 'AP'), Person('p', 'PA', 'M', 4)]
    assert merged_person(persons) == Person('p', 'AP', 'F', 4)
    assert merged_person([]) == Person()


def test_two_persons_of_one_film_reject_it():
    with pytest.raises(RejectError, match=r"\['p', 'q'\]") as error:
        merged_person([Person('p'), Person('q'), Person()])
    assert error.value.code == 'conflicting_person'


def test_the_rsnas_mapping_is_read(tmp_path):
    entries = [
        {'subset_img_id': 'a-1', 'img_id': '00012345_003.png', 'orig_labels': ['Mass']},
        {'subset_img_id': 'b-2', 'img_id': '00000001_000.png'},
        {'subset_img_id': 'b-2', 'img_id': '00000001_000.png'},
    ]
    expected = {'a-1': [Person('00012345')], 'b-2': [Person('00000001')] * 2}
    assert read_json(tmp_path, entries) == expected
    assert read_json(tmp_path, entries, name='mapping') == expected


@pytest.mark.parametrize(
    ('entries', 'message'),
    [
        ('[{"subset_img_id": "a", ', 'damaged JSON .*download it anew'),
        ('<html>', 'damaged JSON'),
        ('[' * 100_000, 'damaged JSON'),
        ({'subset_img_id': 'a'}, 'must be a list of objects'),
        ([], 'must be a list of objects'),
        (
            [{'subset_img_id': 'a', 'img_id': '1_0.png'}, {'img_id': '1_0.png'}],
            'entry 1: no object',
        ),
        ([{'subset_img_id': 'a'}], 'entry 0: no object'),
        ([{'subset_img_id': 'a', 'img_id': 3}], 'entry 0: no object'),
        (['a'], 'entry 0: no object'),
        ([{'subset_img_id': 'a', 'img_id': '00012345.png'}], "'00012345.png' is no film id or"),
        ([{'subset_img_id': '', 'img_id': '1_0.png'}], 'entry 0: subset_img_id'),
    ],
)
def test_another_json_is_an_error_that_names_the_entry(tmp_path, entries, message):
    with pytest.raises(LabelError, match=message):
        read_json(tmp_path, entries)


@pytest.mark.parametrize(
    ('pattern', 'person'),
    [
        (r'person\d+', 'person12'),
        (r'(?:person)(\d+)', '12'),
        (r'(\w+)/(\w+)_x', 'PNEUMONIA'),
        (r'(nobody)?person', ''),
        ('nobody', ''),
    ],
)
def test_the_first_group_or_the_whole_match_is_the_person(pattern, person):
    assert person_in('PNEUMONIA/person12_x_3.jpeg', pattern) == person


def test_a_pattern_counts_where_no_table_tells_the_person(tmp_path):
    person_csv = write_rows(tmp_path / 'p.csv', ['id', 'person'], [['a', 'A'], ['dir\\b.png', 'B']])
    source = PersonSource(person_csv=person_csv, person_pattern=r'\d+')
    counts = collections.Counter()
    films = [('a', '1/a.png'), ('b', 'dir/b.png'), ('c', '3/c.png'), ('d', 'd.png')]
    persons = [source.person_of(film, path, (), counts).person_id for film, path in films]
    assert persons == ['A', 'B', '3', '']
    assert source.person_of('c', '3/c.png', [Person('own')], counts).person_id == 'own'
    assert counts['films_without_person'] == 1
    assert source.rows_without_film(['a', 'b']) == 1


def test_the_films_own_row_and_the_table_of_persons_must_agree(tmp_path):
    person_csv = write_rows(tmp_path / 'persons.csv', ['id', 'person'], [['a', 'A']])
    source = PersonSource(person_csv=person_csv, person_pattern=None)
    with pytest.raises(RejectError, match='persons'):
        source.person_of('a', 'a.png', [Person('B')], collections.Counter())


def test_a_pattern_that_is_none_is_an_error():
    with pytest.raises(InputError, match=r'--person_pattern=\( is no regular expression'):
        PersonSource(person_pattern='(')


def test_real_mapping_has_a_person_for_every_film(shared_data):
    persons = read_persons(shared_data / 'rsna' / 'rsna_to_nih_mapping.csv')
    assert len(persons) == 199
    assert len({merged_person(rows).person_id for rows in persons.values()}) == 158
    assert all(merged_person(rows).age > 0 for rows in persons.values())
