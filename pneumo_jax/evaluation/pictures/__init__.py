"""All pictures of an evaluation, made from its results and its films' answers."""

from __future__ import annotations

from matplotlib.figure import Figure

from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.evaluation.pictures import charts, curves, forest
from pneumo_jax.pages.style import drawing
from pneumo_jax.thresholds import Thresholds

__all__ = ['draw_pictures']

_DRAWERS = {
    'roc': curves.draw_roc,
    'precision_recall': curves.draw_pr,
    'scores': charts.draw_scores,
    'confusion': charts.draw_confusion,
    'reliability': charts.draw_reliability,
    'froc': curves.draw_froc,
    'strata': forest.draw_strata,
    'differences': forest.draw_differences,
    'class_confusion': charts.draw_class_confusion,
    'extent': charts.draw_extent,
    'zones': charts.draw_zones,
}


def draw_pictures(results: dict, films: ScoredFilms, thresholds: Thresholds) -> dict[str, Figure]:
    """The pictures that these films allow; one of which nothing is defined is left out.

    Args:
        results: the content of results.json.
        films: the films that it is of.
        thresholds: the decisions' thresholds.

    Returns:
        {name: picture}; ``picture.get_label()`` tells in a sentence what it shows.
    """
    with drawing():
        drawn = {name: draw(results, films, thresholds) for name, draw in _DRAWERS.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}
