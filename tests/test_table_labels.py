import numpy as np
import pytest

from data_prep.labels import LabelError
from data_prep.table_labels import read_table_labels
from pneumo_jax.errors import InputError
from tests.film_files import write_rows

HEADER = ['path', 'label']
BOXED = ['path', 'label', 'x', 'y', 'width', 'height']
POSITIVE = [['pos.png', '1', '1', '2', '3', '4'], ['pos.png', '1', '5', '6', '7.5', '8']]
NEGATIVE = ['neg.png', '0', '', '', '', '']


def read(tmp_path, header, rows, **options):
    return read_table_labels(write_rows(tmp_path / 'labels.csv', header, rows), **options)


def read_text(tmp_path, text):
    path = tmp_path / 'labels.csv'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table_labels(path)


def labels(table):
    return {film.patient_id: film.label for film in table.films}


def assert_rejected_alone(tmp_path, code, header, rows, **options):
    """The film of ``rows`` is rejected, with its row; the film before it is not."""
    good = [{'path': 'good.png', 'label': '0', 'id': 'good'}.get(name, '') for name in header]
    table = read(tmp_path, header, [good, *rows], **options)
    assert [film.path for film in table.films] == ['good.png']
    assert [rejection.code for rejection in table.rejected] == [code]
    assert 'row 3' in table.rejected[0].message
    return table.rejected[0]


def test_rows_become_films_with_all_that_columns_tell(tmp_path):
    header = ['Image Index', 'Target', 'Film ID', 'Patient ID', 'View Position', 'Patient Gender']
    header += ['Patient Age', 'Split', 'class', 'comment']
    rows = [
        ['a\\x.png', '1', 'f1', 'p', 'AP', 'male', '045Y', 'Train', '2', 'hm'],
        ['./b//x.png', '0', 'f2', 'q', 'pa', 'F', '7', 'dev', 'Normal', ''],
        ['c/x.png', '0', 'f3', '', '', '', '', '', '', ''],
    ]
    one, two, three = read(tmp_path, header, rows).films
    assert (one.patient_id, one.path, one.label, one.class_id) == ('f1', 'a/x.png', 1, 2)
    assert (one.person_id, one.view_position, one.sex, one.age) == ('p', 'AP', 'M', 45)
    assert (one.split, one.label_domain, one.boxes.shape) == ('train', 'unknown', (0, 4))
    assert (two.path, two.label, two.class_id, two.split) == ('b/x.png', 0, 0, 'validation')
    assert (three.person_id, three.view_position, three.sex, three.age) == ('', '', '', -1)
    assert (three.class_id, three.split) == (-1, '')


def test_boxes_are_rows(tmp_path):
    neg, pos = read(tmp_path, BOXED, [POSITIVE[0], NEGATIVE, POSITIVE[1]]).films
    np.testing.assert_array_equal(pos.boxes, [[1, 2, 3, 4], [5, 6, 7.5, 8]])
    assert (pos.boxes.dtype, neg.boxes.shape, pos.class_id) == (np.float32, (0, 4), 2)


def test_width_and_height_alone_are_no_box(tmp_path):
    table = read(tmp_path, [*HEADER, 'width', 'height'], [['a.png', '0', '640', '480']])
    assert table.films[0].boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ('header', 'columns'), [(['x', 'y'], {}), (['w', 'height'], {'width': 'w'})]
)
def test_half_a_box_is_an_error(tmp_path, header, columns):
    with pytest.raises(LabelError, match='of a box: name the other columns with --columns=x='):
        read(tmp_path, [*HEADER, *header], [['a.png', '1', '1', '2']], columns=columns)


def test_columns_can_be_named(tmp_path):
    header = ['path', 'file', 'Finding Labels', 'label', 'x0', 'y0', 'w', 'h']
    rows = [['no', 'a.png', '1', '0', '1', '2', '3', '4']]
    columns = {'path': 'file', 'label': 'Finding Labels'}
    columns |= {'x': 'x0', 'y': 'y0', 'width': 'w', 'height': 'h'}
    (film,) = read(tmp_path, header, rows, columns=columns).films
    assert (film.path, film.label, film.boxes.tolist()) == ('a.png', 1, [[1, 2, 3, 4]])


