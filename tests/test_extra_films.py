import csv
import itertools

import numpy as np
import pytest

from configs import base
from data_prep.conversion import convert
from pneumo_jax.data.extra_films import ExtraFilms, make_extra_films, mixed_batches, weak_rows
from pneumo_jax.data.pipeline import FilmSplit, train_batches
from pneumo_jax.data.sampling import EpochOrder
from pneumo_jax.errors import InputError
from tests.conftest import run_command
from tests.conversions import make_options, read_records
from tests.film_files import LABEL_HEADER, write_film, write_rows

BATCH, NUM_EXTRA = 8, 3


@pytest.fixture(scope='module')
def main_films(phantom_shards):
    """(film, person) of each film, by split."""
    return {
        name: FilmSplit(phantom_shards, name).columns(('patient_id', 'person_id'))
        for name in ('train', 'validation', 'test')
    }


@pytest.fixture(scope='module')
def persons(main_films):
    """The persons of 20 films of another source, by film; some are in the phantoms too."""
    of_split = {name: films[0][1] for name, films in main_films.items()}
    return {
        f'weak{i:02d}': person
        for i, person in enumerate(
            [
                of_split['validation'],
                of_split['test'],
                of_split['test'],
                of_split['train'],
                '',
                *(f'other{i:02d}' for i in range(14)),
            ]
        )
    } | {main_films['validation'][-1][0]: 'person whose film has another id elsewhere'}


@pytest.fixture(scope='module')
def weak_folder(persons, tmp_path_factory):
    return convert_films(tmp_path_factory.mktemp('weak'), persons)


def convert_films(folder, persons, **options):
    """Shards of a film of random pixels for each, all negative."""
    images = folder / 'images'
    images.mkdir()
    rng = np.random.default_rng(5)
    for film in persons:
        write_film(images / f'{film}.dcm', rng.integers(0, 256, (64, 64), np.uint8))
    labels = [[film, '', '', '', '', 0] for film in persons]
    known = [[film, person] for film, person in persons.items() if person]
    download = {
        'images_dir': str(images),
        'labels_csv': str(write_rows(folder / 'labels.csv', LABEL_HEADER, labels)),
        'person_csv': str(write_rows(folder / 'persons.csv', ['patientId', 'person_id'], known)),
    }
    assert convert(make_options(folder, download, **({'image_size': 64} | options))) == 0
    return folder / 'out'


@pytest.fixture
def extra(phantom_shards, weak_folder):
    return ExtraFilms([weak_folder], data_dir=phantom_shards, num_rows=NUM_EXTRA, seed=0)


@pytest.fixture
def split(phantom_shards):
    return FilmSplit(phantom_shards, 'train')


def run_config(data_dir, *dirs, **fields):
    config = base.get_config()
    config.data.dir, config.data.extra_dirs = str(data_dir), tuple(map(str, dirs))
    config.update_from_flattened_dict(fields)
    return config


def batches_of(split, extra, steps, *, parts=1, batch_size=BATCH, seed=0):
    return list(
        mixed_batches(
            split,
            extra,
            epoch_order=EpochOrder(split, run_config('', seed=seed)),
            batch_size=batch_size,
            parts=parts,
            steps=steps,
        )
    )


def test_all_films_of_all_splits_but_those_of_judged_persons(extra, persons, main_films):
    judged = dict(main_films['validation'] + main_films['test'])
    expected = {
        film
        for film, person in persons.items()
        if film not in judged and person not in judged.values()
    }
    ids = [film for film, _ in extra.columns(('patient_id', 'person_id'))]
    assert set(ids) == expected
    assert len(extra) == len(ids) == 16
    assert [extra[i]['patient_id'] for i in range(len(extra))] == ids
    assert {'weak03', 'weak04'} <= expected
    assert (extra.num_left_out, extra.num_unchecked, extra.num_judged_unknown) == (4, 1, 0)
    first, second = extra.describe()
    assert first.startswith('16 weakly labelled films fill 3 rows of each batch; 4 others are in')
    assert 'persons of 1 of them and of 0 films of validation' in second


