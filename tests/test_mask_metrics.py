"""Mask figures against counted pixels."""

import math

import jax
import numpy as np
import pytest

from pneumo_jax.metrics.mask import (
    background_pixel_accuracy,
    dice,
    mask_sums,
    mean_iou,
    pixel_accuracy,
)

_FINE = 4  # pixels a cell and axis


def _random_batch(rng, count, size=6):
    """Probabilities and true pixels; some films without truth, without prediction, without both."""
    probs = rng.random((count, size, size, 1)).astype(np.float32)
    pixels = rng.random((count, size * _FINE, size * _FINE)) < rng.random((count, 1, 1))
    probs[:3] *= 0.4
    pixels[2:5] = False
    shares = pixels.reshape(count, size, _FINE, size, _FINE).mean(axis=(2, 4))
    return probs, pixels, shares[..., None].astype(np.float32)


def _counted(probs, pixels, threshold):
    """(prediction, truth) of each film, pixel by pixel."""
    predicted = (probs[..., 0] > threshold).repeat(_FINE, axis=1).repeat(_FINE, axis=2)
    return list(zip(predicted, pixels, strict=True))


def test_figures_are_those_of_counted_pixels():
    rng = np.random.default_rng(0)
    probs, pixels, target = _random_batch(rng, 20)
    sums = mask_sums(probs, target, 0.5)
    films = _counted(probs, pixels, 0.5)
    assert pixel_accuracy(sums) == pytest.approx(np.mean([p == t for p, t in films]))
    assert background_pixel_accuracy(sums) == pytest.approx(np.mean(~pixels))
    some = [(p, t) for p, t in films if (p | t).any()]
    assert 0 < len(some) < len(films)
    assert mean_iou(sums) == pytest.approx(
        np.mean([(p & t).sum() / (p | t).sum() for p, t in some])
    )
    assert dice(sums) == pytest.approx(
        np.mean([2 * (p & t).sum() / (p.sum() + t.sum()) for p, t in some])
    )


def test_numpy_and_jax_give_the_same_sums_per_film():
    probs, _, target = _random_batch(np.random.default_rng(1), 5)
    plain = mask_sums(probs, target, 0.3)
    jitted = jax.jit(mask_sums)(probs, target, 0.3)
    assert plain.keys() == jitted.keys()
    for name, values in plain.items():
        assert isinstance(values, np.ndarray)
        assert values.shape == jitted[name].shape == (5,)
        assert values.dtype == jitted[name].dtype == np.float32
        np.testing.assert_allclose(jitted[name], values, rtol=1e-6)


def test_a_perfect_mask_and_an_empty_one():
    target = np.zeros((2, 8, 8, 1), np.float32)
    target[0, 2:5, 3:7] = 1
    perfect = mask_sums(target, target, 0.5)
    assert pixel_accuracy(perfect) == mean_iou(perfect) == dice(perfect) == 1
    background = mask_sums(np.zeros_like(target), target, 0.5)
    assert mean_iou(background) == dice(background) == 0
    assert pixel_accuracy(background) == background_pixel_accuracy(perfect) == 1 - 12 / 128


def test_a_probability_on_the_threshold_is_background():
    target = np.ones((1, 4, 4, 1), np.float32)
    assert mean_iou(mask_sums(0.5 * target, target, 0.5)) == 0


def test_films_without_truth_and_prediction_alone_leave_the_overlap_undefined():
    nothing = np.zeros((3, 4, 4, 1), np.float32)
    sums = mask_sums(nothing, nothing, 0.5)
    assert math.isnan(mean_iou(sums))
    assert math.isnan(dice(sums))
    assert pixel_accuracy(sums) == background_pixel_accuracy(sums) == 1


@pytest.mark.parametrize('figure', [pixel_accuracy, background_pixel_accuracy, mean_iou, dice])
def test_weights_repeat_films(figure):
    rng = np.random.default_rng(2)
    probs, _, target = _random_batch(rng, 20)
    sums = mask_sums(probs, target, 0.5)
    weights = rng.integers(0, 4, (20, 15))
    weights[:, 0] = 0
    got = figure(sums, weights.astype(np.float32))
    assert got.shape == (15,)
    assert got.dtype == np.float64
    assert math.isnan(got[0])
    for value, copies in zip(got[1:], weights.T[1:], strict=True):
        index = np.repeat(np.arange(20), copies)
        expected = figure({name: values[index] for name, values in sums.items()})
        assert value == pytest.approx(expected, abs=1e-12)
    assert figure(sums, np.ones((20, 1)))[0] == figure(sums)
    assert isinstance(figure(sums), float)


@pytest.mark.parametrize('figure', [pixel_accuracy, background_pixel_accuracy, mean_iou, dice])
def test_no_films_are_refused(figure):
    nothing = np.zeros((0, 4, 4, 1), np.float32)
    with pytest.raises(ValueError, match='no films'):
        figure(mask_sums(nothing, nothing, 0.5))
