"""Changes of grey values against closed forms, SciPy, and what they are said to be drawn from."""

import jax
import numpy as np
from scipy import ndimage

from pneumo_jax.data.augment import augment
from pneumo_jax.data.augment.grey import blur, cut_out
from tests.made_augment import SIZE, noise_pictures, only

# Pixels far enough from black and white that nothing is clipped.
FILMS = noise_pictures(64, low=0.4, high=0.6)


def changed(images=FILMS, **strengths):
    boxes = np.zeros((len(images), 8, 4), np.float32)
    config = only(**strengths)
    run = jax.jit(lambda films: augment(jax.random.key(0), films, boxes, config)[0])
    return np.asarray(run(images))


def test_brightness_adds_one_value_to_a_film():
    added = changed(brightness=0.3) - FILMS
    assert np.ptp(added, axis=(1, 2, 3)).max() < 1e-6
    assert -0.3 <= added.min() < -0.2
    assert 0.2 < added.max() <= 0.3 + 1e-6


def test_contrast_multiplies_the_distance_from_the_mean():
    seen = changed(contrast=0.5)
    means = FILMS.mean(axis=(1, 2, 3), keepdims=True)
    factors = (seen - means).std(axis=(1, 2, 3)) / FILMS.std(axis=(1, 2, 3))
    expected = (FILMS - means) * factors[:, None, None, None] + means
    np.testing.assert_allclose(seen, expected, atol=1e-5)
    assert 0.5 - 1e-4 <= factors.min() < 0.6
    assert 1.4 < factors.max() <= 1.5 + 1e-4


def test_gamma_raises_to_one_power():
    powers = np.log(changed(gamma=0.7)) / np.log(FILMS)
    assert np.ptp(powers, axis=(1, 2, 3)).max() < 1e-4
    exponents = np.log(powers.mean(axis=(1, 2, 3)))
    assert -0.7 <= exponents.min() < -0.5
    assert 0.5 < exponents.max() <= 0.7 + 1e-4


def test_blur_is_the_gaussian_of_scipy():
    image = noise_pictures(1)[0]
    for deviation in (0.4, 1.3, 2.0):
        expected = ndimage.gaussian_filter(
            image[..., 0].astype(np.float64), deviation, mode='nearest', radius=6
        )
        found = blur(image, np.float32(deviation), radius=6)[..., 0]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_blur_without_deviation_changes_nothing():
    image = noise_pictures(1)[0]
    np.testing.assert_array_equal(blur(image, np.float32(0), radius=3), image)


def test_films_are_blurred_from_not_at_all_to_the_strength():
    spread = changed(blur=1.5).std(axis=(1, 2, 3)) / FILMS.std(axis=(1, 2, 3))
    # Of independent pixels, 1 / (2 sqrt(pi) deviation) is left.
    assert 1 / (2 * np.pi**0.5 * 1.5) * 0.9 < spread.min() < 0.25
    assert spread.max() > 0.9


def test_noise_is_normal_and_independent_per_pixel():
    noise = (changed(noise=0.1) - FILMS)[..., 0]
    deviations = noise.std(axis=(1, 2))
    assert deviations.max() <= 0.1 * 1.05
    np.testing.assert_allclose(deviations.mean(), 0.05, rtol=0.2)
    assert deviations.min() < 0.01
    scaled = noise / deviations[:, None, None]
    np.testing.assert_allclose(scaled.mean(), 0, atol=0.01)
    np.testing.assert_allclose((scaled**4).mean(), 3, rtol=0.05)
    for neighbours in (scaled[:, 1:] * scaled[:, :-1], scaled[:, :, 1:] * scaled[:, :, :-1]):
        np.testing.assert_allclose(neighbours.mean(), 0, atol=0.01)


def test_cut_out_is_a_square_of_the_mean():
    image = noise_pictures(1)[0]
    expected = image.copy()
    expected[20:30, 8:18] = image.mean()
    np.testing.assert_allclose(cut_out(image, 7.6, 19.7, 10.0), expected, atol=1e-6)


def test_squares_cut_out_lie_on_the_film_and_are_of_many_sides():
    seen = changed(cutout=0.5)
    sides = []
    for image, film in zip(seen[..., 0], FILMS[..., 0], strict=True):
        rows, columns = np.nonzero(image != film)
        if not len(rows):
            sides.append(0)
            continue
        sides.append(np.ptp(rows) + 1)
        # Pixel centres decide, so that the sides differ by one at most.
        assert abs(np.ptp(rows) - np.ptp(columns)) <= 1
        square = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        np.testing.assert_allclose(square, film.mean(), atol=1e-6)
    assert max(sides) <= SIZE / 2 + 1
    assert max(sides) > 0.4 * SIZE
    assert min(sides) < 0.1 * SIZE
