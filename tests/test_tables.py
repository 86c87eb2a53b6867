import pytest

from data_prep.tables import LabelError, find_columns, read_table

ALIASES = {'path': ('path', 'imageindex'), 'label': ('label', 'target')}


def find(header, **named):
    return find_columns(
        'table.csv',
        header,
        ALIASES,
        named=named,
        required=('path',),
        flags={'path': '--columns=path=COLUMN'},
    )


@pytest.mark.parametrize('delimiter', [',', ';', '\t', '|'])
def test_fault_25_the_delimiter_is_found_where_no_columns_are_asked_for(tmp_path, delimiter):
    path = tmp_path / 'table.csv'
    path.write_text(
        delimiter.join(['path', 'Finding Labels']) + delimiter.join(['\na', '"x|y, z"'])
    )
    (row,) = read_table(path)
    assert row.cells == {'path': 'a', 'Finding Labels': 'x|y, z'}


@pytest.mark.parametrize('text', ['', '\n', ' \na,b\n'])
def test_fault_27_an_empty_first_line_is_an_error(tmp_path, text):
    path = tmp_path / 'table.csv'
    path.write_text(text)
    with pytest.raises(LabelError, match='empty in its first line'):
        read_table(path)


@pytest.mark.parametrize('column', ['path', 'PATH', 'Image Index', 'image_index', 'ImageIndex'])
def test_usual_names_are_found_in_whatever_spelling(column):
    assert find(['other', column]) == {'path': column}


def test_a_named_column_is_taken_and_not_taken_again():
    header = ['path', 'Image Index', 'target']
    assert find(header, path='path') == {'path': 'path', 'label': 'target'}
    assert find(header, label='Image Index') == {'path': 'path', 'label': 'Image Index'}


def test_two_columns_that_may_be_meant_are_an_error():
    with pytest.raises(LabelError, match=r'path, Image Index may be the path.*--columns=path='):
        find(['path', 'Image Index'])
    with pytest.raises(LabelError, match=r'rename all but one$'):
        find(['path', 'label', 'target'])


def test_a_column_that_is_not_there_is_an_error_with_those_that_are():
    with pytest.raises(LabelError, match=r'no column named path.*has a, b: .*--columns=path='):
        find(['a', 'b'])
    with pytest.raises(LabelError, match="no column 'c' for --columns=path=COLUMN; it has a, b"):
        find(['a', 'b'], path='c')
