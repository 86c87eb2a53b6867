"""The table of scored films as CSV, so that figures can be made again without the model."""

from __future__ import annotations

import csv
import pathlib

import numpy as np

from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.chosen import Chosen
from pneumo_jax.evaluation.conclusions import CONCLUSIONS, conclusions
from pneumo_jax.evaluation.films import EXTENT_NAMES, MASK_NAMES, ScoredFilms, with_own
from pneumo_jax.files import write_csv
from pneumo_jax.thresholds import Thresholds

__all__ = ['read_films', 'write_films']

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
    *CONCLUSIONS,
)


def write_films(
    path: pathlib.Path,
    films: ScoredFilms,
    thresholds: Thresholds,
    chosen: Chosen | None = None,
) -> None:
    """Writes the table.

    ``positive`` and ``boxes`` are at the thresholds; they and the ``CONCLUSIONS`` are for readers.
    ``candidate_boxes`` are all.

    Args:
        path: of the file.
        films: the table.
        thresholds: what is called positive, and drawn.
        chosen: on validation; without it what rests on it stays empty.
    """
    write_csv(path, _COLUMNS, (_row(films, i, thresholds, chosen) for i in range(len(films))))


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


def _row(films, i, thresholds, chosen):
    drawn, scores = thresholds.select(films.boxes[i], films.box_scores[i])
    classes = [] if films.class_probs is None else films.class_probs[i]
    extents = [
        _text(values[name][i])
        for values in (films.extent, films.true_extent)
        for name in EXTENT_NAMES
    ]
    positive = bool(films.probs[i] >= thresholds.film)
    extent = {name: films.extent[name][i] for name in EXTENT_NAMES}
    return (
        films.ids[i],
        films.persons[i] if films.persons_known[i] else '',
        *(getattr(films, name)[i] for name in (*_TEXTS, *_INTEGERS)),
        *films.film_sizes[i],
        films.labels[i],
        _text(films.probs[i]),
        int(positive),
        _texts(classes),
        _texts(films.truths[i]),
        ' '.join(
            f'{score:.4f} ' + ' '.join(f'{side:.1f}' for side in box)
            for score, box in zip(scores, drawn, strict=True)
        ),
        _texts(np.column_stack([films.box_scores[i], films.boxes[i]])),
        *extents,
        *(_text(films.mask_sums[name][i]) for name in MASK_NAMES),
        *conclusions(films.probs[i], positive, extent['lungs'], extent['zones'], chosen),
    )


def _films(rows) -> ScoredFilms:
    persons = [row['person'] for row in rows]
    truths = [_floats(row['true_boxes'], 4) for row in rows]
    candidates = [_floats(row['candidate_boxes'], 5) for row in rows]
    classes = [_floats(row['class_probabilities'], 3) for row in rows]
    return ScoredFilms(
        ids=[row['id'] for row in rows],
        persons=with_own(np.array([int(p) if p else -1 for p in persons], np.int64)),
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
