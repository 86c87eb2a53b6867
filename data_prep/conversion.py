"""The whole conversion, from folders and tables to a finished folder of shards."""

from __future__ import annotations

import dataclasses
import functools
import logging
import pathlib
import shutil
from collections.abc import Sequence

from tqdm import tqdm

from data_prep.assemble import write_shards
from data_prep.duplicates import find_duplicates
from data_prep.film_table import FILM_TABLE_NAME, write_film_table
from data_prep.films import FilmTask, MatchedFilms, RecordOptions, find_films, match_films
from data_prep.labels import FilmLabel, Rejection
from data_prep.manifest import make_manifest
from data_prep.options import Options, record_options
from data_prep.report import make_report, rejection_lines, split_counts, summary_lines
from data_prep.report_page import report_page
from data_prep.sources import films_folder, read_labels
from data_prep.splits import SplitAssignment, assign_splits, check_protocol, read_split_csv
from data_prep.spool import SpooledFilm, convert_chunk, is_spooled, make_chunks, read_chunk
from pneumo_jax import command
from pneumo_jax.data.shards import MANIFEST_NAME, SPLITS
from pneumo_jax.errors import InputError
from pneumo_jax.files import write_atomically, write_json
from pneumo_jax.output_folder import OutputFolder
from pneumo_jax.workers import WorkerPool

__all__ = ['convert']

_REPORT_NAME = 'report.json'
_PAGE_NAME = 'report.html'
_SPOOL_NAME = 'spool'
# Also the step of the progress bar.
_CHUNK_FILMS = 32

log = logging.getLogger(__name__)


def convert(options: Options) -> int:
    """Converts, and says what was done.

    Returns:
        The exit code: 0, or 1 if more than ``max_bad`` films were rejected.

    Raises:
        InputError: if a table, a folder or an option is not right.
    """
    with OutputFolder(
        options.output_dir, overwrite=options.overwrite, marker=_REPORT_NAME, kept=_SPOOL_NAME
    ) as folder:
        check_protocol(options.split, **_split_options(options))
        report = (_convert_labels if options.labels_only else _convert_films)(folder.path, options)
        if report['counts']['rejected'] > options.max_bad:
            return _refuse(report, options)
        write_json(folder.path / _REPORT_NAME, report)
        write_atomically(folder.path / _PAGE_NAME, report_page(report))
        shutil.rmtree(folder.path / _SPOOL_NAME, ignore_errors=True)
        folder.publish()
    for line in summary_lines(report['splits'], report):
        command.say(line)
    command.say(report['protocol']['sentence'])
    command.say(f'all of it and {_PAGE_NAME} are in {options.output_dir}')
    return 0


def _convert_labels(folder: pathlib.Path, options: Options) -> dict:
    """Splits and audits the tables alone; returns the report."""
    needs_files = options.source == 'folders'
    found = find_films(films_folder(options)) if needs_files else None
    table = read_labels(options, found)
    assignment = _assign(table.films, options)
    write_film_table(folder / FILM_TABLE_NAME, table.films, assignment.splits, {})
    return make_report(
        files=len(found.films) if found else 0,
        skipped=found.skipped if found else (),
        table=table,
        labels=table.films,
        facts=(),
        rejected=table.rejected,
        missing=(),
        unlabelled=(),
        duplicates=(),
        left_out=assignment.left_out,
        protocol=assignment.protocol,
        splits=_counts(table.films, assignment),
        settings=_settings(options),
    )


def _convert_films(folder: pathlib.Path, options: Options) -> dict:
    """Writes everything but the report, which it returns; nothing where too many are rejected."""
    images_dir = films_folder(options)
    found = find_films(images_dir)
    table = read_labels(options, found)
    matched = match_films(found, table)
    if matched.missing and not options.allow_missing:
        raise InputError(
            f'{len(matched.missing)} of {len(table.films)} labelled films have no file in '
            f'{images_dir}, the first {matched.missing[0]!r}: is it the right folder? Go on '
            'without them with --allow_missing'
        )
    settings = record_options(options)
    with WorkerPool(options.num_workers, item_timeout=options.film_timeout) as pool:
        films, rejected = _spool_films(matched.tasks, folder / _SPOOL_NAME, settings, options, pool)
        rejected += [*table.rejected, *matched.ambiguous]
        duplicates, assignment = [], None
        if len(rejected) <= options.max_bad:
            if not films:
                raise InputError(f'none of the {len(matched.tasks)} films can be used')
            duplicates = _duplicates(films, matched, settings, pool)
            assignment = _assign(_labels(films), options, same_pixels=duplicates)
            _write_shards(folder, films, assignment, settings, options, pool)
    labels = _labels(films)
    return make_report(
        files=len(found.films) + len(found.skipped),
        skipped=found.skipped,
        table=table,
        labels=labels,
        facts=[film.facts for film in films],
        rejected=rejected,
        missing=matched.missing,
        unlabelled=matched.unlabelled,
        duplicates=duplicates,
        left_out=assignment.left_out if assignment else (),
        protocol=assignment.protocol if assignment else None,
        splits=_counts(labels, assignment) if assignment else {},
        settings=_settings(options),
    )


