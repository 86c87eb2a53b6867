"""The affine map, its pixels against SciPy and its boxes against corners moved in NumPy."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from pneumo_jax.data.augment.geometry import draw_map, move_boxes, warp
from tests.made_augment import SIZE, noise_pictures, only

TURNING = {'rotation': 180.0, 'shear': 30.0, 'scale': 0.3}
STEPS = {'scale': 0.3, 'shear': 20.0, 'rotation': 60.0, 'shift': 0.2, 'crop': 0.5}


def drawn(count=64, **strengths):
    """Maps float64 [count,2,3] of these strengths, key by key the same for each change."""
    config = only(**strengths)
    keys = jax.random.split(jax.random.key(0), count)
    return np.float64(jax.jit(jax.vmap(lambda key: draw_map(key, config, SIZE)))(keys))


def some_boxes(count, seed=0):
    corners = np.random.default_rng(seed).uniform(0, SIZE / 2, (count, 4))
    return np.float32(corners + np.array([0, 0, 4, 4]))


def corners(box):
    x, y, w, h = np.float64(box)
    return np.array([[x, y], [x + w, y], [x, y + h], [x + w, y + h]])


def moved(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


def homogeneous(matrix):
    return np.vstack([matrix, [0, 0, 1]])


def test_pixels_are_those_of_scipy():
    outside = 0
    for matrix, image in zip(drawn(8, **STEPS), noise_pictures(8)[..., 0], strict=True):
        # From pixel of the view back to the film, in SciPy's (row, column) of pixel centres.
        back = np.linalg.inv(homogeneous(matrix))[:2]
        linear = back[::-1, 1::-1]
        offset = back[::-1, 2] + linear @ [0.5, 0.5] - 0.5
        expected = ndimage.affine_transform(image, linear, offset, order=1, mode='grid-constant')
        outside += (expected == 0).sum()
        found = warp(image[..., None], np.float32(matrix))[..., 0]
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert outside > 100, 'nothing of the views lay outside'


def test_an_identity_map_changes_no_bit():
    image, boxes = noise_pictures(1)[0], some_boxes(8)
    identity = np.eye(2, 3, dtype=np.float32)
    np.testing.assert_array_equal(warp(image, identity), image)
    np.testing.assert_allclose(move_boxes(boxes, identity), boxes, rtol=1e-6)


def test_a_quarter_turn_is_that_of_numpy():
    image, box = noise_pictures(1)[0], np.float32([[5, 10, 20, 8]])
    quarter = np.float32([[0, 1, 0], [-1, 0, SIZE]])
    np.testing.assert_allclose(warp(image, quarter), np.rot90(image), atol=1e-5)
    np.testing.assert_allclose(move_boxes(box, quarter), [[10, SIZE - 25, 8, 20]], rtol=1e-6)


def test_a_turn_is_about_the_centre_both_ways_and_up_to_its_strength():
    maps = drawn(rotation=30.0)
    angles = np.rad2deg(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    assert -30 <= angles.min() < -20
    assert 20 < angles.max() <= 30
    for matrix in maps:
        np.testing.assert_allclose(matrix[:, :2] @ matrix[:, :2].T, np.eye(2), atol=1e-6)
        assert np.linalg.det(matrix[:, :2]) > 0
        np.testing.assert_allclose(moved(matrix, np.full(2, SIZE / 2)), SIZE / 2, atol=1e-4)


def test_a_zoom_is_about_the_centre_and_within_its_strength():
    maps = drawn(scale=0.2)
    factors = maps[:, 0, 0]
    assert 0.8 <= factors.min() < 0.85
    assert 1.15 < factors.max() <= 1.2
    np.testing.assert_array_equal(maps[:, 1, 1], factors)
    np.testing.assert_array_equal(maps[:, [0, 1], [1, 0]], 0)
    for matrix in maps:
        np.testing.assert_allclose(moved(matrix, np.full(2, SIZE / 2)), SIZE / 2, atol=1e-4)


def test_a_shear_moves_along_the_rows_alone():
    maps = drawn(shear=20.0)
    angles = np.rad2deg(np.arctan(maps[:, 0, 1]))
    assert -20 <= angles.min() < -12
    assert 12 < angles.max() <= 20
    np.testing.assert_array_equal(maps[:, 1], [[0, 1, 0]] * len(maps))
    np.testing.assert_array_equal(maps[:, 0, 0], 1)
    for matrix in maps:
        np.testing.assert_allclose(moved(matrix, np.full(2, SIZE / 2)), SIZE / 2, atol=1e-4)


def test_a_shift_moves_both_ways_in_both_directions():
    maps = drawn(shift=0.25)
    np.testing.assert_array_equal(maps[:, :, :2], np.broadcast_to(np.eye(2), (64, 2, 2)))
    offsets = maps[:, :, 2]
    assert (np.abs(offsets) <= 0.25 * SIZE).all()
    assert (offsets.min(axis=0) < -10).all()
    assert (offsets.max(axis=0) > 10).all()
    assert abs(np.corrcoef(offsets.T)[0, 1]) < 0.4


def test_a_crop_shows_a_square_of_the_picture_in_full_size():
    view = np.array([[0, 0], [SIZE, SIZE]])
    windows = np.array(
        [moved(np.linalg.inv(homogeneous(matrix))[:2], view) for matrix in drawn(crop=0.4)]
    )
    sides = windows[:, 1] - windows[:, 0]
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], rtol=1e-5)
    assert 0.6 * SIZE - 1e-3 <= sides.min() < 0.7 * SIZE
    assert 0.9 * SIZE < sides.max() <= SIZE + 1e-3
    assert windows.min() >= -1e-3
    assert windows.max() <= SIZE + 1e-3
    assert np.ptp(windows[:, 0], axis=0).min() > 0.2 * SIZE, 'always in one place'


def test_all_changes_are_one_map_in_their_order():
    single = [drawn(8, **{name: strength}) for name, strength in STEPS.items()]
    for whole, *steps in zip(drawn(8, **STEPS), *single, strict=True):
        expected = np.eye(3)
        for step in steps:
            expected = homogeneous(step) @ expected
        np.testing.assert_allclose(whole, expected[:2], rtol=1e-5, atol=1e-3)


def test_boxes_are_the_images_of_their_corners_where_nothing_turns():
    boxes = some_boxes(8)
    for matrix in drawn(8, scale=0.3, shift=0.2, crop=0.5):
        for box, new in zip(boxes, np.asarray(move_boxes(boxes, matrix)), strict=True):
            np.testing.assert_allclose(corners(new), moved(matrix, corners(box)), atol=1e-3)


def test_a_turned_box_holds_no_more_than_it_held():
    boxes = some_boxes(8)
    for matrix in drawn(32, **TURNING):
        for box, new in zip(boxes, np.asarray(move_boxes(boxes, matrix)), strict=True):
            area = abs(np.linalg.det(matrix[:, :2])) * box[2] * box[3]
            np.testing.assert_allclose(new[2] * new[3], area, rtol=1e-4)
            image = moved(matrix, corners(box))
            np.testing.assert_allclose(corners(new).mean(0), image.mean(0), atol=1e-3)
            assert (corners(new).min(0) >= image.min(0) - 1e-3).all()
            assert (corners(new).max(0) <= image.max(0) + 1e-3).all()


def test_a_turned_box_has_the_proportions_of_its_turned_ellipse():
    angle = np.linspace(0, 2 * np.pi, 4000)
    boxes = some_boxes(8)
    for matrix in drawn(8, **TURNING):
        for box, new in zip(boxes, np.asarray(move_boxes(boxes, matrix)), strict=True):
            ellipse = np.stack([box[2] * np.cos(angle), box[3] * np.sin(angle)], axis=1) / 2
            width, height = np.ptp(moved(matrix, ellipse), axis=0)
            np.testing.assert_allclose(new[2] / new[3], width / height, rtol=1e-4)


@pytest.mark.parametrize('box', [[0, 0, 0, 0], [9, 9, 0, 5], [9, 9, 5, 0]])
def test_what_has_no_area_gets_none(box):
    for matrix in drawn(4, **STEPS):
        new = np.asarray(move_boxes(np.float32([box]), np.float32(matrix)))[0]
        assert np.isfinite(new).all()
        np.testing.assert_array_equal(new[2:], 0)
