"""Which two lungs fit a film best: an active shape searched for by the cross-entropy method.

A lung is darker than what surrounds it, so an outline is good where brightness rises outward
across it, and where the film is dark inside. Only local contrast counts, so the film's exposure
does not matter. Where a lung is white there is no such edge, and what decides is the other lung
and what chests look like (``chest_shape``). Shape models: Cootes et al. 1995; of lungs: van
Ginneken et al. 2006. Search: Rubinstein 1999.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import ndimage

from pneumo_jax.data.geometry import padding
from pneumo_jax.data.picture import standard_picture
from pneumo_jax.extent.chest_shape import (
    APEX,
    BASE,
    LATERAL,
    MEAN,
    MEDIAL,
    PIVOT,
    SPREAD,
    outlines,
)

__all__ = ['average_shape', 'fit_shape']

# Searched at this side; lengths in pixels below are of it.
_SIDE = 64
_MARGIN_GREY = 8
_NARROW, _WIDE = 7, 16
_EDGE_SIGMAS = (2.0, 1.0)
# A gradient of this size counts half, however bright a wire or the body's outline is.
_EDGE_HALF = 0.12
# All below were chosen by the errors on the 36 films that ``chest_shape`` names.
# (border, weight, whether it grows with the lung's height)
_BORDERS = ((APEX, 1.0, False), (LATERAL, 1.5, True), (BASE, 1.1, False), (MEDIAL, 0.9, True))
_DARK_WEIGHT = 0.1
_DARK_LEVEL = 0.3
_RINGS = (0.9, 0.72, 0.5, 0.25)
_LIKELIHOOD = 40.0
_FIRST, _FIRST_KEPT = 1000, 50
_ROUNDS, _ROUND, _KEPT = 8, 300, 40
_FINE_FROM = 4


def average_shape(film_size: tuple[int, int]) -> np.ndarray:
    """The lungs to expect on a film of this (height, width), float [11] like ``MEAN``.

    In shares of the square's side, the film centred in it (``data.geometry``).
    """
    height, width = film_size
    side = max(film_size)
    top, left = padding(np.array(film_size))
    # Chests fill films of all shapes: high ones across, wide ones along.
    zoom = np.sqrt(height * width) / side
    shape = MEAN.copy()
    shape[0] = (left + MEAN[0] * width) / side
    shape[4] = (top + MEAN[4] * height) / side
    shape[[2, 6, 7, 8]] *= zoom
    return shape


def fit_shape(picture: np.ndarray, film_size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """The shape that fits a film best, and how well.

    Args:
        picture: uint8 [S,S], the film's standard picture.
        film_size: (height, width) of the film in pixels.

    Returns:
        The shape, float [11] like ``chest_shape.MEAN`` in shares of the square's side, and how
        much of it the film shows: the share of the outlines across which brightness rises outward,
        and 0.3 times the contrast between mediastinum and lungs.
    """
    edges, darkness = _evidence_maps(standard_picture(picture, _SIDE).astype(np.float32))
    mean = average_shape(film_size)
    first, rounds = _draws()

    def score(draws, edge):
        evidence = _evidence(mean + draws * SPREAD, edge, darkness)
        return _LIKELIHOOD * evidence - 0.5 * (draws**2).sum(axis=1)

    draws, kept = first, _FIRST_KEPT
    for i in range(_ROUNDS + 1):
        best = np.argsort(-score(draws, edges[i > _FINE_FROM]), kind='stable')[:kept]
        centre = draws[best].mean(axis=0)
        if i == _ROUNDS:
            break
        around = draws[best] - centre
        spread = around.T @ around / len(best) + 0.01 * 0.7**i * np.eye(len(MEAN))
        draws, kept = centre + rounds[i] @ np.linalg.cholesky(spread).T, _KEPT
    shape = mean + centre * SPREAD
    return shape, _support(shape, edges[-1], darkness)


@functools.cache
def _draws():
    """The normal deviates of all searches: RandomState's stay the same in all of NumPy's future."""
    random = np.random.RandomState(0)
    first = random.standard_normal((_FIRST, len(MEAN)))
    return first, random.standard_normal((_ROUNDS, _ROUND, len(MEAN)))


def _evidence_maps(grey):
    """Brightness gradients (x, y), each saturated, coarse and fine; local darkness [64,64]."""
    film = ndimage.uniform_filter(grey, 3) > _MARGIN_GREY
    film = ndimage.binary_erosion(film, border_value=1).astype(np.float32)
    narrow = _local_contrast(grey, film, _NARROW)
    edges = []
    for sigma in _EDGE_SIGMAS:
        x, y = (
            ndimage.gaussian_filter(narrow, sigma, order=order, mode='nearest')
            for order in ((0, 1), (1, 0))
        )
        scale = 1 / (np.sqrt(x * x + y * y) + _EDGE_HALF)
        edges.append(((x * scale).ravel(), (y * scale).ravel()))
    wide = np.clip(_local_contrast(grey, film, _WIDE), -2, 2)
    return edges, -ndimage.gaussian_filter(wide, 1.0).ravel()


def _local_contrast(grey, film, sigma):
    """Deviation from the surroundings' mean in their standard deviations, 0 off the film."""

    def surroundings(values):
        return ndimage.gaussian_filter(values, sigma, mode='nearest') / share

    share = ndimage.gaussian_filter(film, sigma, mode='nearest') + 1e-3
    off = (grey - surroundings(grey * film)) * film
    # Four grey values: the noise of a constant film is no contrast.
    return off / (np.sqrt(surroundings(off * off)) + 4)


