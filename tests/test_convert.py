import dataclasses
import fcntl
import json
import os
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from data_prep import conversion
from data_prep.conversion import convert
from data_prep.options import Options
from data_prep.verify import verify_conversion
from pneumo_jax.data.dicom import read_film, standard_picture
from pneumo_jax.data.shards import SPLITS, load_manifest
from pneumo_jax.errors import InputError
from tests.conversions import (
    file_hashes,
    make_options,
    read_records,
    read_report,
    start_converter,
)
from tests.film_files import LABEL_HEADER, write_download, write_film, write_rows

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope='module')
def shared_conversion(tmp_path_factory):
    """A download and its conversion, for tests that only look."""
    folder = tmp_path_factory.mktemp('conversion')
    download = write_download(folder / 'download')
    assert convert(make_options(folder, download, num_shards=2)) == 0
    return download, folder / 'out'


def test_every_film_is_in_one_split_with_its_pixels_and_labels(shared_conversion):
    download, folder = shared_conversion
    records = {r['patient_id']: r for split in read_records(folder).values() for r in split}
    paths = sorted(pathlib.Path(download['images_dir']).iterdir())
    assert sorted(records) == [path.stem for path in paths]
    for i, path in enumerate(paths):
        record = records[path.stem]
        expected = standard_picture(read_film(path).pixels, 16)
        np.testing.assert_array_equal(record['image'][:, :, 0], expected)
        boxes = [[10, 20, 30, 40]] if i % 3 == 0 else []
        assert record['boxes'][: record['num_boxes']].tolist() == boxes
        assert record['label'] == len(boxes)
        assert record['class_id'] == (2 if boxes else 0)
        assert record['person_id'] == f'person{i // 2:03d}'
        assert (record['view_position'], record['sex']) == (('AP', 'PA')[i % 2], 'F')
        assert (record['film_height'], record['film_width']) == (64, 64)


def test_manifest_counts_what_the_shards_hold(shared_conversion):
    _, folder = shared_conversion
    verify_conversion(folder)
    manifest = load_manifest(folder)
    assert (manifest['image_size'], manifest['encoding']) == (16, 'raw')
    persons = {}
    for split, records in read_records(folder).items():
        counts = manifest['splits'][split]
        assert len(counts['shards']) == 2
        assert counts['films'] == len(records) == sum(s['records'] for s in counts['shards'])
        assert counts['positives'] == sum(r['label'] for r in records)
        assert counts['prevalence'] == counts['positives'] / counts['films']
        assert counts['views'].get('AP', 0) == sum(r['view_position'] == 'AP' for r in records)
        persons[split] = {r['person_id'] for r in records}
        assert counts['persons'] == len(persons[split])
    assert not persons['train'] & persons['test']
    assert not (persons['train'] | persons['test']) & persons['validation']


def test_tensorflow_datasets_knows_the_folder(shared_conversion):
    _, folder = shared_conversion
    builder = tfds.builder_from_directory(folder)
    manifest = load_manifest(folder)
    for split in SPLITS:
        assert builder.info.splits[split].num_examples == manifest['splits'][split]['films']
        assert builder.info.splits[split].filenames == [
            shard['name'] for shard in manifest['splits'][split]['shards']
        ]
    assert builder.info.features['image'].shape == (16, 16, 1)


def test_the_number_of_workers_changes_no_byte(tmp_path):
    download = write_download(tmp_path / 'download', num_films=100)
    # Chunks for every worker.
    assert 2 * conversion._CHUNK_FILMS < 100
    hashes = []
    for num_workers in (1, 3):
        convert(make_options(tmp_path, download, num_workers=num_workers, overwrite=True))
        hashes.append(file_hashes(tmp_path / 'out'))
    assert hashes[0] == hashes[1]


def test_fingerprint_tells_conversions_apart(tmp_path, shared_conversion):
    download, folder = shared_conversion
    convert(make_options(tmp_path, download, num_shards=2, split_seed=1))
    fingerprints = {load_manifest(f)['fingerprint'] for f in (folder, tmp_path / 'out')}
    assert len(fingerprints) == 2


