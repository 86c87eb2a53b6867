"""What the RSNA's tables say of every film: class, boxes, person.

Three tables: ``stage_2_train_labels.csv`` (patientId, x, y, width, height, Target; one row a box),
``stage_2_detailed_class_info.csv`` (patientId, class), and a mapping from patientId to persons.
"""

from __future__ import annotations

import collections
import math

import numpy as np

from data_prep.labels import (
    BOX_COLUMNS,
    FilmLabel,
    LabelTable,
    RejectError,
    boxes_of_rows,
    check_id,
    class_id_of,
    group_by,
    make_table,
    only_label,
    unique_rows,
)
from data_prep.persons import merged_person, read_persons
from data_prep.tables import read_table

__all__ = ['read_rsna_classes', 'read_rsna_labels']

# The last ids of the complete table were the test set of the challenge's first stage, read by
# several radiologists: 35.3 % are positive, of the others 22.0 %.
_COMPLETE_IDS = 26_684
_MULTI_READ_IDS = 1_000

_LABEL_COLUMNS = ('patientId', *BOX_COLUMNS, 'Target')
_CLASS_COLUMNS = ('patientId', 'class')


def read_rsna_labels(
    labels_csv, class_info_csv=None, person_csv=None, *, id_column=None, person_column=None
) -> LabelTable:
    """Reads and joins the tables.

    Args:
        labels_csv: in the form of stage_2_train_labels.csv.
        class_info_csv: in the form of stage_2_detailed_class_info.csv; without it a film without
            opacity has class -1.
        person_csv: as in ``read_persons``; its view, sex and age are used where a film's own file
            does not tell.
        id_column: as in ``read_persons``.
        person_column: as in ``read_persons``.

    Raises:
        LabelError: if a table as a whole is no such table.
    """
    rows = _by_id(labels_csv, _LABEL_COLUMNS)
    classes = _by_id(class_info_csv, _CLASS_COLUMNS) if class_info_csv else {}
    persons = {}
    if person_csv:
        persons = read_persons(person_csv, id_column=id_column, person_column=person_column)
    domains = _label_domains(list(rows))
    counts = collections.Counter()
    for name, table in (('class', classes), ('person', persons)):
        if table:
            counts[f'films_without_{name}'] = len(rows.keys() - table.keys())
            counts[f'{name}_rows_without_film'] = len(table.keys() - rows.keys())

    def make_film(film_id, film_rows):
        check_id(film_id)
        film_rows = unique_rows(film_rows, counts)
        label = only_label([_target(row) for row in film_rows])
        boxes = boxes_of_rows(film_rows, label)
        return FilmLabel(
            patient_id=film_id,
            label=label,
            class_id=class_id_of(label, [row['class'] for row in classes.get(film_id, ())]),
            boxes=boxes,
            label_domain=domains[film_id],
            **vars(merged_person(persons.get(film_id, ()))),
        )

    return make_table(
        labels_csv,
        rows,
        make_film,
        place=lambda row: f'{labels_csv}, row {row.number}',
        path_of=lambda row: '',  # Films of these tables are found by their ids.
        counts=counts,
    )


def read_rsna_classes(
    class_info_csv, person_csv=None, *, id_column=None, person_column=None
) -> LabelTable:
    """What is known of films without the table of labels: classes, and no boxes.

    Args:
        class_info_csv: as in ``read_rsna_labels``.
        person_csv: as in ``read_rsna_labels``, as are those that follow.

    Raises:
        LabelError: if a table as a whole is no such table.
    """
    rows = _by_id(class_info_csv, _CLASS_COLUMNS)
    persons = {}
    if person_csv:
        persons = read_persons(person_csv, id_column=id_column, person_column=person_column)
    counts = collections.Counter()

    def make_film(film_id, film_rows):
        check_id(film_id)
        names = {row['class'] for row in film_rows}
        label = only_label([int(name == 'Lung Opacity') for name in names])
        return FilmLabel(
            patient_id=film_id,
            label=label,
            class_id=class_id_of(label, names),
            boxes=np.zeros((0, 4), np.float32),
            label_domain='unknown',
            **vars(merged_person(persons.get(film_id, ()))),
        )

    return make_table(
        class_info_csv,
        rows,
        make_film,
        place=lambda row: f'{class_info_csv}, row {row.number}',
        path_of=lambda row: '',
        counts=counts,
    )


def _by_id(path, columns):
    return group_by(read_table(path, columns), lambda row: row['patientId'])


def _target(row):
    try:
        target = row.number_in('Target')
    except ValueError:
        target = math.nan
    if target not in (0, 1):
        raise RejectError('bad_target', f'row {row.number}: Target is {row["Target"]!r}, not 0, 1')
    return int(target)


def _label_domains(ids):
    """Label domain of each id; known only where the table is complete and in its own order."""
    if len(ids) != _COMPLETE_IDS:
        return dict.fromkeys(ids, 'unknown')
    single = len(ids) - _MULTI_READ_IDS
    return {id_: 'single_read' if i < single else 'multi_read' for i, id_ in enumerate(ids)}
