import numpy as np
import pytest

from data_prep.labels import LabelError, boxes_inside
from data_prep.rsna_labels import read_rsna_labels
from tests.film_files import LABEL_HEADER, write_rows

NEGATIVE = ['neg', '', '', '', '', '0']
POSITIVE = [['pos', '1', '2', '3', '4', '1'], ['pos', '5', '6', '7.5', '8', '1']]


def read(tmp_path, rows, **tables):
    """The label table of ``rows``; other tables as (header, rows)."""
    paths = {name: write_rows(tmp_path / f'{name}.csv', *table) for name, table in tables.items()}
    return read_rsna_labels(write_rows(tmp_path / 'labels.csv', LABEL_HEADER, rows), **paths)


def read_text(tmp_path, text):
    path = tmp_path / 'labels.csv'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_rsna_labels(path)


def test_rows_become_films_with_boxes(tmp_path):
    table = read(
        tmp_path,
        [POSITIVE[0], NEGATIVE, POSITIVE[1], ['other', '', '', '', '', '0']],
        class_info_csv=(
            ['patientId', 'class'],
            [['pos', 'Lung Opacity'], ['pos', 'Lung Opacity'], ['neg', 'Normal']],
        ),
        person_csv=(
            ['patientId', 'nih_patient', 'view', 'sex', 'age'],
            [['pos', '007', 'AP', 'M', '45'], ['neg', '8', '', '', '']],
        ),
    )
    neg, other, pos = table.films
    assert (pos.label, pos.class_id, pos.person_id) == (1, 2, '007')
    assert (pos.view_position, pos.sex, pos.age) == ('AP', 'M', 45)
    np.testing.assert_array_equal(pos.boxes, [[1, 2, 3, 4], [5, 6, 7.5, 8]])
    assert pos.boxes.dtype == np.float32
    assert (neg.label, neg.class_id, neg.boxes.shape, neg.age) == (0, 0, (0, 4), -1)
    assert (other.class_id, other.person_id) == (-1, '')
    assert table.counts == {'films_without_class': 1, 'films_without_person': 1}
    assert table.rejected == ()


def test_fault_23_byte_order_mark_is_accepted(tmp_path):
    text = 'patientId,x,y,width,height,Target\na,,,,,0\n'
    assert read_text(tmp_path, b'\xef\xbb\xbf' + text.encode()).films[0].patient_id == 'a'


def test_fault_24_other_encodings_are_an_error_with_the_offset(tmp_path):
    with pytest.raises(LabelError, match='0xe9 at offset 34'):
        read_text(tmp_path, b'patientId,x,y,width,height,Target\n\xe9,,,,,0\n')


@pytest.mark.parametrize('delimiter', [';', '\t'])
def test_fault_25_other_dialects_are_accepted(tmp_path, delimiter):
    text = 'patientId,x,y,width,height,Target\r\n"a",1.5,2,3,4,1\r\n\r\n'
    text = text.replace(',', delimiter).replace('1.5', '1,5' if delimiter == ';' else '1.5')
    assert read_text(tmp_path, text).films[0].boxes.tolist() == [[1.5, 2, 3, 4]]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('patientId,x,y,width,Target\na,,,,0\n', 'lacks the columns height'),
        ('patientId,x,y,width,height,Target\na,,,,,0\nb,,,,0\n', 'row 3: 5 values under 6'),
        ('patientId,x,y,width,height,Target,x\na,,,,,0,\n', 'names a column twice'),
        ('patientId,x,y,width,height,Target\n"a,,,,,0\n', 'row 2'),
        ('', 'is empty'),
    ],
)
def test_fault_25_other_schemas_are_an_error(tmp_path, text, message):
    with pytest.raises(LabelError, match=message):
        read_text(tmp_path, text)


def test_fault_26_ids_stay_text(tmp_path):
    ids = ['00123', '123', '1e5', 'NA', 'nan']
    table = read(tmp_path, [[id_, '', '', '', '', '0'] for id_ in ids])
    assert sorted(film.patient_id for film in table.films) == sorted(ids)


def test_fault_27_header_only_is_an_error(tmp_path):
    with pytest.raises(LabelError, match='no rows'):
        read(tmp_path, [])


def test_fault_28_duplicate_rows_are_dropped_and_counted(tmp_path):
    table = read(tmp_path, [*POSITIVE, POSITIVE[0], NEGATIVE, NEGATIVE])
    assert table.counts == {'duplicate_rows': 2}
    assert [len(film.boxes) for film in table.films] == [0, 2]


def assert_rejected_alone(tmp_path, code, rows):
    """The id of ``rows`` is rejected, with its row; the films around it are not."""
    table = read(tmp_path, [*POSITIVE, *rows, NEGATIVE])
    assert [film.patient_id for film in table.films] == ['neg', 'pos']
    (rejection,) = table.rejected
    assert (rejection.patient_id, rejection.code) == (rows[0][0], code)
    assert 'row 4' in rejection.message


def test_fault_29_conflicting_targets_reject_the_id(tmp_path):
    rows = [['a', '', '', '', '', '0'], ['a', '1', '2', '3', '4', '1']]
    assert_rejected_alone(tmp_path, 'conflicting_target', rows)


