"""The whole conversion, from folders and tables to a finished folder of shards."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import itertools
import logging
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Sequence

from tqdm import tqdm

from data_prep.films import (
    FilmFacts,
    FilmTask,
    FoundFiles,
    convert_chunk,
    find_films,
    spool_name,
)
from data_prep.labels import LabelTable, Rejection, read_rsna_labels
from data_prep.manifest import make_manifest
from data_prep.report import make_report, rejection_lines, split_counts, summary_lines
from data_prep.splits import assign_splits
from data_prep.workers import map_in_processes
from pneumo_jax import command
from pneumo_jax.data.tfrecord import (
    MANIFEST_NAME,
    SPLITS,
    RecordFile,
    ShardInfo,
    shard_name,
    write_records,
)
from pneumo_jax.errors import InputError
from pneumo_jax.output_folder import OutputFolder
from pneumo_jax.writers import write_json

__all__ = ['Options', 'convert']

_REPORT_NAME = 'report.json'
# Also the step of the progress bar.
_CHUNK_FILMS = 16

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """What to convert and how; the flags of the same names say more."""

    images_dir: str
    labels_csv: str
    output_dir: str
    class_info_csv: str | None = None
    person_csv: str | None = None
    image_size: int = 256
    num_shards: int = 4
    split_fractions: Sequence[float] = (0.7, 0.15, 0.15)
    split_seed: int = 0
    max_bad: int = 0
    allow_missing: bool = False
    any_modality: bool = False
    overwrite: bool = False
    num_workers: int = 0


@dataclasses.dataclass(frozen=True)
class _Converted:
    """An accepted film and where its record is spooled."""

    facts: FilmFacts
    spool: pathlib.Path
    index: int


def convert(options: Options) -> int:
    """Converts, and says what was done.

    Returns:
        The exit code: 0, or 1 if more than ``max_bad`` films were rejected.

    Raises:
        InputError: if a table, a folder or an option is not right.
    """
    with OutputFolder(
        options.output_dir, overwrite=options.overwrite, marker=MANIFEST_NAME
    ) as folder:
        table = read_rsna_labels(options.labels_csv, options.class_info_csv, options.person_csv)
        found = find_films(options.images_dir)
        tasks, missing, unlabelled = _match(found, table)
        if missing and not options.allow_missing:
            raise InputError(
                f'{len(missing)} of {len(table.films)} labelled films have no file in '
                f'{options.images_dir}, the first {missing[0]!r}: is it the right folder? Go on '
                'without them with --allow_missing'
            )
        spool_dir = folder.path / 'spool'
        spool_dir.mkdir()
        converted, rejected = _convert_films(tasks, spool_dir, options)
        rejected += [*table.rejected, *_ambiguous(found, table)]
        report = make_report(
            found=found,
            table=table,
            accepted=[film.facts for film in converted],
            rejected=rejected,
            missing=missing,
            unlabelled=unlabelled,
        )
        if report['counts']['rejected'] > options.max_bad:
            return _refuse(report, options)
        if not converted:
            raise InputError(f'none of the {len(tasks)} films can be used')
        manifest = _write_shards(folder.path, converted, options)
        shutil.rmtree(spool_dir)
        write_json(folder.path / MANIFEST_NAME, manifest)
        write_json(folder.path / _REPORT_NAME, report)
        folder.publish()
    for line in summary_lines(manifest['splits'], report):
        command.say(line)
    command.say(manifest['protocol']['sentence'])
    command.say(f'shards, {MANIFEST_NAME} and {_REPORT_NAME} are in {options.output_dir}')
    return 0


def _match(found: FoundFiles, table: LabelTable):
    """(films to convert, ids of films without file, ids of files without label), sorted."""
    labels = {film.patient_id: film for film in table.films}
    known = labels.keys() | {rejection.patient_id for rejection in table.rejected}
    ids = found.films.keys() | found.ambiguous.keys()
    tasks = [FilmTask(found.films[id_], labels[id_]) for id_ in found.films if id_ in labels]
    return tasks, sorted(labels.keys() - ids), sorted(ids - known)


def _ambiguous(found: FoundFiles, table: LabelTable) -> list[Rejection]:
    """Labelled films that several files claim to be."""
    return [
        Rejection(
            film.patient_id,
            'several_files',
            f'{film.patient_id} is the name of {" and ".join(map(str, paths))}: keep one',
        )
        for film in table.films
        if (paths := found.ambiguous.get(film.patient_id))
    ]


def _convert_films(tasks, spool_dir, options) -> tuple[list[_Converted], list[Rejection]]:
    """Spools the records of all films; chunks do not depend on the number of workers."""
    work = functools.partial(
        convert_chunk,
        spool_dir=spool_dir,
        image_size=options.image_size,
        any_modality=options.any_modality,
    )
    starts = range(0, len(tasks), _CHUNK_FILMS)
    jobs = [(i, tasks[start : start + _CHUNK_FILMS]) for i, start in enumerate(starts)]
    converted, rejected = [], []
    with tqdm(total=len(tasks), desc='films', unit='film') as bar:
        for number, results in enumerate(map_in_processes(work, jobs, options.num_workers)):
            accepted = [result for result in results if isinstance(result, FilmFacts)]
            spool = spool_dir / spool_name(number)
            converted += [_Converted(facts, spool, i) for i, facts in enumerate(accepted)]
            rejected += [result for result in results if isinstance(result, Rejection)]
            bar.update(len(results))
    return converted, rejected


def _write_shards(folder, converted: list[_Converted], options) -> dict:
    """Splits, writes the shards and their TFDS metadata; returns the manifest."""
    assignment = assign_splits(
        [film.facts.label for film in converted],
        fractions=options.split_fractions,
        seed=options.split_seed,
    )
    by_split = collections.defaultdict(list)
    for film in converted:
        by_split[assignment.splits[film.facts.label.patient_id]].append(film)
    films = {split: by_split[split] for split in SPLITS if split in by_split}
    shards = {
        split: _write_split(folder, split, members, options.num_shards)
        for split, members in films.items()
    }
    # Imported here for its seconds: bad input is told before.
    from data_prep.tfds_metadata import write_tfds_metadata

    write_tfds_metadata(folder, shards, image_size=options.image_size)
    return make_manifest(
        image_size=options.image_size,
        protocol=assignment.protocol,
        counts={s: split_counts([film.facts.label for film in films[s]]) for s in films},
        shards=shards,
    )


def _write_split(folder, split, films: list[_Converted], num_shards) -> list[ShardInfo]:
    """Copies a split's records from the spool to its shards.

    The order is that of a hash of the ids, so that every shard is a fair sample.
    """
    films = sorted(
        films, key=lambda film: hashlib.sha256(film.facts.label.patient_id.encode()).digest()
    )
    num_shards = min(num_shards, len(films))
    edges = [i * len(films) // num_shards for i in range(num_shards + 1)]
    return [
        write_records(
            folder / shard_name(split, shard, num_shards), _spooled_records(films[start:end])
        )
        for shard, (start, end) in enumerate(itertools.pairwise(edges))
    ]


def _spooled_records(films: Iterable[_Converted]) -> Iterator[bytes]:
    # Each open spool file takes a file handle, of which systems give few.
    open_spool = functools.lru_cache(maxsize=64)(RecordFile)
    for film in films:
        yield open_spool(film.spool)[film.index]


def _refuse(report, options) -> int:
    output_dir = pathlib.Path(options.output_dir)
    path = output_dir.with_name(f'{output_dir.name}.{_REPORT_NAME}')
    write_json(path, report)
    bad = report['counts']['rejected']
    for line in rejection_lines(report):
        log.error(line)
    log.error(
        'ERROR: %d films were rejected, more than --max_bad=%d; no shards were written. All are '
        'listed in %s. Correct them, or go on without them with --max_bad=%d',
        bad,
        options.max_bad,
        path,
        bad,
    )
    return 1
