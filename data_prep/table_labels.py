"""What any table with a path and a label says of every film.

One row a film, or a box where the table has boxes. A table without boxes has weak labels: its
positive films have none.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from data_prep.labels import (
    BOX_COLUMNS,
    CLASS_IDS,
    SPLIT_NAMES,
    FilmLabel,
    LabelTable,
    RejectError,
    boxes_of_rows,
    check_id,
    class_id_of,
    film_ids,
    group_by,
    make_table,
    only_label,
    only_path,
    posix_path,
    unique_rows,
)
from data_prep.persons import FACT_ALIASES, PersonSource, person_from_cells
from data_prep.tables import LabelError, find_columns, read_table

__all__ = ['read_table_labels']

# Usual names of columns, as in ``find_columns``.
_ALIASES = {
    'path': (
        'path',
        'file',
        'filename',
        'filepath',
        'image',
        'imagepath',
        'imagefile',
        'imageindex',
    ),
    'label': ('label', 'target', 'finding'),
    'id': ('id', 'filmid', 'imageid'),
    'person': ('person', 'personid', 'patientid', 'nihpatient', 'subjectid', 'subject'),
    **FACT_ALIASES,
    'split': ('split',),
    'class': ('class', 'classid', 'classname'),
    **{name: (name,) for name in BOX_COLUMNS},
}
_FLAGS = {name: f'--columns={name}=COLUMN' for name in _ALIASES}

_LABELS = {'false': 0, 'no': 0, 'true': 1, 'yes': 1}
_CLASS_NAMES = {str(class_id): name for name, class_id in CLASS_IDS.items()}
_SHOWN_LABELS = 10


def read_table_labels(
    labels_csv,
    *,
    columns: Mapping[str, str] | None = None,
    positive_labels: Sequence[str] = (),
    person_pattern: str | None = None,
    person_csv=None,
    id_column=None,
    person_column=None,
) -> LabelTable:
    """Reads a table of paths and labels.

    Args:
        labels_csv: with columns for path and label; id, person, view, sex, age, split, class, x,
            y, width and height are read where it has them. Without an id column ids come from
            ``film_ids``.
        columns: which column holds what, under the names above, where it has no usual name.
        positive_labels: a film is positive if one piece of its label (between ``|``, ``;`` and
            ``,``) is one of these, in whatever case. Without them labels are 0 or 1, false or
            true, no or yes.
        person_pattern: as in ``PersonSource``, as are those that follow.

    Raises:
        LabelError: if the table as a whole is no such table.
        InputError: if ``person_pattern`` is no regular expression.
    """
    rows = _read_rows(labels_csv, columns or {})
    positives = {label.casefold() for label in positive_labels}
    if positives:
        _refuse_absent(labels_csv, positive_labels, rows)
    persons = PersonSource(
        person_csv=person_csv,
        id_column=id_column,
        person_column=person_column,
        person_pattern=person_pattern,
    )
    paths = [row['path'] for row in rows]
    if 'id' in rows[0].cells:
        groups = group_by(rows, lambda row: row['id'])
    else:
        ids = film_ids(paths)
        groups = group_by(rows, lambda row: ids[row['path']])
    counts = collections.Counter(
        person_rows_without_film=persons.rows_without_film([*groups, *paths])
    )

    def make_film(film_id, film_rows):
        path = only_path(row['path'] for row in film_rows)
        check_id(film_id)
        film_rows = unique_rows(film_rows, counts)
        label = only_label([_label(row, positives) for row in film_rows])
        boxes = (
            boxes_of_rows(film_rows, label)
            if 'x' in film_rows[0].cells
            else np.zeros((0, 4), np.float32)
        )
        names = [_class_name(row) for row in film_rows]
        class_id = class_id_of(label, [name for name in names if name])
        split = _only_split(film_rows)
        own = [person_from_cells(row.cells) for row in film_rows]
        return FilmLabel(
            patient_id=film_id,
            label=label,
            class_id=class_id,
            boxes=boxes,
            label_domain='unknown',
            path=path,
            split=split,
            **vars(persons.person_of(film_id, path, own, counts)),
        )

    return make_table(
        labels_csv,
        groups,
        make_film,
        place=lambda row: f'{labels_csv}, row {row.number}',
        path_of=lambda row: row['path'],
        counts=counts,
    )


def _read_rows(labels_csv, columns):
    """The rows, with our names for what is read."""
    if unknown := sorted(columns.keys() - _ALIASES.keys()):
        raise LabelError(
            f'--columns={unknown[0]}={columns[unknown[0]]}: there is no {unknown[0]!r}; columns '
            f'are named for {", ".join(_ALIASES)}'
        )
    rows = read_table(labels_csv)
    found = find_columns(
        labels_csv,
        list(rows[0].cells),
        _ALIASES,
        named=columns,
        required=('path', 'label'),
        flags=_FLAGS,
    )
    boxes = [name for name in BOX_COLUMNS if name in found]
    # A width and a height alone are those of the picture.
    if boxes == ['width', 'height'] and not set(boxes) & columns.keys():
        found = {name: column for name, column in found.items() if name not in boxes}
    elif boxes and len(boxes) < len(BOX_COLUMNS):
        raise LabelError(
            f'{labels_csv} has only {", ".join(boxes)} of a box: name the other columns with '
            f'{_FLAGS["x"]} and so on; where these are no boxes, rename them'
        )
    return [_renamed(row, found) for row in rows]


def _renamed(row, found):
    """The row with our names, of the columns that are read, and with the path in our form."""
    cells = {name: row[column] for name, column in found.items()}
    return dataclasses.replace(row, cells={**cells, 'path': posix_path(cells['path'])})


def _refuse_absent(labels_csv, positive_labels, rows):
    """A misspelt label would make every film negative."""
    labels = collections.Counter(piece for row in rows for piece in _pieces(row))
    if not labels.keys() & {label.casefold() for label in positive_labels}:
        shown = ', '.join(repr(label) for label, _ in labels.most_common(_SHOWN_LABELS))
        raise LabelError(
            f'{labels_csv}: no label is one of --positive_labels={",".join(positive_labels)}; the '
            f'commonest are {shown}'
        )


def _pieces(row):
    pieces = (piece.strip().casefold() for piece in re.split('[|;,]', row['label']))
    return {piece for piece in pieces if piece}


def _label(row, positives):
    """0 or 1; ``positives`` in lower case, empty where labels are numbers or yes and no."""
    if not _pieces(row):
        raise RejectError('bad_target', f'row {row.number}: the label is empty')
    if positives:
        return int(bool(_pieces(row) & positives))
    text = row['label'].casefold()
    if text in _LABELS:
        return _LABELS[text]
    try:
        label = row.number_in('label')
    except ValueError:
        label = math.nan
    if label not in (0, 1):
        raise RejectError(
            'bad_target',
            f'row {row.number}: the label is {row["label"]!r}, not 0, 1, false, true, no, yes; '
            'say which texts are positive with --positive_labels',
        )
    return int(label)


def _class_name(row):
    """Name of the class, '' unknown; numbers stand for the challenge's classes."""
    text = row.cells.get('class', '')
    return _CLASS_NAMES.get(text, text)


def _only_split(rows):
    """The split that all rows of a film name, '' if none does."""
    splits = set()
    for row in rows:
        text = row.cells.get('split', '')
        if text and text.casefold() not in SPLIT_NAMES:
            raise RejectError(
                'bad_split', f'row {row.number}: {text!r} is none of {", ".join(SPLIT_NAMES)}'
            )
        splits.add(SPLIT_NAMES.get(text.casefold(), ''))
    splits.discard('')
    if len(splits) > 1:
        raise RejectError('conflicting_split', f'it is in the splits {", ".join(sorted(splits))}')
    return splits.pop() if splits else ''
