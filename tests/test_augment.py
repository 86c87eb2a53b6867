import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import base
from pneumo_jax.data.augment import augment

SIZE = 64
# A bright block on a dark picture: wherever it goes, the box must go.
BOX = np.array([12.0, 20.0, 16.0, 10.0], np.float32)


def blocks(count):
    image = np.full((SIZE, SIZE, 1), 0.1, np.float32)
    x, y, w, h = BOX.astype(int)
    image[y : y + h, x : x + w] = 0.9
    boxes = np.zeros((8, 4), np.float32)
    boxes[0] = BOX
    return np.stack([image] * count), np.stack([boxes] * count)


def only(**fields):
    zero = {name: 0.0 for name in base.get_config().augment} | {'flip': False}
    return ConfigDict(zero | fields)


@pytest.mark.parametrize(
    'fields',
    [{'flip': True}, {'scale': 0.2}, {'shift': 0.1}, {'flip': True, 'scale': 0.2, 'shift': 0.1}],
)
def test_boxes_move_with_the_pixels(fields):
    images, boxes = augment(jax.random.key(0), *blocks(16), only(**fields))
    images, boxes = np.asarray(images), np.asarray(boxes)
    assert np.ptp(boxes[:, 0], axis=0).max() > 1, 'nothing was changed'
    for image, (x, y, w, h) in zip(images[..., 0], boxes[:, 0], strict=True):
        bright = image > 0.5
        columns, rows = np.flatnonzero(bright.any(0)), np.flatnonzero(bright.any(1))
        found = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        np.testing.assert_allclose(found, (x, y, x + w, y + h), atol=1.0)


def test_grey_changes_leave_boxes_alone_and_stay_in_range():
    images, boxes = blocks(8)
    changed, same = augment(jax.random.key(0), images, boxes, only(brightness=0.3, contrast=0.5))
    np.testing.assert_array_equal(same, boxes)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert np.std(np.asarray(changed).mean(axis=(1, 2, 3))) > 0.05


def test_same_key_same_views_and_films_differ_within_a_batch():
    config = base.get_config().augment
    run = jax.jit(lambda key: augment(key, *map(jnp.asarray, blocks(4)), config)[0])
    first, again, other = run(jax.random.key(0)), run(jax.random.key(0)), run(jax.random.key(1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])


def test_all_strengths_zero_is_the_identity():
    images, boxes = blocks(2)
    same_images, same_boxes = augment(jax.random.key(0), images, boxes, only())
    np.testing.assert_array_equal(same_images, images)
    np.testing.assert_array_equal(same_boxes, boxes)
