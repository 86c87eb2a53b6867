"""The detector's targets against loops over boxes and cells."""

import math

import jax
import numpy as np
import pytest

from pneumo_jax.boxes.detector_targets import detector_targets

SIZE, MAP = 128, 16
STRIDE = SIZE // MAP

jitted = jax.jit(detector_targets, static_argnames=('image_size', 'map_size'))


def _targets(boxes, num_boxes=None):
    """Heat [m,m], sides [m,m,4] and weight [m,m] of one picture's boxes in picture pixels."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    num = len(boxes) if num_boxes is None else num_boxes
    # Always 8 rows, so that all tests compile once.
    rows = np.concatenate([boxes, np.full((8 - len(boxes), 4), np.nan, np.float32)])
    targets = jitted(rows[None], np.array([num]), image_size=SIZE, map_size=MAP)
    assert targets.keys() == {'heat', 'sides', 'sides_weight'}
    assert all(x.dtype == np.float32 for x in targets.values())
    assert targets['heat'].shape == targets['sides_weight'].shape == (1, MAP, MAP, 1)
    assert targets['sides'].shape == (1, MAP, MAP, 4)
    heat, sides, weight = (np.asarray(targets[name])[0] for name in targets)
    return heat[..., 0], sides, weight[..., 0]


def _looped(boxes):
    """The same, cell by cell."""
    heat, weight = np.zeros((MAP, MAP)), np.zeros((MAP, MAP))
    sides, areas = np.zeros((MAP, MAP, 4)), np.full((MAP, MAP), np.inf)
    for x, y, width, height in np.asarray(boxes, np.float64):
        left, right = max(x, 0), min(x + width, SIZE)
        top, bottom = max(y, 0), min(y + height, SIZE)
        if right <= left or bottom <= top:
            continue
        column = min(int((left + right) / 2 // STRIDE), MAP - 1)
        row = min(int((top + bottom) / 2 // STRIDE), MAP - 1)
        wide, tall = 0.54 * (right - left) / 2 / STRIDE, 0.54 * (bottom - top) / 2 / STRIDE
        for i in range(MAP):
            for j in range(MAP):
                a, b = (j - column) * 6 / (2 * wide + 1), (i - row) * 6 / (2 * tall + 1)
                value = math.exp(-(a * a + b * b) / 2)
                heat[i, j] = max(heat[i, j], value)
                px, py = (j + 0.5) * STRIDE, (i + 0.5) * STRIDE
                to_sides = (px - left, py - top, right - px, bottom - py)
                is_core = abs(j - column) <= wide + 0.5 and abs(i - row) <= tall + 0.5
                area = (right - left) * (bottom - top)
                if is_core and min(to_sides) > 0 and area < areas[i, j]:
                    areas[i, j], weight[i, j], sides[i, j] = area, value, to_sides
    return heat, sides, weight


def _random_boxes(rng, count):
    """Of a few pixels to most of the picture; some reach over the border, some lie outside."""
    middle = rng.uniform(-0.1 * SIZE, 1.1 * SIZE, (count, 2))
    size = rng.uniform(2, 0.8 * SIZE, (count, 2))
    return np.concatenate([middle - size / 2, size], axis=1)


def test_targets_are_what_loops_over_boxes_and_cells_give():
    rng = np.random.default_rng(0)
    for count in (0, 1, 1, 2, 2, 3, 4, 8):
        boxes = _random_boxes(rng, count).astype(np.float32)
        for got, expected in zip(_targets(boxes), _looped(boxes), strict=True):
            np.testing.assert_allclose(got, expected, atol=2e-5)


def test_every_box_has_one_cell_of_heat_1_whatever_its_size():
    rng = np.random.default_rng(1)
    for size in (1, 5, 8, 20, 60, 120):
        box = np.array([*rng.uniform(0, SIZE - size, 2), size, size])
        heat, _, _ = _targets([box])
        ones = np.argwhere(heat == 1)
        assert len(ones) == 1
        # No other cell's point is nearer to the box's middle.
        middle = (box[:2] + size / 2)[::-1]
        assert np.abs((ones[0] + 0.5) * STRIDE - middle).max() <= STRIDE / 2
        assert 0 <= heat.min() <= heat.max() == 1


def test_sides_lead_from_every_weighted_cell_to_the_box():
    box = np.array([21.0, 35.5, 62.25, 40.0])
    heat, sides, weight = _targets([box])
    rows, columns = np.nonzero(weight)
    assert len(rows) > 12
    points = (np.stack([columns, rows], axis=1) + 0.5) * STRIDE
    np.testing.assert_allclose(points - sides[rows, columns, :2], [box[:2]] * len(rows), rtol=1e-5)
    ends = points + sides[rows, columns, 2:]
    np.testing.assert_allclose(ends, [box[:2] + box[2:]] * len(rows), rtol=1e-5)
    np.testing.assert_array_equal(weight[rows, columns], heat[rows, columns])
    assert not sides[weight == 0].any()
    assert sides.min() >= 0


def test_an_overlapping_box_yields_to_the_smaller_one_in_any_order():
    large, small = (10, 10, 100, 100), (50, 50, 30, 30)
    alone = _targets([small])
    for boxes in ([large, small], [small, large]):
        heat, sides, weight = _targets(boxes)
        core = alone[2] > 0
        np.testing.assert_array_equal(sides[core], alone[1][core])
        np.testing.assert_array_equal(weight[core], alone[2][core])
        assert (weight > 0).sum() > core.sum()
        np.testing.assert_array_equal(heat, np.maximum(alone[0], _targets([large])[0]))


@pytest.mark.parametrize(
    ('box', 'visible'),
    [
        ((-30, 20, 70, 40), (0, 20, 40, 40)),
        ((90, 100, 200, 60), (90, 100, 38, 28)),
        ((-50, -50, 500, 500), (0, 0, 128, 128)),
    ],
)
def test_of_a_box_over_the_border_the_visible_part_counts(box, visible):
    for got, expected in zip(_targets([box]), _targets([visible]), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(
    'box', [(-40, 10, 40, 30), (128, 10, 40, 30), (10, 200, 30, 30), (10, 10, 0, 30), (0, 0, 0, 0)]
)
def test_a_box_that_shows_nothing_counts_nothing(box):
    assert not any(x.any() for x in _targets([box]))


def test_a_box_between_the_points_of_cells_has_heat_and_no_sides():
    heat, sides, weight = _targets([(37, 10, 6, 90)])
    assert heat.max() == 1
    assert not sides.any()
    assert not weight.any()


def test_padding_changes_nothing():
    box, garbage = (10, 20, 30, 25), (0, 0, 64, 64)
    for got, expected in zip(_targets([box, garbage], 1), _targets([box]), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert not any(x.any() for x in _targets([garbage], 0))


def test_a_batch_equals_film_by_film():
    rng = np.random.default_rng(2)
    boxes = np.stack([_random_boxes(rng, 8) for _ in range(4)]).astype(np.float32)
    num = np.array([0, 1, 3, 8], np.int32)
    batch = jitted(boxes, num, image_size=SIZE, map_size=MAP)
    for i in range(4):
        film = _targets(boxes[i], num[i])
        for got, expected in zip(batch.values(), film, strict=True):
            np.testing.assert_array_equal(np.asarray(got)[i].squeeze(), expected)
