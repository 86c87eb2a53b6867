"""The figures of an exploration as CSV tables, to go on with in other programs."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from data_prep.exploration.box_charts import HeatMap
from data_prep.exploration.duplicates import Duplicates
from data_prep.exploration.figures import covered_shares
from data_prep.exploration.films import ExploredFilms
from data_prep.exploration.grey import BIN_WIDTH, mean_greys, unusualness
from data_prep.exploration.label_charts import person_counts
from pneumo_jax.data.example import OLDEST_AGE
from pneumo_jax.files import write_csv

__all__ = ['write_tables']


class _Table(NamedTuple):
    header: Sequence[str]
    rows: Iterable[Sequence]


def write_tables(
    folder: pathlib.Path,
    films: ExploredFilms,
    figures: dict,
    *,
    grey: dict,
    balance: dict,
    duplicates: Sequence[Duplicates],
    maps: Sequence[HeatMap],
) -> None:
    """Writes the tables that have rows.

    Args:
        folder: to write into.
        films: all films.
        figures: of ``label_figures``.
        grey: of ``grey_figures``.
        balance: of ``split_balance``.
        duplicates: of ``find_equal_films``.
        maps: of ``heat_maps``.
    """
    tables = {
        'films': _films(films),
        'classes': _classes(figures),
        'groups': _groups(figures),
        'boxes': _boxes(films),
        'box_positions': _positions(maps),
        'persons': _Table(
            ('films_of_the_person', 'persons', 'films'),
            ((title, *counts) for title, counts in person_counts(films).items()),
        ),
        'grey_values': _grey(grey),
        'splits': _splits(balance),
        'equal_films': _equal(films, duplicates),
        'rejected': _Table(
            ('film', 'reason', 'message'),
            ((r.patient_id, r.code, r.message) for r in films.rejected),
        ),
    }
    for name, (header, rows) in tables.items():
        if rows := [tuple(map(_text, row)) for row in rows]:
            write_csv(folder / f'{name}.csv', header, rows)


def _films(films):
    """A row a film; of ages over 89, which can identify a person, no more than that."""
    header = (
        'id', 'class', 'label', 'view', 'sex', 'age', 'label_domain', 'split', 'height', 'width',
        'pixel_spacing_mm', 'manufacturer', 'num_boxes', 'covered_share', 'mean_grey',
        'unusualness',
    )  # fmt: skip
    grey, unusual = np.full((2, len(films)), math.nan)
    if len(films.rows_with_pixels):
        grey[films.rows_with_pixels] = mean_greys(films.pixels.histograms)
        unusual[films.rows_with_pixels] = unusualness(films.pixels.histograms)
    covered, classes = covered_shares(films), films.classes
    rows = (
        (
            label.patient_id,
            classes[i],
            label.label if films.labelled[i] else '',
            label.view_position,
            label.sex,
            '' if label.age < 0 else min(label.age, OLDEST_AGE),
            label.label_domain,
            films.splits[i],
            *(side or '' for side in films.sizes[i].tolist()),
            _number(films.spacings[i]),
            films.manufacturers[i],
            len(label.boxes),
            _number(covered[i]),
            _number(grey[i]),
            _number(unusual[i]),
        )
        for i, label in enumerate(films.labels)
    )
    return _Table(header, rows)


def _classes(figures):
    rows = (
        (name, row['films'], *_ends(row['share']))
        for name, row in figures.get('classes', {}).items()
    )
    return _Table(('class', 'films', 'share', 'share_low', 'share_high'), rows)


def _groups(figures):
    classes = list(figures.get('classes', {}))
    header = ('grouping', 'value', 'films', 'positives', 'prevalence', 'low', 'high', *classes)
    rows = (
        (
            name,
            value,
            group['films'],
            group['positives'],
            *_ends(group['prevalence']),
            *(group['classes'][c] for c in classes),
        )
        for name, values in figures.get('groups', {}).items()
        for value, group in values.items()
    )
    return _Table(header, rows)


def _boxes(films):
    header = ('film', 'label_domain', 'x', 'y', 'width', 'height', 'area', 'height_by_width')
    rows = (
        (label.patient_id, label.label_domain, *box, box[2] * box[3], _number(box[3] / box[2]))
        for label in films.labels
        for box in label.boxes.tolist()
    )
    return _Table(header, rows)


def _positions(maps):
    header = ('class', 'label_domain', 'films', 'row', 'column', 'share')
    rows = (
        (heat.class_name, heat.domain, heat.films, row, column, _number(share))
        for heat in maps
        for (row, column), share in np.ndenumerate(heat.shares)
    )
    return _Table(header, rows)


def _grey(grey):
    header = ('grouping', 'value', 'films', 'grey_from', 'grey_to', 'share', 'low', 'high')
    rows = (
        (name, value, of.films, BIN_WIDTH * i, BIN_WIDTH * i + BIN_WIDTH - 1, *map(_number, share))
        for name, groups in grey.items()
        for value, of in groups.items()
        for i, share in enumerate(of.shares)
    )
    return _Table(header, rows)


def _splits(balance):
    header = ('split', 'trait', 'value', 'low', 'high', 'difference', 'difference_low',
              'difference_high')  # fmt: skip
    return _Table(header, _split_rows(balance))


def _split_rows(balance) -> Iterator[Sequence]:
    for name, split in balance.get('splits', {}).items():
        differences = balance['differences'].get(name, {})
        for trait, figure in split['traits'].items():
            difference = _ends(differences[trait]) if trait in differences else ('', '', '')
            yield name, trait, *_ends(figure), *difference


def _equal(films, duplicates):
    rows = (
        (i, films.labels[row].patient_id, films.splits[row], group.conflicting)
        for i, group in enumerate(duplicates, 1)
        for row in group.rows
    )
    return _Table(('group', 'film', 'split', 'conflicting_labels'), rows)


def _text(cell):
    """The name of a file may be no valid text."""
    return str(cell).encode('utf-8', 'backslashreplace').decode()


def _ends(figure):
    return tuple('' if figure[k] is None else _number(figure[k]) for k in ('value', 'low', 'high'))


def _number(value):
    return '' if math.isnan(value) else f'{value:.6g}'