@pytest.mark.parametrize(
    ('header', 'columns', 'message'),
    [
        (['path', 'image', 'label'], {}, 'path, image may be the path: .*--columns=path=COLUMN'),
        (['path', 'finding_labels'], {}, 'no column named label .*--columns=label=COLUMN'),
        (['path', 'label'], {'age': 'years'}, "no column 'years' for --columns=age=COLUMN"),
        (['path', 'label'], {'weight': 'w'}, "--columns=weight=w: there is no 'weight'.*path, lab"),
    ],
)
def test_unclear_columns_are_an_error(tmp_path, header, columns, message):
    with pytest.raises(LabelError, match=message):
        read(tmp_path, header, [['a.png'] * len(header)], columns=columns)


@pytest.mark.parametrize(
    ('text', 'label'),
    [('0', 0), ('1', 1), ('0.0', 0), ('1.0', 1), ('TRUE', 1), ('False', 0), ('yes', 1), ('No', 0)],
)
def test_labels_are_numbers_or_yes_and_no(tmp_path, text, label):
    assert labels(read(tmp_path, HEADER, [['a.png', text]])) == {'a': label}


@pytest.mark.parametrize('text', ['', '2', '0.5', 'nan', 'Pneumonia', '-1'])
def test_other_labels_reject_the_film_and_name_the_flag(tmp_path, text):
    rejection = assert_rejected_alone(tmp_path, 'bad_target', HEADER, [['a.png', text]])
    assert rejection.patient_id == 'a'
    assert text == '' or (repr(text) in rejection.message)
    assert text == '' or '--positive_labels' in rejection.message


def test_text_labels_are_positive_by_their_pieces(tmp_path):
    texts = [
        'Infiltration|Pneumonia',
        'PNEUMONIA',
        'x; pneumonia',
        'a,Opacity',
        'No Pneumonia',
        '0',
    ]
    rows = [[f'{i}.png', text] for i, text in enumerate([*texts, '', '|'])]
    table = read(tmp_path, HEADER, rows, positive_labels=['pneumonia', 'opacity'])
    assert list(labels(table).values()) == [1, 1, 1, 1, 0, 0]
    assert [(r.patient_id, r.code) for r in table.rejected] == [
        ('6', 'bad_target'),
        ('7', 'bad_target'),
    ]


def test_positive_labels_that_no_film_has_are_an_error(tmp_path):
    rows = [['a.png', 'Mass'], ['b.png', 'Mass|Nodule']]
    with pytest.raises(LabelError, match=r"--positive_labels=Pnuemonia; .* 'mass', 'nodule'"):
        read(tmp_path, HEADER, rows, positive_labels=['Pnuemonia'])


def test_ids_are_stems_or_paths_or_a_column(tmp_path):
    rows = [['a/1.png', '0'], ['b/2.png', '1']]
    assert labels(read(tmp_path, HEADER, rows)) == {'1': 0, '2': 1}
    rows += [['c/1.png', '1']]
    assert labels(read(tmp_path, HEADER, rows)) == {'a__1': 0, 'b__2': 1, 'c__1': 1}
    rows = [[*row, f'{i:03d}'] for i, row in enumerate(rows)]
    assert labels(read(tmp_path, [*HEADER, 'image_id'], rows)) == {'000': 0, '001': 1, '002': 1}


def test_two_files_of_one_id_reject_it(tmp_path):
    rows = [['a/1.png', '0', 'x'], ['a/2.png', '0', 'x']]
    assert_rejected_alone(tmp_path, 'several_files', [*HEADER, 'id'], rows)
    rows = [['a/1.png', '0'], ['a/1.jpg', '0']]
    assert_rejected_alone(tmp_path, 'several_files', HEADER, rows)


