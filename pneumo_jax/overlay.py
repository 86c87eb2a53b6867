"""Boxes drawn on films: truth in red, prediction in blue. No patient data is ever drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ['PREDICTION_COLOUR', 'TRUTH_COLOUR', 'contact_sheet', 'draw_film']

TRUTH_COLOUR = (230, 57, 53)
PREDICTION_COLOUR = (66, 133, 244)


def draw_film(
    pixels: np.ndarray,
    *,
    truth: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
    scores: np.ndarray | None = None,
    max_side: int = 1024,
) -> Image.Image:
    """An RGB picture of a film with its boxes.

    Args:
        pixels: uint8 [H,W], the film.
        truth: float [n,4], true boxes (x, y, width, height) in film pixels.
        boxes: float [k,4], predicted boxes in film pixels.
        scores: float [k], confidences written at the predicted boxes.
        max_side: a larger film is drawn smaller, to this longer side.
    """
    picture = Image.fromarray(pixels, 'L')
    zoom = min(1.0, max_side / max(picture.size))
    if zoom < 1:
        size = [max(1, round(side * zoom)) for side in picture.size]
        picture = picture.resize(size, Image.Resampling.BOX)
    picture = picture.convert('RGB')
    draw = ImageDraw.Draw(picture)
    for box in _rows(truth):
        _rectangle(draw, box * zoom, TRUTH_COLOUR, picture.size)
    for i, box in enumerate(_rows(boxes)):
        label = None if scores is None else f'{scores[i]:.2f}'
        _rectangle(draw, box * zoom, PREDICTION_COLOUR, picture.size, label)
    return picture


def contact_sheet(
    pictures: Sequence[Image.Image], captions: Sequence[str], *, columns: int, side: int = 256
) -> Image.Image:
    """Pictures in rows, each shrunk into a square of ``side`` pixels with its caption below."""
    font = ImageFont.load_default(max(10, side // 18))
    line = max(14, side // 12)
    rows = -(-len(pictures) // columns)
    sheet = Image.new('RGB', (columns * side, rows * (side + line)), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = i % columns * side, i // columns * (side + line)
        small = picture.copy()
        small.thumbnail((side - 4, side - 4), Image.Resampling.BOX)
        sheet.paste(small, (x + (side - small.width) // 2, y + (side - small.height) // 2))
        draw.text((x + 4, y + side), caption, font=font, fill=(220, 220, 220))
    return sheet


def _rows(boxes):
    return () if boxes is None else np.asarray(boxes)


def _rectangle(draw, box, colour, size, label=None):
    x, y, w, h = box
    width = max(1, round(max(size) / 200))
    corners = [x, y, min(x + w, size[0] - 1), min(y + h, size[1] - 1)]
    draw.rectangle(corners, outline=colour, width=width)
    if label is not None:
        # Large enough to be read on a contact sheet; legible on dark and bright films.
        font = ImageFont.load_default(max(10, round(max(size) / 28)))
        _, _, right, bottom = font.getbbox(label)
        # Inside the picture, however near to its border the box begins.
        x = max(0, min(x, size[0] - right - 3 * width))
        y = max(0, min(y, size[1] - bottom - 2 * width))
        draw.rectangle((x, y, x + right + 3 * width, y + bottom + 2 * width), fill=colour)
        draw.text((x + 2 * width, y + width), label, font=font, fill=(255, 255, 255))
