import csv
import json
import pathlib
import time

import numpy as np
import pytest
from PIL import Image

from data_prep.conversion import convert
from data_prep.options import Options
from pneumo_jax.data.shards import load_manifest
from pneumo_jax.errors import InputError
from tests.conftest import run_command
from tests.conversions import file_hashes, make_options, read_records, read_report
from tests.film_files import write_download, write_film, write_rows


def films_of(folder):
    with (pathlib.Path(folder) / 'films.csv').open(newline='') as file:
        return {row['id']: row for row in csv.DictReader(file)}


def write_pictures(folder, names):
    rng = np.random.default_rng(0)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30), np.uint8)).save(path)


def test_any_table_with_paths_and_labels(tmp_path):
    names = [f'set{i % 2}/person{i // 2}_{i}.png' for i in range(24)]
    write_pictures(tmp_path / 'films', names)
    header = ['Image Index', 'Finding', 'x', 'y', 'width', 'height', 'ViewPosition', 'Sex', 'Age']
    rows = [
        [name, 'Pneumonia', 1, 2, 3, 4, 'AP', 'male', '45']
        if i % 3 == 0
        else [name, 'Nothing', '', '', '', '', 'PA', 'F', '']
        for i, name in enumerate(names)
    ]
    rows[1][0] = '../elsewhere.png'
    table = write_rows(tmp_path / 'films' / 'table.csv', header, rows)
    options = Options(
        output_dir=str(tmp_path / 'out'),
        source='csv',
        labels_csv=str(table),
        positive_labels=['pneumonia'],
        person_pattern=r'person\d+',
        image_size=16,
        max_bad=1,
        num_workers=1,
    )
    assert convert(options) == 0
    report = read_report(tmp_path)
    assert [r['code'] for r in report['rejected']] == ['unsafe_path']
    assert report['unlabelled'] == [names[1]]
    records = {
        r['patient_id']: r for split in read_records(tmp_path / 'out').values() for r in split
    }
    assert len(records) == 23
    positive, negative = records['person0_0'], records['person2_4']
    assert positive['boxes'][: positive['num_boxes']].tolist() == [[1, 2, 3, 4]]
    assert (positive['view_position'], positive['sex'], positive['age']) == ('AP', 'M', 45)
    assert (negative['label'], negative['num_boxes'], negative['sex']) == (0, 0, 'F')
    assert (positive['person_id'], negative['person_id']) == ('person0', 'person2')
    assert load_manifest(tmp_path / 'out')['protocol']['name'] == 'person'
    assert load_manifest(tmp_path / 'out')['source'] == 'csv'


def test_a_folder_for_each_class(tmp_path):
    names = [f'{("sick", "well", "other")[i % 3]}/p{i // 3}_{i}.png' for i in range(30)]
    write_pictures(tmp_path / 'films', names)
    options = Options(
        output_dir=str(tmp_path / 'out'),
        source='folders',
        images_dir=str(tmp_path / 'films'),
        positive_labels=['sick'],
        person_pattern=r'/(p\d+)_',
        image_size=16,
        num_workers=1,
    )
    assert convert(options) == 0
    films = films_of(tmp_path / 'out')
    assert {film for film, row in films.items() if row['label'] == '1'} == {
        pathlib.Path(name).stem for name in names if name.startswith('sick')
    }
    persons = {}
    for split, records in read_records(tmp_path / 'out').items():
        for record in records:
            assert persons.setdefault(record['person_id'], split) == split


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'source': 'csv'}, 'needs --images_dir'),
        ({'source': 'csv', 'images_dir': 'FILMS'}, 'needs --labels_csv'),
        ({'source': 'rsna', 'images_dir': 'FILMS'}, 'needs --labels_csv'),
        ({'source': 'folders'}, 'needs --images_dir'),
        ({'source': 'folders', 'images_dir': 'FILMS'}, 'needs --positive_labels'),
        (
            {'source': 'csv', 'images_dir': 'FILMS', 'labels_csv': 'x', 'columns': ['path']},
            'NAME=COLUMN',
        ),
        (
            {'source': 'rsna', 'images_dir': 'FILMS', 'labels_csv': 'x', 'id_column': 'id'},
            '--person_csv, which is not given',
        ),
    ],
)
def test_what_a_source_needs_is_said(tmp_path, changes, message):
    write_pictures(tmp_path / 'films', ['a.png'])
    if 'images_dir' in changes:
        changes = changes | {'images_dir': str(tmp_path / 'films')}
    with pytest.raises(InputError, match=message):
        convert(Options(output_dir=str(tmp_path / 'out'), **changes))