def test_bad_films_stop_the_conversion_unless_tolerated(tmp_path, caplog):
    download = write_download(tmp_path / 'download')
    images = pathlib.Path(download['images_dir'])
    (images / 'film003.dcm').write_text('<html>')
    write_film(images / 'film004.dcm', np.zeros((20, 20), np.uint8), ViewPosition='LL')
    write_film(images / 'film006.dcm', np.zeros((20, 20), np.uint8))

    assert convert(make_options(tmp_path, download, max_bad=2)) == 1
    assert not (tmp_path / 'out').exists()
    assert 'film004' in (tmp_path / 'out.report.html').read_text()
    report = json.loads((tmp_path / 'out.report.json').read_text())
    reasons = {r['patient_id']: r['code'] for r in report['rejected']}
    assert reasons == {
        'film003': 'not_dicom',
        'film004': 'lateral_view',
        'film006': 'box_outside_film',
    }
    assert '--max_bad=3' in caplog.text

    assert convert(make_options(tmp_path, download, max_bad=3)) == 0
    ids = {r['patient_id'] for split in read_records(tmp_path / 'out').values() for r in split}
    assert len(ids) == 21
    assert not ids & reasons.keys()
    assert read_report(tmp_path)['rejected'] == report['rejected']


def test_fault_34_label_without_film_is_an_error_unless_allowed(tmp_path):
    download = write_download(tmp_path / 'download')
    (pathlib.Path(download['images_dir']) / 'film005.dcm').unlink()
    with pytest.raises(InputError, match=r"1 of 24 labelled films .* 'film005'.*--allow_missing"):
        convert(make_options(tmp_path, download))
    assert not (tmp_path / 'out').exists()
    assert convert(make_options(tmp_path, download, allow_missing=True)) == 0
    assert read_report(tmp_path)['missing'] == ['film005']


def test_fault_35_film_without_label_is_listed(tmp_path):
    download = write_download(tmp_path / 'download')
    write_film(pathlib.Path(download['images_dir']) / 'extra.dcm', np.zeros((8, 8), np.uint8))
    assert convert(make_options(tmp_path, download)) == 0
    report = read_report(tmp_path)
    assert report['unlabelled'] == ['extra.dcm']
    assert report['counts']['accepted'] == 24


def test_fault_37_links_out_pipes_and_other_files_are_skipped(tmp_path):
    download = write_download(tmp_path / 'download')
    images = pathlib.Path(download['images_dir'])
    outside = tmp_path / 'outside.dcm'
    (images / 'film000.dcm').rename(outside)
    (images / 'film000.dcm').symlink_to(outside)
    (images / 'inside.dcm').symlink_to(images / 'film001.dcm')
    (images / 'folder').symlink_to(tmp_path)
    os.mkfifo(images / 'pipe.dcm')
    (images / 'notes.txt').write_text('text')
    assert convert(make_options(tmp_path, download, allow_missing=True)) == 0
    report = read_report(tmp_path)
    assert {s['file']: s['reason'] for s in report['skipped']} == {
        'film000.dcm': 'link_out_of_folder',
        'folder': 'link_out_of_folder',
        'notes.txt': 'other_file',
        'pipe.dcm': 'not_a_regular_file',
    }
    assert report['missing'] == ['film000']
    assert report['unlabelled'] == ['inside.dcm']


def test_one_id_in_two_files_is_rejected(tmp_path):
    download = write_download(tmp_path / 'download')
    below = pathlib.Path(download['images_dir']) / 'below'
    below.mkdir()
    write_film(below / 'film002.dcm', np.zeros((64, 64), np.uint8))
    assert convert(make_options(tmp_path, download, max_bad=1)) == 0
    assert read_report(tmp_path)['rejected_by_reason'] == {'several_files': 1}


def test_pictures_go_the_same_way_with_the_table_s_view(tmp_path):
    images = tmp_path / 'images'
    images.mkdir()
    for i in range(12):
        Image.fromarray(np.full((30, 20), 20 * i, np.uint8)).save(images / f'{i}.png')
    labels = write_rows(
        tmp_path / 'labels.csv', LABEL_HEADER, [[i, '', '', '', '', 0] for i in range(12)]
    )
    persons = write_rows(
        tmp_path / 'persons.csv',
        ['patientId', 'person_id', 'view', 'sex', 'age'],
        [[i, i, 'AP', 'M', 30] for i in range(12)],
    )
    download = {'images_dir': str(images), 'labels_csv': str(labels), 'person_csv': str(persons)}
    assert convert(make_options(tmp_path, download)) == 0
    for record in (r for split in read_records(tmp_path / 'out').values() for r in split):
        assert (record['film_height'], record['film_width']) == (30, 20)
        assert (record['view_position'], record['sex'], record['age']) == ('AP', 'M', 30)
        assert record['image'][8, 8, 0] == 20 * int(record['patient_id'])
        assert record['image'][8, 0, 0] == 0