def test_a_batch_has_its_share_and_says_which_rows_those_are(split, extra):
    weak_ids = {film for (film,) in extra.columns(('patient_id',))}
    pictures = {
        film['patient_id']: film['image'] for films in (split, extra) for film in map_items(films)
    }
    for parts in (1, 2):
        for batch, ids in batches_of(split, extra, range(12), parts=parts):
            np.testing.assert_array_equal(batch['weak'], [film in weak_ids for film in ids])
            assert batch['weak'].sum() == NUM_EXTRA
            assert batch['mask'].all()
            np.testing.assert_array_equal(batch['image'], [pictures[film] for film in ids])


def map_items(films):
    return [films[i] for i in range(len(films))]


def test_training_films_come_as_without_the_others(split, extra):
    """One pass over them is an epoch of ``len(split) / (batch_size - num_rows)`` steps."""
    steps = range(20)
    alone = train_batches(
        split,
        epoch_order=EpochOrder(split, run_config('')),
        batch_size=BATCH - NUM_EXTRA,
        steps=steps,
    )
    for (expected, _), (got, _) in zip(alone, batches_of(split, extra, steps), strict=True):
        for name, rows in expected.items():
            np.testing.assert_array_equal(got[name][~got['weak']], rows)
            assert got[name].dtype == rows.dtype


def test_every_extra_film_once_a_pass_in_an_order_of_its_own(split, extra):
    num = len(extra)
    weak = [
        film
        for batch, ids in batches_of(split, extra, range(num))
        for film in itertools.compress(ids, batch['weak'])
    ]
    passes = [weak[i * num : (i + 1) * num] for i in range(NUM_EXTRA)]
    assert all(len(set(films)) == num for films in passes)
    assert passes[0] != passes[1] != passes[2]
    main_order = np.random.default_rng((0, 1)).permutation(num)
    assert not np.array_equal(extra.epoch_order(1), main_order)
    assert not np.array_equal(extra.epoch_order(0), np.random.default_rng((0, 0)).permutation(num))


def test_fault_54_resuming_gives_the_same_batches(split, phantom_shards, weak_folder):
    def batches(steps, seed=0):
        extra = ExtraFilms([weak_folder], data_dir=phantom_shards, num_rows=3, seed=seed)
        return batches_of(split, extra, steps, seed=0)

    straight, resumed = batches(range(20)), batches(range(7, 20))
    for (expected, expected_ids), (got, ids) in zip(straight[7:], resumed, strict=True):
        assert ids == expected_ids
        assert got.keys() == expected.keys()
        for name, rows in expected.items():
            np.testing.assert_array_equal(got[name], rows)
    assert [ids for _, ids in batches(range(20), seed=1)] != [ids for _, ids in straight]


def test_without_extra_films_batches_are_plain_and_of_the_same_structure(split, extra):
    ((plain, ids),) = batches_of(split, None, range(1))
    ((mixed, _),) = batches_of(split, extra, range(1))
    order = EpochOrder(split, run_config(''))
    ((expected, expected_ids),) = train_batches(
        split, epoch_order=order, batch_size=BATCH, steps=range(1)
    )
    assert ids == expected_ids
    assert not plain['weak'].any()
    for name, rows in expected.items():
        np.testing.assert_array_equal(plain[name], rows)
    assert shapes(plain) == shapes(mixed)


def shapes(batch):
    return {name: (rows.shape, rows.dtype) for name, rows in batch.items()}


@pytest.mark.parametrize('parts', [1, 2, 3, 4])
@pytest.mark.parametrize('rows_of_a_part', [1, 2, 6, 8])
def test_parts_and_devices_have_equally_many_weak_rows(parts, rows_of_a_part):
    size = parts * rows_of_a_part
    for num, devices in itertools.product(range(1, size), (1, 2, 3, 4)):
        if rows_of_a_part % devices:
            continue
        weak = np.zeros(size, int)
        np.add.at(weak, weak_rows(size, num, parts), 1)
        assert weak.sum() == num
        assert weak.max() == 1, 'a row was taken twice'
        # Axes: devices, rows of a part, parts.
        cells = weak.reshape(devices, -1, parts).sum(axis=1)
        for counts in (cells, cells.sum(axis=0), cells.sum(axis=1)):
            assert np.ptp(counts) <= 1, (num, devices, counts)


