"""What the RSNA's tables say of every film: class, boxes, person.

Three tables: ``stage_2_train_labels.csv`` (patientId, x, y, width, height, Target; one row a box),
``stage_2_detailed_class_info.csv`` (patientId, class), and a mapping from patientId to persons.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re

import numpy as np

from data_prep.tables import LabelError, Row, read_table
from pneumo_jax.data.example import MAX_BOXES, UNKNOWN_AGE, UNKNOWN_CLASS

__all__ = [
    'FilmLabel',
    'LabelError',
    'LabelTable',
    'Rejection',
    'boxes_inside',
    'read_rsna_labels',
]

CLASS_IDS = {'Normal': 0, 'No Lung Opacity / Not Normal': 1, 'Lung Opacity': 2}

# The last ids of the complete table were the test set of the challenge's first stage, read by
# several radiologists: 35.3 % are positive, of the others 22.0 %.
_COMPLETE_IDS = 26_684
_MULTI_READ_IDS = 1_000

_LABEL_COLUMNS = ('patientId', 'x', 'y', 'width', 'height', 'Target')
_CLASS_COLUMNS = ('patientId', 'class')
_PERSON_COLUMNS = ('person_id', 'nih_patient')


@dataclasses.dataclass(frozen=True)
class FilmLabel:
    """What is known of a film without its pixels.

    Attributes:
        patient_id: id of the film, the stem of its file name.
        label: 1 for a lung opacity, else 0.
        class_id: 0, 1 or 2 as in ``CLASS_IDS``, -1 unknown.
        boxes: float32 [n,4], (x, y, width, height) in film pixels, n up to 8, in order of rows.
        person_id: '' unknown.
        view_position: ``AP``, ``PA``, or '' unknown.
        sex: ``M``, ``F``, or '' unknown.
        age: years, -1 unknown.
        label_domain: ``single_read``, ``multi_read`` or ``unknown``.
    """

    patient_id: str
    label: int
    class_id: int
    boxes: np.ndarray
    person_id: str
    view_position: str
    sex: str
    age: int
    label_domain: str


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A film that cannot be used.

    Attributes:
        patient_id: id of the film.
        code: the reason in one word.
        message: the reason in words, with file and row.
    """

    patient_id: str
    code: str
    message: str


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """The films of the tables.

    Attributes:
        films: usable ones, in order of their ids.
        rejected: ids whose rows contradict each other or make no sense.
        counts: of what was passed over: duplicate rows, ids that only one table has.
    """

    films: tuple[FilmLabel, ...]
    rejected: tuple[Rejection, ...]
    counts: dict[str, int]


class _RejectError(Exception):
    """The film is rejected: (code, message)."""


def read_rsna_labels(labels_csv, class_info_csv=None, person_csv=None) -> LabelTable:
    """Reads and joins the tables.

    Args:
        labels_csv: in the form of stage_2_train_labels.csv.
        class_info_csv: in the form of stage_2_detailed_class_info.csv; without it a film without
            opacity has class -1.
        person_csv: columns patientId and person_id (or nih_patient), one row a film; columns
            view, sex and age are used where a film's own file does not tell.

    Raises:
        LabelError: if a table as a whole is no such table.
    """
    rows = _by_id(read_table(labels_csv, _LABEL_COLUMNS))
    classes = _by_id(read_table(class_info_csv, _CLASS_COLUMNS)) if class_info_csv else {}
    persons = _read_persons(person_csv) if person_csv else {}
    domains = _label_domains(list(rows))
    counts = collections.Counter()
    films, rejected = [], []
    for patient_id, film_rows in rows.items():
        try:
            _check_id(patient_id)
            label, boxes = _label_and_boxes(film_rows, counts)
            class_id = _class_id(label, classes.get(patient_id, []))
            person = _person(persons.get(patient_id, []))
        except _RejectError as error:
            code, message = error.args
            source = f'{labels_csv}, row {film_rows[0].number}'
            rejected.append(Rejection(patient_id, code, f'{patient_id} ({source}): {message}'))
            continue
        films.append(
            FilmLabel(
                patient_id=patient_id,
                label=label,
                class_id=class_id,
                boxes=boxes,
                label_domain=domains[patient_id],
                **person,
            )
        )
    if not films:
        raise LabelError(
            f'{labels_csv}: none of {len(rows)} films can be used; the first: {rejected[0].message}'
        )
    for name, table in (('class', classes), ('person', persons)):
        if table:
            counts[f'films_without_{name}'] = len(rows.keys() - table.keys())
            counts[f'{name}_rows_without_film'] = len(table.keys() - rows.keys())
    return LabelTable(
        films=tuple(sorted(films, key=lambda film: film.patient_id)),
        rejected=tuple(sorted(rejected, key=lambda rejection: rejection.patient_id)),
        counts={name: count for name, count in counts.items() if count},
    )


