"""What a table or a folder says of every film, and the rules that all such sources share.

The sources are ``rsna_labels`` (the challenge's tables), ``table_labels`` (any table) and
``folder_labels`` (a folder for each class). A film that makes no sense is rejected alone.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import math
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from data_prep.tables import LabelError, Row
from pneumo_jax.data.example import MAX_BOXES, UNKNOWN_CLASS

__all__ = [
    'BOX_COLUMNS',
    'CLASS_IDS',
    'SPLIT_NAMES',
    'FilmLabel',
    'LabelError',
    'LabelTable',
    'RejectError',
    'Rejection',
    'boxes_inside',
    'boxes_of_rows',
    'check_id',
    'class_id_of',
    'film_ids',
    'group_by',
    'make_table',
    'only_label',
    'only_path',
    'posix_path',
    'unique_rows',
]

# How tables name the splits, in lower case.
SPLIT_NAMES = {
    'train': 'train',
    'training': 'train',
    'validation': 'validation',
    'val': 'validation',
    'valid': 'validation',
    'dev': 'validation',
    'test': 'test',
    'testing': 'test',
}
CLASS_IDS = {'Normal': 0, 'No Lung Opacity / Not Normal': 1, 'Lung Opacity': 2}
BOX_COLUMNS = ('x', 'y', 'width', 'height')

_CONTROL = re.compile(r'[\x00-\x1f\x7f]')

log = logging.getLogger(__name__)

_Item = TypeVar('_Item')


@dataclasses.dataclass(frozen=True)
class FilmLabel:
    """What is known of a film without its pixels.

    Attributes:
        patient_id: id of the film: the stem of its file name, or what ``film_ids`` or a table says.
        label: 1 for a lung opacity, else 0.
        class_id: 0, 1 or 2 as in ``CLASS_IDS``, -1 unknown.
        boxes: float32 [n,4], (x, y, width, height) in film pixels, n up to 8, in order of rows.
        person_id: '' unknown.
        view_position: ``AP``, ``PA``, or '' unknown.
        sex: ``M``, ``F``, or '' unknown.
        age: years, -1 unknown.
        label_domain: ``single_read``, ``multi_read`` or ``unknown``.
        path: of the file relative to the folder of films, with forward slashes; '' where the film
            is found by its id.
        split: ``train``, ``validation`` or ``test`` where the table of labels tells, else ''.
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
    path: str = ''
    split: str = ''


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A film that cannot be used.

    Attributes:
        patient_id: id of the film.
        code: the reason in one word.
        message: the reason in words, with file and row.
        path: of the file relative to the folder of films, '' where it is found by its id.
    """

    patient_id: str
    code: str
    message: str
    path: str = ''


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """The films of a source.

    Attributes:
        films: usable ones, in order of their ids.
        rejected: ids whose rows contradict each other or make no sense.
        counts: of what was passed over: duplicate rows, ids that only one table has.
    """

    films: tuple[FilmLabel, ...]
    rejected: tuple[Rejection, ...]
    counts: dict[str, int]


class RejectError(Exception):
    """The film cannot be used.

    Attributes:
        code: the reason in one word, as in ``Rejection``.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


def make_table(
    source,
    groups: Mapping[str, Sequence[_Item]],
    make_film: Callable[[str, Sequence[_Item]], FilmLabel],
    *,
    place: Callable[[_Item], str],
    path_of: Callable[[_Item], str],
    counts: Mapping[str, int],
) -> LabelTable:
    """Makes a film of every group, or rejects it.

    Args:
        source: the table or folder, for messages.
        groups: id -> what the source has of the film, at least one item.
        make_film: raises ``RejectError`` where the film cannot be used.
        place: where an item is, for messages.
        path_of: the path of an item's film, as in ``FilmLabel``.
        counts: as in ``LabelTable``, read when all films are made; zeros are left out.

    Raises:
        LabelError: if no film can be used.
    """
    films, rejected = [], []
    for film_id, items in groups.items():
        try:
            films.append(make_film(film_id, items))
        except RejectError as error:
            name = film_id if film_id.isprintable() else ascii(film_id)
            message = f'{name} ({place(items[0])}): {error}'
            rejected.append(Rejection(film_id, error.code, message, path_of(items[0])))
    if not films:
        first = f'; the first: {rejected[0].message}' if rejected else ''
        raise LabelError(f'{source}: none of {len(groups)} films can be used{first}')
    return LabelTable(
        films=tuple(sorted(films, key=lambda film: film.patient_id)),
        rejected=tuple(sorted(rejected, key=lambda rejection: rejection.patient_id)),
        counts={name: count for name, count in counts.items() if count},
    )


