"""The section of an evaluation's page on groups of films."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

from matplotlib.figure import Figure

from pneumo_jax.evaluation.page.elements import (
    VALUE_HEADER,
    figure_cell,
    figures_table,
    undefined_note,
)
from pneumo_jax.evaluation.pictures.forest import (
    STRATUM_FIGURES,
    STRATUM_TITLES,
    difference_title,
    group_title,
)
from pneumo_jax.evaluation.text import figure_title, part_of
from pneumo_jax.pages.parts import element, section, table
from pneumo_jax.pages.pictures import picture_row, reading

__all__ = ['strata']


def strata(results: dict, pictures: Mapping[str, Figure]) -> ElementTree.Element:
    """The figures of groups of films, and how they differ."""
    content = part_of(results, 'strata')
    tables = []
    for name, stratum in content.items():
        if not stratum['groups']:
            continue
        tables.append(element('h3', STRATUM_TITLES.get(name, name.replace('_', ' '))))
        tables.append(element('div', _stratum_table(stratum), class_='strata'))
    shortcut = results.get('shortcut')
    return section(
        'strata',
        'Groups: is it as good for everyone?',
        reading(
            'A square is the figure of a group, its line the 95 % interval, the dotted line all '
            'films together. Sick persons are often filmed lying down (AP), so that a model may '
            'learn the view in place of the disease. Groups by size of the opacity share all '
            'films without one.'
        ),
        *picture_row(pictures, ('strata',), wide=True),
        *(
            [element('h3', 'Differences; the dotted line is no difference')]
            if 'differences' in pictures
            else []
        ),
        *picture_row(pictures, ('differences',), wide=True),
        *(
            [
                element('h3', 'What the view alone explains'),
                figures_table(('figure', VALUE_HEADER), {n: (f,) for n, f in shortcut.items()}),
            ]
            if shortcut
            else []
        ),
        *(tables or [undefined_note('Groups of films', None)]),
    )


def _stratum_table(stratum):
    """The groups, and below them how they differ."""
    rows = [
        (
            group_title(name),
            group['num_films'],
            float(group.get('prevalence') or 0),
            *_cells(group.get('figures') or {}),
        )
        for name, group in stratum['groups'].items()
    ]
    for difference in stratum.get('differences') or ():
        rows.append(
            (difference_title(difference['between']), '', '', *_cells(difference['figures']))
        )
    return table(('group', 'films', 'positive', *map(figure_title, STRATUM_FIGURES)), rows)


def _cells(figures):
    return [figure_cell(figures.get(name)) for name in STRATUM_FIGURES]
