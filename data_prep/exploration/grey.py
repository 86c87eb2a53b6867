"""What the pixels of films tell: grey values by group, mean films, and films unlike the others."""

from __future__ import annotations

import dataclasses

import numpy as np

from data_prep.exploration.films import CLASS_TITLES, ExploredFilms
from data_prep.exploration.groups import UNKNOWN, film_groups
from pneumo_jax.metrics.intervals import Bootstrap

__all__ = [
    'BIN_WIDTH',
    'GreyFigures',
    'grey_figures',
    'mean_films',
    'mean_greys',
    'normalised',
    'unusualness',
]

# Grey values that are told together.
BIN_WIDTH = 4
_BINS = 256 // BIN_WIDTH


@dataclasses.dataclass(frozen=True)
class GreyFigures:
    """The mean film's grey values in a group of n films.

    Attributes:
        films: how many.
        shares: float64 [64,3], of each four grey values the share of a film's pixels: the mean of
            the films, and the ends of its interval, NaN undefined.
    """

    films: int
    shares: np.ndarray


def grey_figures(films: ExploredFilms) -> dict[str, dict[str, GreyFigures]]:
    """Grey values by ``class``, ``view``, ``manufacturer`` and ``split``, of the films with pixels.

    Every film counts the same, however many pixels it has. A grouping of one value is left out,
    but for the class.
    """
    rows = films.rows_with_pixels
    groups = film_groups(films)
    chosen = {'class': {name: films.classes == name for name in CLASS_TITLES}}
    for name in ('view', 'manufacturer', 'split'):
        if len(values := {v: m for v, m in groups.get(name, {}).items() if v != UNKNOWN}) > 1:
            chosen[name] = values
    members = {
        (name, value): mask[rows]
        for name, values in chosen.items()
        for value, mask in values.items()
        if mask[rows].any()
    }
    if not members:
        return {}
    shares = normalised(films.pixels.histograms).reshape(-1, _BINS, BIN_WIDTH).sum(axis=-1)
    shares = shares.astype(np.float32)

    def compute(weights):
        made = {}
        for key, mask in members.items():
            weighted = weights[mask].astype(np.float32)
            whole = weighted.sum(axis=0)
            with np.errstate(invalid='ignore', divide='ignore'):
                means = (shares[mask].T @ weighted).astype(np.float64) / whole
            made |= {(*key, i): mean for i, mean in enumerate(means)}
        return made

    figures = Bootstrap(films.persons[rows]).figures(compute)
    found: dict[str, dict[str, GreyFigures]] = {}
    for (name, value), mask in members.items():
        ends = [figures[name, value, i] for i in range(_BINS)]
        series = np.array([(figure.value, figure.low, figure.high) for figure in ends])
        found.setdefault(name, {})[value] = GreyFigures(int(mask.sum()), series)
    return found


def normalised(histograms: np.ndarray) -> np.ndarray:
    """Histograms [n,256] as shares of each film's pixels, float64."""
    return histograms / histograms.sum(axis=1, keepdims=True, dtype=np.int64)


def mean_greys(histograms: np.ndarray) -> np.ndarray:
    """The mean grey value of each film, float64 [n] of histograms [n,256]."""
    return normalised(histograms) @ np.arange(256)


def unusualness(histograms: np.ndarray) -> np.ndarray:
    """How far each film's grey values are from the usual ones, in grey values: float64 [n].

    The Wasserstein distance between the film's distribution and the median of all films': the mean
    of how far a pixel would have to be moved.

    Args:
        histograms: [n,256].
    """
    below = np.cumsum(normalised(histograms), axis=1)
    return np.abs(below - np.median(below, axis=0)).sum(axis=1)


def mean_films(films: ExploredFilms) -> dict[str, dict[str, tuple[int, np.ndarray]]]:
    """The mean thumbnail of each class: ``all``, ``AP``, ``PA`` -> class -> (films, float64 [T,T]).

    Views apart tell what of a difference between classes is the view's: AP films are more often
    positive, and look otherwise.
    """
    rows = films.rows_with_pixels
    views, classes = films.column('view_position')[rows], films.classes[rows]
    means: dict = {}
    for view in ('all', 'AP', 'PA'):
        seen = np.ones(len(rows), bool) if view == 'all' else views == view
        for name in CLASS_TITLES:
            if (mask := seen & (classes == name)).any():
                mean = films.pixels.thumbnails[mask].mean(axis=0, dtype=np.float64)
                means.setdefault(view, {})[name] = (int(mask.sum()), mean)
    return means