def _evidence(shapes, edges, darkness):
    """How well shapes [N,11] fit: a mean edge strength in -1..1, and a little darkness inside."""
    points = outlines(shapes)
    rises = _rises(points, edges)
    # A long border that shows faintly is as good as a short one that shows well.
    longer = np.sqrt(shapes[:, 6].clip(0) / MEAN[6])
    evidence = 0.0
    for border, weight, grows in _BORDERS:
        strength = rises[:, :, border].mean(axis=(1, 2))
        evidence += weight * strength * (longer if grows else 1)
    evidence /= sum(weight for _, weight, _ in _BORDERS)
    inside = _inside(points, darkness)
    x, y = points[..., 0], points[..., 1]
    area = np.abs((x * (np.roll(y, -1, axis=2) - np.roll(y, 1, axis=2))).sum(axis=2)) / 2
    return evidence + _DARK_WEIGHT * (area * (_DARK_LEVEL + inside)).sum(axis=1) / 0.2


def _support(shape, edges, darkness):
    """How much of a shape [11] the film shows, see ``fit_shape``."""
    points = outlines(shape[None])
    # Along the midline, where spine and mediastinum are.
    y = shape[4] + shape[6] * np.linspace(0, 1, 12)
    x = shape[0] - np.sin(shape[1]) * (y - PIVOT)
    middle = darkness[_places(np.stack([x, y], axis=-1))].mean()
    contrast = _inside(points, darkness).mean() - middle
    return float((_rises(points, edges) > 0).mean() + 0.3 * contrast)


def _rises(points, edges):
    """By how much brightness rises outward at the points of outlines [N,2,K,2]: [N,2,K]."""
    ahead = np.roll(points, -1, axis=2) - np.roll(points, 1, axis=2)
    ahead /= np.sqrt((ahead**2).sum(axis=-1, keepdims=True)) + 1e-6
    # The right lung's outline runs against the clock, the left one's with it.
    ahead[:, 1] *= -1
    at = _places(points)
    return edges[1][at] * ahead[..., 0] - edges[0][at] * ahead[..., 1]


def _inside(points, darkness):
    """Mean darkness [N,2] inside outlines, on rings that count by their size."""
    centre = points.mean(axis=2, keepdims=True)
    spokes = points[:, :, ::2] - centre
    rings = (ring * darkness[_places(centre + ring * spokes)].mean(axis=2) for ring in _RINGS)
    return sum(rings) / sum(_RINGS)


def _places(points):
    """Flat indices of the pixels of points in [0, 1]; beyond the border, of the nearest pixel."""
    at = np.clip((points * _SIDE).astype(np.int32), 0, _SIDE - 1)
    return at[..., 1] * _SIDE + at[..., 0]
