"""The films of a download, of tables alone, or of shards, as they are explored."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from data_prep.exploration.films import ExploredFilms, PixelFacts, unlabelled_film
from data_prep.exploration.survey import (
    THUMBNAIL_SIZE,
    FilmFile,
    SurveyedFilm,
    grey_histogram,
    pixel_digest,
    survey,
)
from data_prep.films import FoundFiles, MatchedFilms, find_films, match_films
from data_prep.labels import FilmLabel, LabelTable, Rejection, boxes_inside, film_ids
from data_prep.options import Options
from data_prep.persons import Person, merged_person, read_persons, read_spacings
from data_prep.rsna_labels import read_rsna_classes
from data_prep.sources import films_folder, read_labels
from pneumo_jax.data.dicom import FilmError, standard_picture
from pneumo_jax.data.example import UNKNOWN_AGE
from pneumo_jax.data.geometry import padding
from pneumo_jax.data.isolated import read_films
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.data.shards import load_manifest
from pneumo_jax.errors import InputError
from pneumo_jax.workers import WorkerPool

__all__ = ['load_download', 'load_shards']

# Of every film of the challenge (Shih et al. 2019), whose tables do not tell it.
_CHALLENGE_SIZE = (1024, 1024)


def load_download(options: Options, *, pool: WorkerPool, cache_dir: pathlib.Path) -> ExploredFilms:
    """Films of a folder, and what tables say of them; either may be missing.

    Args:
        options: where they are; without ``images_dir`` tables alone are explored.
        pool: for reading films, now and when pictures are asked for.
        cache_dir: of ``survey``.

    Raises:
        InputError: if a table or folder is not right, or there is nothing to explore.
    """
    found = _find(options)
    table = _table(options, found)
    if table is None and found is None:
        raise InputError(
            'nothing to explore: give --download, a folder of films by --images_dir, a table by '
            '--labels_csv, or --shards'
        )
    labels, labelled, files, rejected, missing = _matched(options, found, table)
    surveyed = {}
    if found is not None:
        results = survey(list(files.values()), options.read, pool=pool, cache_dir=cache_dir)
        surveyed = dict(zip(files, results, strict=True))
    kept = _usable(labels, surveyed, rejected)
    read = [i for i in kept if i in surveyed]
    paths = [files[i].path if i in files else None for i in kept]

    def picture(indices: Sequence[int], side: int):
        results = read_films([paths[i] for i in indices], options.read, image_size=side, pool=pool)
        return [None if isinstance(r, FilmError) else r[1] for r in results]

    sizes = np.array([_size(surveyed.get(i), options) for i in kept], np.int64).reshape(-1, 2)
    return ExploredFilms(
        labels=[_completed(labels[i], surveyed.get(i)) for i in kept],
        labelled=labelled[kept],
        splits=[labels[i].split for i in kept],
        sizes=sizes,
        sizes_assumed=bool(len(read) < len(kept) and (sizes > 0).all()),
        spacings=_spacings(options, [labels[i].patient_id for i in kept], kept, surveyed),
        manufacturers=[surveyed[i].facts['manufacturer'] if i in surveyed else '' for i in kept],
        rows_with_pixels=np.flatnonzero([i in surveyed for i in kept]),
        pixels=_pixel_facts([surveyed[i] for i in read]),
        picture=picture,
        rejected=rejected,
        missing=missing,
        protocol='as the table of labels tells' if any(label.split for label in labels) else '',
        origin=_origin(options, found, table),
    )


def load_shards(shards_dir) -> ExploredFilms:
    """The films of a conversion, all its splits.

    Raises:
        InputError: if the folder is not a whole conversion.
    """
    manifest = load_manifest(shards_dir)
    splits = {name: FilmSplit(shards_dir, name) for name in manifest['splits']}
    places = [(name, i) for name, films in splits.items() for i in range(len(films))]
    labels, sizes, histograms, thumbnails, digests = [], [], [], [], []
    for name, i in tqdm(places, desc='films', unit='film'):
        record = splits[name][i]
        image = record['image'][:, :, 0]
        size = record['film_height'], record['film_width']
        labels.append(_label_of_record(record))
        sizes.append(size)
        histograms.append(grey_histogram(_without_margins(image, size)))
        thumbnails.append(standard_picture(image, THUMBNAIL_SIZE))
        digests.append(pixel_digest(_without_margins(image, size)))

    def picture(indices: Sequence[int], side: int):
        records = (splits[places[i][0]][places[i][1]] for i in indices)
        return [standard_picture(record['image'][:, :, 0], side) for record in records]

    return ExploredFilms(
        labels=labels,
        labelled=np.ones(len(labels), bool),
        splits=[name for name, _ in places],
        sizes=np.array(sizes, np.int64),
        sizes_assumed=False,
        spacings=np.full(len(labels), math.nan),
        manufacturers=[''] * len(labels),
        rows_with_pixels=np.arange(len(labels)),
        pixels=PixelFacts(np.array(histograms), np.array(thumbnails), digests),
        picture=picture,
        rejected=[],
        missing=None,
        protocol=manifest['protocol']['sentence'],
        origin=(
            f'Shards of {manifest["image_size"]} px from the source {manifest["source"]!r}, '
            f'fingerprint {manifest["fingerprint"]}; grey values and equal pixels are those of '
            'their pictures.'
        ),
    )


def _find(options) -> FoundFiles | None:
    if options.images_dir is None and options.source != 'csv':
        return None
    if options.source == 'csv' and not options.labels_csv:
        return None
    return find_films(films_folder(options))


def _table(options, found) -> LabelTable | None:
    """What the tables say; of the challenge's, those that there are."""
    if options.source in ('rsna', 'phantom') and not options.labels_csv:
        if not options.class_info_csv:
            return None
        return read_rsna_classes(
            options.class_info_csv,
            options.person_csv,
            id_column=options.id_column,
            person_column=options.person_column,
        )
    return read_labels(options, found)


