"""What the page of an evaluation has beside the parts of every page: pictures, tables, films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from pneumo_jax.evaluation.text import figure_text, figure_title, interval_text, part_of
from pneumo_jax.pages.parts import note, table
from pneumo_jax.pages.pictures import PICTURES_STYLE

__all__ = [
    'STYLE',
    'VALUE_HEADER',
    'figure_cell',
    'figures_table',
    'threshold_of',
    'undefined_note',
]

VALUE_HEADER = 'value (95 % interval)'

STYLE = (
    PICTURES_STYLE
    + """
#making .text { overflow-wrap: anywhere; }
#making th:first-child { width: 24%; }
.strata table { table-layout: fixed; min-width: 760px; }
.strata td { font-size: 13px; }
.strata th:first-child { width: 17%; }
.strata th.number { width: 8%; }
@media print {
  .strata table { min-width: 0; }
  .strata td { font-size: 10px; }
}
"""
)


def figures_table(
    header: Sequence[str], rows: Mapping[str, Sequence[Mapping | str | None]]
) -> ElementTree.Element:
    """A row for each figure's name with its title, and figures or texts in further columns."""
    return table(
        header,
        [(figure_title(name), *(_cell(cell) for cell in cells)) for name, cells in rows.items()],
    )


def threshold_of(results: Mapping, name: str) -> str:
    """The threshold of a ``film`` or a ``box`` as text."""
    value = part_of(results, 'thresholds').get(name)
    return 'a threshold that is unknown' if value is None else f'{value:.4f}'


def figure_cell(figure: Mapping | None, digits: int = 3) -> str:
    """A figure as ``figure_text``, whose interval no narrow column breaks."""
    interval = interval_text(figure, digits)
    whole = f'({interval})'.replace(' ', '\N{NO-BREAK SPACE}')
    return figure_text(figure, digits).replace(f'({interval})', whole)


def undefined_note(what: str, part: Mapping | None) -> ElementTree.Element:
    """The sentence of a part that has no figures, with its reason where one is known."""
    reason = (part or {}).get('undefined')
    return note(f'{what}: undefined ({reason}).' if reason else f'{what}: not computed.')


def _cell(cell):
    return cell if isinstance(cell, str) else figure_cell(cell)
