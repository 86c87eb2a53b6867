"""From shards to batches of NumPy arrays.

A batch is a dict: ``image`` uint8 [B,S,S,1], ``label`` int32 [B], ``class_id`` int32 [B],
``boxes`` float32 [B,8,4] in film pixels, ``num_boxes`` int32 [B] (0 with label 1: not known, see
``boxes.known.boxes_known``), ``film_size`` int32 [B,2] (height, width), ``mask`` bool [B] (True =
a real row), ``weak`` bool [B] (True = a film of ``data.extra_films``, whose label means something
else).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pneumo_jax.data.example import decode_example
from pneumo_jax.data.shards import ShardedRecords
from pneumo_jax.errors import InputError

__all__ = [
    'FilmSplit',
    'check_enough_films',
    'draw_films',
    'eval_batches',
    'prefetch',
    'to_batch',
    'train_batches',
]


class FilmSplit:
    """The films of one split, by index.

    Args:
        data_dir: folder written by ``data_prep/convert.py``.
        split: ``train``, ``validation`` or ``test``.

    Attributes:
        name: of the split.
        image_size: side of the pictures in pixels.

    Raises:
        InputError: if the folder is not a whole conversion, or the split is empty.
    """

    def __init__(self, data_dir, split: str):
        self._records = ShardedRecords(data_dir, split)
        self.name = split
        self.image_size = self._records.image_size
        if len(self._records) == 0:
            raise InputError(f'split {split!r} of {data_dir} is empty: convert more films')

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict:
        """One record as ``data.example`` describes it."""
        return decode_example(self._records[index], self._records.encoding)

    def columns(self, names: Sequence[str]) -> list[tuple]:
        """These fields of every film, without decoding pictures."""
        films = (
            decode_example(self._records[i], self._records.encoding, names)
            for i in range(len(self))
        )
        return [tuple(film[name] for name in names) for film in films]


def check_enough_films(split: FilmSplit, batch_size: int) -> None:
    """Raises an InputError if a batch is larger than the split."""
    if batch_size > len(split):
        raise InputError(
            f'config.batch_size={batch_size} is larger than the {len(split)} films of split '
            f'{split.name!r}; try --config.batch_size={len(split)} or less'
        )


def train_batches(
    split: FilmSplit,
    *,
    epoch_order: Callable[[int], np.ndarray],
    batch_size: int,
    steps: Iterable[int],
) -> Iterator[tuple[dict, list[str]]]:
    """Batches for the given steps, each with the ids of its films; a batch depends on its step.

    The epochs' orders follow each other without a seam: a batch may hold the last films of one
    epoch and the first of the next, so every film has its turn and no row is padded. A resumed run
    gets the same batches by asking for the remaining steps.

    Args:
        split: the training films.
        epoch_order: gives the indices of an epoch's films, as many as there are
            (``data.sampling.EpochOrder``).
        batch_size: films in a batch.
        steps: ascending.

    Raises:
        InputError: if a batch is larger than the split.
    """
    check_enough_films(split, batch_size)
    drawn = draw_films(split, epoch_order=epoch_order, per_step=batch_size, steps=steps)
    return prefetch(
        (to_batch(records, batch_size), [record['patient_id'] for record in records])
        for records in drawn
    )


def draw_films(
    films: FilmSplit,
    *,
    epoch_order: Callable[[int], np.ndarray],
    per_step: int,
    steps: Iterable[int],
) -> Iterator[list[dict]]:
    """The records of each of the given steps; they depend on their step alone.

    Args:
        films: what is drawn from.
        epoch_order: as of ``train_batches``.
        per_step: films of a step.
        steps: ascending.
    """
    epoch, order = -1, None
    for step in steps:
        records = []
        for index in range(step * per_step, (step + 1) * per_step):
            if index // len(films) != epoch:
                epoch = index // len(films)
                order = epoch_order(epoch)
            records.append(films[order[index % len(films)]])
        yield records


def eval_batches(split: FilmSplit, *, batch_size: int) -> Iterator[tuple[dict, list[dict]]]:
    """All films in order as (batch, records); the last batch is padded to full size."""
    return prefetch(_eval_batches(split, batch_size))


def _eval_batches(split, batch_size):
    for start in range(0, len(split), batch_size):
        records = [split[i] for i in range(start, min(start + batch_size, len(split)))]
        yield to_batch(records, batch_size), records


def to_batch(records: list[dict], batch_size: int, *, weak: Sequence[int] = ()) -> dict:
    """Records stacked to a batch; missing rows repeat the last record, with ``mask`` False.

    Args:
        records: up to ``batch_size`` of them.
        batch_size: rows of the batch.
        weak: the rows that hold films of ``data.extra_films``.
    """
    columns = {
        'image': [r['image'] for r in records],
        'label': [np.int32(r['label']) for r in records],
        'class_id': [np.int32(r['class_id']) for r in records],
        'boxes': [r['boxes'] for r in records],
        'num_boxes': [np.int32(r['num_boxes']) for r in records],
        'film_size': [np.array([r['film_height'], r['film_width']], np.int32) for r in records],
    }
    missing = batch_size - len(records)
    batch = {
        # Rows like real ones, so that no division by a film size of zero makes a NaN.
        name: np.stack(rows + rows[-1:] * missing)
        for name, rows in columns.items()
    }
    rows = np.arange(batch_size)
    return batch | {'mask': rows < len(records), 'weak': np.isin(rows, weak)}


def prefetch(batches: Iterator, ahead: int = 2) -> Iterator:
    """The same items, made in a thread while earlier ones are in use.

    An error in the thread is raised where its item would have come.
    """
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix='batches') as pool:
        waiting = [pool.submit(next, batches, end) for _ in range(ahead)]
        while (item := waiting.pop(0).result()) is not end:
            waiting.append(pool.submit(next, batches, end))
            yield item
