"""Reads each film once, in parallel, and keeps what exploring needs of it for the next time."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import uuid
import zipfile
from collections.abc import Callable, Sequence

import numpy as np
from tqdm import tqdm

from data_prep.spool import decoder_versions
from pneumo_jax.data.dicom import FilmError, ReadOptions, read_film, standard_picture
from pneumo_jax.data.isolated import lost_film_error
from pneumo_jax.workers import WorkerPool

__all__ = [
    'THUMBNAIL_SIZE',
    'FilmFile',
    'SurveyedFilm',
    'grey_histogram',
    'pixel_digest',
    'survey',
]

THUMBNAIL_SIZE = 64
# Of the files in the cache; another number where their content means something else.
_FORMAT = 1
_CHUNK_FILMS = 64
_FACTS = (
    'height',
    'width',
    'view_position',
    'sex',
    'age',
    'manufacturer',
    'pixel_spacing',
    'transfer_syntax',
    'notes',
)


@dataclasses.dataclass(frozen=True)
class FilmFile:
    """A file to read.

    Attributes:
        path: of it.
        stamp: size in bytes and time of change in nanoseconds, by which a changed file is known.
    """

    path: pathlib.Path
    stamp: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class SurveyedFilm:
    """What is kept of a film.

    Attributes:
        facts: fields of ``Film`` by name: ``_FACTS``.
        digest: SHA-256 of its size and pixels.
        histogram: uint32 [256].
        thumbnail: uint8 [THUMBNAIL_SIZE, THUMBNAIL_SIZE].
    """

    facts: dict
    digest: str
    histogram: np.ndarray
    thumbnail: np.ndarray


def survey(
    files: Sequence[FilmFile], options: ReadOptions, *, pool: WorkerPool, cache_dir: pathlib.Path
) -> list[SurveyedFilm | FilmError]:
    """Reads films, or finds in the cache what an earlier run read of the same files.

    Args:
        files: of the films.
        options: which films are taken.
        pool: for the work.
        cache_dir: folder of the cache; made where it is not there. It holds thumbnails of the
            films, so it is for the same eyes as the films are.

    Returns:
        What is kept of each film, or why it cannot be used.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    for partial in cache_dir.glob('*.partial'):
        partial.unlink()
    chunks = _chunks(files, options)
    results = {key: _read_chunk(cache_dir / key) for key in chunks}
    to_do = [key for key, found in results.items() if found is None]
    done = len(files) - sum(len(chunks[key]) for key in to_do)
    work = functools.partial(_survey_chunk, options=options)
    with tqdm(total=len(files), initial=done, desc='films', unit='film') as bar:
        surveyed = pool.map(work, (chunks[key] for key in to_do))
        for key, (content, final) in zip(to_do, surveyed, strict=True):
            # What a decoder did not survive may have been the machine's fault: it is tried again.
            if final:
                _write_chunk(cache_dir / key, content)
            results[key] = content
            bar.update(len(chunks[key]))
    return [film for key in chunks for film in _films(results[key], chunks[key])]


def grey_histogram(pixels: np.ndarray) -> np.ndarray:
    """How many pixels have each grey value: uint32 [256] of uint8 [H,W]."""
    return np.bincount(pixels.ravel(), minlength=256).astype(np.uint32)


def pixel_digest(pixels: np.ndarray) -> str:
    """SHA-256 of the size and the pixels of a picture, uint8 [H,W]."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels))
    return digest.hexdigest()


def _chunks(files, options):
    """Name of the file in the cache -> its films; the name tells all that its content rests on."""
    base = hashlib.sha256(repr((_FORMAT, THUMBNAIL_SIZE, options, decoder_versions())).encode())
    chunks = {}
    for start in range(0, len(files), _CHUNK_FILMS):
        members = tuple(files[start : start + _CHUNK_FILMS])
        digest = base.copy()
        digest.update(repr([(str(file.path), file.stamp) for file in members]).encode())
        chunks[f'{digest.hexdigest()[:32]}.npz'] = members
    return chunks


def _survey_chunk(
    files: Sequence[FilmFile],
    lost: dict[int, str],
    begin: Callable[[int], None],
    *,
    options: ReadOptions,
) -> tuple[dict, bool]:
    """For ``WorkerPool.map``: what is kept of some films, and whether that is for good."""
    rows, histograms, thumbnails = [], [], []
    for i, file in enumerate(files):
        if i in lost:
            error = lost_film_error(file.path, lost[i])
            rows.append({'code': error.code, 'message': str(error)})
            continue
        begin(i)
        try:
            film = read_film(file.path, options)
        except FilmError as error:
            rows.append({'code': error.code, 'message': str(error)})
            continue
        facts = {name: getattr(film, name) for name in _FACTS}
        rows.append({'facts': facts, 'digest': pixel_digest(film.pixels)})
        histograms.append(grey_histogram(film.pixels))
        thumbnails.append(standard_picture(film.pixels, THUMBNAIL_SIZE))
    return {
        'rows': json.dumps(rows),
        'histograms': np.array(histograms, np.uint32).reshape(-1, 256),
        'thumbnails': np.array(thumbnails, np.uint8).reshape(-1, THUMBNAIL_SIZE, THUMBNAIL_SIZE),
    }, not lost


def _films(content, files):
    rows = iter(zip(content['histograms'], content['thumbnails'], strict=True))
    films = []
    for row in json.loads(str(content['rows'])):
        if 'facts' in row:
            films.append(SurveyedFilm(row['facts'], row['digest'], *next(rows)))
        else:
            films.append(FilmError(row['code'], row['message']))
    if len(films) != len(files):
        raise ValueError(f'{len(films)} films of {len(files)}')
    return films


def _read_chunk(path):
    """The content of a file in the cache; None where it is not there, or not whole."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in ('rows', 'histograms', 'thumbnails')}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
        return None


def _write_chunk(path, content):
    partial = path.with_name(f'{uuid.uuid4().hex}.partial')
    with partial.open('wb') as file:
        np.savez(file, **content)
    partial.replace(path)