def _matched(options, found, table):
    """(labels, labelled bool, index -> file, rejections, labelled films without a file)."""
    if table is None:
        matched = MatchedFilms((), (), tuple(found.films), ())
        rejected, labels = [], []
    elif found is None:
        return list(table.films), np.ones(len(table.films), bool), {}, list(table.rejected), None
    else:
        matched = match_films(found, table)
        claimed = {rejection.patient_id for rejection in matched.ambiguous}
        labels = [film for film in table.films if film.patient_id not in claimed]
        rejected = [*table.rejected, *matched.ambiguous]
    tasks = {task.label.patient_id: FilmFile(task.path, task.stamp) for task in matched.tasks}
    files = {i: tasks[x.patient_id] for i, x in enumerate(labels) if x.patient_id in tasks}
    num_labelled = len(labels)
    persons = _persons(options)
    for name, film_id in film_ids(matched.unlabelled).items():
        path = found.films[name]
        status = path.stat()
        files[len(labels)] = FilmFile(path, (status.st_size, status.st_mtime_ns))
        labels.append(unlabelled_film(film_id, merged_person(persons.get(film_id, ()))))
    labelled = np.arange(len(labels)) < num_labelled
    return labels, labelled, files, rejected, len(matched.missing) if table else None


def _usable(labels, surveyed, rejected):
    """Indices of the films that can be used; adds the others to ``rejected``, with the reason."""
    kept = []
    for i, label in enumerate(labels):
        film = surveyed.get(i)
        if isinstance(film, FilmError):
            rejected.append(Rejection(label.patient_id, film.code, str(film), label.path))
        elif film is not None and _boxes_of(label, film) is None:
            message = f'{label.patient_id}: a box is not inside the film: correct the table'
            rejected.append(Rejection(label.patient_id, 'box_outside_film', message, label.path))
        else:
            kept.append(i)
    if not kept:
        first = f'; the first: {rejected[0].message}' if rejected else ''
        raise InputError(f'none of {len(labels)} films can be used{first}')
    return kept


def _persons(options) -> dict[str, list[Person]]:
    if not options.person_csv:
        return {}
    return read_persons(
        options.person_csv, id_column=options.id_column, person_column=options.person_column
    )


def _size(film: SurveyedFilm | None, options):
    if film is not None:
        return film.facts['height'], film.facts['width']
    return _CHALLENGE_SIZE if options.source == 'rsna' else (0, 0)


def _boxes_of(label, film):
    return boxes_inside(label.boxes, film.facts['height'], film.facts['width'])


def _completed(label: FilmLabel, film: SurveyedFilm | None) -> FilmLabel:
    """What the film's own file tells comes before what tables tell, as in a conversion."""
    if film is None:
        return label
    facts = film.facts
    return dataclasses.replace(
        label,
        boxes=_boxes_of(label, film),
        view_position=facts['view_position'] or label.view_position,
        sex=facts['sex'] or label.sex,
        age=facts['age'] if facts['age'] != UNKNOWN_AGE else label.age,
    )


def _spacings(options, ids, kept, surveyed):
    """Mm between pixels, the mean of both directions, from files or else the table of persons."""
    told = {}
    if options.person_csv:
        told = read_spacings(options.person_csv, id_column=options.id_column)
    spacings = []
    for film_id, i in zip(ids, kept, strict=True):
        pair = surveyed[i].facts['pixel_spacing'] if i in surveyed else None
        spacings.append(sum(pair) / 2 if pair else told.get(film_id, math.nan))
    return np.array(spacings, np.float64)


def _pixel_facts(films: Sequence[SurveyedFilm]) -> PixelFacts:
    size = THUMBNAIL_SIZE
    return PixelFacts(
        histograms=np.array([film.histogram for film in films], np.uint32).reshape(-1, 256),
        thumbnails=np.array([film.thumbnail for film in films], np.uint8).reshape(-1, size, size),
        digests=[film.digest for film in films],
    )


def _origin(options, found, table):
    parts = []
    if found is not None:
        parts.append(f'{len(found.films):,} files of films')
    if table is not None:
        parts.append(f'tables of the source {options.source!r} with {len(table.films):,} films')
    return f'{" and ".join(parts).capitalize()}.'


def _label_of_record(record) -> FilmLabel:
    names = ('class_id', 'person_id', 'view_position', 'sex', 'age', 'label_domain')
    return FilmLabel(
        patient_id=record['patient_id'],
        label=record['label'],
        boxes=record['boxes'][: record['num_boxes']],
        **{name: record[name] for name in names},
    )


def _without_margins(image, size):
    """The part of a standard picture uint8 [S,S] that is film; ``size`` is (height, width)."""
    size = np.array(size)
    scale = len(image) / size.max()
    start = np.ceil(padding(size) * scale).astype(int)
    end = np.floor((padding(size) + size) * scale).astype(int)
    return image[start[0] : end[0], start[1] : end[1]]
