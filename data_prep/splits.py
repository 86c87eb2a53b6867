"""Which film goes to training, validation and test.

All films of a person go to one split: a model that meets a person again may remember the person
instead of finding the opacity. Within that, classes and views are shared out evenly.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import logging
from collections.abc import Iterable, Sequence

import numpy as np

from data_prep.labels import FilmLabel
from pneumo_jax.data.tfrecord import SPLITS
from pneumo_jax.errors import InputError

__all__ = ['SplitAssignment', 'assign_splits', 'id_hash']

_SENTENCES = {
    'person': 'person-grouped split: no person has films in two splits; '
    'stratified by class and view',
    'image': 'image-level split: a person may have films in several splits, so the figures may '
    'flatter; stratified by class and view',
}

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SplitAssignment:
    """The split of every film.

    Attributes:
        splits: id of a film -> ``train``, ``validation`` or ``test``.
        protocol: for the manifest: name, sentence, fractions, seed, id_hash.
    """

    splits: dict[str, str]
    protocol: dict


def assign_splits(
    films: Iterable[FilmLabel],
    *,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
) -> SplitAssignment:
    """Shares films out, by person where persons are known, else film by film.

    A film without a person, where others have one, counts as a person of its own. The answer
    depends on the films, the fractions and the seed, not on the order of the films.

    Args:
        films: each once.
        fractions: of train, validation and test; a split of fraction 0 is left out.
        seed: for another division of equal quality.

    Raises:
        InputError: if the fractions are not three shares of 1, or a split that was asked for gets
            no film.
    """
    films = list(films)
    if len(fractions) != len(SPLITS) or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(
            f'split fractions {list(fractions)} must be three numbers from 0 on with sum 1, of '
            f'{", ".join(SPLITS)}'
        )
    without_person = sum(not film.person_id for film in films)
    name = 'image' if without_person == len(films) else 'person'
    groups = collections.defaultdict(list)
    for film in films:
        groups[_group_key(film)].append(film)
    shares = {split: share for split, share in zip(SPLITS, fractions, strict=True) if share}
    splits = _share_out(groups, shares, seed)
    _refuse_empty(splits, shares, len(films), len(groups))

    sentence = _SENTENCES[name]
    if name == 'image':
        log.warning(
            'WARNING: IMAGE-LEVEL SPLIT. Persons are not known, so the same person may be in '
            'train and test, and figures may flatter. Give --person_csv.'
        )
    elif without_person:
        sentence += f'; {without_person} films without a known person count as a person each'
        log.warning(
            '%d of %d films have no known person; each counts as a person of its own',
            without_person,
            len(films),
        )
    protocol = {
        'name': name,
        'sentence': sentence,
        'fractions': list(fractions),
        'seed': seed,
        'id_hash': id_hash(splits),
    }
    return SplitAssignment(splits, protocol)


def id_hash(splits: dict[str, str]) -> str:
    """SHA-256 over the sorted lines ``id split``: two equal hashes mean the same division."""
    lines = (f'{patient_id} {split}\n' for patient_id, split in sorted(splits.items()))
    return hashlib.sha256(''.join(lines).encode('utf-8')).hexdigest()


def _group_key(film):
    return ('person', film.person_id) if film.person_id else ('film', film.patient_id)


def _share_out(groups, shares, seed):
    """Greedy: the largest groups first, each to the split that is brought nearest to its share.

    The distance is the sum over splits and strata of (count - wanted)^2 / wanted, with one more
    stratum of all films, so that the sizes come right as well.
    """
    strata = {
        key: i for i, key in enumerate(sorted({_stratum(f) for g in groups.values() for f in g}))
    }
    content = {key: _counts(group, strata) for key, group in groups.items()}
    order = sorted(groups, key=lambda key: (-len(groups[key]), _shuffle_key(seed, key)))
    wanted = np.outer(list(shares.values()), sum(content.values()))
    names = list(shares)
    counts = np.zeros_like(wanted)
    splits = {}
    for key in order:
        added = content[key]
        # How the distance grows in each split: ((c + a - w)^2 - (c - w)^2) / w.
        growth = (added * (2 * (counts - wanted) + added) / wanted).sum(axis=1)
        chosen = int(growth.argmin())
        counts[chosen] += added
        splits.update((film.patient_id, names[chosen]) for film in groups[key])
    return splits


def _stratum(film):
    return film.class_id, film.label, film.view_position


def _counts(group, strata):
    """Films of a group in each stratum, and in all."""
    counts = np.zeros(len(strata) + 1)
    for film in group:
        counts[strata[_stratum(film)]] += 1
    counts[-1] = len(group)
    return counts


def _shuffle_key(seed, key):
    return hashlib.sha256(f'{seed} {key[0]} {key[1]}'.encode()).digest()


def _refuse_empty(splits, shares, num_films, num_groups):
    counts = collections.Counter(splits.values())
    if empty := [split for split in shares if not counts[split]]:
        raise InputError(
            f'no films are left for {" and ".join(empty)}: {num_films} films of {num_groups} '
            'persons are too few; give more films, or other --split_fractions'
        )
