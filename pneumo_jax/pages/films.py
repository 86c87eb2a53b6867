"""Rows of films that were chosen by a rule, on a page and as one picture."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from xml.etree import ElementTree

from PIL import Image, ImageDraw, ImageFont

from pneumo_jax import overlay
from pneumo_jax.pages.parts import element, note
from pneumo_jax.pages.pictures import film_figure

__all__ = ['FilmRow', 'ShownFilm', 'film_row', 'film_sheet']

_GROUND = (24, 24, 24)


@dataclasses.dataclass(frozen=True)
class ShownFilm:
    """A film as it is shown.

    Attributes:
        picture: RGB, with its boxes.
        caption: in words; nothing tells whose film it is.
        film_id: where a reader may look the film up, '' else; on pages alone, never in a picture.
    """

    picture: Image.Image
    caption: str
    film_id: str = ''


@dataclasses.dataclass(frozen=True)
class FilmRow:
    """Films that were chosen by one rule.

    Attributes:
        name: in one word.
        title: for readers.
        rule: the sentence by which they were chosen.
        films: none where the rule finds none.
    """

    name: str
    title: str
    rule: str
    films: list[ShownFilm]


def film_row(row: FilmRow) -> ElementTree.Element:
    """A row on a page: its title, its rule, and its films with their captions."""
    rule = note(row.rule if row.films else f'{row.rule} There is none.')
    films = element(
        'div', *(film_figure(f.picture, f.caption, f.film_id) for f in row.films), class_='films'
    )
    return element('div', element('h3', row.title), rule, films, class_='film-row')


def film_sheet(rows: Sequence[FilmRow], *, columns: int) -> Image.Image:
    """Rows as one picture: a heading, and so many films in a line, for each row that has any."""
    side, heading = 300, 34
    font = ImageFont.load_default(17)
    strips = []
    for row in rows:
        if not row.films:
            continue
        pictures = [film.picture for film in row.films]
        captions = [film.caption for film in row.films]
        sheet = overlay.contact_sheet(pictures, captions, columns=columns, side=side)
        strip = Image.new('RGB', (sheet.width, sheet.height + heading), _GROUND)
        strip.paste(sheet, (0, heading))
        ImageDraw.Draw(strip).text((6, 8), row.title, font=font, fill=(255, 255, 255))
        strips.append(strip)
    tops = [0, *itertools.accumulate(strip.height for strip in strips)]
    whole = Image.new('RGB', (columns * side, max(tops[-1], 1)), _GROUND)
    for top, strip in zip(tops, strips, strict=False):
        whole.paste(strip, (0, top))
    return whole
