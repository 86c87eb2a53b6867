"""Which film goes to training, validation and test, and what the manifest says of it.

As a rule all films of a person go to one split: a model that meets a person again may remember the
person instead of finding the opacity. Published protocols do otherwise, and their manifests say so.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence

from data_prep.labels import SPLIT_NAMES, FilmLabel
from data_prep.split_protocols import (
    Division,
    draw_as_published,
    follow_lists,
    hold_out_multi_read,
    share_into_folds,
    share_into_splits,
)
from data_prep.tables import LabelError, read_table
from pneumo_jax.data.shards import SPLITS
from pneumo_jax.errors import InputError

__all__ = [
    'DEFAULT_FRACTIONS',
    'PROTOCOLS',
    'SplitAssignment',
    'assign_splits',
    'check_protocol',
    'id_hash',
    'read_split_csv',
]

PROTOCOLS = ('auto', 'person', 'image', 'p1', 'p2', 'given', 'kfold:K:I', 'person_multi_read')
DEFAULT_FRACTIONS = (0.7, 0.15, 0.15)

# These leave nothing to choose.
_FIXED = ('p1', 'p2', 'given')

_ID_COLUMNS = ('id', 'patientId', 'patient_id', 'image_id', 'film')

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SplitAssignment:
    """The split of every film.

    Attributes:
        splits: id of a film -> ``train``, ``validation`` or ``test``.
        protocol: for the manifest. Always there: name, sentence, id_hash (``id_hash``), id_hashes
            (split -> SHA-256 of its sorted ids, one a line), films_left_out. Where it applies:
            fractions, seed, k, fold, list_source, ids_without_film (in the lists),
            single_read_films (split -> those that came along with their persons),
            same_pixels_in_two_splits (groups); and where persons are known,
            persons_in_two_splits, and share_with_person_in_train (of the validation and test
            films, those whose person has films in train).
        left_out: sorted ids of the films that no list names.
    """

    splits: dict[str, str]
    protocol: dict
    left_out: tuple[str, ...]


def assign_splits(
    films: Iterable[FilmLabel],
    *,
    protocol: str = 'auto',
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    seed: int = 0,
    split_lists: Mapping[str, str] | None = None,
    same_pixels: Sequence[Sequence[str]] = (),
) -> SplitAssignment:
    """Divides films by a protocol; the answer does not depend on the order of the films.

    The protocols:
        ``auto``: ``given`` if there are lists or all films have a split of their own, else
        ``person`` if a person is known, else ``image``.
        ``person``: the films of a person stay together; stratified by class and view. A film
        without a person, where others have one, counts as a person of its own.
        ``image``: film by film; stratified.
        ``p1``: GLoRIA's random 70/15/15 of the films (``draw_as_published``), or ``split_lists``.
        ``p2``: the official lists of 25,184, 1,500 and 3,000 films, as ``split_lists``.
        ``given``: ``split_lists``, else the films' own splits.
        ``kfold:K:I``: as ``person`` (``image`` where no person is known), in K equal folds; fold I
        is test, the next one validation.
        ``person_multi_read``: as ``person``, but all persons with a film of several readers, and
        no others, are in validation and test.

    Args:
        films: each once.
        protocol: one of the above.
        fractions: of train, validation and test; a split of fraction 0 is left out.
        seed: for another division of equal quality.
        split_lists: id -> split, as of ``read_split_csv``.
        same_pixels: ids of films with the very same pixels. They stay together with all that
            belongs to them; under lists and p1 they are counted instead.

    Raises:
        InputError: if the protocol is unknown or lacks what it needs, if an option does not go with
            it, if the fractions are not three shares of 1, or if a split gets no film.
    """
    films = sorted(films, key=lambda film: film.patient_id)
    name, folds = _parse(protocol)
    if name == 'auto':
        name = _automatic(films, split_lists)
    _check_options(name, fractions, seed, split_lists)
    match name:
        case 'person' | 'image':
            division = share_into_splits(
                films,
                by_person=name == 'person',
                fractions=fractions,
                seed=seed,
                same_pixels=same_pixels,
            )
        case 'kfold':
            num_folds, test_fold = folds
            division = share_into_folds(
                films, num_folds=num_folds, test_fold=test_fold, seed=seed, same_pixels=same_pixels
            )
        case 'person_multi_read':
            division = hold_out_multi_read(
                films, fractions=fractions, seed=seed, same_pixels=same_pixels
            )
        case 'p1' if split_lists is None:
            division = draw_as_published(films)
        case _:
            division = follow_lists(films, name, split_lists)
    left_out = tuple(film.patient_id for film in films if film.patient_id not in division.splits)
    return SplitAssignment(division.splits, _describe(name, division, films, same_pixels), left_out)


def check_protocol(
    protocol: str,
    *,
    fractions: Sequence[float],
    seed: int,
    split_lists: Mapping[str, str] | None,
) -> None:
    """Refuses at once what ``assign_splits`` would refuse after hours of conversion.

    Raises:
        InputError: if the protocol is unknown, or an option does not go with it.
    """
    name, _ = _parse(protocol)
    if name == 'auto':
        name = 'person' if split_lists is None else 'given'
    _check_options(name, fractions, seed, split_lists)


def id_hash(splits: dict[str, str]) -> str:
    """SHA-256 over the sorted lines ``id split``: two equal hashes mean the same division."""
    return _sha256_of_lines(f'{patient_id} {split}' for patient_id, split in splits.items())


def read_split_csv(path) -> dict[str, str]:
    """Split of each id in a table.

    Args:
        path: CSV with the columns id (or patientId, patient_id, image_id, film) and split; others
            may be there too. Splits are those of ``labels.SPLIT_NAMES``; a film without one is in
            none.

    Raises:
        LabelError: if the table lacks a column, or a row has no id, another split, or another
            split than an earlier row of the same id.
    """
    rows = read_table(path, ('split',))
    column = next((name for name in _ID_COLUMNS if name in rows[0].cells), None)
    if column is None:
        raise LabelError(
            f'{path} lacks a column of ids ({" or ".join(_ID_COLUMNS)}); it has '
            f'{", ".join(rows[0].cells)}'
        )
    splits = {}
    for row in rows:
        if not row['split']:
            continue
        patient_id, split = row[column], SPLIT_NAMES.get(row['split'].casefold())
        if not patient_id:
            raise LabelError(f'{path}, row {row.number}: {column} is empty: correct the row')
        if split is None:
            raise LabelError(
                f'{path}, row {row.number}: split is {row["split"]!r}, none of '
                f'{", ".join(SPLIT_NAMES)}'
            )
        if splits.setdefault(patient_id, split) != split:
            raise LabelError(
                f'{path}, row {row.number}: {patient_id} is in {split}, in an earlier row in '
                f'{splits[patient_id]}: keep one'
            )
    return splits


def _parse(protocol):
    """(name, (number of folds, test fold)); the second is None but for kfold."""
    name, _, numbers = protocol.partition(':')
    if name == 'kfold':
        match = re.fullmatch(r'([0-9]{1,6}):([0-9]{1,6})', numbers)
        num_folds, test_fold = map(int, match.groups()) if match else (0, 0)
        if num_folds < 3 or test_fold >= num_folds:
            raise InputError(
                f'--split={protocol} is not of the form kfold:K:I, with K folds, 3 or more, and I '
                'the test fold, from 0 to K - 1: for instance kfold:5:0'
            )
        return name, (num_folds, test_fold)
    if protocol not in PROTOCOLS:
        raise InputError(f'--split={protocol} is none of {", ".join(PROTOCOLS)}')
    return name, None


def _automatic(films, split_lists):
    with_split = sum(bool(film.split) for film in films)
    if split_lists is not None or (films and with_split == len(films)):
        return 'given'
    if with_split:
        log.warning(
            '%d of %d films have a split in the table of labels, the others none, so that the '
            'films are shared out anew; --split=given takes the %d films alone',
            with_split,
            len(films),
            with_split,
        )
    return 'person' if any(film.person_id for film in films) else 'image'


def _check_options(name, fractions, seed, split_lists):
    default = tuple(fractions) == DEFAULT_FRACTIONS
    if name in _FIXED:
        if not default or seed != 0:
            raise InputError(
                f'--split={name} is a fixed division: leave out --split_fractions and '
                '--split_seed, or choose --split=person'
            )
        return
    if split_lists is not None:
        raise InputError(
            f'--split={name} divides the films anew: leave out --split_csv, or choose --split=given'
        )
    if name == 'kfold' and not default:
        raise InputError('--split=kfold makes equal folds: leave out --split_fractions')
    # So written, NaN is refused too.
    if not (
        len(fractions) == len(SPLITS) and min(fractions) >= 0 and abs(sum(fractions) - 1) <= 1e-6
    ):
        raise InputError(
            f'split fractions {list(fractions)} must be three numbers from 0 on with sum 1, of '
            f'{", ".join(SPLITS)}'
        )


def _describe(name, division: Division, films, same_pixels):
    """The protocol for the manifest; warns of persons in two splits."""
    splits = division.splits
    clauses = list(division.clauses)
    details = dict(division.details)
    leaks = _person_leaks(films, splits)
    if len(set(splits.values())) == 1:
        clauses = [f'undivided: all films are {next(iter(splits.values()))}']
    elif division.level != 'person':
        clauses.append(_leak_clause(leaks))
        _warn_of_leaks(leaks, division.level)
    if groups := _known_groups(splits, same_pixels):
        if name in _FIXED:
            apart = sum(len(set(group)) > 1 for group in groups)
            details['same_pixels_in_two_splits'] = apart
            clauses.append(f'{apart} groups of films with the very same pixels are in two splits')
        else:
            clauses.append(f'films with the very same pixels stay together ({len(groups)} groups)')
    members = {split: [id_ for id_ in splits if splits[id_] == split] for split in SPLITS}
    return {
        'name': name,
        'sentence': '; '.join(clauses),
        **details,
        'id_hash': id_hash(splits),
        'id_hashes': {split: _sha256_of_lines(ids) for split, ids in members.items() if ids},
        'films_left_out': len(films) - len(splits),
        **leaks,
    }


def _person_leaks(films, splits):
    """The protocol's counts of persons in several splits; empty where no person is known."""
    places = collections.defaultdict(set)
    held_out = []
    for film in films:
        split = splits.get(film.patient_id)
        if split and film.person_id:
            places[film.person_id].add(split)
        if split in ('validation', 'test'):
            held_out.append(film.person_id)
    if not places:
        return {}
    leaks = {'persons_in_two_splits': sum(len(found) > 1 for found in places.values())}
    if held_out:
        leaked = sum('train' in places.get(person, ()) for person in held_out)
        leaks['share_with_person_in_train'] = leaked / len(held_out)
    return leaks


