"""Lung fields lie where lungs are, white or not, and no picture breaks them."""

import csv
import functools

import numpy as np
import pytest
from scipy import ndimage

from data_prep.phantom import make_film, make_person
from pneumo_jax.data.dicom import read_film
from pneumo_jax.data.film import ReadOptions
from pneumo_jax.data.picture import standard_picture
from pneumo_jax.extent.extent import box_coverage
from pneumo_jax.extent.lung_fields import cells_on_film, lung_fields

SQUARE = (1024, 1024)


@functools.cache
def phantoms():
    rng = np.random.default_rng(11)
    films = [make_film(rng, make_person(rng)) for _ in range(12)]
    return [(standard_picture(film.pixels, 256), film.lungs) for film in films]


def overlap(a, b):
    """Dice's coefficient of two masks."""
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def cells(mask, num_cells=64):
    step = len(mask) // num_cells
    return mask.reshape(num_cells, step, num_cells, step).mean((1, 3)) > 0.5


def whitened(picture, lungs):
    """A phantom with its right lung white: as bright as what surrounds it."""
    side = np.arange(256) < 128
    lung = np.kron(lungs, np.ones((4, 4))) * side
    share = np.clip(ndimage.gaussian_filter(lung, 4) * 1.2, 0, 1)
    return (picture * (1 - share) + np.percentile(picture, 75) * share).astype(np.uint8)


def test_fields_are_where_the_phantoms_lungs_are():
    scores, inside = [], []
    for picture, lungs in phantoms():
        lungs = cells(lungs)
        fields = lung_fields(picture, film_size=SQUARE)
        assert fields.found
        scores.append(overlap(fields.both, lungs))
        inside.append((fields.both & lungs).sum() / lungs.sum())
    # Fields are generous: lungs without what the heart hides fill some 80 % of them.
    assert np.mean(scores) > 0.82
    assert min(scores) > 0.7
    assert np.mean(inside) > 0.9


def test_a_white_lung_keeps_its_field():
    scores = []
    for picture, lungs in phantoms()[:6]:
        lungs = cells(lungs)
        fields = lung_fields(whitened(picture, lungs), film_size=SQUARE)
        right = lungs & (np.arange(64) < 32)
        scores.append((fields.right & right).sum() / right.sum())
    assert np.mean(scores) > 0.8


def test_lungs_are_apart_and_their_thirds_are_the_zones():
    for picture, _ in phantoms()[:4]:
        fields = lung_fields(picture, film_size=SQUARE)
        assert not (fields.right & fields.left).any()
        assert np.nonzero(fields.right)[1].mean() < np.nonzero(fields.left)[1].mean()
        for lung, zones in ((fields.right, fields.zones[:3]), (fields.left, fields.zones[3:])):
            np.testing.assert_array_equal(sum(zone.astype(int) for zone in zones), lung)
            heights = [zone.any(axis=1).sum() for zone in zones]
            assert max(heights) - min(heights) <= 1
            rows = [np.flatnonzero(zone.any(axis=1)) for zone in zones]
            assert rows[0].max() < rows[1].min() <= rows[1].max() < rows[2].min()


def test_fields_move_with_the_film_and_do_not_mind_its_exposure():
    shifts, exposures = [], []
    for picture, _ in phantoms()[:8]:
        fields = lung_fields(picture, film_size=SQUARE).both
        moved = np.zeros_like(picture)
        moved[8:, :-8] = picture[:-8, 8:]
        shifted = lung_fields(moved, film_size=SQUARE).both
        shifts.append(overlap(fields[:-2, 2:], shifted[2:, :-2]))
        duller = (60 + 0.7 * picture).astype(np.uint8)
        exposures.append(overlap(fields, lung_fields(duller, film_size=SQUARE).both))
    assert np.mean(shifts) > 0.9
    assert np.mean(exposures) > 0.93


def test_a_cut_film_has_the_fields_of_the_whole_one():
    for picture, _ in phantoms()[:3]:
        fields = lung_fields(picture, film_size=SQUARE).both
        for part in (picture[20:236], picture[:, 20:236]):
            padded = standard_picture(np.ascontiguousarray(part), 256)
            cut = lung_fields(padded, film_size=part.shape).both
            assert overlap(fields & (cells_on_film(part.shape, 64) > 0.5), cut) > 0.85
            assert not cut[cells_on_film(part.shape, 64) == 0].any()


