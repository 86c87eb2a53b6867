"""Where films go, as a picture that grows narrow stage by stage."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

from pneumo_jax.pages.parts import element, number

__all__ = ['FLOW_STYLE', 'Node', 'flow']

# Of the picture of a flow, in its own units: from stage to stage, a stage's width, the height of
# all films, and what the two lines of a stage's text need.
_STEP = 250
_WIDTH = 10
_WHOLE = 220
_SLOT = 46

FLOW_STYLE = """
.flow { display: block; width: 100%; height: auto; }
.flow text { fill: var(--ink); font-size: 14px; }
.flow text.soft { fill: var(--soft); font-size: 13px; }
.flow .main { fill: var(--main); }
.flow .lost { fill: var(--rest); }
.flow .stream { fill: var(--main); fill-opacity: 0.17; }
.flow .loss { fill: var(--rest); fill-opacity: 0.24; }
.stages { display: none; margin: 0; padding: 0; list-style: none; }
.stages ul { padding-left: 14px; border-left: 2px solid var(--line); list-style: none; }
@media (max-width: 640px) {
  .flow { display: none; }
  .stages { display: block; }
}
@media print {
  .flow { break-inside: avoid; }
}
"""


@dataclasses.dataclass(frozen=True)
class Node:
    """So many films at a stage of a flow, and where they go.

    Attributes:
        name: of the stage.
        films: their number.
        lost: whether their way ends here, short of the goal.
        to: the next stages; one without films is not shown.
    """

    name: str
    films: int
    lost: bool = False
    to: tuple[Node, ...] = ()


def flow(root: Node) -> list[ElementTree.Element]:
    """Where films go, as a picture from left to right, and for narrow screens as a list."""
    return [_flow_picture(root), element('ul', _flow_list(root), class_='stages')]


def _flow_list(node):
    following = [_flow_list(child) for child in node.to if child.films]
    nested = [element('ul', *following)] if following else []
    return element('li', element('b', number(node.films)), f' {node.name}', *nested)


def _flow_picture(root):
    """Heights are in proportion to films; nothing is thinner than a hair."""
    scale = _WHOLE / max(root.films, 1)
    ends: dict[int, float] = {}
    shapes = []

    def place(node, stage, above):
        """Draws a node below ``above`` and below its stage's last, and all that follows from it."""
        x, top = stage * _STEP, max(above, ends.get(stage, 0))
        height = max(node.films * scale, 2)
        ends[stage] = top + max(height + 10, _SLOT)
        start = top
        for child in node.to:
            if child.films:
                end = place(child, stage + 1, top)
                stream = _stream(x + _WIDTH, start, x + _STEP, end, child.films * scale)
                shapes.append(element('path', d=stream, class_='loss' if child.lost else 'stream'))
                start += child.films * scale
        text_x, kind = x + _WIDTH + 8, 'lost' if node.lost else 'main'
        size = {'width': _WIDTH, 'height': f'{height:.1f}'}
        shapes.append(element('rect', x=x, y=f'{top:.1f}', class_=kind, **size))
        shapes.append(element('text', node.name, x=text_x, y=f'{top + 14:.1f}'))
        films = number(node.films)
        shapes.append(element('text', films, x=text_x, y=f'{top + 31:.1f}', class_='soft'))
        return top

    place(root, 0, 0)
    box = f'0 0 {max(ends) * _STEP + 130} {max(ends.values()):.0f}'
    attributes = {'viewBox': box, 'role': 'img', 'class': 'flow', 'aria_label': 'Flow of films'}
    return element('svg', *shapes, **attributes)


def _stream(x0, y0, x1, y1, height):
    """Outline of a band that leaves and arrives level."""
    middle, height = (x0 + x1) / 2, max(height, 1)
    return (
        f'M{x0} {y0:.1f}C{middle} {y0:.1f} {middle} {y1:.1f} {x1} {y1:.1f}v{height:.1f}'
        f'C{middle} {y1 + height:.1f} {middle} {y0 + height:.1f} {x0} {y0 + height:.1f}z'
    )