def boxes_inside(boxes: np.ndarray, height: int, width: int) -> np.ndarray | None:
    """Boxes [n,4] clipped to the film; None if one stands out by more than a pixel.

    One pixel is what rounding explains; more means another film, or other units.
    """
    limit = np.array([width, height], np.float32)
    start, end = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    if (start < -1).any() or (end > limit + 1).any():
        return None
    start, end = start.clip(0, limit), end.clip(0, limit)
    if (end <= start).any():
        return None
    return np.concatenate([start, end - start], axis=1)


def _by_id(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows of each id, ids in order of first appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row['patientId'], []).append(row)
    return groups


def _check_id(patient_id):
    # An id becomes a file name.
    if patient_id in ('', '.', '..') or re.search(r'[/\\\x00-\x1f\x7f]', patient_id):
        raise _RejectError('unsafe_id', 'the id is no plain file name')


def _label_and_boxes(rows, counts):
    """(label, boxes float32 [n,4]) of a film's rows."""
    labels, boxes = set(), []
    seen = set()
    for row in rows:
        values = tuple(row.cells.values())
        if values in seen:
            counts['duplicate_rows'] += 1
            continue
        seen.add(values)
        labels.add(_target(row))
        box = _box(row)
        if box is not None:
            boxes.append(box)
    if len(labels) > 1:
        raise _RejectError('conflicting_target', 'its rows have Target 0 and Target 1')
    (label,) = labels
    if label == 1 and len(boxes) < len(seen):
        raise _RejectError('positive_without_box', 'Target is 1 and x, y, width, height are empty')
    if label == 0 and boxes:
        raise _RejectError('negative_with_box', 'Target is 0 and there is a box')
    if len(boxes) > MAX_BOXES:
        raise _RejectError('too_many_boxes', f'{len(boxes)} boxes, at most {MAX_BOXES} are kept')
    return label, np.array(boxes, np.float32).reshape(-1, 4)


def _target(row):
    try:
        target = row.number_in('Target')
    except ValueError:
        target = math.nan
    if target not in (0, 1):
        raise _RejectError('bad_target', f'row {row.number}: Target is {row["Target"]!r}, not 0, 1')
    return int(target)


def _box(row):
    """(x, y, width, height), None where all four are empty."""
    columns = ('x', 'y', 'width', 'height')
    texts = [row[name] for name in columns]
    if not any(texts):
        return None
    try:
        box = [row.number_in(name) for name in columns]
    except ValueError:
        box = [math.nan]
    if not all(map(math.isfinite, box)) or box[2] <= 0 or box[3] <= 0:
        raise _RejectError(
            'bad_box', f'row {row.number}: {texts} is no box (x, y, width > 0, height > 0)'
        )
    return box


def _class_id(label, rows):
    names = sorted({row['class'] for row in rows})
    if not names:
        return 2 if label else UNKNOWN_CLASS
    if len(names) > 1:
        raise _RejectError('conflicting_class', f'it has the classes {names}')
    if names[0] not in CLASS_IDS:
        raise _RejectError('unknown_class', f'class {names[0]!r} is none of {list(CLASS_IDS)}')
    class_id = CLASS_IDS[names[0]]
    if (class_id == 2) != (label == 1):
        raise _RejectError('class_against_target', f'class is {names[0]!r} and Target {label}')
    return class_id


def _read_persons(person_csv):
    """Rows by id, each with the person under 'person_id'."""
    rows = read_table(person_csv, ('patientId',))
    column = next((name for name in _PERSON_COLUMNS if name in rows[0].cells), None)
    if column is None:
        raise LabelError(
            f'{person_csv} lacks a column of persons ({" or ".join(_PERSON_COLUMNS)}); it has '
            f'{", ".join(rows[0].cells)}'
        )
    for row in rows:
        row.cells['person_id'] = row[column]
    return _by_id(rows)


def _person(rows):
    """The fields of ``FilmLabel`` that the person table tells."""
    persons = sorted({row['person_id'] for row in rows})
    if len(persons) > 1:
        raise _RejectError('conflicting_person', f'it has the persons {persons}')
    cells = rows[0].cells if rows else {}
    view, sex, age = (cells.get(name, '') for name in ('view', 'sex', 'age'))
    return {
        'person_id': persons[0] if persons else '',
        'view_position': view if view in ('AP', 'PA') else '',
        'sex': sex if sex in ('M', 'F') else '',
        'age': int(age) if re.fullmatch(r'\d{1,3}', age) else UNKNOWN_AGE,
    }


def _label_domains(ids):
    """Label domain of each id; known only where the table is complete and in its own order."""
    if len(ids) != _COMPLETE_IDS:
        return dict.fromkeys(ids, 'unknown')
    single = len(ids) - _MULTI_READ_IDS
    return {id_: 'single_read' if i < single else 'multi_read' for i, id_ in enumerate(ids)}
