"""What the folders say in which films lie: a folder for each class."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from data_prep.labels import (
    FilmLabel,
    LabelError,
    LabelTable,
    RejectError,
    check_id,
    class_id_of,
    film_ids,
    group_by,
    make_table,
    only_path,
)
from data_prep.persons import PersonSource

__all__ = ['read_folder_labels']


def read_folder_labels(
    files: Iterable[str],
    *,
    positive_labels: Sequence[str],
    person_pattern: str | None = None,
    person_csv=None,
    id_column=None,
    person_column=None,
) -> LabelTable:
    """Labels films by the first folder of their paths.

    Args:
        files: paths relative to the folder of films, with forward slashes. Ids come from
            ``film_ids``.
        positive_labels: folders of positive films, in whatever case; those of all others are
            negative.
        person_pattern: as in ``PersonSource``, as are those that follow.

    Raises:
        LabelError: if no folder is one of ``positive_labels``, or the table of persons is none.
        InputError: if ``person_pattern`` is no regular expression.
    """
    ids = film_ids(files)
    positives = {label.casefold() for label in positive_labels}
    folders = sorted({_class_folder(path) for path in ids} - {''})
    if positives.isdisjoint(map(str.casefold, folders)):
        raise LabelError(
            f'none of --positive_labels={",".join(positive_labels)} is a folder of --images_dir; '
            f'its folders of films are {", ".join(folders) or "none"}'
        )
    persons = PersonSource(
        person_csv=person_csv,
        id_column=id_column,
        person_column=person_column,
        person_pattern=person_pattern,
    )
    groups = group_by(ids, ids.get)
    counts = collections.Counter(
        person_rows_without_film=persons.rows_without_film([*groups, *ids])
    )

    def make_film(film_id, paths):
        path = only_path(paths)
        check_id(film_id)
        folder = _class_folder(path)
        if not folder:
            raise RejectError(
                'no_class_folder', 'the file is in no folder: move it to the folder of its class'
            )
        label = int(folder.casefold() in positives)
        return FilmLabel(
            patient_id=film_id,
            label=label,
            class_id=class_id_of(label, ()),
            boxes=np.zeros((0, 4), np.float32),
            label_domain='unknown',
            path=path,
            **vars(persons.person_of(film_id, path, (), counts)),
        )

    return make_table('--images_dir', groups, make_film, place=str, path_of=str, counts=counts)


def _class_folder(path):
    """The first folder of a path, '' if it has none."""
    return pathlib.PurePosixPath(path).parts[0] if '/' in path else ''
