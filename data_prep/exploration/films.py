"""The films that are explored, as columns: what tables, headers and pixels tell of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from data_prep.audit import class_name
from data_prep.labels import FilmLabel, Rejection
from pneumo_jax.data.example import UNKNOWN_CLASS

__all__ = [
    'CLASS_TITLES',
    'UNLABELLED',
    'ExploredFilms',
    'PixelFacts',
    'printable',
    'unlabelled_film',
]

UNLABELLED = 'unlabelled'
# Of the classes as readers know them, in the order of all charts.
CLASS_TITLES = {
    'normal': 'normal',
    'no_lung_opacity_not_normal': 'not normal, no opacity',
    'unknown': 'no opacity, normal or not',
    'lung_opacity': 'lung opacity',
    UNLABELLED: 'no label',
}
_LONGEST_NAME = 40


@dataclasses.dataclass(frozen=True)
class PixelFacts:
    """What is kept of the pixels of n films, in the order of ``ExploredFilms.rows_with_pixels``.

    Attributes:
        histograms: uint32 [n,256], pixels of each grey value, black margins left out.
        thumbnails: uint8 [n,T,T], standard pictures.
        digests: of all pixels; films of equal pixels have equal ones.
    """

    histograms: np.ndarray
    thumbnails: np.ndarray
    digests: list[str]


@dataclasses.dataclass(frozen=True)
class ExploredFilms:
    """N films.

    Attributes:
        labels: of each film; of one without a label only id, person, view, sex and age mean
            something.
        labelled: bool [N].
        splits: of each film, '' none.
        sizes: int64 [N,2], height and width in pixels; 0 unknown.
        sizes_assumed: whether the sizes were not read but are those that all films of the
            challenge have.
        spacings: float64 [N], mm between pixels; NaN unknown.
        manufacturers: of the machines, '' unknown.
        rows_with_pixels: int64 [n], the films whose pixels were read.
        pixels: what is kept of them.
        picture: gives the standard pictures uint8 [S,S] of some films, by their indices and S;
            a film that cannot be read again is None.
        rejected: films that cannot be used, and why.
        missing: how many labelled films have no file, None where there are no files at all.
        protocol: how the splits were made, a sentence; '' without splits.
        origin: where all this is from, a sentence.
    """

    labels: list[FilmLabel]
    labelled: np.ndarray
    splits: list[str]
    sizes: np.ndarray
    sizes_assumed: bool
    spacings: np.ndarray
    manufacturers: list[str]
    rows_with_pixels: np.ndarray
    pixels: PixelFacts
    picture: Callable[[Sequence[int], int], list[np.ndarray | None]]
    rejected: list[Rejection]
    missing: int | None
    protocol: str
    origin: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> np.ndarray:
        """Str [N], keys of ``CLASS_TITLES``."""
        named = [class_name(label.class_id) for label in self.labels]
        return np.where(self.labelled, np.array(named, str), UNLABELLED)

    @property
    def class_known(self) -> bool:
        """Whether of any film without an opacity it is known if it is normal."""
        return any(0 <= label.class_id < 2 for label in self.labels)

    @property
    def positive(self) -> np.ndarray:
        """Bool [N]; False for a film without a label."""
        return np.array([label.label == 1 for label in self.labels], bool) & self.labelled

    @property
    def persons(self) -> np.ndarray:
        """Int64 [N], a number for each person; a film of an unknown person has its own."""
        numbers: dict = {}
        keys = [label.person_id or (label.patient_id,) for label in self.labels]
        return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)

    def column(self, name: str) -> np.ndarray:
        """A field of the labels, [N]."""
        return np.array([getattr(label, name) for label in self.labels])

    def select(self, chosen: np.ndarray) -> list[FilmLabel]:
        """The labels of a mask bool [N]."""
        return [label for label, wanted in zip(self.labels, chosen, strict=True) if wanted]


def printable(text: str) -> str:
    """A text of somebody else's file for a picture: without what no font has, and not too long."""
    clean = ''.join(char if char.isprintable() else '\N{REPLACEMENT CHARACTER}' for char in text)
    return clean if len(clean) <= _LONGEST_NAME else f'{clean[: _LONGEST_NAME - 1]}…'


def unlabelled_film(film_id: str, person) -> FilmLabel:
    """A film of which no table tells a label.

    Args:
        film_id: of the film.
        person: ``persons.Person``.
    """
    return FilmLabel(
        patient_id=film_id,
        label=0,
        class_id=UNKNOWN_CLASS,
        boxes=np.zeros((0, 4), np.float32),
        label_domain='unknown',
        **vars(person),
    )
