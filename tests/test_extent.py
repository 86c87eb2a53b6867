"""Opacity extents are shares of areas, percentiles mid-ranks, and intervals hold what they say."""

import json
import math

import numpy as np
import pytest

from pneumo_jax.extent.extent import (
    TOUCHED_FROM,
    Extent,
    box_coverage,
    laterality,
    opacity_extent,
)
from pneumo_jax.extent.lung_fields import ZONES, LungFields
from pneumo_jax.extent.reference import ExtentReference, fit_reference


def made_fields(num_cells=12):
    """Two lungs of one sixth of the square each, in three bands."""
    rows, columns = np.indices((num_cells, num_cells)) * 12 // num_cells
    tall = (rows >= 3) & (rows < 9)
    right, left = (tall & (columns >= x) & (columns < x + 4) for x in (1, 7))
    bands = [(rows >= top) & (rows < top + 2) for top in (3, 5, 7)]
    return LungFields(right, left, tuple(lung & b for lung in (right, left) for b in bands), True)


def slow_coverage(boxes, film_size, num_cells, fine):
    """The union of boxes with whole corners, pixel by pixel of a film magnified to whole cells."""
    side = max(film_size)
    film = np.zeros(film_size, bool)
    for x, y, w, h in boxes:
        film[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = True
    square = np.zeros((side, side), bool)
    top, left = ((side - n) // 2 for n in film_size)
    square[top : top + film_size[0], left : left + film_size[1]] = film
    large = np.kron(square, np.ones((fine, fine), bool))
    step = len(large) // num_cells
    return large.reshape(num_cells, step, num_cells, step).mean((1, 3))


@pytest.mark.parametrize('film_size', [(24, 24), (24, 15), (9, 24)])
def test_box_coverage_is_the_exact_union(film_size):
    rng = np.random.default_rng(3)
    for count in (0, 1, 2, 4, 8) * 5:
        boxes = np.concatenate(
            [rng.integers(-4, 20, (count, 2)), rng.integers(0, 14, (count, 2))], 1
        )
        # 24 pixels magnified seven times are 7 cells of 24.
        slow = slow_coverage(boxes, film_size, 7, fine=7)
        np.testing.assert_allclose(box_coverage(boxes, film_size, 7), slow, atol=1e-12)


def test_box_coverage_of_fractions_of_pixels():
    share = box_coverage([[0.25, 0.5, 1.0, 0.25], [0.25, 0.6, 0.5, 0.15]], (2, 2), 2)
    np.testing.assert_allclose(share, [[0.75 * 0.25, 0.25 * 0.25], [0, 0]], atol=1e-15)


def test_extents_are_shares_of_areas():
    fields = made_fields()
    opacity = np.zeros((12, 12))
    opacity[3:5, 1:5] = 1  # the right upper zone
    opacity[7:9, 7:11] = 0.5  # half of the left lower one
    opacity[0, 0] = 1  # beside the lungs
    extent = opacity_extent(opacity, fields, film_size=(10, 10))
    assert extent == Extent(film=13 / 144, lungs=12 / 48, right=8 / 24, left=4 / 24, zones=33)
    assert extent.zone_names == ('RU', 'LL')
    assert (len(extent.zone_names), extent.laterality) == (2, 'bilateral')


def test_nothing_and_everything():
    fields = made_fields()
    nothing = opacity_extent(np.zeros((12, 12)), fields, film_size=(5, 7))
    assert nothing == Extent(0.0, 0.0, 0.0, 0.0, 0)
    assert (nothing.laterality, nothing.zone_names) == ('none', ())
    everything = opacity_extent(np.ones((12, 12)), fields, film_size=(5, 7))
    assert everything == Extent(1.0, 1.0, 1.0, 1.0, 63)
    assert everything.zone_names == ZONES


def test_a_film_without_lungs_on_it_has_no_lung_extent():
    none = np.zeros((12, 12), bool)
    fields = LungFields(none, none, (none,) * 6, False)
    extent = opacity_extent(np.ones((12, 12)), fields, film_size=(5, 5))
    assert extent == Extent(1.0, 0.0, 0.0, 0.0, 0)


@pytest.mark.parametrize('film_size', [(100, 100), (100, 61), (37, 100)])
def test_the_share_of_the_film_leaves_the_margins_out(film_size):
    height, width = film_size
    boxes = [[0.1 * width, 0.2 * height, 0.5 * width, 0.4 * height]]
    extent = opacity_extent(box_coverage(boxes, film_size, 12), made_fields(), film_size=film_size)
    assert extent.film == pytest.approx(0.2)
    whole = opacity_extent(np.ones((12, 12)), made_fields(), film_size=film_size)
    assert whole.film == pytest.approx(1)


def test_a_zone_is_touched_from_the_stated_share_on():
    fields = made_fields()
    for share, zones in ((TOUCHED_FROM + 1e-9, 2), (TOUCHED_FROM - 1e-9, 0)):
        opacity = fields.zones[1] * share
        assert opacity_extent(opacity, fields, film_size=(9, 9)).zones == zones


def test_laterality_is_of_the_lungs_with_a_touched_zone():
    names = [laterality(zones) for zones in range(64)]
    expected = [
        {(0, 0): 'none', (1, 0): 'right', (0, 1): 'left', (1, 1): 'bilateral'}[
            int(zones % 8 > 0), int(zones >= 8)
        ]
        for zones in range(64)
    ]
    assert names == expected
    for unknown in (-1, 64):
        with pytest.raises(ValueError, match='zones='):
            laterality(unknown)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match='shape'):
        opacity_extent(np.zeros((8, 8)), made_fields(), film_size=(9, 9))


def made_extents(rng, count):
    true = rng.beta(1, 3, count)
    predicted = np.clip(true + rng.normal(0, 0.15, count) * np.sqrt(true), 0, 1)
    return predicted, true


@pytest.mark.parametrize(('count', 'level'), [(9, 0.9), (30, 0.9), (40, 0.8)])
def test_intervals_hold_the_truth_as_often_as_stated(count, level):
    """The mean coverage over calibrations is k / (n + 1), k = ceil((n + 1) level)."""
    rng = np.random.default_rng(4)
    coverage = []
    for _ in range(1500):
        predicted, true = made_extents(rng, count + 40)
        labels = np.ones(count)
        reference = fit_reference(predicted[:count], true[:count], labels, level=level)
        low, high = reference.interval(predicted[count:])
        coverage.append(np.mean((low <= true[count:]) & (true[count:] <= high)))
    assert np.mean(coverage) == pytest.approx(
        math.ceil((count + 1) * level) / (count + 1), abs=0.012
    )


def test_intervals_are_of_films_with_an_opacity_and_a_known_truth():
    predicted, true = made_extents(np.random.default_rng(5), 40)
    alone = fit_reference(predicted, true, np.ones(40))
    others = np.array([0.9, 0.8, 0.3])
    mixed = fit_reference(
        np.append(predicted, others), np.append(true, [np.nan, 0, 0]), [1] * 41 + [0, 0]
    )
    assert mixed.interval(0.2) == alone.interval(0.2)
    assert (mixed.num_films, alone.num_films) == (40, 40)
    assert mixed.extents == tuple(sorted([*predicted, 0.9]))


def test_too_few_films_give_no_interval():
    predicted, true = made_extents(np.random.default_rng(6), 9)
    assert np.isfinite(fit_reference(predicted, true, np.ones(9)).interval(0.3)).all()
    for count in (0, 1, 8):
        reference = fit_reference(predicted[:count], true[:count], np.ones(count))
        assert np.isnan(reference.interval(0.3)).all()
        assert np.isnan(reference.interval(np.array([0.3, 0.4]))).all()
    # 19 films are exactly enough for 0.95, whatever 20 * 0.95 is in binary.
    predicted, true = made_extents(np.random.default_rng(7), 19)
    assert np.isfinite(fit_reference(predicted, true, np.ones(19), level=0.95).half_width)


def test_intervals_stay_in_range_and_around_the_prediction():
    reference = ExtentReference(extents=(0.1,), half_width=0.3, level=0.9, num_films=20)
    extents = np.linspace(0, 1, 50)
    low, high = reference.interval(extents)
    assert ((low >= 0) & (low <= extents) & (extents <= high) & (high <= 1)).all()
    assert reference.interval(0.25) == (pytest.approx(0.04), pytest.approx(0.64))


def test_percentiles_are_mid_ranks():
    reference = ExtentReference((0.1, 0.2, 0.2, 0.5), math.nan, 0.9, 0)
    np.testing.assert_allclose(
        reference.percentile([0.0, 0.1, 0.15, 0.2, 0.5, 0.9, np.nan]),
        [0, 12.5, 25, 50, 87.5, 100, np.nan],
    )
    assert reference.percentile(0.2) == 50
    empty = fit_reference([], [], [])
    assert np.isnan(empty.percentile(0.2))


def test_json_brings_the_reference_back():
    predicted, true = made_extents(np.random.default_rng(8), 25)
    for count in (25, 3):
        reference = fit_reference(predicted[:count], true[:count], np.ones(count))
        text = json.dumps(reference.to_json(), allow_nan=False)
        back = ExtentReference.from_json(json.loads(text))
        assert back.to_json() == reference.to_json()
        np.testing.assert_array_equal(back.interval(0.2), reference.interval(0.2))
        assert back.percentile(0.2) == reference.percentile(0.2)