def test_fault_19_a_lateral_film_is_taken_only_when_asked_and_recorded(tmp_path):
    download = write_download(tmp_path / 'download')
    path = pathlib.Path(download['images_dir']) / 'film004.dcm'
    write_film(path, np.arange(4096, dtype=np.uint16).reshape(64, 64) % 256, ViewPosition='LL')
    process = run_command(
        'data_prep/convert.py',
        *(f'--{name}={value}' for name, value in download.items()),
        f'--output_dir={tmp_path / "out"}',
        '--image_size=16',
        '--any_modality',
    )
    assert process.returncode == 0, process.stderr
    assert films_of(tmp_path / 'out')['film004']['notes'].startswith('view position neither')
    assert read_report(tmp_path)['notes']['view position neither AP nor PA'] == 1
    assert films_of(tmp_path / 'out')['film004']['view_position'] == ''


def test_fault_38_films_of_the_same_pixels_are_reported_and_stay_together(tmp_path):
    download = write_download(tmp_path / 'download', num_films=60)
    images = pathlib.Path(download['images_dir'])
    # The same film under the ids of three persons, once in another encoding.
    for twin in ('film010', 'film020'):
        (images / f'{twin}.dcm').write_bytes((images / 'film001.dcm').read_bytes())
    film = np.random.default_rng(5).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(film).save(images / 'film030.png')
    (images / 'film030.dcm').unlink()
    write_film(images / 'film040.dcm', film)
    # Equal at 16 px, but not in all pixels.
    film[0, 0], film[0, 1] = film[0, 1], film[0, 0]
    write_film(images / 'film050.dcm', film)
    for seed in range(4):
        options = make_options(tmp_path, download, split_seed=seed, overwrite=True)
        assert convert(options) == 0
        groups = [group['films'] for group in read_report(tmp_path)['duplicates']['groups']]
        assert groups == [['film001', 'film010', 'film020'], ['film030', 'film040']]
        films = films_of(tmp_path / 'out')
        for group in groups:
            assert len({films[film]['split'] for film in group}) == 1


def test_labels_alone_are_split_and_audited(tmp_path):
    download = write_download(tmp_path / 'download')
    del download['images_dir']
    assert convert(make_options(tmp_path, download, labels_only=True)) == 0
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {
        'films.csv',
        'report.html',
        'report.json',
    }
    report = read_report(tmp_path)
    assert report['counts']['accepted'] == 24
    assert report['audit']['boxes']['boxes'] == 8
    splits = {film: row['split'] for film, row in films_of(tmp_path / 'out').items()}
    assert set(splits.values()) == {'train', 'validation', 'test'}


def test_a_split_of_labels_alone_is_that_of_a_later_conversion(tmp_path):
    download = write_download(tmp_path / 'download')
    (tmp_path / 'labels').mkdir()
    options = make_options(tmp_path / 'labels', download, labels_only=True, split_seed=3)
    assert convert(options) == 0
    split_csv = str(tmp_path / 'labels' / 'out' / 'films.csv')
    assert convert(make_options(tmp_path, download, split='given', split_csv=split_csv)) == 0
    before, after = (
        json.loads((folder / 'out' / 'report.json').read_text())['protocol']['id_hash']
        for folder in (tmp_path / 'labels', tmp_path)
    )
    assert before == after


def full_tables(shared_data):
    folder = shared_data / 'rsna_full_csv'
    return {
        'labels_csv': str(folder / 'stage_2_train_labels.csv'),
        'class_info_csv': str(folder / 'stage_2_detailed_class_info.csv'),
        'person_csv': str(folder / 'rsna_to_nih_mapping.csv'),
    }


@pytest.mark.parametrize('split', ['person', 'kfold:5:2'])
def test_no_person_of_the_full_tables_is_on_two_sides(shared_data, tmp_path, split):
    start = time.monotonic()
    options = make_options(tmp_path, full_tables(shared_data), labels_only=True, split=split)
    assert convert(options) == 0
    assert time.monotonic() - start < 30
    with pathlib.Path(options.person_csv).open(newline='') as file:
        persons = {row['patientId']: row['nih_patient'] for row in csv.DictReader(file)}
    sides = {}
    for film, row in films_of(tmp_path / 'out').items():
        assert sides.setdefault(persons[film], row['split']) == row['split']
    assert read_report(tmp_path)['protocol']['persons_in_two_splits'] == 0


def test_full_conversions_do_not_depend_on_the_order_of_files(tmp_path):
    download = write_download(tmp_path / 'download')
    images = pathlib.Path(download['images_dir'])
    assert convert(make_options(tmp_path, download)) == 0
    before = file_hashes(tmp_path / 'out')
    for path in sorted(images.iterdir(), reverse=True):
        path.rename(path.with_suffix('.tmp'))
        path.with_suffix('.tmp').rename(path)
    assert convert(make_options(tmp_path, download, overwrite=True)) == 0
    assert file_hashes(tmp_path / 'out') == before
