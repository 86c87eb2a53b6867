"""Free-response ROC: sensitivity for true boxes against false boxes a film.

Bunch et al. 1978 (J Appl Photogr Eng 4:166-171), Chakraborty 1989 (Med Phys 16:561-568). A point
belongs to a threshold: boxes with at least that confidence are drawn, those of equal confidence
together. A true box is found where it is matched at IoU > 0.5, by the challenge's one-to-one
matching; a drawn box without a match is false, on films with and without truth alike. Points are
not joined: what no threshold reaches is not claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pneumo_jax.metrics.box_matches import BoxMatches
from pneumo_jax.metrics.weights import as_weights, plain, running_sums, weighted_sums

__all__ = ['RATES', 'froc_curve', 'sensitivity_at']

# False boxes a film.
RATES = (0.25, 0.5, 1.0)


def froc_curve(matches: BoxMatches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All points of the curve, from no box drawn to all of them.

    Args:
        matches: of ``box_matches.match_films``.

    Returns:
        Float64 [k] each: mean false boxes a film, sensitivity (NaN without a true box) and the
        threshold, which falls from infinity.
    """
    ends = _last_of_ties(matches.scores)
    found = np.concatenate([[0], np.cumsum(matches.hits)[ends]])
    drawn = np.concatenate([[0], ends + 1])
    truths = matches.num_truths.sum()
    return (
        (drawn - found) / matches.num_films,
        found / truths if truths else np.full(len(found), math.nan),
        np.concatenate([[math.inf], matches.scores[ends]]),
    )


def sensitivity_at(
    matches: BoxMatches, rates: Sequence[float] = RATES, weights: np.ndarray | None = None
) -> np.ndarray:
    """The highest sensitivity among thresholds with no more false boxes a film than the rates.

    Drawing no box is among the thresholds, so that the figure is 0 where even the surest boxes are
    too many.

    Args:
        matches: of ``box_matches.match_films``.
        rates: R numbers of false boxes a film.
        weights: float [N,D], how often each film is there, or None for once each.

    Returns:
        Float64 [R], with weights [R,D]; NaN without a true box.

    Raises:
        ValueError: on weights that do not fit or are negative.
    """
    counts = as_weights(weights, matches.num_films)
    truths = weighted_sums(matches.num_truths, counts)
    # Between two thresholds at which something is found there are only more false boxes.
    ends = _last_of_ties(matches.scores)
    hits_so_far = np.cumsum(matches.hits)[ends]
    more = np.diff(hits_so_far, prepend=0) > 0
    drawn = running_sums(counts[matches.films], ends[more])
    found = running_sums(counts[matches.films[matches.hits]], hits_so_far[more] - 1)
    films = counts.sum(axis=0)
    rate = (drawn - found) / np.where(films > 0, films, 1.0)
    best = np.stack([np.max(found, axis=0, initial=0.0, where=rate <= most) for most in rates])
    share = np.divide(best, truths, out=np.full_like(best, math.nan), where=truths > 0)
    return plain(share, weights)


def _last_of_ties(scores):
    """Where runs of equal scores end."""
    return np.flatnonzero(np.diff(scores, append=-math.inf))