def _spool_films(
    tasks: Sequence[FilmTask],
    spool_dir: pathlib.Path,
    settings: RecordOptions,
    options: Options,
    pool: WorkerPool,
) -> tuple[list[SpooledFilm], list[Rejection]]:
    """Converts what an earlier run has not."""
    spool_dir.mkdir(exist_ok=True)
    for partial in spool_dir.glob('*.partial'):
        partial.unlink()
    chunks = make_chunks(tasks, settings, _CHUNK_FILMS)
    to_do = [chunk for chunk in chunks if not is_spooled(spool_dir, chunk.key)]
    done = len(tasks) - sum(len(chunk.tasks) for chunk in to_do)
    if done:
        log.info('%d films were converted by an earlier run that did not come to its end', done)
    with tqdm(total=len(tasks), initial=done, desc='films', unit='film') as bar:
        converted = _convert_chunks(to_do, spool_dir, settings, options, pool)
        for chunk, _ in zip(to_do, converted, strict=True):
            bar.update(len(chunk.tasks))
    results = [result for chunk in chunks for result in read_chunk(spool_dir, chunk.key)]
    films = [result for result in results if isinstance(result, SpooledFilm)]
    return films, [result for result in results if isinstance(result, Rejection)]


def _convert_chunks(chunks, spool_dir, settings, options, pool):
    if options.runner == 'local':
        work = functools.partial(convert_chunk, spool_dir=spool_dir, options=settings)
        return pool.map(work, chunks)
    # Imported here because Apache Beam comes with an extra only.
    from data_prep.beam_pipeline import convert_on_beam

    return convert_on_beam(
        chunks,
        spool_dir,
        settings,
        item_timeout=options.film_timeout,
        beam_options=options.beam_options,
    )


def _labels(films: Sequence[SpooledFilm]) -> list[FilmLabel]:
    return [film.facts.label for film in films]


def _duplicates(films, matched: MatchedFilms, settings, pool):
    paths = {task.label.patient_id: task.path for task in matched.tasks}
    facts = [film.facts for film in films]
    return find_duplicates(facts, paths, read=settings.read, pool=pool)


def _assign(labels: Sequence[FilmLabel], options, same_pixels=()) -> SplitAssignment:
    return assign_splits(
        labels, protocol=options.split, same_pixels=same_pixels, **_split_options(options)
    )


def _split_options(options) -> dict:
    return {
        'fractions': options.split_fractions,
        'seed': options.split_seed,
        'split_lists': read_split_csv(options.split_csv) if options.split_csv else None,
    }


def _write_shards(folder, films, assignment, settings, options, pool):
    by_split = {split: [] for split in SPLITS}
    for film in films:
        if split := assignment.splits.get(film.facts.label.patient_id):
            by_split[split].append(film)
    by_split = {split: members for split, members in by_split.items() if members}
    shards = write_shards(folder, by_split, options.num_shards, pool=pool)
    # Imported here for its seconds: bad input is told before.
    from data_prep.tfds_metadata import write_tfds_metadata

    write_tfds_metadata(folder, shards, image_size=settings.image_size, encoding=settings.encoding)
    labels = _labels(films)
    manifest = make_manifest(
        source=options.source,
        options=settings,
        protocol=assignment.protocol,
        counts=_counts(labels, assignment),
        shards=shards,
    )
    write_json(folder / MANIFEST_NAME, manifest)
    facts = {film.facts.label.patient_id: film.facts for film in films}
    write_film_table(folder / FILM_TABLE_NAME, labels, assignment.splits, facts)


def _counts(labels, assignment: SplitAssignment) -> dict[str, dict]:
    by_split = {split: [] for split in SPLITS}
    for label in labels:
        if split := assignment.splits.get(label.patient_id):
            by_split[split].append(label)
    return {split: split_counts(members) for split, members in by_split.items() if members}


def _settings(options: Options) -> dict:
    """What of the options a reader of the report should know."""
    settings = {'source': options.source}
    if not options.labels_only:
        record = record_options(options)
        settings |= {
            'image_size': record.image_size,
            'encoding': record.encoding,
            **dataclasses.asdict(record.read),
        }
    return settings


def _refuse(report, options) -> int:
    output_dir = pathlib.Path(options.output_dir).absolute()
    path = output_dir.with_name(f'{output_dir.name}.{_REPORT_NAME}')
    write_json(path, report)
    write_atomically(output_dir.with_name(f'{output_dir.name}.{_PAGE_NAME}'), report_page(report))
    bad = report['counts']['rejected']
    for line in rejection_lines(report):
        log.error(line)
    log.error(
        'ERROR: %d films were rejected, more than --max_bad=%d; no shards were written. All are '
        'listed in %s. Correct them, or go on without them with --max_bad=%d: what is converted '
        'is kept beside for that',
        bad,
        options.max_bad,
        path,
        bad,
    )
    return 1
