"""From films to all their figures and pictures."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from data_prep.exploration import box_charts, label_charts, pixel_charts
from data_prep.exploration.balance import split_balance
from data_prep.exploration.duplicates import find_equal_films
from data_prep.exploration.figures import label_figures
from data_prep.exploration.films import ExploredFilms
from data_prep.exploration.grey import grey_figures, mean_films
from data_prep.exploration.sections import Exploration
from pneumo_jax.pages.style import drawing

__all__ = ['draw', 'gather']


def gather(films: ExploredFilms) -> Exploration:
    """All figures of a set of films."""
    figures, duplicates, balance = (
        label_figures(films),
        find_equal_films(films),
        split_balance(films),
    )
    return Exploration(
        films=films,
        figures=figures,
        grey=grey_figures(films),
        balance=balance,
        duplicates=duplicates,
        maps=box_charts.heat_maps(films),
        warnings=list(_warnings(films, figures, duplicates, balance)),
    )


def draw(exploration: Exploration) -> dict[str, Figure]:
    """The pictures by name; one of which nothing is known is left out."""
    films, figures = exploration.films, exploration.figures
    with drawing():
        drawn = {
            'classes': label_charts.draw_classes(figures),
            'groups': label_charts.draw_groups(figures),
            'ages': label_charts.draw_ages(films),
            'box_counts': box_charts.draw_box_counts(films),
            'box_sizes': box_charts.draw_box_sizes(films),
            'box_positions': box_charts.draw_heat_maps(exploration.maps),
            'persons': label_charts.draw_persons(films),
            'spacings': label_charts.draw_spacings(films),
            'split_differences': label_charts.draw_split_differences(exploration.balance),
            **pixel_charts.draw_grey_values(exploration.grey),
            'mean_films': pixel_charts.draw_mean_films(mean_films(films)),
        }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _warnings(films, figures, duplicates, balance) -> Iterator[str]:
    if films.labelled.any():
        yield from figures['audit']['warnings']
    else:
        yield 'No film has a label: give --labels_csv for what classes, boxes and views tell.'
    if films.rejected:
        yield f'Films that cannot be used: {len(films.rejected):,}; the page lists them.'
    if films.missing:
        yield f'Labelled films without a file: {films.missing:,}; their pixels are in no figure.'
    if doubtful := sum(group.conflicting for group in duplicates):
        yield f'Groups of equal films whose labels contradict each other: {doubtful:,}.'
    for what, key in (
        ('Persons', 'persons_in_two_splits'),
        ('Equal films', 'equal_films_in_two_splits'),
    ):
        if count := balance.get(key):
            yield f'{what} in two splits: {count:,}. Figures may flatter.'
