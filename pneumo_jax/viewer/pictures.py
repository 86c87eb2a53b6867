"""Where the pictures of evaluated films come from: shards, or the films' own files."""

from __future__ import annotations

import concurrent.futures
import functools
import io
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from data_prep.films import find_films
from pneumo_jax.data.dicom import read_film
from pneumo_jax.data.film import FilmError, ReadOptions
from pneumo_jax.data.isolated import lost_film_error
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.data.shards import MANIFEST_NAME, load_manifest
from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.evaluation.output import Evaluation
from pneumo_jax.folds import fold_name
from pneumo_jax.run_config import load_run
from pneumo_jax.workers import Lost, WorkerPool, map_isolated

__all__ = ['Pictures', 'open_pictures']

# Of films, as PNG: some 100 MB of the largest ones.
_CACHED_FILMS = 24
_REMEDY = 'give --data=DIR, a folder of shards or of the DICOM, PNG or JPEG files of these films'


class Pictures:
    """The pictures of an evaluation's films, by index.

    Attributes:
        square: whether they are padded to squares, as ``data.geometry`` says; else they have the
            films' own shapes.
        notices: what there is to say of all of them.
    """

    def __init__(self, sources: Sequence, read: Callable, *, square: bool, notices: Sequence[str]):
        """Reads nothing yet.

        Args:
            sources: of each film, what ``read`` takes, or a text that says why there is none.
            read: gives the PNG of a source, or raises an InputError.
            square: as the attribute.
            notices: as the attribute; one is added where films have no source.
        """
        self._sources, self._read = sources, read
        self._cached = functools.lru_cache(_CACHED_FILMS)(self._attempt)
        self.square = square
        missing = [source for source in sources if isinstance(source, str)]
        self.notices = list(notices)
        if missing:
            self.notices.append(
                f'{len(missing)} of {len(sources)} films have no picture. The first: {missing[0]}'
            )

    def __len__(self) -> int:
        return len(self._sources)

    def png(self, index: int) -> bytes:
        """The film as 8-bit grey PNG, lossless.

        Raises:
            InputError: that says why it cannot be shown.
        """
        result = self._cached(index)
        if isinstance(result, InputError):
            raise result
        return result

    def _attempt(self, index):
        """The PNG or the error: one that took the decoder a minute is not sought again."""
        source = self._sources[index]
        try:
            if isinstance(source, str):
                raise InputError(source)
            return self._read(source)
        except InputError as error:
            return error


def open_pictures(
    workdir: pathlib.Path,
    evaluation: Evaluation,
    data: str | None,
    *,
    options: ReadOptions,
    pool: WorkerPool,
) -> Pictures:
    """Finds the pictures of an evaluation's films.

    Args:
        workdir: that the evaluation lies in.
        evaluation: what is shown.
        data: folder of shards, or of the films' files; None for the shards that were evaluated,
            as far as the workdir tells. Without them the films are shown without pictures.
        options: which files are taken.
        pool: for decoding files, which nobody has checked.

    Raises:
        InputError: if ``data`` is no such folder.
    """
    films, split = evaluation.films, evaluation.about['split']
    fingerprint = evaluation.about['data_fingerprint']
    if data is not None:
        folder = pathlib.Path(data)
        if not folder.is_dir():
            raise InputError(f'--data={data} is no folder: {_REMEDY}')
        if (folder / MANIFEST_NAME).exists():
            return _of_shards(folder, split, films, fingerprint)
        return _of_files(folder, films, options, pool)
    try:
        return _of_shards(_own_shards(workdir, fingerprint), split, films, fingerprint)
    except InputError as error:
        return _none(films, f'{error}; {_REMEDY}')


def _own_shards(workdir, fingerprint):
    """The shards that were evaluated: made of a folder of films, or those of a run."""
    converted = workdir / 'films'
    made_here = (converted / MANIFEST_NAME).exists()
    if made_here and load_manifest(converted)['fingerprint'] == fingerprint:
        return converted
    # Of a cross-validation the first fold: the shards of all folds hold all films.
    for run in (workdir, workdir / fold_name(0)):
        if (run / 'config.json').exists():
            return pathlib.Path(load_run(run).config.data.dir)
    raise InputError(f'{workdir} does not say where the films lie')