def test_existing_output_is_replaced_only_when_asked_and_a_conversion(tmp_path):
    download = write_download(tmp_path / 'download')
    options = make_options(tmp_path, download)
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'thesis.tex').write_text('years of work')
    for overwrite in (False, True):
        with pytest.raises(InputError, match=str(out)):
            convert(dataclasses.replace(options, overwrite=overwrite))
    assert (out / 'thesis.tex').read_text() == 'years of work'

    (out / 'thesis.tex').unlink()
    out.rmdir()
    convert(options)
    with pytest.raises(InputError, match='--overwrite'):
        convert(options)
    convert(dataclasses.replace(options, overwrite=True, image_size=32))
    assert load_manifest(out)['image_size'] == 32
    assert sorted(p.name for p in tmp_path.iterdir()) == ['download', 'out']


def test_fault_41_two_converters_do_not_share_a_folder(tmp_path):
    download = write_download(tmp_path / 'download')
    partial = tmp_path / '.out.partial'
    partial.mkdir()
    lock = os.open(partial, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(InputError, match='another process is writing'):
        convert(make_options(tmp_path, download))
    assert partial.exists()
    os.close(lock)
    (partial / 'left_by_a_killed_run').write_text('')
    assert convert(make_options(tmp_path, download)) == 0
    assert not (tmp_path / 'out' / 'left_by_a_killed_run').exists()


def test_fault_42_unwritable_output_fails_before_any_work(tmp_path):
    (tmp_path / 'file').write_text('')
    options = Options(str(tmp_path / 'file' / 'out'), images_dir='no_images', labels_csv='no.csv')
    with pytest.raises(InputError, match='cannot be made'):
        convert(options)


def test_empty_folders_are_an_error(tmp_path):
    download = write_download(tmp_path / 'download')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match='no films in'):
        convert(make_options(tmp_path, download, images_dir=str(tmp_path / 'empty')))
    with pytest.raises(InputError, match='is no folder'):
        convert(make_options(tmp_path, download, images_dir=str(tmp_path / 'none')))


def test_command_says_what_it_did_and_errors_in_one_line(tmp_path):
    download = write_download(tmp_path / 'download')
    process = start_converter(tmp_path, download, '--num_workers=1')
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert '24 films accepted, 0 rejected' in stdout
    assert 'person-grouped split' in stdout
    assert load_manifest(tmp_path / 'out')['protocol']['fractions'] == [0.7, 0.15, 0.15]

    process = start_converter(tmp_path, download, '--split_fractions=0.7,x,0.1')
    _, stderr = process.communicate()
    assert process.returncode == 2
    assert stderr.count('\n') == 1
    assert '--split_fractions=0.7,x,0.1' in stderr


def test_all_real_films_are_converted(shared_data, tmp_path):
    source = shared_data / 'rsna'
    options = Options(
        images_dir=str(source / 'stage_2_train_images'),
        labels_csv=str(source / 'stage_2_train_labels.csv'),
        class_info_csv=str(source / 'stage_2_detailed_class_info.csv'),
        person_csv=str(source / 'rsna_to_nih_mapping.csv'),
        output_dir=str(tmp_path / 'out'),
        num_workers=1,
    )
    assert convert(options) == 0
    report = read_report(tmp_path)
    assert report['counts'] == {
        'files': 199,
        'candidates': 199,
        'labelled': 199,
        'accepted': 199,
        'rejected': 0,
        'missing': 0,
        'unlabelled': 0,
        'skipped': 0,
        'left_out': 0,
    }
    splits = load_manifest(tmp_path / 'out')['splits']
    assert sum(counts['boxes'] for counts in splits.values()) == 126
    assert sum(counts['persons'] for counts in splits.values()) == 158


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'split': 'kfold:2:0'}, 'kfold:K:I'),
        ({'split': 'persons'}, 'none of'),
        ({'split_fractions': (0.7, 0.2, 0.2)}, 'three numbers'),
        ({'split_csv': 'missing.csv'}, 'missing.csv'),
        ({'split': 'p1', 'split_seed': 3}, 'fixed division'),
    ],
)
def test_splits_that_cannot_be_made_are_refused_before_any_work(tmp_path, changes, message):
    options = Options(str(tmp_path / 'out'), images_dir='no_images', labels_csv='no.csv', **changes)
    with pytest.raises(InputError, match=message):
        convert(options)
