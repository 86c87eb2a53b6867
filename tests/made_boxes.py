"""Films of boxes made up for the tests of box figures."""

import numpy as np

NO_BOX = np.zeros((0, 4), np.float32)
NO_SCORE = np.zeros(0, np.float32)


def random_film(rng, *, size=8, most=4, levels=5):
    """Whole-pixel boxes that hit and miss, IoUs on the thresholds, confidences that tie."""
    truth = random_boxes(rng, rng.integers(0, most), size)
    near = truth + rng.integers(-1, 2, truth.shape)
    near[:, 2:] = np.maximum(near[:, 2:], 1)
    other = random_boxes(rng, rng.integers(0, most - 1), size)
    predicted = np.concatenate([near[rng.random(len(near)) < 0.7], other])
    scores = rng.integers(1, levels + 1, len(predicted)) / levels
    return truth, predicted.astype(np.float32), scores.astype(np.float32)


def random_boxes(rng, count, size):
    """Whole-pixel boxes: float32 [count,4]."""
    return np.concatenate(
        [rng.integers(0, size, (count, 2)), rng.integers(1, size, (count, 2))], axis=1
    ).astype(np.float32)


def random_films(rng, count, **kwargs):
    """Truths, predictions and scores of films."""
    return tuple(zip(*(random_film(rng, **kwargs) for _ in range(count)), strict=True))


def repeated(films, counts):
    """Truths, predictions and scores with each film as often as counted, copies side by side."""
    index = np.repeat(np.arange(len(counts)), np.asarray(counts, int))
    return [[part[i] for i in index] for part in films]