def _none(films, reason):
    return Pictures([reason] * len(films), _encode, square=True, notices=[])


def _of_shards(folder, split, films: ScoredFilms, fingerprint) -> Pictures:
    """Films are found by id, in other splits too: pooled folds are of several."""
    manifest = load_manifest(folder)
    wanted = {film: i for i, film in enumerate(films.ids)}
    sources = [f'{folder} has no film with this id: {_REMEDY}'] * len(films)
    found = 0
    for name in sorted(manifest['splits'], key=lambda name: name != split):
        if found == len(films):
            break
        records = FilmSplit(folder, name)
        for row, known in enumerate(records.columns(_KNOWN)):
            index = wanted.get(known[0])
            if index is None:
                continue
            found += 1
            if _is_same_film(known, films, index):
                sources[index] = (records, row)
            else:
                sources[index] = f'{folder} has another film with this id: {_REMEDY}'
    notices = []
    if manifest['fingerprint'] != fingerprint:
        notices.append(
            f'The shards in {folder} are not those that were evaluated (another fingerprint); '
            'films are matched by id, size and true boxes.'
        )
    return Pictures(sources, _read_record, square=True, notices=notices)


_KNOWN = ('patient_id', 'film_height', 'film_width', 'num_boxes', 'boxes')


def _is_same_film(known, films, index):
    _, height, width, num_boxes, boxes = known
    truth = films.truths[index].astype(np.float32)
    return tuple(films.film_sizes[index]) == (height, width) and np.array_equal(
        boxes[:num_boxes], truth
    )


def _read_record(source):
    records, row = source
    return _encode(records[row]['image'][:, :, 0])


def _of_files(folder, films: ScoredFilms, options, pool) -> Pictures:
    """Films are found by the ids that ``data_prep.labels.film_ids`` gives."""
    by_id: dict[str, set[pathlib.Path]] = {}
    for name, path in find_films(folder).films.items():
        whole = str(pathlib.PurePosixPath(name).with_suffix('')).replace('/', '__')
        for film_id in (path.stem, whole):
            by_id.setdefault(film_id, set()).add(path)

    def source(index):
        paths = by_id.get(films.ids[index], ())
        if len(paths) == 1:
            return *paths, tuple(films.film_sizes[index].tolist())
        if not paths:
            return f'no file in {folder} is named by this id: {_REMEDY}'
        return f'{len(paths)} files in {folder} are named by this id: keep one'

    def read(source):
        path, size = source
        work = functools.partial(_read_file, size=size, options=options)
        try:
            (result,) = map_isolated(work, [path], pool=pool, chunk_size=1)
        except concurrent.futures.CancelledError as error:
            # Of a pool that was closed, by Ctrl-C, while the browser waits for films.
            raise InputError('the viewer has ended') from error
        if isinstance(result, Lost):
            raise lost_film_error(path, result.reason)
        if isinstance(result, FilmError):
            raise result
        return result

    return Pictures([source(i) for i in range(len(films))], read, square=False, notices=[])


def _read_file(path, *, size, options):
    """The PNG of a film's file, or the FilmError that says why not; in a worker."""
    try:
        film = read_film(path, options)
    except FilmError as error:
        return error
    if (film.height, film.width) != size:
        return FilmError(
            'bad_size',
            f'{path} has {film.width} x {film.height} pixels, the film that was evaluated had '
            f'{size[1]} x {size[0]}: boxes would stand in the wrong places; give its own file',
        )
    return _encode(film.pixels)


def _encode(pixels):
    buffer = io.BytesIO()
    # Level 1: others take several times as long for a few per cent.
    Image.fromarray(pixels).save(buffer, 'PNG', compress_level=1)
    return buffer.getvalue()
