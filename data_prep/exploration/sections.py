"""What the sections of an exploration's page share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from data_prep.exploration.box_charts import HeatMap
from data_prep.exploration.duplicates import Duplicates
from data_prep.exploration.films import ExploredFilms
from pneumo_jax.pages.parts import table

__all__ = ['Exploration', 'narrow', 'percent_figure', 'wide']


@dataclasses.dataclass(frozen=True)
class Exploration:
    """All that was found.

    Attributes:
        films: that were explored.
        figures: of ``figures.label_figures``.
        grey: of ``grey.grey_figures``.
        balance: of ``balance.split_balance``.
        duplicates: of ``duplicates.find_equal_films``.
        maps: of ``box_charts.heat_maps``.
        warnings: sentences that a person should read.
    """

    films: ExploredFilms
    figures: dict
    grey: dict
    balance: dict
    duplicates: list[Duplicates]
    maps: list[HeatMap]
    warnings: list[str]


def percent_figure(figure: Mapping[str, Any]) -> str:
    """A share with its interval in percent: ``22.5 % (21.4 to 23.6)``."""
    if figure['value'] is None:
        return 'undefined'
    told = f'{100 * figure["value"]:.1f} %'
    if figure['low'] is None:
        return told
    ends = f'({100 * figure["low"]:.1f} to {100 * figure["high"]:.1f})'
    return f'{told} {ends}'.replace(' ', '\N{NO-BREAK SPACE}')


def narrow(header: Sequence[str], rows: Sequence[Sequence]) -> ElementTree.Element:
    """A table of few columns, no wider than it needs to be."""
    return _classed(table(header, rows), 'narrow')


def wide(header: Sequence[str], rows: Sequence[Sequence]) -> ElementTree.Element:
    """A table of many columns, which a narrow screen scrolls."""
    return _classed(table(header, rows), 'wide-table')


def _classed(made, name):
    made.set('class', f'{made.get("class")} {name}')
    return made
