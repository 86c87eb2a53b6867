"""Phantom films and the phantom download."""

import csv
import dataclasses
import subprocess
import sys
import uuid
import warnings
from collections import Counter

import numpy as np
import pydicom
import pytest
from PIL import Image
from scipy import ndimage

from data_prep import demo_download, phantom
from pneumo_jax.errors import InputError

NUM_FILMS = 14


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo') / 'download'
    return demo_download.make_demo(folder, num_films=NUM_FILMS, seed=0, num_workers=1)


def rows(folder, name):
    with (folder / name).open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return pydicom.dcmread(path)


def plan_of(seed):
    rng = np.random.default_rng(seed)
    return phantom.plan_film(rng, phantom.make_person(rng))


def positive_plans(count):
    plans = (plan_of(seed) for seed in range(1000))
    return [plan for plan, _ in zip((p for p in plans if p.opacities), range(count), strict=False)]


def pixels_and_effect(plan):
    """The film, and how much brighter its opacities made each pixel."""
    film = phantom.render(plan)
    without = phantom.render(dataclasses.replace(plan, opacities=()))
    return film, film.pixels.astype(np.float32) - without.pixels


def in_boxes(boxes):
    inside = np.zeros((phantom.FILM_SIZE, phantom.FILM_SIZE), bool)
    for x, y, w, h in boxes.astype(int):
        inside[y : y + h, x : x + w] = True
    return inside


def test_workers_do_not_change_a_byte(demo, tmp_path):
    again = demo_download.make_demo(tmp_path / 'again', num_films=NUM_FILMS, seed=0, num_workers=2)
    assert content(again) == content(demo)


def test_another_seed_gives_other_films(demo, tmp_path):
    other = demo_download.make_demo(
        tmp_path / 'other', num_films=3, seed=1, num_workers=1, with_contact_sheet=False
    )
    images = content(other / demo_download.IMAGES)
    assert len(images) == 3
    assert not set(images) & set(content(demo / demo_download.IMAGES))
    assert not set(images.values()) & set(content(demo / demo_download.IMAGES).values())
    assert not (other / demo_download.CONTACT_SHEET).exists()


def test_tables_agree_with_each_other_and_with_the_films(demo):
    labels, classes = rows(demo, demo_download.LABELS), rows(demo, demo_download.CLASSES)
    persons = {row['patientId']: row for row in rows(demo, demo_download.PERSONS)}
    files = {path.stem: path for path in (demo / demo_download.IMAGES).iterdir()}
    assert set(persons) == set(files) and len(files) == NUM_FILMS
    assert list(persons) == sorted(persons)
    assert [row['patientId'] for row in labels] == [row['patientId'] for row in classes]
    for label, row in zip(labels, classes, strict=True):
        assert (label['Target'] == '1') == (row['class'] == 'Lung Opacity')
        assert row['class'] in phantom.CLASS_NAMES
        box = [label[key] for key in ('x', 'y', 'width', 'height')]
        assert all(box) if label['Target'] == '1' else not any(box)
    for patient_id, row in persons.items():
        assert str(uuid.UUID(patient_id)) == patient_id
        dataset = read(files[patient_id])
        assert (dataset.ViewPosition, dataset.PatientSex) == (row['view'], row['sex'])
        assert str(dataset.PatientAge) == row['age']


def test_persons_have_several_films_and_keep_their_sex_and_age(demo):
    persons = {}
    for row in rows(demo, demo_download.PERSONS):
        persons.setdefault(row['person_id'], []).append((row['sex'], row['age']))
    assert all(len(set(facts)) == 1 for facts in persons.values())
    films = Counter(film.person for film in demo_download.plan_demo(600, 0)).values()
    assert set(films) == set(range(1, 7))


def test_films_have_the_tags_of_rsna(demo, shared_data):
    real = read(next(iter(sorted((shared_data / 'rsna/stage_2_train_images').glob('*.dcm')))))
    for path in (demo / demo_download.IMAGES).iterdir():
        dataset = read(path)
        assert [(e.tag, e.VR) for e in dataset] == [(e.tag, e.VR) for e in real]
        for tag in (
            *('SOPClassUID', 'StudyDate', 'Modality', 'ConversionType', 'BodyPartExamined'),
            *('Rows', 'Columns', 'BitsStored', 'PixelRepresentation', 'LossyImageCompression'),
            *('PhotometricInterpretation', 'LossyImageCompressionMethod', 'SamplesPerPixel'),
        ):
            assert dataset[tag].value == real[tag].value, tag
        assert dataset.file_meta.TransferSyntaxUID == real.file_meta.TransferSyntaxUID
        assert dataset.PatientID == path.stem == str(dataset.PatientName)
        assert dataset.SeriesDescription == f'view: {dataset.ViewPosition}'
        assert str(dataset.PatientAge).isdigit()
        assert dataset.pixel_array.shape == (1024, 1024)
        assert 60_000 < path.stat().st_size < 240_000