def test_fault_23_byte_order_mark_is_accepted(tmp_path):
    assert labels(read_text(tmp_path, b'\xef\xbb\xbfpath,label\na.png,1\n')) == {'a': 1}


def test_fault_24_other_encodings_are_an_error_with_the_offset(tmp_path):
    with pytest.raises(LabelError, match='0xe9 at offset 11'):
        read_text(tmp_path, b'path,label\n\xe9.png,1\n')


@pytest.mark.parametrize('delimiter', [';', '\t', '|'])
def test_fault_25_other_dialects_are_accepted(tmp_path, delimiter):
    text = 'path,label,x,y,width,height\r\n"a,b.png",1,1.5,2,3,4\r\n\r\n'
    head, path, rest = text.partition('"a,b.png"')
    text = head.replace(',', delimiter) + path + rest.replace(',', delimiter).replace('.', ',')
    (film,) = read_text(tmp_path, text).films
    assert (film.path, film.boxes.tolist()) == ('a,b.png', [[1.5, 2, 3, 4]])


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('label\n1\n', 'no column named path'),
        ('path,label\na,1\nb\n', 'row 3: 1 values under 2'),
        ('path,label,label\na,1,1\n', 'names a column twice'),
        ('path,label\n"a,1\n', 'row 2'),
        ('', 'is empty'),
    ],
)
def test_fault_25_other_schemas_are_an_error(tmp_path, text, message):
    with pytest.raises(LabelError, match=message):
        read_text(tmp_path, text)


def test_fault_26_ids_and_persons_stay_text(tmp_path):
    texts = ['00123', '123', '1e5', 'NA', 'nan']
    rows = [[f'{text}.png', '0', text] for text in texts]
    films = read(tmp_path, [*HEADER, 'person'], rows).films
    assert {film.patient_id: film.person_id for film in films} == dict(
        zip(texts, texts, strict=True)
    )


def test_fault_27_header_only_is_an_error(tmp_path):
    with pytest.raises(LabelError, match='no rows'):
        read(tmp_path, HEADER, [])


def test_fault_28_duplicate_rows_are_dropped_and_counted(tmp_path):
    table = read(tmp_path, BOXED, [*POSITIVE, POSITIVE[0], NEGATIVE, NEGATIVE])
    assert table.counts == {'duplicate_rows': 2, 'films_without_person': 2}
    assert [len(film.boxes) for film in table.films] == [0, 2]


def test_fault_29_conflicting_targets_reject_the_id(tmp_path):
    rows = [['a.png', '0'], ['a.png', '1']]
    assert_rejected_alone(tmp_path, 'conflicting_target', HEADER, rows)


def test_fault_30_label_1_without_box_rejects_the_id_where_there_are_boxes(tmp_path):
    rows = [['a.png', '1', '', '', '', '']]
    assert_rejected_alone(tmp_path, 'positive_without_box', BOXED, rows)
    assert labels(read(tmp_path, HEADER, [['a.png', '1']])) == {'a': 1}


def test_fault_31_label_0_with_box_rejects_the_id(tmp_path):
    rows = [['a.png', '0', '1', '2', '3', '4']]
    assert_rejected_alone(tmp_path, 'negative_with_box', BOXED, rows)


@pytest.mark.parametrize('width', ['nan', 'inf', '0', '-3', '', 'wide'])
def test_fault_32_what_is_no_box_rejects_the_id(tmp_path, width):
    rows = [['a.png', '1', '1', '2', width, '4']]
    assert_rejected_alone(tmp_path, 'bad_box', BOXED, rows)


def test_more_boxes_than_records_hold_reject_the_id(tmp_path):
    rows = [['a.png', '1', str(i), '2', '3', '4'] for i in range(9)]
    assert_rejected_alone(tmp_path, 'too_many_boxes', BOXED, rows)


