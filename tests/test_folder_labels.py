import pytest

from data_prep.folder_labels import read_folder_labels
from data_prep.labels import LabelError
from tests.film_files import write_rows

# Children of one number under two prefixes may be one child: they are kept together.
KERMANY_PATTERN = r'person\d+|IM-\d+'


def read(*files, positive_labels=('PNEUMONIA',), **options):
    return read_folder_labels(files, positive_labels=positive_labels, **options)


def test_the_first_folder_is_the_class():
    table = read('PNEUMONIA/a.png', 'pneumonia/x/b.png', 'NORMAL/PNEUMONIA/c.png', 'other/d.png')
    labels = {film.patient_id: (film.label, film.class_id) for film in table.films}
    assert labels == {'a': (1, 2), 'b': (1, 2), 'c': (0, -1), 'd': (0, -1)}
    assert [film.path for film in table.films][1] == 'pneumonia/x/b.png'
    assert all(film.boxes.shape == (0, 4) for film in table.films)
    assert table.counts == {'films_without_person': 4}


def test_several_folders_may_be_positive():
    table = read('virus/a.png', 'Bacteria/b.png', 'no/c.png', positive_labels=('VIRUS', 'bacteria'))
    assert [film.label for film in table.films] == [1, 1, 0]


def test_a_file_in_no_folder_is_rejected_alone():
    table = read('PNEUMONIA/a.png', 'b.png')
    assert [film.patient_id for film in table.films] == ['a']
    assert [(r.patient_id, r.code) for r in table.rejected] == [('b', 'no_class_folder')]


def test_same_names_in_two_classes_are_two_films():
    table = read('PNEUMONIA/1.png', 'NORMAL/1.png', 'NORMAL/2.png')
    assert [film.patient_id for film in table.films] == ['NORMAL__1', 'NORMAL__2', 'PNEUMONIA__1']


def test_files_that_differ_in_the_suffix_alone_are_rejected():
    table = read('PNEUMONIA/1.png', 'PNEUMONIA/1.dcm', 'NORMAL/2.png')
    assert [(r.patient_id, r.code) for r in table.rejected] == [('PNEUMONIA__1', 'several_files')]


def test_persons_come_from_a_table_or_from_paths(tmp_path):
    person_csv = write_rows(
        tmp_path / 'persons.csv',
        ['path', 'person', 'sex'],
        [['PNEUMONIA/a7.png', 'A', 'F'], ['gone.png', 'B', 'M']],
    )
    table = read(
        'PNEUMONIA/a7.png', 'NORMAL/b8.png', person_csv=person_csv, person_pattern=r'\w(\d)\.png'
    )
    assert [(film.person_id, film.sex) for film in table.films] == [('A', 'F'), ('8', '')]
    assert table.counts == {'person_rows_without_film': 1}


def test_positive_labels_that_are_no_folders_are_an_error_with_the_folders():
    with pytest.raises(LabelError, match=r'--positive_labels=sick .* folders of films are A, B$'):
        read('A/a.png', 'B/b.png', 'c.png', positive_labels=('sick',))
    with pytest.raises(LabelError, match=r'are none$'):
        read('a.png')


def test_kermanys_films_have_persons_in_their_names(shared_data):
    root = shared_data / 'kermany224' / 'train'
    files = [path.relative_to(root).as_posix() for path in root.rglob('*.jpeg')]
    table = read(*files, person_pattern=KERMANY_PATTERN)
    assert (len(table.films), table.rejected, table.counts) == (2703, (), {})
    assert sum(film.label for film in table.films) == 2018
    persons = {film.patient_id: film.person_id for film in table.films}
    assert len(set(persons.values())) == 1407
    # Bacterial and viral films, further series, further films.
    for one, other in [
        ('person1000_bacteria_2931', 'person1000_virus_1681'),
        ('IM-0523-0001-0001', 'IM-0523-0001-0003'),
        ('IM-0385-0001', 'NORMAL2-IM-0385-0001'),
    ]:
        assert persons[one] == persons[other]
