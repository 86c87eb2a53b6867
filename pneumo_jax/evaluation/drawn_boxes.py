"""The boxes of scored films at thresholds, beside the true ones."""

from __future__ import annotations

import numpy as np

from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.metrics.box_matches import BoxMatches, match_films
from pneumo_jax.metrics.detection import challenge_film_scores
from pneumo_jax.thresholds import Thresholds

__all__ = ['box_matches', 'challenge_scores', 'comparable_films', 'drawn_boxes']


def drawn_boxes(
    films: ScoredFilms, thresholds: Thresholds
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The boxes [k,4] that are drawn on each film, and their confidences [k]."""
    drawn = [thresholds.select(*film) for film in zip(films.boxes, films.box_scores, strict=True)]
    return [boxes for boxes, _ in drawn], [scores for _, scores in drawn]


def comparable_films(films: ScoredFilms) -> np.ndarray:
    """The films on which boxes can be compared with the truth, bool [N].

    They are those whose boxes are known, and none at all where none of them has a box: nothing
    could be found there.
    """
    return films.boxes_known & any(len(truth) for truth in films.truths)


def challenge_scores(films: ScoredFilms, thresholds: Thresholds, *, inclusive: bool) -> np.ndarray:
    """The challenge's score of each film, float64 [N]; NaN where it counts in no mean.

    Args:
        films: N of them.
        thresholds: which boxes are drawn.
        inclusive: an IoU on the challenge's threshold is a hit.
    """
    drawn = drawn_boxes(films, thresholds)
    scores = challenge_film_scores(films.truths, *drawn, inclusive=inclusive)
    return np.where(comparable_films(films), scores, np.nan)


def box_matches(films: ScoredFilms, thresholds: Thresholds) -> BoxMatches:
    """All candidates, of the size in which they are drawn, matched with the true boxes."""
    boxes = [thresholds.resized(candidates) for candidates in films.boxes]
    return match_films(films.truths, boxes, films.box_scores)
