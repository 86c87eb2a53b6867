"""Reads films where a decoder that crashes or hangs costs one film, not the run."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np

from pneumo_jax.data.dicom import read_film, standard_picture
from pneumo_jax.data.film import Film, FilmError, ReadOptions
from pneumo_jax.workers import Lost, WorkerPool, map_isolated

__all__ = ['lost_film_error', 'read_films']

_LOST = {
    'crashed': ('decoder_crashed', 'crashed the decoder'),
    'timed_out': ('decoder_timed_out', 'took the decoder longer than --film_timeout'),
}
# Few, since whole films come back from the workers.
_CHUNK_FILMS = 4


def read_films(
    paths: Iterable[pathlib.Path], options: ReadOptions, *, image_size: int, pool: WorkerPool
) -> Iterator[tuple[Film, np.ndarray] | FilmError]:
    """The films of files, in order; where one cannot be read, why.

    Args:
        paths: of the files.
        options: which films are taken.
        image_size: side S of the standard pictures.
        pool: for the work.

    Yields:
        The film with its own pixels, and its standard picture, uint8 [S,S], made as the converter
        makes it with the same options.
    """
    paths = list(paths)
    results = map_isolated(
        functools.partial(_read_film, options=options, image_size=image_size),
        paths,
        pool=pool,
        chunk_size=_CHUNK_FILMS,
    )
    for path, result in zip(paths, results, strict=True):
        yield lost_film_error(path, result.reason) if isinstance(result, Lost) else result


def lost_film_error(path: pathlib.Path, reason: str) -> FilmError:
    """Why a film is refused that its decoder did not survive.

    Args:
        path: of the film.
        reason: ``crashed`` or ``timed_out``.
    """
    code, words = _LOST[reason]
    return FilmError(code, f'{path} {words}: copy or export it anew')


def _read_film(path, *, options, image_size):
    try:
        film = read_film(path, dataclasses.replace(options, reduce_to=0))
        seen = read_film(path, options) if options.reduce_to else film
    except FilmError as error:
        return error
    return film, standard_picture(seen.pixels, image_size)