@pytest.mark.parametrize(
    'path', ['../a.png', '/etc/a.png', 'C:\\a.png', '..\\a.png', '', 'a\x07.png']
)
def test_fault_36_paths_out_of_the_folder_are_rejected(tmp_path, path):
    rejection = assert_rejected_alone(tmp_path, 'unsafe_path', HEADER, [[path, '0']])
    assert '--images_dir' in rejection.message
    assert rejection.message.isprintable()
    assert_rejected_alone(tmp_path, 'unsafe_path', [*HEADER, 'id'], [[path, '0', 'a']])


@pytest.mark.parametrize('film_id', ['../a', '/etc/a', '..', 'a\\b'])
def test_fault_36_ids_that_are_no_file_names_are_rejected(tmp_path, film_id):
    table = read(tmp_path, [*HEADER, 'id'], [['a.png', '0', film_id], ['b.png', '0', 'b']])
    assert [film.patient_id for film in table.films] == ['b']
    assert [(r.patient_id, r.code) for r in table.rejected] == [(film_id, 'unsafe_id')]


@pytest.mark.parametrize(
    ('code', 'column', 'texts'),
    [
        ('conflicting_person', 'person', ('p', 'q')),
        ('conflicting_split', 'split', ('train', 'test')),
        ('bad_split', 'split', ('holdout',)),
        ('conflicting_class', 'class', ('0', '1')),
        ('unknown_class', 'class', ('3',)),
        ('class_against_target', 'class', ('Lung Opacity',)),
    ],
)
def test_what_contradicts_itself_rejects_the_film(tmp_path, code, column, texts):
    rows = [['a.png', '0', text] for text in texts]
    assert_rejected_alone(tmp_path, code, [*HEADER, column], rows)


def test_rows_of_one_film_add_up(tmp_path):
    rows = [['a.png', '0', '', 'p', ''], ['a.png', '0', 'val', '', '0']]
    (film,) = read(tmp_path, [*HEADER, 'split', 'person', 'class'], rows).films
    assert (film.split, film.person_id, film.class_id) == ('validation', 'p', 0)


def test_persons_come_from_the_row_a_table_or_the_path(tmp_path):
    person_csv = write_rows(
        tmp_path / 'persons.csv',
        ['image_id', 'subject_id', 'view'],
        [['b2', 'B', 'AP'], ['d', 'D', 'PA'], ['a1', 'A', 'PA']],
    )
    rows = [['a1.png', '0', 'A', 'AP'], ['b2.png', '0', '', ''], ['c3.png', '0', '', '']]
    table = read(
        tmp_path,
        [*HEADER, 'person', 'view'],
        [*rows, ['x.png', '0', '', '']],
        person_csv=person_csv,
        person_pattern=r'\d',
    )
    assert [film.person_id for film in table.films] == ['A', 'B', '3', '']
    assert [film.view_position for film in table.films] == ['AP', 'AP', '', '']
    assert table.counts == {'films_without_person': 1, 'person_rows_without_film': 1}


def test_a_pattern_that_is_none_is_an_error(tmp_path):
    with pytest.raises(InputError, match='--person_pattern='):
        read(tmp_path, HEADER, [['a.png', '0']], person_pattern='[')


def test_real_weak_labels_are_read_with_persons(shared_data):
    table = read_table_labels(shared_data / 'nih_weak' / 'labels.csv')
    assert (len(table.films), table.rejected, table.counts) == (600, (), {})
    film = {film.patient_id: film for film in table.films}['00001280_004']
    assert (film.path, film.person_id) == ('images/00001280_004.jpg', '00001280')
    assert (film.view_position, film.sex, film.age) == ('PA', 'F', 36)
    assert all((shared_data / 'nih_weak' / film.path).is_file() for film in table.films)


def test_real_findings_give_the_real_labels(shared_data):
    path = shared_data / 'nih_weak' / 'labels.csv'
    by_finding = read_table_labels(
        path, columns={'label': 'finding_labels'}, positive_labels=['pneumonia']
    )
    assert labels(by_finding) == labels(read_table_labels(path))
