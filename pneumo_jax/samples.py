"""Validation films as pictures, truth in red and prediction in blue, to watch a run by."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pneumo_jax import overlay
from pneumo_jax.data.geometry import film_to_image
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.scoring import FilmScore
from pneumo_jax.thresholds import Thresholds

__all__ = ['sample_overlays']


def sample_overlays(
    films: list[FilmScore], split: FilmSplit, thresholds: Thresholds, *, count: int
) -> dict[str, Image.Image]:
    """The same few films each time, those with boxes first.

    Args:
        films: of ``scoring.score_split``, all of the split.
        split: where their pictures are.
        thresholds: which boxes are drawn.
        count: at most so many films.

    Returns:
        {name: picture}; names count the films and say nothing of them.
    """
    order = sorted(range(len(films)), key=lambda i: (not len(films[i].truth), i))[:count]
    pictures = {}
    for number, i in enumerate(order):
        picture, film = split[i]['image'][:, :, 0], films[i]
        boxes, scores = thresholds.select(film.boxes, film.box_scores)
        pictures[f'validation_film_{number}'] = overlay.draw_film(
            picture,
            truth=_in_picture(film.truth, film, len(picture)),
            boxes=_in_picture(boxes, film, len(picture)),
            scores=scores,
        )
    return pictures


def _in_picture(boxes, film, image_size):
    size = np.array([film.record['film_height'], film.record['film_width']])
    return film_to_image(boxes, size, image_size)
