"""Average precision as COCO defines it (Lin et al. 2014), for one class.

pycocotools is the definition: boxes of all areas, the 100 surest of each film, precision made
monotone and read at 101 recalls, 0.00, 0.01, ... 1.00.
"""

from __future__ import annotations

import math

import numpy as np

from pneumo_jax.metrics.box_matches import BoxMatches
from pneumo_jax.metrics.weights import as_weights, plain, running_sums, weighted_sums

__all__ = ['average_precision']

# As pycocotools computes them.
_RECALLS = np.linspace(0.0, 1.0, 101)


def average_precision(matches: BoxMatches, weights: np.ndarray | None = None) -> np.ndarray:
    """Average precision at IoU 0.50, 0.55, ... 0.95.

    COCO's headline figure is the mean over the first axis; "AP50" is the first row. Where boxes of
    several films have equal confidences, their order is that of the films, as in pycocotools.

    Args:
        matches: of ``box_matches.match_films``.
        weights: float [N,D], how often each film is there, or None for once each. Copies of a film
            stand beside it.

    Returns:
        Float64 [10], with weights [10,D]; NaN without a true box.

    Raises:
        ValueError: on weights that do not fit or are negative.
    """
    counts = as_weights(weights, matches.num_films)
    truths = weighted_sums(matches.num_truths, counts)
    rows, copies = _rows(matches, int(np.ceil(counts.max(initial=1.0))))
    hits = matches.coco_hits[:, rows]
    ever = hits.any(axis=0)
    called = running_sums(_row_weights(matches, rows, copies, counts), np.flatnonzero(ever))
    # Between two hits precision only falls: the points at hits are all that matter.
    rows, copies, hits = rows[ever], copies[ever], hits[:, ever]
    areas = [
        _area(_row_weights(matches, rows[hit], copies[hit], counts), called[hit], truths)
        for hit in hits
    ]
    return plain(np.where(truths > 0, areas, math.nan), weights)


def _area(hit_weights, called, truths):
    """Mean precision over the recalls: float64 [D].

    Args:
        hit_weights: float64 [k,D], weights of the boxes that hit.
        called: float64 [k,D], number of boxes up to each of them.
        truths: float64 [D], number of true boxes.
    """
    found = np.cumsum(hit_weights, axis=0)
    precision = found / np.maximum(called, np.finfo(np.float64).tiny)
    envelope = np.zeros((len(found) + 1, len(truths)))
    np.maximum.accumulate(precision[::-1], axis=0, out=envelope[-2::-1])
    recall = np.ascontiguousarray((found / np.where(truths > 0, truths, 1.0)).T)
    reached = np.stack([np.searchsorted(draw, _RECALLS) for draw in recall], axis=1)
    return np.take_along_axis(envelope, reached, axis=0).mean(axis=0)


def _rows(matches, most):
    """Boxes in the order of the curve, int [k], and which copy of them each is; -1 for all copies.

    The copies of a box follow each other, and count as one row. But boxes of one film with equal
    confidences, some of them hits, come one after the other in each copy of the film.

    Args:
        matches: of ``match_films``.
        most: the highest weight, rounded up.
    """
    rows = np.flatnonzero(matches.in_coco)
    films, scores, hits = matches.films[rows], matches.scores[rows], matches.coco_hits[:, rows]
    same = np.zeros(len(rows), bool)
    same[1:] = (films[1:] == films[:-1]) & (scores[1:] == scores[:-1])
    changes = np.zeros(len(rows), bool)
    changes[1:] = same[1:] & (hits[:, 1:] != hits[:, :-1]).any(axis=0)
    group = np.cumsum(~same)
    mixed = np.isin(group, group[changes])
    repeats = np.where(mixed, most, 1)
    place = np.repeat(np.arange(len(rows)), repeats)
    copies = np.arange(len(place)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    copies = np.where(mixed[place], copies, -1)
    order = np.lexsort((place, copies, group[place]))
    return rows[place[order]], copies[order]


def _row_weights(matches, rows, copies, counts):
    """The weights of rows: float64 [n,D]. Copy c is there in films that weigh more than c."""
    weights = counts[matches.films[rows]]
    one = copies >= 0
    if one.any():
        weights[one] = np.clip(weights[one] - copies[one, None], 0.0, 1.0)
    return weights
