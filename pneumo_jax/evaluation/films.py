"""The table that all figures are made of: a row a film, what is known of it and what was answered.

It is kept as CSV, so that figures can be made again without the model, by us or by others.
"""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from pneumo_jax.boxes.known import boxes_known
from pneumo_jax.data.example import UNKNOWN_CLASS
from pneumo_jax.errors import InputError
from pneumo_jax.files import write_csv
from pneumo_jax.thresholds import Thresholds

__all__ = [
    'EXTENT_NAMES',
    'MASK_NAMES',
    'ScoredFilms',
    'concatenate',
    'number_persons',
    'read_films',
    'write_films',
]

# Of metrics.mask.mask_sums.
MASK_NAMES = ('mask_intersection', 'mask_union', 'mask_truth', 'mask_correct', 'mask_pixels')
# Of extent.Extent.
EXTENT_NAMES = ('film', 'lungs', 'right', 'left', 'zones')

_TEXTS = ('view_position', 'sex', 'label_domain')
_INTEGERS = ('age', 'class_id')
_COLUMNS = (
    'id',
    'person',
    *_TEXTS,
    *_INTEGERS,
    'film_height',
    'film_width',
    'label',
    'probability',
    'positive',
    'class_probabilities',
    'true_boxes',
    'boxes',
    'candidate_boxes',
    *(f'extent_{name}' for name in EXTENT_NAMES),
    *(f'true_extent_{name}' for name in EXTENT_NAMES),
    *MASK_NAMES,
)


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
    return _with_own(np.array([numbers.get(person, -1) for person in person_ids], np.int64)), known


def write_films(path: pathlib.Path, films: ScoredFilms, thresholds: Thresholds) -> None:
    """Writes the table.

    ``positive`` and ``boxes`` are for readers, at the thresholds; ``candidate_boxes`` are all.

    Args:
        path: of the file.
        films: the table.
        thresholds: what is called positive, and drawn.
    """
    write_csv(path, _COLUMNS, (_row(films, i, thresholds) for i in range(len(films))))


def read_films(path: str | pathlib.Path) -> ScoredFilms:
    """Reads what ``write_films`` wrote; all float32 numbers come back as they were.

    Raises:
        InputError: if the file is not there or no such table.
    """
    try:
        with pathlib.Path(path).open(encoding='utf-8', newline='') as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f'{path} cannot be read ({error}): run pneumo_jax.evaluate') from error
    if not rows or (missing := [name for name in _COLUMNS if name not in rows[0]]):
        what = f'has no column {missing[0]!r}' if rows else 'has no films'
        raise InputError(f'{path} {what}: run pneumo_jax.evaluate of this version anew')
    try:
        return _films(rows)
    except (ValueError, TypeError) as error:
        raise InputError(f'{path} is damaged ({error}): run pneumo_jax.evaluate anew') from error


def _row(films, i, thresholds):
    drawn, scores = thresholds.select(films.boxes[i], films.box_scores[i])
    classes = [] if films.class_probs is None else films.class_probs[i]
    extents = [
        _text(values[name][i])
        for values in (films.extent, films.true_extent)
        for name in EXTENT_NAMES
    ]
    return (
        films.ids[i],
        films.persons[i] if films.persons_known[i] else '',
        *(getattr(films, name)[i] for name in (*_TEXTS, *_INTEGERS)),
        *films.film_sizes[i],
        films.labels[i],
        _text(films.probs[i]),
        int(films.probs[i] >= thresholds.film),
        _texts(classes),
        _texts(films.truths[i]),
        ' '.join(
            f'{score:.4f} ' + ' '.join(f'{side:.1f}' for side in box)
            for score, box in zip(scores, drawn, strict=True)
        ),
        _texts(np.column_stack([films.box_scores[i], films.boxes[i]])),
        *extents,
        *(_text(films.mask_sums[name][i]) for name in MASK_NAMES),
    )


def _films(rows) -> ScoredFilms:
    persons = [row['person'] for row in rows]
    truths = [_floats(row['true_boxes'], 4) for row in rows]
    candidates = [_floats(row['candidate_boxes'], 5) for row in rows]
    classes = [_floats(row['class_probabilities'], 3) for row in rows]
    return ScoredFilms(
        ids=[row['id'] for row in rows],
        persons=_with_own(np.array([int(p) if p else -1 for p in persons], np.int64)),
        persons_known=np.array([p != '' for p in persons], bool),
        **{name: np.array([row[name] for row in rows], str) for name in _TEXTS},
        **{name: _integers(rows, name) for name in _INTEGERS},
        film_sizes=np.column_stack([_integers(rows, f'film_{s}') for s in ('height', 'width')]),
        labels=_integers(rows, 'label'),
        probs=_column(rows, 'probability'),
        class_probs=np.concatenate(classes) if all(map(len, classes)) else None,
        truths=truths,
        boxes=[rows[:, 1:] for rows in candidates],
        box_scores=[rows[:, 0] for rows in candidates],
        extent={name: _column(rows, f'extent_{name}') for name in EXTENT_NAMES},
        true_extent={name: _column(rows, f'true_extent_{name}') for name in EXTENT_NAMES},
        mask_sums={name: _column(rows, name) for name in MASK_NAMES},
    )


def _with_own(persons):
    """Numbers of persons in which each -1 is replaced by a number of its own."""
    unknown = persons < 0
    persons[unknown] = persons.max(initial=-1) + 1 + np.arange(unknown.sum())
    return persons


def _integers(rows, name):
    return np.array([int(row[name]) for row in rows], np.int64)


def _column(rows, name):
    texts = [row[name] for row in rows]
    return np.array([text or 'nan' for text in texts], np.float32).astype(np.float64)


def _floats(text, width):
    """The float32 numbers of a text in rows of ``width``, as float64."""
    return np.array(text.split(), np.float32).astype(np.float64).reshape(-1, width)


def _texts(values):
    return ' '.join(_text(value) for value in np.ravel(values))


def _text(value):
    """Nine digits, which tell every float32 from its neighbours; '' for NaN."""
    return '' if np.isnan(value) else f'{value:.9g}'
