"""What the page of an evaluation has beside the parts of every page: pictures, tables, films."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from xml.etree import ElementTree

from matplotlib.figure import Figure

from pneumo_jax.evaluation.page.film_grid import FilmRow, ShownFilm
from pneumo_jax.evaluation.page.inline_svg import inline_svg
from pneumo_jax.evaluation.text import figure_text, figure_title, interval_text, part_of
from pneumo_jax.page_parts import element, note, table

__all__ = [
    'STYLE',
    'VALUE_HEADER',
    'figure_cell',
    'figures_table',
    'film_row',
    'picture_row',
    'reading',
    'threshold_of',
    'undefined_note',
]

VALUE_HEADER = 'value (95 % interval)'

# Of the JPEG of a film: boxes' thin lines must not smear.
_QUALITY = 85

STYLE = """
.pictures { display: flex; flex-wrap: wrap; gap: 18px 28px; margin: 18px 0; }
.pictures > div { flex: 1 1 300px; max-width: 100%; min-width: 0; overflow-x: auto; }
.picture { display: block; width: 100%; max-width: calc(1.35 * var(--width)); height: auto; }
.picture * { stroke-linejoin: round; }
.picture text { white-space: pre; }
.wide .picture { min-width: 620px; }
.films {
  display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; margin: 10px 0 22px;
}
.films figure { margin: 0; break-inside: avoid; }
.films img { display: block; width: 100%; height: auto; border-radius: 4px; }
.films figcaption { margin-top: 4px; color: var(--soft); font-size: 12px; line-height: 1.35; }
.key i { display: inline-block; width: 11px; height: 11px; border: 2px solid; margin: 0 3px 0 8px; }
i.truth { border-color: #e63935; }
i.prediction { border-color: #4285f4; }
.reading { margin: 0 0 12px; max-width: 75ch; }
.text { overflow-wrap: break-word; }
#making .text { overflow-wrap: anywhere; }
#making th:first-child { width: 24%; }
#notice { margin: 0 0 16px; }
.tiles { grid-template-columns: repeat(4, 1fr); }
.tiles + p { margin: -6px 0 20px; }
h3 { margin-top: 20px; }
section > .scroll { margin-top: 12px; }
.strata table { table-layout: fixed; min-width: 760px; }
.strata td { font-size: 13px; }
.strata th:first-child { width: 17%; }
.strata th.number { width: 8%; }
@media (max-width: 640px) {
  .films, .tiles { grid-template-columns: repeat(2, 1fr); }
  table, th { font-size: 13px; }
  th, td { padding-right: 8px; }
  .text { min-width: 76px; }
}
@page { size: A4; margin: 14mm; }
@media print {
  body { font-size: 11px; }
  .soft, footer, th { font-size: 10px; }
  th, td { padding: 4px 8px 4px 0; }
  .text { min-width: 0; }
  main, footer { max-width: none; padding: 0; }
  section { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: 14px 0 0; }
  section.notice { border: 1px solid var(--edge); padding: 10px 14px; }
  table { font-size: 10.5px; }
  .pictures { gap: 10px; }
  .pictures { margin: 8px 0; }
  .pictures > div { flex: 1 1 240px; break-inside: avoid; overflow: visible; }
  .picture { max-width: 8.2cm; margin: 0 auto; }
  .wide .picture { max-width: 100%; }
  .reading { break-after: avoid; break-inside: avoid; }
  .strata table { min-width: 0; }
  .strata td { font-size: 10px; }
  .key { break-after: avoid; break-inside: avoid; }
  .film-row { break-inside: avoid; }
  footer { padding-bottom: 0; }
  .wide .picture { min-width: 0; }
  .films { gap: 8px; margin-bottom: 10px; }
  .films figcaption { font-size: 9px; }
  .tiles { grid-template-columns: repeat(4, 1fr); gap: 8px; }
  .tiles div { padding: 8px 10px; }
  .tiles b { font-size: 18px; }
  .tiles span { font-size: 10px; }
  .reading, .sentence { max-width: none; }
  .sentence { font-size: 13px; }
}
"""


def picture_row(
    pictures: Mapping[str, Figure],
    names: Iterable[str],
    *beside: ElementTree.Element,
    wide: bool = False,
) -> list[ElementTree.Element]:
    """Pictures side by side, those of them that there are.

    Args:
        pictures: of ``pictures.draw_pictures``.
        names: of the wanted ones.
        beside: what stands on the right of them, where there is room.
        wide: whether a narrow screen scrolls them rather than shrinking them.
    """
    items = [element('div', inline_svg(pictures[n], n)) for n in names if n in pictures]
    if beside:
        items.append(element('div', *beside))
    return [element('div', *items, class_='pictures wide' if wide else 'pictures')] if items else []


def figures_table(
    header: Sequence[str], rows: Mapping[str, Sequence[Mapping | str | None]]
) -> ElementTree.Element:
    """A row for each figure's name with its title, and figures or texts in further columns."""
    return table(
        header,
        [(figure_title(name), *(_cell(cell) for cell in cells)) for name, cells in rows.items()],
    )


def reading(text: str) -> ElementTree.Element:
    """How a section is to be read."""
    return element('p', text, class_='reading')


def threshold_of(results: Mapping, name: str) -> str:
    """The threshold of a ``film`` or a ``box`` as text."""
    value = part_of(results, 'thresholds').get(name)
    return 'a threshold that is unknown' if value is None else f'{value:.4f}'


def figure_cell(figure: Mapping | None) -> str:
    """A figure as ``figure_text``, whose interval no narrow column breaks."""
    interval = interval_text(figure)
    whole = f'({interval})'.replace(' ', '\N{NO-BREAK SPACE}')
    return figure_text(figure).replace(f'({interval})', whole)


def undefined_note(what: str, part: Mapping | None) -> ElementTree.Element:
    """The sentence of a part that has no figures, with its reason where one is known."""
    reason = (part or {}).get('undefined')
    return note(f'{what}: undefined ({reason}).' if reason else f'{what}: not computed.')


def film_row(row: FilmRow) -> ElementTree.Element:
    """A row of the grid: its title, its rule, and its films with their captions."""
    rule = note(row.rule if row.films else f'{row.rule} There is none.')
    films = element('div', *map(_film, row.films), class_='films')
    return element('div', element('h3', row.title), rule, films, class_='film-row')


def _cell(cell):
    return cell if isinstance(cell, str) else figure_cell(cell)


def _film(film: ShownFilm):
    file = io.BytesIO()
    film.picture.save(file, 'JPEG', quality=_QUALITY, subsampling=0)
    data = base64.b64encode(file.getvalue()).decode('ascii')
    picture = element(
        'img', src=f'data:image/jpeg;base64,{data}', alt=f'Chest film: {film.caption}',
        width=film.picture.width, height=film.picture.height,
    )  # fmt: skip
    return element('figure', picture, element('figcaption', film.caption))
