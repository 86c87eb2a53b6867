"""From one film's file to its record: the work that a worker process does."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from data_prep.labels import FilmLabel, Rejection, boxes_inside
from pneumo_jax.data.dicom import FilmError, read_film, standard_picture
from pneumo_jax.data.example import UNKNOWN_AGE, encode_example, pad_boxes
from pneumo_jax.data.tfrecord import write_records
from pneumo_jax.errors import InputError

__all__ = [
    'FilmFacts',
    'FilmTask',
    'FoundFiles',
    'convert_chunk',
    'film_record',
    'find_films',
    'spool_name',
]

_SUFFIXES = ('.dcm', '.dicom', '.png', '.jpg', '.jpeg', '')


@dataclasses.dataclass(frozen=True)
class FoundFiles:
    """The files of a folder.

    Attributes:
        films: id (file name without suffix) -> file.
        skipped: (file relative to the folder, reason) of what is not read.
        ambiguous: ids that several files claim -> those files.
    """

    films: dict[str, pathlib.Path]
    skipped: tuple[tuple[str, str], ...]
    ambiguous: dict[str, list[pathlib.Path]]


@dataclasses.dataclass(frozen=True)
class FilmTask:
    """A film to convert."""

    path: pathlib.Path
    label: FilmLabel


@dataclasses.dataclass(frozen=True)
class FilmFacts:
    """What the conversion knows of an accepted film, without its pixels.

    Attributes:
        label: with view, sex and age as the film's own file tells them.
        height: rows of the film.
        width: columns of the film.
        transfer_syntax: as in ``Film``.
        photometric: as in ``Film``.
        notes: as in ``Film``.
    """

    label: FilmLabel
    height: int
    width: int
    transfer_syntax: str
    photometric: str
    notes: tuple[str, ...]


def find_films(images_dir) -> FoundFiles:
    """Lists the films below a folder without opening them.

    Links that lead out of the folder, pipes and devices are skipped: reading them could hang, or
    take in what nobody meant to.

    Raises:
        InputError: if there is no such folder, or no film in it.
    """
    root = pathlib.Path(images_dir)
    if not root.is_dir():
        raise InputError(f'--images_dir={images_dir} is no folder')
    by_id: dict[str, list[pathlib.Path]] = {}
    skipped = []
    for path in _walk(root):
        name = str(path.relative_to(root))
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            skipped.append((name, 'link_out_of_folder'))
        elif path.is_dir():
            skipped.append((name, 'link_to_folder'))
        elif not path.is_file():
            skipped.append((name, 'not_a_regular_file'))
        elif path.name.startswith('.') or path.suffix.lower() not in _SUFFIXES:
            skipped.append((name, 'other_file'))
        else:
            by_id.setdefault(path.stem, []).append(path)
    if not by_id:
        raise InputError(
            f'no films in {images_dir}: files named <id>{", <id>".join(_SUFFIXES[:-1])} are read'
        )
    return FoundFiles(
        films={id_: paths[0] for id_, paths in sorted(by_id.items()) if len(paths) == 1},
        skipped=tuple(sorted(skipped)),
        ambiguous={id_: sorted(paths) for id_, paths in sorted(by_id.items()) if len(paths) > 1},
    )


def film_record(
    task: FilmTask, *, image_size: int, any_modality: bool = False
) -> tuple[bytes, FilmFacts]:
    """Reads a film and encodes its record.

    Raises:
        FilmError: if the film cannot be used.
    """
    film = read_film(task.path, any_modality=any_modality)
    height, width = film.pixels.shape
    boxes = boxes_inside(task.label.boxes, height, width)
    if boxes is None:
        raise FilmError(
            'box_outside_film',
            f'{task.path}: a box of {task.label.boxes.tolist()} is not inside the film of '
            f'{width} x {height} pixels: correct the table',
        )
    label = dataclasses.replace(
        task.label,
        boxes=boxes,
        view_position=film.view_position or task.label.view_position,
        sex=film.sex or task.label.sex,
        age=film.age if film.age != UNKNOWN_AGE else task.label.age,
    )
    record = {
        'image': standard_picture(film.pixels, image_size)[:, :, None],
        'boxes': pad_boxes(boxes),
        'num_boxes': len(boxes),
        'label': label.label,
        'class_id': label.class_id,
        'patient_id': label.patient_id,
        'person_id': label.person_id,
        'view_position': label.view_position,
        'sex': label.sex,
        'age': label.age,
        'label_domain': label.label_domain,
        'film_height': height,
        'film_width': width,
    }
    facts = FilmFacts(label, height, width, film.transfer_syntax, film.photometric, film.notes)
    return encode_example(record), facts


def convert_chunk(
    job: tuple[int, Sequence[FilmTask]],
    *,
    spool_dir: pathlib.Path,
    image_size: int,
    any_modality: bool,
) -> list[FilmFacts | Rejection]:
    """Converts a few films into a spool file; what it returns is small.

    Args:
        job: number of the chunk, and its films.
        spool_dir: where the records of the accepted films go, in order, to ``spool_name``.
        image_size: side of the pictures.
        any_modality: as in ``read_film``.

    Returns:
        For each film its facts, or why it was rejected.
    """
    number, tasks = job
    records, results = [], []
    for task in tasks:
        try:
            record, facts = film_record(task, image_size=image_size, any_modality=any_modality)
        except FilmError as error:
            results.append(Rejection(task.label.patient_id, error.code, str(error)))
            continue
        records.append(record)
        results.append(facts)
    if records:
        write_records(spool_dir / spool_name(number), records)
    return results


def spool_name(number: int) -> str:
    """File name of a chunk's records."""
    return f'chunk-{number:06d}.tfrecord'


def _walk(folder):
    """Everything below a folder but folders; links are named, not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)
            else:
                yield pathlib.Path(entry.path)
