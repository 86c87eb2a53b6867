"""A Matplotlib picture as an element of a page: sharp at every size, in the page's own colours."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from pneumo_jax.pages.style import COLOURS, drawing

__all__ = ['inline_svg']

_SVG = '{http://www.w3.org/2000/svg}'
_LINK = '{http://www.w3.org/1999/xlink}href'

# What the page's style decides, or nobody reads.
_DROPPED = ('metadata', 'style')
_FONT = re.compile(r'font: (?:(bold|\d+) )?([\d.]+)px [^;]*')


def inline_svg(figure: Figure, name: str) -> ElementTree.Element:
    """The picture as an SVG element that refers to nothing outside the page.

    Its colours are the variables of the page's style, so it turns dark with it; its texts are
    texts in the page's font. A screen reader hears ``figure.get_label()``.

    Args:
        figure: drawn in ``pages.style``.
        name: unique in the page; the ids inside begin with it.
    """
    file = io.StringIO()
    with drawing():
        figure.savefig(file, format='svg', metadata={'Date': None}, transparent=True)
    root = ElementTree.fromstring(file.getvalue())
    picture = _plain(root, name)
    view = root.get('viewBox')
    picture.attrib = {
        'viewBox': view,
        'class': 'picture',
        'role': 'img',
        'aria-label': figure.get_label(),
        # The width at which a text has its nominal size.
        'style': f'--width: {float(view.split()[2]):.0f}px',
    }
    return picture


def _plain(node, name):
    """A copy without name spaces, with ids and colours of the page."""
    attributes = {}
    for key, value in node.attrib.items():
        if key == _LINK or key.startswith('{'):
            key = key.rpartition('}')[2]
        if key == 'id' and node.tag == f'{_SVG}g':
            continue
        attributes[key] = _text_of_page(key, value, name)
    copy = ElementTree.Element(node.tag.rpartition('}')[2], attributes)
    copy.text = node.text
    for child in node:
        if isinstance(child.tag, str) and child.tag.rpartition('}')[2] not in _DROPPED:
            copied = _plain(child, name)
            copied.tail = child.tail
            copy.append(copied)
    return copy


def _text_of_page(key, value, name):
    if key == 'id':
        return f'{name}-{value}'
    if key == 'href' and value.startswith('#'):
        return f'#{name}-{value[1:]}'
    value = value.replace('url(#', f'url(#{name}-')
    for variable, colour in COLOURS.items():
        value = value.replace(colour, f'var(--{variable})')
    return _FONT.sub(lambda m: f'font-size: {m[2]}px; font-weight: {m[1] or 400}', value)