def group_by(items: Iterable[_Item], key: Callable[[_Item], str]) -> dict[str, list[_Item]]:
    """The items of each key, keys in order of first appearance."""
    groups: dict[str, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def film_ids(paths: Iterable[str]) -> dict[str, str]:
    """Ids for films that are known by their paths.

    An id is the stem of the file name where all stems are different. Otherwise all ids are whole
    paths without the suffix, ``/`` written ``__``; files that differ in the suffix alone share it.

    Args:
        paths: of ``posix_path``; one may come more than once.

    Returns:
        path -> id; a path that ``only_path`` rejects stands for itself.
    """
    ids = {path: path for path in paths}
    files = {path: pathlib.PurePosixPath(path) for path in ids if _is_safe(path)}
    if len({file.stem for file in files.values()}) == len(files):
        return ids | {path: file.stem for path, file in files.items()}
    log.info('some file names come in several folders: ids of films are paths, "/" written "__"')
    return ids | {
        path: str(file.with_suffix('')).replace('/', '__') for path, file in files.items()
    }


def check_id(film_id: str) -> None:
    """Rejects an id that is no plain file name, which it is to become."""
    if film_id in ('', '.', '..') or re.search(r'[/\\]', film_id) or _CONTROL.search(film_id):
        raise RejectError('unsafe_id', 'the id is no plain file name')


def posix_path(text: str) -> str:
    """A path of any system, with single forward slashes and without ``./``."""
    return str(pathlib.PurePosixPath(text.replace('\\', '/')))


def only_path(paths: Iterable[str]) -> str:
    """The path of ``posix_path`` that all rows of a film have, below the folder of films."""
    paths = sorted(set(paths))
    for path in paths:
        if not _is_safe(path):
            raise RejectError(
                'unsafe_path',
                f'{path!r} is no path below a folder: give paths relative to --images_dir',
            )
    if len(paths) > 1:
        raise RejectError('several_files', f'the id stands for {" and ".join(paths)}: keep one')
    return paths[0]


def unique_rows(rows: Iterable[Row], counts: collections.Counter) -> list[Row]:
    """The rows of a film without repetitions, which are counted as ``duplicate_rows``."""
    unique: dict[tuple, Row] = {}
    for row in rows:
        if unique.setdefault(tuple(row.cells.values()), row) is not row:
            counts['duplicate_rows'] += 1
    return list(unique.values())


def only_label(labels: Iterable[int]) -> int:
    """The label that all rows of a film have."""
    labels = set(labels)
    if len(labels) > 1:
        raise RejectError('conflicting_target', 'its rows have label 0 and label 1')
    return labels.pop()


def boxes_of_rows(rows: Sequence[Row], label: int) -> np.ndarray:
    """The boxes of a film, of which a positive one has one in every row and a negative one none.

    Args:
        rows: unique, with the columns ``BOX_COLUMNS``.
        label: of the film.

    Returns:
        float32 [n,4], (x, y, width, height) in film pixels, n up to 8.
    """
    boxes = [box for row in rows if (box := _box(row)) is not None]
    if label == 1 and len(boxes) < len(rows):
        raise RejectError(
            'positive_without_box', 'the label is 1 and x, y, width, height are empty'
        )
    if label == 0 and boxes:
        raise RejectError('negative_with_box', 'the label is 0 and there is a box')
    if len(boxes) > MAX_BOXES:
        raise RejectError('too_many_boxes', f'{len(boxes)} boxes, at most {MAX_BOXES} are kept')
    return np.array(boxes, np.float32).reshape(-1, 4)


def class_id_of(label: int, names: Iterable[str]) -> int:
    """The class of a film of which tables name the classes ``names``; none: what the label tells.

    Returns:
        0, 1 or 2 as in ``CLASS_IDS``, -1 unknown.
    """
    names = sorted(set(names))
    if not names:
        return 2 if label else UNKNOWN_CLASS
    if len(names) > 1:
        raise RejectError('conflicting_class', f'it has the classes {names}')
    if names[0] not in CLASS_IDS:
        raise RejectError('unknown_class', f'class {names[0]!r} is none of {list(CLASS_IDS)}')
    class_id = CLASS_IDS[names[0]]
    if (class_id == 2) != (label == 1):
        raise RejectError('class_against_target', f'class is {names[0]!r} and the label {label}')
    return class_id


def boxes_inside(boxes: np.ndarray, height: int, width: int) -> np.ndarray | None:
    """Boxes [n,4] clipped to the film; None if one stands out by more than a pixel.

    One pixel is what rounding explains; more means another film, or other units.
    """
    if not len(boxes):
        return boxes
    limit = np.array([width, height], np.float32)
    start, end = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    if (start < -1).any() or (end > limit + 1).any():
        return None
    start, end = start.clip(0, limit), end.clip(0, limit)
    if (end <= start).any():
        return None
    return np.concatenate([start, end - start], axis=1)


def _is_safe(path):
    """Whether a path of ``posix_path`` leads to something below a folder."""
    absolute = path.startswith('/') or re.match('[A-Za-z]:', path)
    return not (absolute or path == '.' or '..' in path.split('/') or _CONTROL.search(path))


def _box(row):
    """(x, y, width, height), None where all four are empty."""
    texts = [row[name] for name in BOX_COLUMNS]
    if not any(texts):
        return None
    try:
        box = [row.number_in(name) for name in BOX_COLUMNS]
    except ValueError:
        box = [math.nan]
    if not all(map(math.isfinite, box)) or box[2] <= 0 or box[3] <= 0:
        raise RejectError(
            'bad_box', f'row {row.number}: {texts} is no box (x, y, width > 0, height > 0)'
        )
    return box
