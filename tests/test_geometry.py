"""Where film pixels stand in the picture, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pneumo_jax.data.geometry import film_to_image, image_to_film, padding

_SIZES = [(1024, 1024), (2000, 1500), (1500, 2001), (300, 3056), (7, 8)]


@pytest.mark.parametrize('film_size', _SIZES)
@pytest.mark.parametrize('image_size', [64, 256, 512])
def test_there_and_back_is_the_identity(film_size, image_size):
    size = np.array(film_size)
    boxes = np.random.default_rng(0).uniform(0, max(film_size), (50, 4))
    there = film_to_image(boxes, size, image_size)
    np.testing.assert_allclose(image_to_film(there, size, image_size), boxes, atol=1e-9)


def test_a_square_film_is_scaled_only():
    boxes = np.array([[100.0, 200.0, 300.0, 400.0]])
    scaled = film_to_image(boxes, np.array([1024, 1024]), 256)
    np.testing.assert_allclose(scaled, boxes / 4)


@pytest.mark.parametrize('film_size', _SIZES)
def test_the_film_stands_in_the_centre_of_the_picture(film_size):
    height, width = film_size
    whole_film = np.array([[0.0, 0.0, width, height]])
    x, y, w, h = film_to_image(whole_film, np.array(film_size), 256)[0]
    half_film_pixel = 0.5 * 256 / max(film_size)
    assert max(w, h) == pytest.approx(256)
    assert w / h == pytest.approx(width / height)
    assert x + w / 2 == pytest.approx(128, abs=half_film_pixel + 1e-9)
    assert y + h / 2 == pytest.approx(128, abs=half_film_pixel + 1e-9)


def test_padding_is_whole_film_pixels_above_and_left():
    np.testing.assert_array_equal(
        padding(np.array([[10, 15], [15, 10], [8, 8]])), [[2, 0], [0, 2], [0, 0]]
    )


def test_films_of_a_batch_keep_their_own_geometry_under_jit():
    sizes = np.array(_SIZES, np.int32)
    boxes = np.random.default_rng(1).uniform(0, 300, (len(sizes), 8, 4)).astype(np.float32)
    jitted = jax.jit(film_to_image, static_argnums=2)(jnp.asarray(boxes), jnp.asarray(sizes), 256)
    one_by_one = [film_to_image(b, s, 256) for b, s in zip(boxes, sizes, strict=True)]
    np.testing.assert_allclose(jitted, one_by_one, rtol=1e-5)
    back = jax.jit(image_to_film, static_argnums=2)(jitted, jnp.asarray(sizes), 256)
    np.testing.assert_allclose(back, boxes, rtol=1e-4, atol=1e-3)
