"""What holds of whole views: pixels and boxes move together, and keys decide."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pneumo_jax.data.augment import augment
from tests.made_augment import BOX, blocks, everything, noise_pictures, only

MOVES = {
    'flip': {'flip': True},
    'scale': {'scale': 0.2},
    'shift': {'shift': 0.1},
    'crop': {'crop': 0.3},
    'rotation': {'rotation': 40.0},
    'shear': {'shear': 25.0},
    'all': {'flip': True, 'scale': 0.1, 'shift': 0.05, 'crop': 0.1, 'rotation': 20.0, 'shear': 5.0},
}


@pytest.mark.parametrize('name', MOVES)
def test_a_bright_block_follows_its_box(name):
    images, boxes = jax.jit(lambda *films: augment(jax.random.key(0), *films, only(**MOVES[name])))(
        *blocks(16)
    )
    images, boxes = np.asarray(images)[..., 0], np.asarray(boxes)[:, 0]
    assert np.ptp(boxes, axis=0).max() > 1, 'nothing was changed'
    centres = np.arange(images.shape[1]) + 0.5
    for image, (x, y, w, h) in zip(images, boxes, strict=True):
        light = image.sum()
        found = (image.sum(0) @ centres / light, image.sum(1) @ centres / light)
        np.testing.assert_allclose(found, (x + w / 2, y + h / 2), atol=0.2)
        np.testing.assert_allclose(light, w * h, rtol=0.03)


@pytest.mark.parametrize('name', ['flip', 'scale', 'shift', 'crop'])
def test_a_box_keeps_to_the_borders_of_its_block_where_nothing_turns(name):
    images, boxes = augment(jax.random.key(1), *blocks(16), only(**MOVES[name]))
    for image, (x, y, w, h) in zip(
        np.asarray(images)[..., 0], np.asarray(boxes)[:, 0], strict=True
    ):
        bright = image > 0.5
        columns, rows = np.flatnonzero(bright.any(0)), np.flatnonzero(bright.any(1))
        found = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        np.testing.assert_allclose(found, (x, y, x + w, y + h), atol=0.51)


def test_a_flip_is_the_exact_mirror_of_half_the_films():
    images = noise_pictures(200)
    boxes = blocks(200)[1]
    seen, moved = map(np.asarray, augment(jax.random.key(0), images, boxes, only(flip=True)))
    mirrored = (seen == images[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (seen == images).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 70 < mirrored.sum() < 130
    x, y, w, h = BOX
    np.testing.assert_array_equal(moved[mirrored, 0], [[64 - x - w, y, w, h]] * mirrored.sum())
    np.testing.assert_array_equal(moved[same, 0], [BOX] * same.sum())


def test_rows_that_are_no_boxes_stay_without_any_area():
    _, boxes = augment(jax.random.key(0), *blocks(16), everything())
    boxes = np.asarray(boxes)
    assert np.isfinite(boxes).all()
    np.testing.assert_array_equal(boxes[:, 1:, 2:], 0)
    assert (boxes[:, 0, 2:] > 1).all()


def test_changes_of_greys_leave_boxes_alone():
    greys = {'brightness': 0.3, 'contrast': 0.5, 'gamma': 0.5, 'blur': 1.0, 'noise': 0.1}
    images, boxes = blocks(4)
    changed, same = augment(jax.random.key(0), images, boxes, only(cutout=0.5, **greys))
    assert not np.array_equal(changed, images)
    np.testing.assert_array_equal(same, boxes)


def test_grey_values_end_in_their_range():
    images = np.concatenate([noise_pictures(14), np.zeros((1, 64, 64, 1)), np.ones((1, 64, 64, 1))])
    run = jax.jit(lambda key: augment(key, jnp.float32(images), blocks(16)[1], everything())[0])
    for seed in range(4):
        changed = np.asarray(run(jax.random.key(seed)))
        assert changed.dtype == np.float32
        assert changed.min() >= 0
        assert changed.max() <= 1


@pytest.mark.parametrize('name', ['rotation', 'blur'])
def test_white_films_do_not_become_whiter_than_white(name):
    white, boxes = np.ones((32, 64, 64, 1), np.float32), blocks(32)[1]
    assert augment(jax.random.key(0), white, boxes, only(**{name: 3.0}))[0].max() <= 1


def test_same_key_same_views_and_films_differ_within_a_batch():
    run = jax.jit(lambda key: augment(key, *map(jnp.asarray, blocks(4)), everything())[0])
    first, again, other = run(jax.random.key(0)), run(jax.random.key(0)), run(jax.random.key(1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    for i in range(1, 4):
        assert not np.array_equal(first[0], first[i])


def test_all_strengths_zero_is_the_identity():
    images, boxes = noise_pictures(2), blocks(2)[1]
    same_images, same_boxes = augment(jax.random.key(0), images, boxes, only())
    np.testing.assert_array_equal(same_images, images)
    np.testing.assert_array_equal(same_boxes, boxes)


def test_what_is_off_is_not_computed():
    films = noise_pictures(2), blocks(2)[1]

    def operations(**fields):
        config = only(**fields)
        return str(
            jax.make_jaxpr(lambda *films: augment(jax.random.key(0), *films, config))(*films)
        )

    telling = {'rotation': 'gather', 'gamma': 'pow', 'noise': 'erf_inv', 'blur': 'concatenate'}
    for name, operation in telling.items():
        assert operation in operations(**{name: 0.5}), operation
        assert operation not in operations(brightness=0.5), operation


def test_films_of_three_channels_are_changed_alike_in_each():
    images, boxes = noise_pictures(4), blocks(4)[1]
    moved = only(rotation=20.0, blur=1.0, cutout=0.3)
    one, _ = augment(jax.random.key(0), images, boxes, moved)
    three, _ = augment(jax.random.key(0), images.repeat(3, axis=3), boxes, moved)
    np.testing.assert_allclose(three, np.asarray(one).repeat(3, axis=3), atol=1e-6)