@pytest.mark.parametrize('size', [64, 100, 128, 224, 512])
def test_fields_hardly_depend_on_the_size_of_the_picture(size):
    picture, lungs = phantoms()[0]
    fields = lung_fields(standard_picture(picture, size), film_size=SQUARE)
    assert fields.right.shape == (size // 4, size // 4)
    at = (np.arange(size // 4) + 0.5) / (size // 4) * 512
    at = at.astype(int)
    assert overlap(fields.both, lungs[at][:, at]) > 0.7


def odd_pictures():
    rng = np.random.default_rng(0)
    yield from (np.full((256, 256), grey, np.uint8) for grey in (0, 7, 128, 255))
    yield from (rng.integers(0, 256, (256, 256), dtype=np.uint8) for _ in range(3))
    yield np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    yield np.eye(256, dtype=np.uint8) * 255
    yield 255 - phantoms()[1][0]


def test_what_shows_no_chest_gets_the_average_lungs_and_says_so():
    average = lung_fields(np.zeros((256, 256), np.uint8), film_size=SQUARE)
    assert 0.2 < average.both.mean() < 0.45
    for picture in odd_pictures():
        fields = lung_fields(picture, film_size=SQUARE)
        assert not fields.found
        np.testing.assert_array_equal(fields.both, average.both)


@pytest.mark.parametrize('film_size', [(1, 1), (3000, 2), (100, 1000), (480, 640)])
def test_any_shape_of_film_has_fields_on_the_film(film_size):
    noise = np.random.default_rng(1).integers(0, 256, film_size, dtype=np.uint8)
    fields = lung_fields(standard_picture(noise, 512), film_size=film_size)
    assert not fields.both[cells_on_film(film_size, 128) == 0].any()
    assert not (fields.right & fields.left).any()


def test_the_average_lungs_stand_in_the_middle_of_the_film():
    wide = lung_fields(np.zeros((256, 256), np.uint8), film_size=(600, 1000)).both
    # The film fills rows 12.8 to 51.2; lungs leave some of it free above and below.
    rows = np.flatnonzero(wide.any(axis=1))
    assert 14 < rows[0] < 20
    assert 45 < rows[-1] < 52
    high = lung_fields(np.zeros((256, 256), np.uint8), film_size=(1000, 600)).both
    columns = np.flatnonzero(high.any(axis=0))
    assert 13 <= columns[0] < 20 < 43 < columns[-1] < 51


def test_the_same_picture_gives_the_same_fields():
    picture, _ = phantoms()[2]
    first, second = (lung_fields(picture.copy(), film_size=SQUARE) for _ in range(2))
    np.testing.assert_array_equal(first.right, second.right)
    np.testing.assert_array_equal(first.left, second.left)


@pytest.mark.parametrize(
    'picture', [np.zeros((8, 9), np.uint8), np.zeros((8, 8)), np.zeros((4, 4), np.uint8)]
)
def test_other_pictures_are_refused(picture):
    with pytest.raises(ValueError, match='picture'):
        lung_fields(picture, film_size=SQUARE)


def test_cells_on_film_add_up_to_the_film():
    for film_size in ((300, 200), (7, 64), (64, 64)):
        share = cells_on_film(film_size, 16)
        side = max(film_size)
        assert share.sum() == pytest.approx(film_size[0] * film_size[1] / side**2 * 256)


def test_boxes_of_real_films_are_inside_the_fields(shared_data):
    boxes = {}
    with (shared_data / 'rsna/stage_2_train_labels.csv').open() as file:
        for row in csv.DictReader(file):
            if row['Target'] == '1':
                box = [float(row[name]) for name in ('x', 'y', 'width', 'height')]
                boxes.setdefault(row['patientId'], []).append(box)
    inside, areas = [], []
    for name in sorted(boxes)[::3]:
        film = read_film(
            shared_data / f'rsna/stage_2_train_images/{name}.dcm', options=ReadOptions()
        )
        size = film.height, film.width
        fields = lung_fields(standard_picture(film.pixels, 256), film_size=size)
        covered = box_coverage(boxes[name], size, 64)
        inside.append(covered[fields.both].sum() / covered.sum())
        areas.append(fields.both.mean())
    assert np.mean(inside) > 0.85
    assert 0.25 < np.median(areas) < 0.4
