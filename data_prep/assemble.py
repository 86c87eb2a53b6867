"""From spooled records to shards."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from data_prep.spool import SpooledFilm
from pneumo_jax.data.shards import shard_name
from pneumo_jax.data.tfrecord import ShardError, ShardInfo, check_frame, write_shard
from pneumo_jax.workers import WorkerPool

__all__ = ['write_shards']


@dataclasses.dataclass(frozen=True)
class _Shard:
    """What one worker writes.

    Attributes:
        path: of the file.
        frames: (spool file, start, size) of each record.
    """

    path: pathlib.Path
    frames: tuple[tuple[str, int, int], ...]


def write_shards(
    folder: pathlib.Path,
    films: Mapping[str, Sequence[SpooledFilm]],
    num_shards: int,
    *,
    pool: WorkerPool,
) -> dict[str, list[ShardInfo]]:
    """Copies the records of each split from the spool to its shards, which it names.

    The order is that of a hash of the ids, so that every shard is a fair sample.

    Args:
        folder: to write to.
        films: split -> its films, at least one.
        num_shards: of each split; fewer where there are fewer films.
        pool: for the work.

    Raises:
        ShardError: if a spooled record is damaged.
    """
    plans = {split: _plan(folder, split, films[split], num_shards) for split in films}
    infos = pool.map(_write_shard, itertools.chain.from_iterable(plans.values()))
    return {split: [_on_disk(next(infos), shard) for shard in plans[split]] for split in plans}


def _on_disk(info, shard):
    """Waits until a shard is on the disk, while the workers are at the next ones."""
    with shard.path.open('rb') as file:
        os.fsync(file.fileno())
    return info


def _plan(folder, split, films, num_shards) -> list[_Shard]:
    films = sorted(
        films, key=lambda film: hashlib.sha256(film.facts.label.patient_id.encode()).digest()
    )
    num_shards = min(num_shards, len(films))
    edges = [i * len(films) // num_shards for i in range(num_shards + 1)]
    return [
        _Shard(
            folder / shard_name(split, shard, num_shards),
            tuple((str(film.path), film.start, film.size) for film in films[start:end]),
        )
        for shard, (start, end) in enumerate(itertools.pairwise(edges))
    ]


def _write_shard(shard: _Shard, lost: dict[int, str], begin: Callable[[int], None]) -> ShardInfo:
    """For ``WorkerPool.map``: a shard has no items that could be left out of it."""
    del lost, begin
    return write_shard(shard.path, _frames(shard.frames))


def _frames(frames) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        # Each open spool file takes a file handle, of which systems give few.
        @functools.cache
        def open_spool(path):
            return stack.enter_context(pathlib.Path(path).open('rb', buffering=0))

        for path, start, size in frames:
            frame = os.pread(open_spool(path).fileno(), size, start)
            try:
                check_frame(frame)
            except ShardError as error:
                raise ShardError(
                    f'{path}, at byte {start}: {error}; delete the file and convert again'
                ) from error
            yield frame
