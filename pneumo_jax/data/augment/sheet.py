"""A contact sheet: films of a split, each with a few of the views that training would see."""

from __future__ import annotations

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pneumo_jax import overlay
from pneumo_jax.data.augment import augment, blend, mixup_pairs
from pneumo_jax.data.geometry import film_to_image
from pneumo_jax.data.pipeline import FilmSplit, to_batch

__all__ = ['draw_sheet']

_ROWS = 6
_VIEWS = 5
_SIDE = 256


def draw_sheet(split: FilmSplit, config, *, seed: int) -> Image.Image:
    """A row for each of a few films, those with boxes first: the film as it is, then its views.

    The films of a column are a batch, and are changed and mixed as training would do it. Boxes are
    red; a mixed view has the boxes of both its films, and its caption tells the film's own share.
    Nothing tells whose films they are.

    Args:
        split: where the films come from.
        config: section ``augment`` of a run's config.
        seed: of the films and their views.
    """
    films = to_batch(*_choose(split, seed))
    images = films['image'].astype(np.float32) / 255
    boxes = film_to_image(films['boxes'], films['film_size'], images.shape[1])
    view = jax.jit(lambda key: _view(key, images, boxes, config))
    columns = [_pictures(images, boxes, films['num_boxes'])]
    captions = [[f'film {row + 1}, as it is' for row in range(len(images))]]
    for number, key in enumerate(jax.random.split(jax.random.key(seed), _VIEWS), 1):
        seen, moved, partner, share = jax.tree.map(np.asarray, view(key))
        columns.append(_pictures(seen, moved, films['num_boxes'], partner))
        captions.append([_caption(number, s, config) for s in share])
    sheet = overlay.contact_sheet(
        [picture for row in zip(*columns, strict=True) for picture in row],
        [caption for row in zip(*captions, strict=True) for caption in row],
        columns=1 + _VIEWS,
        side=_SIDE,
    )
    return _with_header(sheet, f'{split.name} films; {_strengths(config)}')


def _choose(split, seed):
    """Records of films in an order of chance, those with boxes first, and their number."""
    num_boxes = np.array([n for (n,) in split.columns(['num_boxes'])])
    order = np.random.default_rng(seed).permutation(len(split))
    order = order[np.argsort(num_boxes[order] == 0, kind='stable')]
    records = [split[i] for i in order[:_ROWS]]
    return records, len(records)


def _view(key, images, boxes, config):
    view_key, mix_key = jax.random.split(key)
    images, boxes = augment(view_key, images, boxes, config)
    count = len(images)
    if not config.mixup:
        return images, boxes, np.arange(count), np.ones(count, np.float32)
    partner, share = mixup_pairs(mix_key, count, config.mixup)
    return blend(images, partner, share), boxes, partner, share


def _pictures(images, boxes, num_boxes, partner=None):
    pictures = []
    for i, image in enumerate(images):
        films = {i} if partner is None else {i, int(partner[i])}
        truth = np.concatenate([boxes[film, : num_boxes[film]] for film in sorted(films)])
        # Enlarged before the boxes are drawn, whose lines would else be as coarse as the pixels.
        zoom = max(1, _SIDE // len(image))
        pixels = np.rint(image[:, :, 0] * 255).astype(np.uint8)
        pixels = pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)
        pictures.append(overlay.draw_film(pixels, truth=_within(truth * zoom, len(pixels))))
    return pictures


def _within(boxes, size):
    """The parts of boxes that are on the picture."""
    corners = np.clip(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1), 0, size)
    sides = corners[:, 2:] - corners[:, :2]
    # A box that left the picture has lost a side; one of less than a pixel cannot be drawn.
    return np.concatenate([corners[:, :2], sides], axis=1)[(sides >= 1).all(axis=1)]


def _caption(number, share, config):
    return f'view {number}, {share:.0%} of it' if config.mixup else f'view {number}'


def _strengths(config):
    on = {name: value for name, value in config.items() if value}
    given = [name if value is True else f'{name} {value:g}' for name, value in on.items()]
    off = [name for name in config if name not in on]
    return f'{", ".join(given) or "no change"} (off: {", ".join(off) or "nothing"})'


def _with_header(sheet, text):
    font = ImageFont.load_default(18)
    height = 36
    page = Image.new('RGB', (sheet.width, sheet.height + height), (24, 24, 24))
    page.paste(sheet, (0, height))
    ImageDraw.Draw(page).text((8, 8), text, font=font, fill=(255, 255, 255))
    return page