def _leak_clause(leaks):
    if not leaks:
        return (
            'persons are not known, so the same person may be in train and test, and the figures '
            'may flatter'
        )
    if not leaks['persons_in_two_splits']:
        return 'no known person has films in two splits'
    return (
        f'{leaks["persons_in_two_splits"]} known persons have films in two splits, and '
        f'{leaks.get("share_with_person_in_train", 0):.1%} of the validation and test films show '
        'a person of the training films, so the figures may flatter'
    )


def _warn_of_leaks(leaks, level):
    remedy = (
        '--split=person keeps persons apart' if leaks else 'Give --person_csv or --person_pattern'
    )
    if level == 'image':
        log.warning('WARNING: IMAGE-LEVEL SPLIT: %s. %s', _leak_clause(leaks), remedy)
    elif leaks.get('persons_in_two_splits'):
        log.warning('WARNING: %s. %s', _leak_clause(leaks), remedy)


def _known_groups(splits, same_pixels):
    """The splits of each group of same pixels that has two films or more in any split."""
    groups = [[splits[id_] for id_ in ids if id_ in splits] for ids in same_pixels]
    return [group for group in groups if len(group) > 1]


def _sha256_of_lines(lines):
    content = ''.join(f'{line}\n' for line in sorted(lines))
    return hashlib.sha256(content.encode('utf-8')).hexdigest()
