"""Films to look at: some of each class, those unlike the others, and equal ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from data_prep.exploration.duplicates import Duplicates
from data_prep.exploration.films import CLASS_TITLES, ExploredFilms, printable
from data_prep.exploration.grey import mean_greys, unusualness
from pneumo_jax import overlay
from pneumo_jax.data.geometry import film_to_image
from pneumo_jax.pages.films import FilmRow, ShownFilm

__all__ = ['SHEET_COLUMNS', 'Chosen', 'choose_films', 'film_rows']

SHEET_COLUMNS = 6
_OF_CLASS = 12
_OUTLIERS = 6
_EQUAL_GROUPS = 3
_SIDE = 320


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Films that are to be shown, by the rule that chose them.

    Attributes:
        name: of the row, in one word.
        title: for readers.
        rule: the sentence by which they were chosen.
        rows: indices of the films.
        remarks: on each, such as its mean grey value.
    """

    name: str
    title: str
    rule: str
    rows: list[int]
    remarks: list[str]


def choose_films(
    films: ExploredFilms, duplicates: Sequence[Duplicates], *, seed: int = 0
) -> list[Chosen]:
    """The films to show.

    Args:
        films: all of them; those with pixels can be shown.
        duplicates: of ``find_equal_films``.
        seed: of the films that are drawn by chance.
    """
    rows = films.rows_with_pixels
    if not len(rows):
        return []
    return [
        *_of_classes(films, np.random.default_rng(seed)),
        *_outliers(rows, films.pixels.histograms),
        *_equal(films, duplicates),
    ]


def film_rows(films: ExploredFilms, chosen: Iterable[Chosen]) -> list[FilmRow]:
    """The chosen films as pictures with their boxes in red; those that cannot be read are left out.

    The page tells the id of each film, which is the name of its file: without it nobody could look
    up what is odd about a film.
    """
    chosen = list(chosen)
    wanted = sorted({row for choice in chosen for row in choice.rows})
    pictures = dict(zip(wanted, films.picture(wanted, _SIDE), strict=True))
    made = []
    for choice in chosen:
        shown = [
            ShownFilm(
                _draw(films, row, pictures[row]),
                _caption(films, row, remark),
                printable(films.labels[row].patient_id),
            )
            for row, remark in zip(choice.rows, choice.remarks, strict=True)
            if pictures[row] is not None
        ]
        made.append(FilmRow(choice.name, choice.title, choice.rule, shown))
    return made


def _of_classes(films, rng):
    classes = films.classes[films.rows_with_pixels]
    for name, title in CLASS_TITLES.items():
        of_class = films.rows_with_pixels[classes == name]
        if not len(of_class):
            continue
        count = min(_OF_CLASS, len(of_class))
        rows = sorted(rng.choice(of_class, count, replace=False).tolist())
        rule = f'{count} of {len(of_class):,} films, drawn by chance.'
        yield Chosen(f'sheet_{name}', title.capitalize(), rule, rows, [''] * count)


def _outliers(rows, histograms):
    greys, distances = mean_greys(histograms), unusualness(histograms)
    for name, title, rule, order, values, what in (
        ('darkest', 'Darkest', 'The lowest mean grey values.', greys, greys, 'mean grey'),
        ('brightest', 'Brightest', 'The highest mean grey values.', -greys, greys, 'mean grey'),
        (
            'unusual',
            'Most unusual grey values',
            'The films whose grey values are farthest from the median of all films: by how many '
            'grey values a pixel would have to move on average.',
            -distances,
            distances,
            'distance',
        ),
    ):
        first = np.argsort(order, kind='stable')[:_OUTLIERS]
        remarks = [f'{what} {values[i]:.0f}' for i in first]
        yield Chosen(name, title, rule, rows[first].tolist(), remarks)


def _equal(films, duplicates):
    # What is in doubt first.
    ordered = sorted(
        duplicates, key=lambda d: (not d.conflicting, not d.several_splits, not d.several_persons)
    )
    for i, group in enumerate(ordered[:_EQUAL_GROUPS], 1):
        rows = list(group.rows[:SHEET_COLUMNS])
        rule = f'{len(group.rows)} films of the very same pixels'
        rule += ', with labels that contradict each other.' if group.conflicting else '.'
        yield Chosen(f'equal_{i}', f'Equal films {i}', rule, rows, [''] * len(rows))


def _draw(films, row, pixels):
    picture = Image.fromarray(pixels)
    boxes = np.asarray(films.labels[row].boxes)
    truth = film_to_image(boxes, films.sizes[row], len(pixels)) if len(boxes) else None
    return overlay.draw_film(np.asarray(picture), truth=truth)


def _caption(films, row, remark):
    label = films.labels[row]
    parts = [remark, CLASS_TITLES[str(films.classes[row])], label.view_position]
    if len(label.boxes):
        parts.append(f'{len(label.boxes)} box{"es" if len(label.boxes) > 1 else ""}')
    return ' · '.join(part for part in parts if part)
