"""A few films to look at, the best answers and the worst, chosen by rules that are stated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from pneumo_jax import overlay
from pneumo_jax.data.geometry import film_to_image
from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.metrics.detection import challenge_film_scores
from pneumo_jax.pages.films import FilmRow, ShownFilm
from pneumo_jax.thresholds import Thresholds

__all__ = ['GRID_COLUMNS', 'film_grid']

# Films of a row.
GRID_COLUMNS = 4
# Pictures are brought to this side before boxes are drawn, so that lines are equally thin on all.
_SIDE = 448


def film_grid(
    films: ScoredFilms, thresholds: Thresholds, film_picture: Callable[[int], np.ndarray]
) -> list[FilmRow]:
    """Chooses films and draws them; no film stands in two rows.

    Args:
        films: the films and their answers.
        thresholds: what is called positive, and which boxes are drawn.
        film_picture: gives the standard picture uint8 [S,S] of the film of an index.
    """
    drawn = [thresholds.select(*pair) for pair in zip(films.boxes, films.box_scores, strict=True)]
    scores = _box_scores(films, drawn)
    rows, taken = [], np.zeros(len(films), bool)
    for name, (title, rule, choose) in _RULES.items():
        eligible, order = choose(films, films.probs >= thresholds.film, scores)
        # The first of equal films; the order of the table means nothing.
        candidates = np.argsort(order, kind='stable')
        chosen = candidates[(eligible & ~taken)[candidates]][:GRID_COLUMNS]
        taken[chosen] = True
        shown = [_show(films, i, drawn[i], scores[i], film_picture(int(i))) for i in chosen]
        rows.append(FilmRow(name, title, rule, shown))
    return rows


def _best(films, called, scores):
    return (films.labels == 1) & called & (scores > 0), -scores


def _quiet(films, called, scores):
    # Without truth and without a drawn box a film has no score.
    return (films.labels == 0) & ~called & np.isnan(scores), films.probs


def _missed(films, called, scores):
    return (films.labels == 1) & ~called, films.probs


def _false_alarms(films, called, scores):
    return (films.labels == 0) & called, -films.probs


def _worst_boxes(films, called, scores):
    return (films.labels == 1) & called & (scores < 1), scores


# Name -> title, rule, and what gives the eligible films bool [N] and their order [N], first lowest.
_RULES = {
    'best': (
        'Boxes that fit',
        'Positive films called positive, with the highest box scores.',
        _best,
    ),
    'quiet': (
        'Rightly quiet',
        'Negative films called negative, no box drawn, with the lowest probabilities.',
        _quiet,
    ),
    'missed': (
        'Missed',
        'Positive films called negative, with the lowest probabilities.',
        _missed,
    ),
    'false_alarms': (
        'False alarms',
        'Negative films called positive, with the highest probabilities.',
        _false_alarms,
    ),
    'worst_boxes': (
        'Worst boxes',
        'Positive films called positive, with the lowest box scores.',
        _worst_boxes,
    ),
}


def _box_scores(films, drawn):
    """The challenge's score of each film; NaN without any box, or where boxes are not known."""
    boxes, confidences = zip(*drawn, strict=True)
    scores = challenge_film_scores(films.truths, boxes, confidences)
    return np.where(films.boxes_known, scores, np.nan)


def _show(films, i, drawn, score, pixels):
    picture = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    truth, boxes = (
        film_to_image(rows, films.film_sizes[i], _SIDE) for rows in (films.truths[i], drawn[0])
    )
    return ShownFilm(
        overlay.draw_film(np.asarray(picture), truth=truth, boxes=boxes),
        _caption(films, i, len(boxes), score),
    )


def _caption(films, i, num_boxes, score):
    truth = 'no opacity'
    if films.labels[i]:
        count = len(films.truths[i])
        truth = f'true boxes {count}' if count else 'opacity, boxes unknown'
    parts = [f'p {films.probs[i]:.2f}', f'{truth}, drawn {num_boxes}']
    if films.labels[i] and np.isfinite(score):
        parts.append(f'score {score:.2f}')
    return ' · '.join(parts)
