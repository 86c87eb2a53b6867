"""Films with the very same pixels under two ids."""

from __future__ import annotations

import collections
import dataclasses

from data_prep.exploration.films import ExploredFilms

__all__ = ['Duplicates', 'find_equal_films']


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """Films of equal pixels.

    Attributes:
        rows: their indices.
        conflicting: whether they have different labels or boxes.
        several_persons: whether tables name more than one person for them.
        several_splits: whether they are in more than one split.
    """

    rows: tuple[int, ...]
    conflicting: bool
    several_persons: bool
    several_splits: bool


def find_equal_films(films: ExploredFilms) -> list[Duplicates]:
    """The groups of films of equal pixels, in order of their first film."""
    by_digest = collections.defaultdict(list)
    for row, digest in zip(films.rows_with_pixels.tolist(), films.pixels.digests, strict=True):
        by_digest[digest].append(row)
    return [_group(films, rows) for rows in by_digest.values() if len(rows) > 1]


def _group(films, rows):
    labels = [films.labels[row] for row in rows]
    truths = {
        (label.label, tuple(sorted(map(tuple, label.boxes.tolist()))))
        for row, label in zip(rows, labels, strict=True)
        if films.labelled[row]
    }
    persons = {label.person_id for label in labels} - {''}
    splits = {films.splits[row] for row in rows} - {''}
    return Duplicates(tuple(rows), len(truths) > 1, len(persons) > 1, len(splits) > 1)
