"""The exploration as one page that needs no other file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree

from matplotlib.figure import Figure

from data_prep.exploration import label_sections, pixel_sections
from data_prep.exploration.sections import Exploration
from pneumo_jax.evaluation.text import figure_text, interval_text
from pneumo_jax.pages.films import FilmRow
from pneumo_jax.pages.parts import element, note, number, page, percent, section, tiles
from pneumo_jax.pages.pictures import PICTURES_STYLE

__all__ = ['NOTICE', 'exploration_page']

NOTICE = 'Research software, not a medical device.'

_STYLE = """
.films { grid-template-columns: repeat(6, 1fr); gap: 10px; }
.films figcaption { overflow-wrap: anywhere; font-size: 11px; }
.narrow table { width: auto; min-width: 50%; }
.wide-table table { min-width: 640px; }
td.large { font-weight: 600; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0 0 18px; font-size: 13px; }
nav a { color: var(--main); text-decoration: none; }
#heat_maps .picture, .whole .picture { max-width: 100%; }
@media (max-width: 640px) { .films { grid-template-columns: repeat(3, 1fr); } }
"""

_SECTIONS = (
    label_sections.classes,
    label_sections.groups,
    label_sections.boxes,
    pixel_sections.grey_values,
    pixel_sections.mean_films,
    label_sections.persons,
    label_sections.spacings,
    pixel_sections.duplicates,
    label_sections.splits,
    pixel_sections.contact_sheets,
    pixel_sections.outliers,
    label_sections.rejected,
    label_sections.making,
)


def exploration_page(
    exploration: Exploration, pictures: Mapping[str, Figure], rows: Sequence[FilmRow]
) -> str:
    """The page, as HTML that refers to nothing outside it; all texts are escaped.

    Args:
        exploration: what was found; a section of which nothing is known is left out.
        pictures: by name.
        rows: films to look at.
    """
    return page(
        'The data in pictures',
        _content(exploration, pictures, rows),
        footer=f'{NOTICE} A film here is one picture; a person may have several.',
        style=PICTURES_STYLE + _STYLE,
    )


def _content(exploration, pictures, rows) -> Iterator[ElementTree.Element]:
    yield element('p', NOTICE, class_='soft', id='notice')
    if exploration.warnings:
        sentences = [element('li', sentence) for sentence in exploration.warnings]
        yield section('warnings', 'Please read', element('ul', *sentences), class_='notice')
    yield element('p', exploration.films.origin, class_='sentence', id='origin')
    yield _tiles(exploration)
    if exploration.figures.get('prevalence'):
        yield note(
            'Brackets are 95 % intervals from a bootstrap over persons: how far chance in drawing '
            'these persons may have moved the figure.'
        )
    made = [each for make in _SECTIONS if (each := make(exploration, pictures, rows)) is not None]
    links = (element('a', each.find('h2').text, href=f'#{each.get("id")}') for each in made)
    yield element('nav', *links)
    yield from made


def _tiles(exploration):
    films, figures = exploration.films, exploration.figures
    audit = figures['audit']
    shown = [(number(figures['films']), 'films')]
    if audit['persons']['persons']:
        shown.append((number(audit['persons']['persons']), 'known persons'))
    if prevalence := figures.get('prevalence'):
        shown.append(
            (
                percent(prevalence['value']),
                'with an opacity (prevalence)',
                _percent_interval(prevalence),
                f'{number(audit["positives"])} films',
            )
        )
        area = figures['baselines']['view_alone_auroc']
        if area['value'] is not None:
            told = figure_text({'value': area['value']})
            shown.append((told, 'AUROC of the view alone', interval_text(area)))
    if audit['boxes']['boxes']:
        shown.append((number(audit['boxes']['boxes']), 'boxes'))
    if len(films.rows_with_pixels):
        shown.append((number(len(films.rows_with_pixels)), 'films whose pixels were read'))
    if films.rejected:
        shown.append((number(len(films.rejected)), 'films that cannot be used'))
    return tiles([tuple(filter(None, tile)) for tile in shown])


def _percent_interval(figure):
    if figure['low'] is None:
        return ''
    return f'{100 * figure["low"]:.1f} to {100 * figure["high"]:.1f} %'
