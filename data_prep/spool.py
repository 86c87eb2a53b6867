"""Records of films as they are made, in files that a later run finds again.

Films are converted in chunks. What becomes of a chunk depends on its films, their files' sizes and
times, the options and the versions of the decoders; the name of its files is a hash of all these.
So a run after a kill, or with a table mended, takes over every chunk of which nothing has changed,
and the end is the same to the byte.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import uuid
from collections.abc import Callable, Sequence

import numpy as np

import pneumo_jax
from data_prep.films import FilmFacts, FilmTask, RecordOptions, film_record
from data_prep.labels import FilmLabel, Rejection
from pneumo_jax.data.dicom import FilmError
from pneumo_jax.data.isolated import lost_film_error
from pneumo_jax.data.tfrecord import RecordFile, ShardError, make_frame

__all__ = [
    'Chunk',
    'SpooledFilm',
    'convert_chunk',
    'decoder_versions',
    'is_spooled',
    'make_chunks',
    'read_chunk',
]

_ENDS = ('.tfrecord', '.json')
_DECODERS = (
    'numpy',
    'pillow',
    'pydicom',
    'scipy',
    'simplejpeg',
    'python-gdcm',
    'pyjpegls',
    'pylibjpeg-openjpeg',
    'pylibjpeg-rle',
)


@dataclasses.dataclass(frozen=True)
class SpooledFilm:
    """An accepted film and where its record stands.

    Attributes:
        facts: of the film.
        path: of the spool file.
        start: of the record's frame in it, in bytes.
        size: of the frame in bytes.
    """

    facts: FilmFacts
    path: pathlib.Path
    start: int
    size: int


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A few films that one worker converts.

    Attributes:
        key: name of their files in the spool.
        tasks: the films.
    """

    key: str
    tasks: tuple[FilmTask, ...]


def make_chunks(tasks: Sequence[FilmTask], options: RecordOptions, size: int) -> list[Chunk]:
    """Chunks of so many films; how they are cut does not depend on the number of workers."""
    base = hashlib.sha256(repr((options, decoder_versions())).encode())
    chunks = []
    for start in range(0, len(tasks), size):
        members = tuple(tasks[start : start + size])
        digest = base.copy()
        for task in members:
            label = vars(task.label) | {'boxes': task.label.boxes.tolist()}
            digest.update(repr((str(task.path), task.stamp, label)).encode())
        chunks.append(Chunk(digest.hexdigest()[:32], members))
    return chunks


def convert_chunk(
    chunk: Chunk,
    lost: dict[int, str],
    begin: Callable[[int], None],
    *,
    spool_dir: pathlib.Path,
    options: RecordOptions,
) -> None:
    """Converts a few films into a spool file; for ``WorkerPool.map``.

    Args:
        chunk: the films.
        lost: films that the decoder did not survive, by index -> ``crashed`` or ``timed_out``.
        begin: to be called before each film.
        spool_dir: where the files go.
        options: for ``film_record``.
    """
    # Names of this attempt: a worker of a run that was killed, or one that Beam has given up, may
    # still be at the same chunk.
    attempt = uuid.uuid4().hex
    data_partial, rows_partial = (spool_dir / f'{attempt}{end}.partial' for end in _ENDS)
    rows, position = [], 0
    with data_partial.open('wb') as file:
        for i, task in enumerate(chunk.tasks):
            if i in lost:
                rows.append(_rejected(task, lost_film_error(task.path, lost[i])))
                continue
            begin(i)
            try:
                record, facts = film_record(task, options)
            except FilmError as error:
                rows.append(_rejected(task, error))
                continue
            frame = make_frame(record)
            file.write(frame)
            rows.append({'facts': _to_json(facts), 'start': position, 'size': len(frame)})
            position += len(frame)
    # What a decoder did not survive may have been the machine's fault: the next run tries again.
    content = {'final': not lost, 'bytes': position, 'films': rows}
    rows_partial.write_text(json.dumps(content), encoding='utf-8')
    data_path, rows_path = _paths(spool_dir, chunk.key)
    data_partial.replace(data_path)
    rows_partial.replace(rows_path)


def is_spooled(spool_dir: pathlib.Path, key: str) -> bool:
    """Whether an earlier run has finished a chunk, and its records are whole."""
    path, rows_path = _paths(spool_dir, key)
    try:
        content = json.loads(rows_path.read_text(encoding='utf-8'))
        if not content['final'] or path.stat().st_size != content['bytes']:
            return False
        # A crash of the whole machine may leave files of the right size with holes in them.
        for _ in RecordFile(path) if content['bytes'] else ():
            pass
    except (OSError, ValueError, LookupError, ShardError):
        return False
    return True


def read_chunk(spool_dir: pathlib.Path, key: str) -> list[SpooledFilm | Rejection]:
    """What became of the films of a chunk, in their order."""
    path, rows_path = _paths(spool_dir, key)
    content = json.loads(rows_path.read_text(encoding='utf-8'))
    return [
        Rejection(**row['rejected'])
        if 'rejected' in row
        else SpooledFilm(_from_json(row['facts']), path, row['start'], row['size'])
        for row in content['films']
    ]


def decoder_versions() -> list[str]:
    """Of this package and of all that decodes films, '' where one is not there."""
    # Imported here for the start of workers, which do not need it.
    from importlib import metadata

    versions = [pneumo_jax.__version__]
    for name in _DECODERS:
        try:
            versions.append(metadata.version(name))
        except metadata.PackageNotFoundError:
            versions.append('')
    return versions


def _paths(spool_dir, key):
    """The records of a chunk, and what became of its films: the second appears last."""
    return [spool_dir / f'{key}{end}' for end in _ENDS]


def _rejected(task, error):
    label = task.label
    rejection = Rejection(label.patient_id, error.code, str(error), label.path)
    return {'rejected': dataclasses.asdict(rejection)}


def _to_json(facts):
    # Not dataclasses.asdict, which copies every value deeply.
    return vars(facts) | {'label': vars(facts.label) | {'boxes': facts.label.boxes.tolist()}}


def _from_json(row):
    boxes = np.array(row['label']['boxes'], np.float32).reshape(-1, 4)
    label = FilmLabel(**(row['label'] | {'boxes': boxes}))
    return FilmFacts(**(row | {'label': label, 'notes': tuple(row['notes'])}))
