"""Pictures on a page and in files: drawn ones as SVG, films as JPEG inside the page."""

from __future__ import annotations

import base64
import io
import pathlib
from collections.abc import Iterable, Mapping
from xml.etree import ElementTree

from matplotlib.figure import Figure
from PIL import Image

from pneumo_jax.pages.inline_svg import inline_svg
from pneumo_jax.pages.parts import element
from pneumo_jax.pages.style import drawing

__all__ = ['PICTURES_STYLE', 'film_figure', 'picture_row', 'reading', 'save_pictures']

# Of the JPEG of a film: boxes' thin lines must not smear.
_QUALITY = 85

PICTURES_STYLE = """
.pictures { display: flex; flex-wrap: wrap; gap: 18px 28px; margin: 18px 0; }
.pictures > div { flex: 1 1 300px; max-width: 100%; min-width: 0; overflow-x: auto; }
.picture { display: block; width: 100%; max-width: calc(1.35 * var(--width)); height: auto; }
.picture * { stroke-linejoin: round; }
.picture text { white-space: pre; }
.wide .picture { min-width: 620px; }
.films {
  display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; margin: 10px 0 22px;
}
.films figure { margin: 0; break-inside: avoid; }
.films img { display: block; width: 100%; height: auto; border-radius: 4px; }
.films figcaption { margin-top: 4px; color: var(--soft); font-size: 12px; line-height: 1.35; }
.key i { display: inline-block; width: 11px; height: 11px; border: 2px solid; margin: 0 3px 0 8px; }
i.truth { border-color: #e63935; }
i.prediction { border-color: #4285f4; }
.reading { margin: 0 0 12px; max-width: 75ch; }
.text { overflow-wrap: break-word; }
#notice { margin: 0 0 16px; }
.tiles { grid-template-columns: repeat(4, 1fr); }
.tiles + p { margin: -6px 0 20px; }
h3 { margin-top: 20px; }
section > .scroll { margin-top: 12px; }
@media (max-width: 640px) {
  .films, .tiles { grid-template-columns: repeat(2, 1fr); }
  table, th { font-size: 13px; }
  th, td { padding-right: 8px; }
  .text { min-width: 76px; }
}
@page { size: A4; margin: 14mm; }
@media print {
  body { font-size: 11px; }
  .soft, footer, th { font-size: 10px; }
  th, td { padding: 4px 8px 4px 0; }
  .text { min-width: 0; }
  main, footer { max-width: none; padding: 0; }
  section { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: 14px 0 0; }
  section.notice { border: 1px solid var(--edge); padding: 10px 14px; }
  table { font-size: 10.5px; }
  .pictures { gap: 10px; }
  .pictures { margin: 8px 0; }
  .pictures > div { flex: 1 1 240px; break-inside: avoid; overflow: visible; }
  .picture { max-width: 8.2cm; margin: 0 auto; }
  .wide .picture { max-width: 100%; }
  .reading { break-after: avoid; break-inside: avoid; }
  .key { break-after: avoid; break-inside: avoid; }
  .film-row { break-inside: avoid; }
  footer { padding-bottom: 0; }
  .wide .picture { min-width: 0; }
  .films { gap: 8px; margin-bottom: 10px; }
  .films figcaption { font-size: 9px; }
  .tiles { grid-template-columns: repeat(4, 1fr); gap: 8px; }
  .tiles div { padding: 8px 10px; }
  .tiles b { font-size: 18px; }
  .tiles span { font-size: 10px; }
  .reading, .sentence { max-width: none; }
  .sentence { font-size: 13px; }
}
"""


def picture_row(
    pictures: Mapping[str, Figure],
    names: Iterable[str],
    *beside: ElementTree.Element,
    wide: bool = False,
) -> list[ElementTree.Element]:
    """Pictures side by side, those of them that there are.

    Args:
        pictures: of ``pictures.draw_pictures``.
        names: of the wanted ones.
        beside: what stands on the right of them, where there is room.
        wide: whether a narrow screen scrolls them rather than shrinking them.
    """
    items = [element('div', inline_svg(pictures[n], n)) for n in names if n in pictures]
    if beside:
        items.append(element('div', *beside))
    return [element('div', *items, class_='pictures wide' if wide else 'pictures')] if items else []


def reading(text: str) -> ElementTree.Element:
    """How a section is to be read."""
    return element('p', text, class_='reading')


def film_figure(picture: Image.Image, caption: str, film_id: str = '') -> ElementTree.Element:
    """A film inside the page, with its caption below.

    Args:
        picture: grey or RGB.
        caption: of the film; also what a screen reader says.
        film_id: told below it, '' not.
    """
    file = io.BytesIO()
    picture.save(file, 'JPEG', quality=_QUALITY, subsampling=0)
    data = base64.b64encode(file.getvalue()).decode('ascii')
    image = element(
        'img', src=f'data:image/jpeg;base64,{data}', alt=f'Chest film: {caption}',
        width=picture.width, height=picture.height,
    )  # fmt: skip
    told = [element('br'), film_id] if film_id else []
    return element('figure', image, element('figcaption', caption, *told))


def save_pictures(pictures: Mapping[str, Figure], folder: pathlib.Path) -> None:
    """Writes each picture as ``<name>.png``; the folder must be there."""
    with drawing():
        for name, figure in pictures.items():
            figure.savefig(folder / f'{name}.png')
