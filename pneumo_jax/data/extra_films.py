"""Weakly labelled films beside the training films.

Their labels mean something else than those of the training films, such as NIH's, which were mined
from reports (Wang et al. 2017, arXiv:1705.02315). They fill a fixed share of each training batch,
marked ``weak`` there, and are in nothing else: not in the epochs, the balance of the sampling,
validation or thresholds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from pneumo_jax.data.pipeline import (
    FilmSplit,
    check_enough_films,
    draw_films,
    prefetch,
    to_batch,
    train_batches,
)
from pneumo_jax.data.shards import SPLITS, load_manifest
from pneumo_jax.errors import InputError

__all__ = ['ExtraFilms', 'make_extra_films', 'mixed_batches', 'weak_rows']

_IDS = ('patient_id', 'person_id')
# Splits of the run's folder that its models are judged on.
_JUDGED = ('validation', 'test')
# Third word of the random states of these films' orders: those of the training films have two, and
# a zero would be the same as none.
_ORDER = 1


class ExtraFilms:
    """The films of all splits of some folders, but for those that a run is judged on.

    Left out are films that are in a validation or test split of the run's folder, and films of a
    person who is: by their ids, as the conversions were told them.

    Args:
        dirs: folders written by ``data_prep/convert.py``.
        data_dir: the run's folder of shards.
        num_rows: films per step.
        seed: of their order.

    Attributes:
        num_rows: as given.
        fingerprints: of the folders' shards.
        num_left_out: films left out.
        num_unchecked: films that were kept although their person is not known.
        num_judged_unknown: films of the run's validation and test splits of unknown person.

    Raises:
        InputError: if a folder is not a whole conversion, has pictures of another size, or is
            there twice, or if too few films are left for a step.
    """

    def __init__(self, dirs: Sequence[str], *, data_dir: str, num_rows: int, seed: int):
        self.num_rows, self._seed = num_rows, seed
        self.fingerprints = _check_folders(dirs, data_dir)
        judged = [ids for split in _splits(data_dir, _JUDGED) for ids in split.columns(_IDS)]
        films = {film for film, _ in judged}
        persons = {person for _, person in judged if person}
        self._splits = [split for folder in dirs for split in _splits(folder)]
        found = [
            ((number, i), film, person)
            for number, split in enumerate(self._splits)
            for i, (film, person) in enumerate(split.columns(_IDS))
        ]
        kept = [row for row in found if row[1] not in films and row[2] not in persons]
        self._places = [place for place, _, _ in kept]
        self.num_left_out = len(found) - len(kept)
        self.num_unchecked = sum(not person for _, _, person in kept)
        self.num_judged_unknown = sum(not person for _, person in judged)
        if len(kept) < num_rows:
            raise InputError(
                f'config.data.extra_dirs={tuple(dirs)}: {len(kept)} films are left for the '
                f'{num_rows} of each batch, {self.num_left_out} are of validation and test or of '
                'their persons: give more films, or lower --config.data.extra_share'
            )

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict:
        """One record as ``data.example`` describes it."""
        split, place = self._places[index]
        return self._splits[split][place]

    def epoch_order(self, epoch: int) -> np.ndarray:
        """The order of a pass over these films, int [N], a function of seed and pass alone."""
        return np.random.default_rng((self._seed, epoch, _ORDER)).permutation(len(self))

    def columns(self, names: Sequence[str]) -> list[tuple]:
        """These fields of every film, without decoding pictures."""
        of_splits = [split.columns(names) for split in self._splits]
        return [of_splits[split][place] for split, place in self._places]

    def describe(self) -> list[str]:
        """What a run should say of them, as lines."""
        lines = [
            f'{len(self)} weakly labelled films fill {self.num_rows} rows of each batch; '
            f'{self.num_left_out} others are in validation or test, or of persons who are, and '
            'were left out'
        ]
        if self.num_unchecked or self.num_judged_unknown:
            lines.append(
                f'the persons of {self.num_unchecked} of them and of {self.num_judged_unknown} '
                'films of validation and test are not known: a person may be in both'
            )
        return lines


def make_extra_films(config) -> ExtraFilms | None:
    """The weakly labelled films of a run; None for a run without.

    Args:
        config: of the run; ``seed``, ``batch_size`` and ``data`` are read.

    Raises:
        InputError: as ``ExtraFilms``, or if a batch has no room for both kinds of films.
    """
    size = config.batch_size
    if not config.data.extra_dirs:
        return None
    if size < 2:
        raise InputError(
            f'config.batch_size={size} has no room for films of config.data.extra_dirs beside '
            'the training films: try --config.batch_size=2 or more'
        )
    return ExtraFilms(
        config.data.extra_dirs,
        data_dir=config.data.dir,
        num_rows=min(max(round(config.data.extra_share * size), 1), size - 1),
        seed=config.seed,
    )


def mixed_batches(
    split: FilmSplit,
    extra: ExtraFilms | None,
    *,
    epoch_order: Callable[[int], np.ndarray],
    batch_size: int,
    parts: int,
    steps: Iterable[int],
) -> Iterator[tuple[dict, list[str]]]:
    """As ``pipeline.train_batches``, with ``extra.num_rows`` weakly labelled rows in each batch.

    Both kinds of films run on from step to step in orders of their own. An epoch is one pass over
    the training films: it has ``len(split) / (batch_size - extra.num_rows)`` steps.

    Args:
        split: the training films.
        extra: the weakly labelled ones; None for plain ``train_batches``.
        epoch_order: of the training films.
        batch_size: films of both kinds in a batch.
        parts: that the step works a batch through in (``config.accumulation_steps``).
        steps: ascending.

    Raises:
        InputError: if a batch is larger than the split.
    """
    if extra is None:
        return train_batches(split, epoch_order=epoch_order, batch_size=batch_size, steps=steps)
    check_enough_films(split, batch_size)
    return prefetch(_mixed_batches(split, extra, epoch_order, batch_size, parts, steps))


def _mixed_batches(split, extra, epoch_order, batch_size, parts, steps):
    weak = weak_rows(batch_size, extra.num_rows, parts)
    strong = np.setdiff1d(np.arange(batch_size), weak)
    # Where each row's film stands in the list of training films, then weakly labelled ones.
    places = np.argsort(np.concatenate([strong, weak]))
    steps, again = itertools.tee(steps)
    for films, extra_films in zip(
        draw_films(split, epoch_order=epoch_order, per_step=len(strong), steps=steps),
        draw_films(extra, epoch_order=extra.epoch_order, per_step=len(weak), steps=again),
        strict=True,
    ):
        drawn = films + extra_films
        records = [drawn[place] for place in places]
        yield to_batch(records, batch_size, weak=weak), [record['patient_id'] for record in records]


def weak_rows(batch_size: int, num_rows: int, parts: int) -> np.ndarray:
    """The rows of a batch for weakly labelled films, spread over its parts and over all devices.

    Row i belongs to part i % parts, and a device has a block of neighbouring rows. However many
    devices there are (``parts`` times their number divides the batch), parts, devices, and the
    parts of each device differ by one such row at most; so the rows need not depend on the devices.

    Args:
        batch_size: B, a multiple of ``parts``.
        num_rows: n < B.
        parts: of ``config.accumulation_steps``.

    Returns:
        Int [n], ascending in blocks of ``parts`` rows.
    """
    j = np.arange(num_rows)
    blocks = batch_size // parts
    # Middles of n equal stretches over the blocks: equal stretches of them have equally many.
    return (2 * j + 1) * blocks // (2 * num_rows) * parts + j % parts


def _check_folders(dirs, data_dir):
    """Fingerprints of the folders' shards, which must fit the run's."""
    main = load_manifest(data_dir)
    manifests = {folder: load_manifest(folder) for folder in dirs}
    for folder, manifest in manifests.items():
        if (size := manifest['image_size']) != main['image_size']:
            raise InputError(
                f'the pictures of config.data.extra_dirs in {folder} are {size} px wide, those of '
                f'config.data.dir {main["image_size"]} px: convert them with '
                f'--image_size={main["image_size"]}'
            )
        if manifest['fingerprint'] == main['fingerprint']:
            raise InputError(
                f'{folder} of config.data.extra_dirs holds the same shards as config.data.dir: '
                'leave it out'
            )
    fingerprints = tuple(manifest['fingerprint'] for manifest in manifests.values())
    if len(set(fingerprints)) < len(dirs):
        raise InputError(
            f'config.data.extra_dirs={tuple(dirs)} has the same shards twice: give each folder once'
        )
    return fingerprints


def _splits(folder, names=SPLITS):
    """Those of these splits of a folder that have films."""
    counts = load_manifest(folder)['splits']
    return [FilmSplit(folder, name) for name in names if name in counts and counts[name]['films']]