def test_fault_30_target_1_without_box_rejects_the_id(tmp_path):
    empty = ['a', '', '', '', '', '1']
    assert_rejected_alone(tmp_path, 'positive_without_box', [empty])
    assert_rejected_alone(tmp_path, 'positive_without_box', [['a', '1', '2', '3', '4', '1'], empty])


def test_fault_31_target_0_with_box_rejects_the_id(tmp_path):
    assert_rejected_alone(tmp_path, 'negative_with_box', [['a', '1', '2', '3', '4', '0']])


@pytest.mark.parametrize(
    ('width', 'height'),
    [('nan', '4'), ('inf', '4'), ('0', '4'), ('3', '-4'), ('', '4'), ('wide', '4')],
)
def test_fault_32_what_is_no_box_rejects_the_id(tmp_path, width, height):
    assert_rejected_alone(tmp_path, 'bad_box', [['a', '1', '2', width, height, '1']])


@pytest.mark.parametrize('film_id', ['../a', '/etc/a', '..', '', 'a\\b', 'a\x1b'])
def test_fault_36_ids_that_are_no_file_names_are_rejected(tmp_path, film_id):
    assert_rejected_alone(tmp_path, 'unsafe_id', [[film_id, '', '', '', '', '0']])


@pytest.mark.parametrize('target', ['2', '', 'yes'])
def test_targets_are_0_or_1(tmp_path, target):
    assert_rejected_alone(tmp_path, 'bad_target', [['a', '', '', '', '', target]])


def test_more_boxes_than_records_hold_reject_the_id(tmp_path):
    rows = [['a', str(i), '2', '3', '4', '1'] for i in range(9)]
    assert_rejected_alone(tmp_path, 'too_many_boxes', rows)


@pytest.mark.parametrize(
    ('code', 'classes'),
    [
        ('conflicting_class', [['pos', 'Normal'], ['pos', 'Lung Opacity']]),
        ('unknown_class', [['pos', 'Opacity']]),
        ('class_against_target', [['pos', 'Normal']]),
    ],
)
def test_classes_that_contradict_reject_the_id(tmp_path, code, classes):
    table = read(tmp_path, [*POSITIVE, NEGATIVE], class_info_csv=(['patientId', 'class'], classes))
    assert [rejection.code for rejection in table.rejected] == [code]


def test_two_persons_for_one_film_reject_it(tmp_path):
    rows = [['pos', 'a'], ['pos', 'b']]
    table = read(tmp_path, [*POSITIVE, NEGATIVE], person_csv=(['patientId', 'person_id'], rows))
    assert [rejection.code for rejection in table.rejected] == ['conflicting_person']


def test_person_table_without_persons_is_an_error(tmp_path):
    with pytest.raises(LabelError, match=r'\(personid, nihpatient, .* has patientId, owner'):
        read(tmp_path, [NEGATIVE], person_csv=(['patientId', 'owner'], [['neg', 'a']]))


def test_columns_of_the_person_table_can_be_named(tmp_path):
    person_csv = write_rows(tmp_path / 'persons.csv', ['film', 'owner'], [['neg', 'a']])
    labels_csv = write_rows(tmp_path / 'labels.csv', LABEL_HEADER, [NEGATIVE])
    table = read_rsna_labels(
        labels_csv, person_csv=person_csv, id_column='film', person_column='owner'
    )
    assert table.films[0].person_id == 'a'


def test_ids_of_one_table_alone_are_counted(tmp_path):
    table = read(
        tmp_path,
        [*POSITIVE, NEGATIVE],
        class_info_csv=(['patientId', 'class'], [['pos', 'Lung Opacity'], ['x', 'Normal']]),
        person_csv=(['patientId', 'person_id'], [['neg', 'a'], ['y', 'b'], ['z', 'c']]),
    )
    assert table.counts == {
        'films_without_class': 1,
        'class_rows_without_film': 1,
        'films_without_person': 1,
        'person_rows_without_film': 2,
    }


def test_no_usable_film_is_an_error(tmp_path):
    with pytest.raises(LabelError, match='none of 1 films'):
        read(tmp_path, [['a', '', '', '', '', '1']])


def test_missing_file_is_an_error(tmp_path):
    with pytest.raises(LabelError, match='No such file'):
        read_rsna_labels(tmp_path / 'labels.csv')


def test_label_domain_is_known_for_the_complete_table_only(tmp_path):
    rows = [[f'f{26_684 - i:05d}', '', '', '', '', '0'] for i in range(26_684)]
    domains = {f.patient_id: f.label_domain for f in read(tmp_path, rows).films}
    in_order = [domains[row[0]] for row in rows]
    assert in_order == ['single_read'] * 25_684 + ['multi_read'] * 1_000
    films = read(tmp_path, rows[:-1]).films
    assert {film.label_domain for film in films} == {'unknown'}


def test_real_tables_have_no_faults(shared_data):
    folder = shared_data / 'rsna_full_csv'
    table = read_rsna_labels(
        folder / 'stage_2_train_labels.csv',
        folder / 'stage_2_detailed_class_info.csv',
        folder / 'rsna_to_nih_mapping.csv',
    )
    assert (len(table.films), table.rejected, table.counts) == (25_928, (), {})
    assert all((film.class_id == 2) == (len(film.boxes) > 0) for film in table.films)
    assert all(boxes_inside(film.boxes, 1024, 1024) is not None for film in table.films)
