"""The films of a folder, and from one film's file to its record."""

from __future__ import annotations

import dataclasses
import os
import pathlib

import google_crc32c

from data_prep.labels import FilmLabel, LabelTable, Rejection, boxes_inside
from pneumo_jax.data.dicom import FilmError, ReadOptions, read_film, standard_picture
from pneumo_jax.data.example import UNKNOWN_AGE, encode_example, pad_boxes
from pneumo_jax.errors import InputError

__all__ = [
    'FilmFacts',
    'FilmTask',
    'FoundFiles',
    'MatchedFilms',
    'RecordOptions',
    'film_record',
    'find_films',
    'match_films',
]

_SUFFIXES = ('.dcm', '.dicom', '.png', '.jpg', '.jpeg', '')
_MAGICS = (b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff')


@dataclasses.dataclass(frozen=True)
class FoundFiles:
    """The files of a folder.

    Attributes:
        films: path relative to the folder, with forward slashes -> file; sorted.
        skipped: (path relative to the folder, reason) of what is not read.
    """

    films: dict[str, pathlib.Path]
    skipped: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class FilmTask:
    """A film to convert.

    Attributes:
        path: of its file.
        label: what the tables say.
        stamp: size in bytes and time of change in nanoseconds, by which a changed file is known.
    """

    path: pathlib.Path
    label: FilmLabel
    stamp: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class MatchedFilms:
    """The films of the tables and their files.

    Attributes:
        tasks: labelled films with a file, sorted by id.
        missing: ids of labelled films without a file.
        unlabelled: files without a label, relative to the folder.
        ambiguous: films that several files claim to be.
    """

    tasks: tuple[FilmTask, ...]
    missing: tuple[str, ...]
    unlabelled: tuple[str, ...]
    ambiguous: tuple[Rejection, ...]


@dataclasses.dataclass(frozen=True)
class RecordOptions:
    """How a record is made of a film.

    Attributes:
        image_size: side of the pictures.
        encoding: of the pictures, as in ``data.example``.
        read: which films are taken.
    """

    image_size: int
    encoding: str
    read: ReadOptions


@dataclasses.dataclass(frozen=True)
class FilmFacts:
    """What the conversion knows of an accepted film, without its pixels.

    Attributes:
        label: with view, sex and age as the film's own file tells them.
        height: rows of the film.
        width: columns of the film.
        transfer_syntax: as in ``Film``.
        photometric: as in ``Film``.
        bits_stored: as in ``Film``.
        manufacturer: as in ``Film``.
        window: as in ``Film``.
        notes: as in ``Film``.
        picture_crc: CRC32C of the standard picture; films of equal pixels have equal ones.
    """

    label: FilmLabel
    height: int
    width: int
    transfer_syntax: str
    photometric: str
    bits_stored: int
    manufacturer: str
    window: str
    notes: tuple[str, ...]
    picture_crc: int


def find_films(images_dir) -> FoundFiles:
    """Lists the films below a folder; of files with another suffix the first bytes tell.

    Links that lead out of the folder, pipes and devices are skipped: reading them could hang, or
    take in what nobody meant to.

    Raises:
        InputError: if there is no such folder, or no film in it.
    """
    root = pathlib.Path(images_dir)
    if not root.is_dir():
        raise InputError(f'--images_dir={images_dir} is no folder')
    films, skipped = {}, []
    for name, entry in _walk(root, ''):
        if reason := _reason_to_skip(entry, root):
            skipped.append((name, reason))
        else:
            films[name] = pathlib.Path(entry.path)
    if not films:
        raise InputError(
            f'no films in {images_dir}: DICOM, PNG and JPEG files are read, in folders below too'
        )
    return FoundFiles(films=dict(sorted(films.items())), skipped=tuple(sorted(skipped)))


def match_films(found: FoundFiles, table: LabelTable) -> MatchedFilms:
    """Brings labels and files together: by path where the table has paths, else by id."""
    by_stem: dict[str, list[str]] = {}
    for name, path in found.films.items():
        by_stem.setdefault(path.stem, []).append(name)
    tasks, missing, ambiguous = [], [], []
    used = set()
    for label in table.films:
        names = [label.path] if label.path else by_stem.get(label.patient_id, [])
        names = [name for name in names if name in found.films]
        used.update(names)
        if not names:
            missing.append(label.patient_id)
        elif len(names) > 1:
            message = f'{label.patient_id} is the name of {" and ".join(names)}: keep one'
            ambiguous.append(Rejection(label.patient_id, 'several_files', message))
        else:
            path = found.films[names[0]]
            status = path.stat()
            tasks.append(FilmTask(path, label, (status.st_size, status.st_mtime_ns)))
    for rejection in table.rejected:
        used.update([rejection.path] if rejection.path else by_stem.get(rejection.patient_id, []))
    return MatchedFilms(
        tasks=tuple(sorted(tasks, key=lambda task: task.label.patient_id)),
        missing=tuple(sorted(missing)),
        unlabelled=tuple(name for name in found.films if name not in used),
        ambiguous=tuple(ambiguous),
    )


def film_record(task: FilmTask, options: RecordOptions) -> tuple[bytes, FilmFacts]:
    """Reads a film and encodes its record.

    Raises:
        FilmError: if the film cannot be used.
    """
    film = read_film(task.path, options.read)
    boxes = boxes_inside(task.label.boxes, film.height, film.width)
    if boxes is None:
        raise FilmError(
            'box_outside_film',
            f'{task.path}: a box of {task.label.boxes.tolist()} is not inside the film of '
            f'{film.width} x {film.height} pixels: correct the table',
        )
    label = dataclasses.replace(
        task.label,
        boxes=boxes,
        view_position=film.view_position or task.label.view_position,
        sex=film.sex or task.label.sex,
        age=film.age if film.age != UNKNOWN_AGE else task.label.age,
    )
    picture = standard_picture(film.pixels, options.image_size)
    record = {
        'image': picture[:, :, None],
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
        'film_height': film.height,
        'film_width': film.width,
    }
    facts = FilmFacts(
        label=label,
        height=film.height,
        width=film.width,
        transfer_syntax=film.transfer_syntax,
        photometric=film.photometric,
        bits_stored=film.bits_stored,
        manufacturer=film.manufacturer,
        window=film.window,
        notes=film.notes,
        picture_crc=google_crc32c.value(picture.tobytes()),
    )
    return encode_example(record, options.encoding), facts


def _walk(folder, prefix):
    """(path relative to the root, entry) of everything below a folder but folders.

    Links are named, not followed.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f'{prefix}{entry.name}/')
            else:
                yield f'{prefix}{entry.name}', entry


def _reason_to_skip(entry, root):
    if entry.is_symlink() and not pathlib.Path(entry).resolve().is_relative_to(root.resolve()):
        return 'link_out_of_folder'
    if entry.is_dir():
        return 'link_to_folder'
    if not entry.is_file():
        return 'not_a_regular_file'
    if entry.name.startswith('.'):
        return 'other_file'
    # Archives name files by UIDs, and what follows the last dot of one is no suffix.
    suffix = entry.name[entry.name.rfind('.') :].lower() if '.' in entry.name else ''
    if suffix not in _SUFFIXES and not _is_film(entry):
        return 'other_file'
    return ''


def _is_film(entry):
    try:
        with pathlib.Path(entry).open('rb') as file:
            start = file.read(132)
    except OSError:
        # Reading it would fail again, and then with a reason.
        return True
    return start[128:] == b'DICM' or start.startswith(_MAGICS)
