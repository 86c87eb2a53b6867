"""Whether films of an evaluation, or their persons, were in what a model learned from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pneumo_jax.data.extra_films import make_extra_films
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.data.shards import load_manifest
from pneumo_jax.errors import InputError
from pneumo_jax.trained import TrainedModel

__all__ = ['Overlap', 'find_overlap']


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Films of an evaluation that a model may know.

    Attributes:
        films: those that it learned from.
        persons: those of whose person it learned from another film.
        unchecked: models whose training films are not at hand any more.
    """

    films: int
    persons: int
    unchecked: int


def find_overlap(members: Sequence[TrainedModel], split: FilmSplit) -> Overlap:
    """Compares the films of a split with those that each of the models learned from.

    Films are told by their ids, and persons by theirs where these are known.
    """
    films, persons = set(), set()
    unchecked = 0
    # Members of an ensemble often learned from the same films.
    read = {}
    for member in members:
        data = member.config.data
        key = data.dir, data.extra_dirs, member.data['fingerprint']
        if key not in read:
            read[key] = _training_films(member.config, member.data)
        if (learned := read[key]) is None:
            unchecked += 1
            continue
        films |= {film for film, _ in learned}
        persons |= {person for _, person in learned if person}
    evaluated = split.columns(['patient_id', 'person_id'])
    known = sum(film in films for film, _ in evaluated)
    return Overlap(
        films=known,
        persons=sum(person in persons and film not in films for film, person in evaluated),
        unchecked=unchecked,
    )


def _training_films(config, data):
    """(film, person) of each; None where the shards moved, or are others by now."""
    ids = ['patient_id', 'person_id']
    try:
        if load_manifest(config.data.dir)['fingerprint'] != data['fingerprint']:
            return None
        films = FilmSplit(config.data.dir, 'train').columns(ids)
        if (extra := make_extra_films(config)) is None:
            return films
        return films + extra.columns(ids) if list(extra.fingerprints) == data['extra'] else None
    except InputError:
        return None
