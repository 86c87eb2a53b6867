"""Configs and pictures for the tests of the augmentation."""

import numpy as np
from ml_collections import ConfigDict

from configs import base

SIZE = 64
# A bright block on a black picture: wherever it goes, the box must go.
BOX = np.array([24.0, 20.0, 20.0, 14.0], np.float32)


def only(**fields) -> ConfigDict:
    """A section ``augment`` with these strengths and no others."""
    zero = {name: type(value)(0) for name, value in base.get_config().augment.items()}
    return ConfigDict(zero | fields)


def everything() -> ConfigDict:
    """Every change of a film, strongly."""
    strengths = {'scale': 0.3, 'shift': 0.2, 'rotation': 40.0, 'shear': 20.0, 'crop': 0.4}
    greys = {'brightness': 0.5, 'contrast': 0.9, 'gamma': 1.0, 'blur': 2.0, 'noise': 0.5}
    return only(flip=True, cutout=0.5, **strengths, **greys)


def blocks(count):
    """Pictures [count,64,64,1] with a bright block, its box in the first row."""
    image = np.zeros((SIZE, SIZE, 1), np.float32)
    x, y, w, h = BOX.astype(int)
    image[y : y + h, x : x + w] = 1
    boxes = np.zeros((8, 4), np.float32)
    boxes[0] = BOX
    return np.stack([image] * count), np.stack([boxes] * count)


def noise_pictures(count, seed=0, low=0.0, high=1.0):
    """Pictures [count,64,64,1] of independent pixels."""
    shape = (count, SIZE, SIZE, 1)
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)
