"""The table that all figures are made of: what is known of each film, and what was answered."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from pneumo_jax.boxes.known import boxes_known
from pneumo_jax.data.example import UNKNOWN_CLASS

__all__ = ['EXTENT_NAMES', 'MASK_NAMES', 'ScoredFilms', 'concatenate', 'number_persons', 'with_own']

# Of metrics.mask.mask_sums.
MASK_NAMES = ('mask_intersection', 'mask_union', 'mask_truth', 'mask_correct', 'mask_pixels')
# Of extent.Extent.
EXTENT_NAMES = ('film', 'lungs', 'right', 'left', 'zones')


@dataclasses.dataclass(frozen=True)
class ScoredFilms:
    """N films, what is known of each, and what was answered.

    Attributes:
        ids: of the films.
        persons: int64 [N], numbers without a meaning; a film of an unknown person has its own.
        persons_known: bool [N].
        view_position: str [N], ``AP``, ``PA`` or ''.
        sex: str [N], ``M``, ``F`` or ''.
        label_domain: str [N], as in ``data.example``.
        age: int64 [N] in years, -1 unknown.
        class_id: int64 [N], -1 unknown.
        film_sizes: int64 [N,2], height and width in pixels.
        labels: int64 [N], 1 for a lung opacity, else 0.
        probs: float64 [N], probability of a lung opacity.
        class_probs: float64 [N,3] of the three classes; None for a model without such a head.
        truths: true boxes float64 [m,4] (x, y, width, height) in film pixels, film by film.
        boxes: predicted boxes float64 [n,4] in film pixels, before any threshold of confidence.
        box_scores: their confidences float64 [n], descending.
        extent: float64 [N] each, the predicted ``extent.Extent`` by field; NaN unknown.
        true_extent: the same of the true boxes, NaN where boxes are not known.
        mask_sums: float64 [N] each, of ``metrics.mask.mask_sums``.
    """

    ids: list[str]
    persons: np.ndarray
    persons_known: np.ndarray
    view_position: np.ndarray
    sex: np.ndarray
    label_domain: np.ndarray
    age: np.ndarray
    class_id: np.ndarray
    film_sizes: np.ndarray
    labels: np.ndarray
    probs: np.ndarray
    class_probs: np.ndarray | None
    truths: list[np.ndarray]
    boxes: list[np.ndarray]
    box_scores: list[np.ndarray]
    extent: dict[str, np.ndarray]
    true_extent: dict[str, np.ndarray]
    mask_sums: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def boxes_known(self) -> np.ndarray:
        """Bool [N]; False for a film with an opacity on which nobody drew a box."""
        return boxes_known(self.labels, np.array([len(truth) for truth in self.truths], int))

    @property
    def class_known(self) -> np.ndarray:
        """Bool [N]; False for a film of which no table of classes was given."""
        return self.class_id != UNKNOWN_CLASS

    def select(self, chosen: np.ndarray) -> ScoredFilms:
        """The films of a mask bool [N], or of indices int [n]."""
        index = np.arange(len(self))[chosen]

        def take(value):
            if value is None:
                return None
            if isinstance(value, dict):
                return {name: column[index] for name, column in value.items()}
            return [value[i] for i in index] if isinstance(value, list) else value[index]

        fields = dataclasses.fields(self)
        return ScoredFilms(**{field.name: take(getattr(self, field.name)) for field in fields})


def concatenate(tables: Sequence[ScoredFilms]) -> ScoredFilms:
    """The films of several tables; their persons are taken for different ones."""
    if len(tables) == 1:
        return tables[0]
    starts = np.cumsum([0, *(table.persons.max() + 1 for table in tables)])
    tables = [
        dataclasses.replace(table, persons=table.persons + start)
        for table, start in zip(tables, starts, strict=False)
    ]

    def join(values):
        if isinstance(values[0], list):
            return [item for value in values for item in value]
        if isinstance(values[0], dict):
            return {name: np.concatenate([v[name] for v in values]) for name in values[0]}
        return None if any(v is None for v in values) else np.concatenate(values)

    fields = dataclasses.fields(ScoredFilms)
    return ScoredFilms(**{f.name: join([getattr(t, f.name) for t in tables]) for f in fields})


def number_persons(person_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Persons as numbers, since their ids are nobody's business in a table of results.

    Args:
        person_ids: of each film, '' unknown.

    Returns:
        ``persons`` and ``persons_known`` of ``ScoredFilms``.
    """
    known = np.array([person != '' for person in person_ids], bool)
    numbers = {person: i for i, person in enumerate(sorted(set(person_ids) - {''}))}
    return with_own(np.array([numbers.get(person, -1) for person in person_ids], np.int64)), known


def with_own(persons: np.ndarray) -> np.ndarray:
    """Numbers of persons int64 [N] in which each -1 is replaced by a number of its own."""
    unknown = persons < 0
    persons[unknown] = persons.max(initial=-1) + 1 + np.arange(unknown.sum())
    return persons