@pytest.mark.parametrize(
    ('share', 'batch_size', 'rows'),
    [(0.25, 32, 8), (0.25, 8, 2), (0.01, 8, 1), (0.99, 8, 7), (0.5, 2, 1), (0.4, 8, 3)],
)
def test_the_share_becomes_rows(phantom_shards, weak_folder, share, batch_size, rows):
    fields = {'data.extra_share': share, 'batch_size': batch_size}
    extra = make_extra_films(run_config(phantom_shards, weak_folder, **fields))
    assert extra.num_rows == rows


def test_no_folder_means_no_extra_films(phantom_shards):
    assert make_extra_films(run_config(phantom_shards)) is None


def test_nonsense_is_refused_with_a_remedy(phantom_shards, weak_folder, tmp_path, split, extra):
    def refused(*dirs, **fields):
        with pytest.raises(InputError) as error:
            make_extra_films(run_config(phantom_shards, *dirs, **fields))
        return str(error.value)

    assert 'try --config.batch_size=2' in refused(weak_folder, batch_size=1)
    assert 'the same shards twice' in refused(weak_folder, weak_folder)
    assert 'same shards as config.data.dir' in refused(weak_folder, phantom_shards)
    assert 'manifest.json cannot be read' in refused(tmp_path)
    message = refused(weak_folder, batch_size=80)
    assert '16 films are left for the 20 of each batch, 4 are of' in message
    assert 'lower --config.data.extra_share' in message
    small = convert_films(tmp_path, {'a': 'p', 'b': 'q'}, image_size=32, split_fractions=(1, 0, 0))
    assert '32 px wide, those of config.data.dir 64 px: convert them with --image_size=64' in (
        refused(small)
    )
    with pytest.raises(InputError, match='is larger than the'):
        batches_of(split, extra, range(1), batch_size=len(split) + 1)


def test_folders_of_other_encodings_add_up(phantom_shards, weak_folder, tmp_path, split):
    png = convert_films(tmp_path, {f'png{i}': f'p{i}' for i in range(4)}, encoding='png')
    extra = ExtraFilms([weak_folder, png], data_dir=phantom_shards, num_rows=5, seed=0)
    assert len(extra) == 20
    assert len(set(extra.fingerprints)) == 2
    seen = {film for _, ids in batches_of(split, extra, range(4)) for film in ids}
    assert {f'png{i}' for i in range(4)} <= seen
    records = {film['patient_id']: film for films in read_records(png).values() for film in films}
    of_extra = {film['patient_id']: film for film in map_items(extra)}
    for film, record in records.items():
        np.testing.assert_array_equal(of_extra[film]['image'], record['image'])


@pytest.mark.slow
def test_real_nih_films_of_judged_rsna_persons_are_left_out(shared_data, tmp_path):
    rsna, weak = shared_data / 'rsna', shared_data / 'nih_weak'
    sources = {
        'main': [
            f'--images_dir={rsna}/stage_2_train_images',
            f'--labels_csv={rsna}/stage_2_train_labels.csv',
            f'--person_csv={rsna}/rsna_to_nih_mapping.csv',
        ],
        'extra': ['--source=csv', f'--labels_csv={weak}/labels.csv'],
    }
    for name, flags in sources.items():
        done = run_command(
            'data_prep/convert.py',
            *flags,
            f'--output_dir={tmp_path / name}',
            '--image_size=32',
            '--fast',
        )
        assert done.returncode == 0, done.stderr
    extra = make_extra_films(run_config(tmp_path / 'main', tmp_path / 'extra'))

    with (rsna / 'rsna_to_nih_mapping.csv').open() as file:
        person_of = {row['patientId']: row['nih_patient'] for row in csv.DictReader(file)}
    records = read_records(tmp_path / 'main')
    judged = {person_of[r['patient_id']] for s in ('validation', 'test') for r in records[s]}
    with (weak / 'labels.csv').open() as file:
        nih = [row['patient_id'] for row in csv.DictReader(file)]
    of_judged = sum(person in judged for person in nih)
    assert of_judged > 0, 'nothing to leave out'
    assert extra.num_left_out == of_judged
    assert len(extra) == len(nih) - of_judged
    assert (extra.num_unchecked, extra.num_judged_unknown) == (0, 0)
    assert not {person for (person,) in extra.columns(('person_id',))} & judged