def test_boxes_fit_what_the_opacities_add():
    for plan in positive_plans(12):
        film, effect = pixels_and_effect(plan)
        inside = in_boxes(film.boxes)
        assert 1 <= len(film.boxes) <= len(plan.opacities)
        assert np.all(film.boxes[:, :2] >= 0) and np.all(film.boxes[:, 2:] >= 40)
        assert np.all(film.boxes[:, :2] + film.boxes[:, 2:] <= phantom.FILM_SIZE)
        assert effect[inside].mean() > 5
        assert effect[inside].mean() > 15 * abs(effect[~inside].mean())
        # No side of a box stands off: a tenth of the box at each side is brightened too.
        for x, y, w, h in film.boxes.astype(int):
            crop = effect[y : y + h, x : x + w]
            edges = (crop[: h // 10], crop[-(h // 10) :], crop[:, : w // 10], crop[:, -(w // 10) :])
            assert min(edge.mean() for edge in edges) > 0.05 * crop.mean()


def test_opacities_lie_in_the_lungs():
    for plan in positive_plans(8):
        film, effect = pixels_and_effect(plan)
        lungs = film.lungs.repeat(2, axis=0).repeat(2, axis=1)
        lungs = ndimage.binary_dilation(lungs, iterations=20)
        assert np.all(effect[~lungs] < 30)
        rows_with_lung, columns_with_lung = np.nonzero(lungs)
        for x, y, w, h in film.boxes:
            assert x >= columns_with_lung.min() and x + w <= columns_with_lung.max() + 1
            assert y >= rows_with_lung.min() and y + h <= rows_with_lung.max() + 1


def test_an_opacity_stays_in_its_lung():
    for plan in positive_plans(8):
        film, effect = pixels_and_effect(dataclasses.replace(plan, opacities=plan.opacities[:1]))
        left, right = (film.lungs & side for side in halves(plan))
        means = [effect[::2, ::2][lung].mean() for lung in (left, right)]
        assert np.argmax(means) == (0 if plan.opacities[0].left else 1)
        assert min(means) < 0.1


def halves(plan):
    """The grid beyond the mediastinum on the patient's left (picture right) and right."""
    y, x = np.indices((512, 512)) / 256 - 1
    across = (x - plan.shift[0]) + np.tan(plan.angle) * (y - plan.shift[1])
    return across > 0.1, across < -0.1


def test_only_the_class_lung_opacity_has_boxes_and_only_normal_has_no_finding():
    for seed in range(300):
        plan = plan_of(seed)
        assert (plan.class_id == 2) == bool(plan.opacities)
        assert plan.class_id != 1 or plan.findings
        assert plan.class_id != 0 or not plan.findings


def test_shares_are_those_of_rsna_with_more_positives():
    plans = [plan_of(seed) for seed in range(2000)]
    classes = np.bincount([plan.class_id for plan in plans]) / len(plans)
    np.testing.assert_allclose(classes, [0.33, 0.36, 0.31], atol=0.04)
    positive = {
        view: np.mean([plan.class_id == 2 for plan in plans if plan.view == view])
        for view in ('AP', 'PA')
    }
    assert positive['AP'] > 2 * positive['PA']
    counts = Counter(len(plan.opacities) for plan in plans if plan.opacities)
    assert set(counts) == {1, 2, 3} and counts[2] > counts[1] > counts[3]


def test_opacities_change_nothing_outside_the_lungs():
    # Neither grain nor border nor exposure may tell a positive film.
    for plan in positive_plans(4):
        film, effect = pixels_and_effect(plan)
        lungs = film.lungs.repeat(2, axis=0).repeat(2, axis=1)
        outside = ~ndimage.binary_dilation(lungs, iterations=24)
        assert np.abs(effect[outside]).max() <= 1


def test_a_person_keeps_her_anatomy():
    plan = dataclasses.replace(plan_of(5), findings=(), opacities=(), grain=0)
    other = dataclasses.replace(plan.person, texture_seed=plan.person.texture_seed + 1)
    lungs = ndimage.binary_erosion(phantom.render(plan).lungs, iterations=8)

    def lung_detail(plan):
        pixels = phantom.render(plan).pixels[::2, ::2].astype(np.float32)
        return (pixels - ndimage.gaussian_filter(pixels, 6))[lungs]

    film = lung_detail(plan)
    again = lung_detail(dataclasses.replace(plan, noise_seed=plan.noise_seed + 1))
    stranger = lung_detail(dataclasses.replace(plan, person=other))
    assert np.std(again - film) < 0.5 * np.std(stranger - film)


def test_contact_sheet_shows_films(demo):
    with Image.open(demo / demo_download.CONTACT_SHEET) as sheet:
        assert sheet.size[0] == 8 * 256
        assert np.asarray(sheet).std() > 20


def test_existing_folders_are_safe(demo, tmp_path):
    before = content(demo)
    with pytest.raises(InputError, match='--overwrite'):
        demo_download.make_demo(demo, num_films=1, seed=0)
    assert content(demo) == before
    (tmp_path / 'letter.txt').write_text('dear all')
    with pytest.raises(InputError, match='not written by this command'):
        demo_download.make_demo(tmp_path, num_films=1, seed=0, overwrite=True)
    assert (tmp_path / 'letter.txt').exists()


def test_overwrite_replaces_the_whole_folder(tmp_path):
    folder = tmp_path / 'download'
    for seed in (0, 1):
        demo_download.make_demo(folder, num_films=1, seed=seed, num_workers=1, overwrite=True)
    assert len(list((folder / demo_download.IMAGES).iterdir())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ['download']


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError('disk full')

    monkeypatch.setattr(demo_download, '_write_tables', fail)
    with pytest.raises(OSError, match='disk full'):
        demo_download.make_demo(tmp_path / 'download', num_films=1, seed=0, num_workers=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('bad', [{'num_films': 0}, {'seed': -1}, {'num_workers': -1}])
def test_numbers_out_of_range_are_refused(tmp_path, bad):
    arguments = {'num_films': 1, 'seed': 0} | bad
    with pytest.raises(InputError, match=next(iter(bad))):
        demo_download.make_demo(tmp_path / 'download', **arguments)


def test_import_leaves_jax_alone():
    code = 'import sys, data_prep.demo_download; sys.exit("jax" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
