"""The mask target against rasterised boxes, and whose boxes are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pneumo_jax.boxes.known import boxes_known
from pneumo_jax.boxes.targets import box_mask
from pneumo_jax.data.geometry import film_to_image


def _target(boxes, num_boxes=None, *, image_size=64, mask_size=8):
    """The target [m,m] of one picture's boxes in picture pixels."""
    boxes = np.asarray(boxes, np.float32).reshape(1, -1, 4)
    num = np.array([boxes.shape[1] if num_boxes is None else num_boxes])
    mask = box_mask(
        jnp.asarray(boxes), jnp.asarray(num), image_size=image_size, mask_size=mask_size
    )
    assert mask.dtype == jnp.float32
    assert mask.shape == (1, mask_size, mask_size, 1)
    return np.asarray(mask)[0, :, :, 0]


def _rasterised(boxes, *, image_size, mask_size, fine=8):
    """Shares of cells counted on a raster of ``fine`` points a pixel and axis: any union."""
    points = (np.arange(image_size * fine) + 0.5) / fine
    inside = np.zeros((len(points), len(points)), bool)
    for x, y, w, h in boxes:
        inside |= np.outer((points > y) & (points < y + h), (points > x) & (points < x + w))
    cell = len(points) // mask_size
    return inside.reshape(mask_size, cell, mask_size, cell).mean(axis=(1, 3))


def _random_box(rng, size):
    """Corners on eighths of a pixel, where the raster is exact; some reach over the border."""
    low, high = np.sort(rng.integers(-size, 9 * size, (2, 2)), axis=0) / 8
    return np.concatenate([low, high - low])


def test_one_box_is_exact():
    rng = np.random.default_rng(0)
    for _ in range(50):
        box = _random_box(rng, 64)
        expected = _rasterised([box], image_size=64, mask_size=8)
        np.testing.assert_allclose(_target([box]), expected, atol=1e-5)


def test_boxes_that_share_cells_without_overlapping_are_exact():
    boxes = [(3, 5, 17.5, 20), (20.5, 5, 10, 22), (21, 27.25, 30, 9)]
    expected = _rasterised(boxes, image_size=64, mask_size=8)
    np.testing.assert_allclose(_target(boxes), expected, atol=1e-5)


def test_overlapping_boxes_are_bounded_by_the_union_and_one():
    rng = np.random.default_rng(1)
    for _ in range(50):
        boxes = [_random_box(rng, 64) for _ in range(3)]
        target = _target(boxes)
        union = _rasterised(boxes, image_size=64, mask_size=8)
        assert (target >= union - 1e-5).all()
        assert target.max() <= 1
        single = np.array([_target([box]) for box in boxes])
        # Exact where some box covers the whole cell and where at most one touches it.
        exact = (single.max(axis=0) == 1) | ((single > 0).sum(axis=0) <= 1)
        np.testing.assert_allclose(target[exact], union[exact], atol=1e-5)


def test_padded_boxes_change_nothing():
    box = (10, 20, 30, 25)
    garbage = (0, 0, 64, 64)
    np.testing.assert_array_equal(_target([box, garbage], 1), _target([box]))
    assert not _target([garbage], 0).any()


def test_a_batch_under_jit_equals_film_by_film():
    rng = np.random.default_rng(2)
    boxes = rng.uniform(0, 40, (6, 8, 4)).astype(np.float32)
    num = np.array([0, 1, 2, 3, 4, 8], np.int32)
    jitted = jax.jit(lambda b, n: box_mask(b, n, image_size=64, mask_size=8))(boxes, num)
    one_by_one = [_target(b, n) for b, n in zip(boxes, num, strict=True)]
    np.testing.assert_allclose(jitted[..., 0], one_by_one, atol=1e-6)


@pytest.mark.parametrize('film_size', [(1024, 1024), (1500, 2000), (3001, 2500)])
def test_the_covered_area_is_that_of_the_film_box(film_size):
    size = np.array([film_size])
    box = np.array([[[0.2, 0.3, 0.35, 0.4]]]) * np.tile(size[:, ::-1], 2)
    picture = film_to_image(box, size, 256).astype(np.float32)
    share = _target(picture, image_size=256, mask_size=32).mean()
    assert share == pytest.approx(box[0, 0, 2:].prod() / max(film_size) ** 2, rel=1e-4)


def test_boxes_are_unknown_of_a_film_with_an_opacity_and_no_box():
    labels, num_boxes = np.array([0, 1, 1, 1], np.int32), np.array([0, 0, 1, 8], np.int32)
    expected = [True, False, True, True]
    known = boxes_known(labels, num_boxes)
    assert isinstance(known, np.ndarray)
    assert known.tolist() == expected
    assert jax.jit(boxes_known)(labels, num_boxes).tolist() == expected
    assert [boxes_known(*film) for film in zip([0, 1, 1, 1], [0, 0, 1, 8], strict=True)] == expected
