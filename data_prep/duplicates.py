"""Films with the very same pixels under two ids."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Mapping, Sequence

from data_prep.films import FilmFacts
from pneumo_jax.data.dicom import ReadOptions, read_film
from pneumo_jax.workers import Lost, WorkerPool, map_isolated

__all__ = ['find_duplicates']

_CHUNK_FILMS = 16


def find_duplicates(
    facts: Sequence[FilmFacts],
    paths: Mapping[str, pathlib.Path],
    *,
    read: ReadOptions,
    pool: WorkerPool,
) -> list[tuple[str, ...]]:
    """Groups of ids whose films have the very same pixels, in order of their ids.

    Films of equal size and equal standard picture are candidates; these are read once more.

    Args:
        facts: of the accepted films.
        paths: id of a film -> its file.
        read: as the films were read.
        pool: for the work.
    """
    candidates = collections.defaultdict(list)
    for film in facts:
        size_and_picture = (film.height, film.width, film.picture_crc)
        candidates[size_and_picture].append(film.label.patient_id)
    suspects = [id_ for ids in candidates.values() if len(ids) > 1 for id_ in ids]
    digests = map_isolated(
        functools.partial(_digest, read=dataclasses.replace(read, reduce_to=0)),
        (paths[id_] for id_ in suspects),
        pool=pool,
        chunk_size=_CHUNK_FILMS,
    )
    groups = collections.defaultdict(list)
    for id_, digest in zip(suspects, digests, strict=True):
        if not isinstance(digest, Lost):
            groups[digest].append(id_)
    return sorted(tuple(sorted(ids)) for ids in groups.values() if len(ids) > 1)


def _digest(path, *, read):
    film = read_film(path, read)
    return hashlib.sha256(repr(film.pixels.shape).encode() + film.pixels.tobytes()).hexdigest()
