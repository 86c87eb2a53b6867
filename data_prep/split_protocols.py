"""The protocols: how each divides the films, and what it says of that.

Those that share out keep groups of films together and bring every split near to its share; the
others draw as a paper did, or follow lists.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np

from data_prep.labels import FilmLabel
from pneumo_jax.data.shards import SPLITS
from pneumo_jax.errors import InputError

__all__ = [
    'Division',
    'draw_as_published',
    'follow_lists',
    'hold_out_multi_read',
    'share_into_folds',
    'share_into_splits',
]

_PUBLISHED_FILMS = 26_684
_P1 = 'published protocol P1 (GLoRIA, Huang et al., ICCV 2021), an image-level split'
_P2_LISTS = 'official lists of 25,184 train, 1,500 validation and 3,000 test films'

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Division:
    """Films as a protocol divides them.

    Attributes:
        splits: id of a film -> ``train``, ``validation`` or ``test``.
        details: what the manifest tells of this protocol alone.
        clauses: of the sentence that reports cite.
        level: ``person`` if the films of a person stay together, ``image`` if films are divided one
            by one, ``list`` if lists decide.
    """

    splits: dict[str, str]
    details: dict
    clauses: tuple[str, ...]
    level: str


def share_into_splits(
    films: Sequence[FilmLabel],
    *,
    by_person: bool,
    fractions: Sequence[float],
    seed: int,
    same_pixels: Sequence[Sequence[str]],
) -> Division:
    """Protocols ``person`` and ``image``.

    Raises:
        InputError: if a split gets no film, or no person is known where they are to be kept apart.
    """
    if by_person:
        _require_persons(films, 'person')
    groups = _group_films(films, by_person, same_pixels)
    return Division(
        splits=_share_out(groups, _shares(fractions), seed),
        details={'fractions': list(fractions), 'seed': seed},
        clauses=_grouping_clauses(films, by_person),
        level='person' if by_person else 'image',
    )


def share_into_folds(
    films: Sequence[FilmLabel],
    *,
    num_folds: int,
    test_fold: int,
    seed: int,
    same_pixels: Sequence[Sequence[str]],
) -> Division:
    """Protocol ``kfold``: equal folds that do not depend on the one that is test.

    Raises:
        InputError: if a fold gets no film.
    """
    by_person = any(film.person_id for film in films)
    names = [f'fold {i}' for i in range(num_folds)]
    validation_fold = (test_fold + 1) % num_folds
    folds = _share_out(
        _group_films(films, by_person, same_pixels), dict.fromkeys(names, 1 / num_folds), seed
    )
    roles = {names[test_fold]: 'test', names[validation_fold]: 'validation'}
    clause = (
        f'{num_folds} folds, counted from 0: fold {test_fold} is test, fold {validation_fold} '
        'validation, the others train'
    )
    return Division(
        splits={patient_id: roles.get(fold, 'train') for patient_id, fold in folds.items()},
        details={'k': num_folds, 'fold': test_fold, 'seed': seed},
        clauses=(clause, *_grouping_clauses(films, by_person)),
        level='person' if by_person else 'image',
    )


def hold_out_multi_read(
    films: Sequence[FilmLabel],
    *,
    fractions: Sequence[float],
    seed: int,
    same_pixels: Sequence[Sequence[str]],
) -> Division:
    """Protocol ``person_multi_read``: whom several readers read is validation or test.

    Raises:
        InputError: if no person or no film of several readers is known, or a split gets no film.
    """
    _require_persons(films, 'person_multi_read')
    shares = _shares(fractions)
    held_out_shares = {split: share for split, share in shares.items() if split != 'train'}
    if 'train' not in shares or not held_out_shares:
        raise InputError(
            '--split=person_multi_read needs --split_fractions above 0 for train, and for '
            'validation or test'
        )
    groups = _group_films(films, True, same_pixels)
    held_out = {
        key: group
        for key, group in groups.items()
        if any(film.label_domain == 'multi_read' for film in group)
    }
    if not held_out:
        raise InputError(
            '--split=person_multi_read needs films of several readers, which are known only where '
            f'the stage-2 table of labels is complete, with {_PUBLISHED_FILMS} ids'
        )
    total = sum(held_out_shares.values())
    splits = dict.fromkeys((film.patient_id for film in films), 'train') | _share_out(
        held_out, {split: share / total for split, share in held_out_shares.items()}, seed
    )
    _refuse_empty(splits, ['train'], len(groups))
    counts = collections.Counter(
        splits[film.patient_id] for film in films if film.label_domain == 'single_read'
    )
    single_read = {split: counts[split] for split in held_out_shares}
    clause = (
        'validation and test hold all persons with a film of several readers, '
        f'{sum(single_read.values())} films of theirs by a single reader among them; train holds '
        'the others'
    )
    return Division(
        splits=splits,
        details={'fractions': list(fractions), 'seed': seed, 'single_read_films': single_read},
        clauses=(*_grouping_clauses(films, True), clause),
        level='person',
    )


def draw_as_published(films: Sequence[FilmLabel]) -> Division:
    """Protocol ``p1``: the random 70/15/15 division of GLoRIA over the sorted ids.

    It is that of scikit-learn's ``train_test_split(ids, test_size=0.3, random_state=0)`` and then
    ``train_test_split(rest, test_size=0.5, random_state=0)``, whose first part is the test set and
    whose second is the validation set.

    Raises:
        InputError: if there are too few films for three splits.
    """
    train, rest = _train_test_split(sorted(film.patient_id for film in films), 0.3)
    test, validation = _train_test_split(rest, 0.5)
    members = {'train': train, 'validation': validation, 'test': test}
    splits = {patient_id: split for split, ids in members.items() for patient_id in ids}
    _refuse_empty(splits, SPLITS, len(films))
    clauses = [f'{_P1}, random 70/15/15, not stratified']
    if len(films) != _PUBLISHED_FILMS:
        clauses.append(
            f'drawn from {len(films)} films where the published one is of {_PUBLISHED_FILMS}, so '
            'that its splits hold other films'
        )
        log.warning('--split=p1 is %s; --split_csv takes the published lists', clauses[-1])
    details = {'fractions': [0.7, 0.15, 0.15], 'seed': 0}
    return Division(splits, details, tuple(clauses), level='image')


def follow_lists(
    films: Sequence[FilmLabel], name: str, split_lists: Mapping[str, str] | None
) -> Division:
    """Protocols ``p1`` by lists, ``p2`` and ``given``; films in no list are left out.

    Args:
        films: each once.
        name: of the protocol.
        split_lists: id -> split; None for the films' own splits.

    Raises:
        InputError: if no film is in a list, or ``p2`` has no lists.
    """
    if split_lists is not None:
        listed, source = split_lists, '--split_csv'
        ids = {film.patient_id for film in films}
        details = {'list_source': 'split_csv', 'ids_without_film': len(listed.keys() - ids)}
    elif name == 'p2':
        raise InputError(
            f'--split=p2 needs the {_P2_LISTS} as --split_csv (the labels of the test films are '
            'not in the Kaggle download)'
        )
    else:
        listed, source = {film.patient_id: film.split for film in films if film.split}, 'the labels'
        details = {'list_source': 'labels'}
    splits = {
        film.patient_id: listed[film.patient_id] for film in films if film.patient_id in listed
    }
    if not splits:
        raise InputError(
            f'--split={name}: none of the {len(films)} films has a split in {source}: give '
            '--split_csv with the ids of these films, or choose --split=person'
        )
    clauses = [_list_clause(name, source, splits)]
    if left_out := len(films) - len(splits):
        log.warning(
            '%d of %d films are left out: they have no split in %s', left_out, len(films), source
        )
        clauses.append(f'{left_out} films without a split are left out')
    return Division(splits, details, tuple(clauses), level='image' if name == 'p1' else 'list')


def _require_persons(films, name):
    if not any(film.person_id for film in films):
        raise InputError(
            f'--split={name} keeps the films of a person together, and no person is known: give '
            '--person_csv or --person_pattern, or choose --split=image'
        )


def _shares(fractions):
    return {split: share for split, share in zip(SPLITS, fractions, strict=True) if share}


def _grouping_clauses(films, by_person):
    if not by_person:
        return ('image-level split', 'stratified by class and view')
    clauses = (
        'person-grouped split: no person has films in two splits',
        'stratified by class and view',
    )
    without_person = sum(not film.person_id for film in films)
    if not without_person:
        return clauses
    log.warning(
        '%d of %d films have no known person; each counts as a person of its own',
        without_person,
        len(films),
    )
    return (*clauses, f'{without_person} films without a known person count as a person each')


def _list_clause(name, source, splits):
    if name == 'p1':
        return f'{_P1}, by the lists of {source}'
    if name == 'p2':
        counts = collections.Counter(splits.values())
        here = ', '.join(f'{counts[split]} {split}' for split in SPLITS)
        return f'published protocol P2, the {_P2_LISTS}, as {source} gives them; here: {here}'
    return f'split as given by {source}'


def _group_films(films, by_person, same_pixels):
    """Films that stay together, under a key that does not depend on their order.

    A film without a person is a group of its own, unless it has the pixels of another.
    """
    keys = {
        film.patient_id: ('person', film.person_id)
        if by_person and film.person_id
        else ('film', film.patient_id)
        for film in films
    }
    # Union-find; the smallest of the keys that are merged stands for all.
    parents = {}

    def root(key):
        while key in parents:
            key = parents[key]
        return key

    for ids in same_pixels:
        roots = sorted({root(keys[id_]) for id_ in ids if id_ in keys})
        parents.update((other, roots[0]) for other in roots[1:])
    groups = collections.defaultdict(list)
    for film in films:
        groups[root(keys[film.patient_id])].append(film)
    return groups


def _share_out(groups, shares, seed):
    """Greedy: the largest groups first, each to the part that is brought nearest to its share.

    The distance is the sum over parts and strata of (count - wanted)^2 / wanted, with one more
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
    parts = {}
    for key in order:
        added = content[key]
        # How the distance grows in each part: ((c + a - w)^2 - (c - w)^2) / w.
        growth = (added * (2 * (counts - wanted) + added) / wanted).sum(axis=1)
        chosen = int(growth.argmin())
        counts[chosen] += added
        parts.update((film.patient_id, names[chosen]) for film in groups[key])
    _refuse_empty(parts, shares, len(groups))
    return parts


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


def _train_test_split(ids, test_size):
    """(train, test) of scikit-learn with ``random_state=0``."""
    permutation = np.random.RandomState(0).permutation(len(ids))
    num_test = math.ceil(test_size * len(ids))
    return [ids[i] for i in permutation[num_test:]], [ids[i] for i in permutation[:num_test]]


def _refuse_empty(parts, wanted, num_groups):
    filled = set(parts.values())
    if empty := [part for part in wanted if part not in filled]:
        raise InputError(
            f'no films are left for {" and ".join(empty)}: {len(parts)} films in {num_groups} '
            'groups that stay together are too few; give more films, or another --split or '
            '--split_fractions'
        )
