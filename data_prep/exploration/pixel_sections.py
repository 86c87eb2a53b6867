"""The sections on what the films' pixels tell, and films to look at.

As those of ``label_sections``.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

from data_prep.exploration.films import printable
from data_prep.exploration.sections import wide
from pneumo_jax.pages.films import FilmRow, film_row
from pneumo_jax.pages.parts import note, number, section
from pneumo_jax.pages.pictures import picture_row, reading

__all__ = ['contact_sheets', 'duplicates', 'grey_values', 'mean_films', 'outliers']

# Inches from which on a narrow screen scrolls a picture.
_WIDE = 7
_SHOWN_GROUPS = 50
_SHOWN_NAMES = 6
_OUTLIERS = ('darkest', 'brightest', 'unusual')


def grey_values(exploration, pictures, rows):
    """The grey values of groups of films."""
    names = [name for name in pictures if name.startswith('grey_by_')]
    if not names:
        return None
    return section(
        'grey-values',
        'Grey values',
        reading(
            'How much of a film has which grey value, black margins in the film included; the band '
            'is the 95 % interval. Where groups differ, so does how films are taken, processed or '
            'collimated, and a model can learn it. The scale is logarithmic.'
        ),
        *picture_row(pictures, names),
    )


def mean_films(exploration, pictures, rows):
    """The mean film of each class."""
    if 'mean_films' not in pictures:
        return None
    return section(
        'mean-films',
        'Mean films',
        reading(
            'The mean of all films of a class. The last column is what films with an opacity have '
            'more (orange) or less (purple) of; the rows of one view tell it without the view.'
        ),
        *picture_row(pictures, ('mean_films',), wide=pictures['mean_films'].get_figwidth() > _WIDE),
    )


def duplicates(exploration, pictures, rows):
    """Films with the very same pixels."""
    films, groups = exploration.films, exploration.duplicates
    if not len(films.rows_with_pixels):
        return None
    title = 'Films with the very same pixels'
    if not groups:
        return section('duplicates', title, note('None.'))
    listed = [
        (
            _names(films, group.rows),
            'contradict each other' if group.conflicting else 'agree',
            'several' if group.several_persons else 'one',
            'several' if group.several_splits else 'one',
        )
        for group in groups[:_SHOWN_GROUPS]
    ]
    left = len(groups) - _SHOWN_GROUPS
    return section(
        'duplicates',
        title,
        reading(
            f'{number(len(groups))} groups, {number(sum(len(g.rows) for g in groups))} films. Of '
            'two labels that contradict each other one is wrong; equal films in two splits flatter '
            'every figure.'
        ),
        wide(('films', 'labels', 'persons', 'splits'), listed),
        *([note(f'and {number(left)} more in tables/equal_films.csv')] if left > 0 else []),
        *_shown(rows, lambda name: name.startswith('equal_')),
    )


def contact_sheets(exploration, pictures, rows):
    """Some films of each class."""
    shown = _shown(rows, lambda name: name.startswith('sheet_'))
    if not shown:
        return None
    return section(
        'sheets',
        'Some films of each class',
        reading('Boxes are those of the radiologists. Below each film stands its id.'),
        *shown,
    )


def outliers(exploration, pictures, rows):
    """Films unlike the others."""
    shown = _shown(rows, lambda name: name in _OUTLIERS)
    if not shown:
        return None
    return section(
        'outliers',
        'Films unlike the others',
        reading(
            'Look at these before anything learns from them: inverted, empty, cut or of another '
            'part of the body? All films by these numbers: tables/films.csv.'
        ),
        *shown,
    )


def _names(films, rows):
    names = [printable(films.labels[row].patient_id) for row in rows[:_SHOWN_NAMES]]
    left = len(rows) - len(names)
    return ', '.join(names) + (f' and {number(left)} more' if left else '')


def _shown(rows: Iterable[FilmRow], wanted) -> list[ElementTree.Element]:
    return [film_row(row) for row in rows if wanted(row.name)]
