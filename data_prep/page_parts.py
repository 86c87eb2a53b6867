"""The parts of a page that needs no other file: elements, tables, bars, a flow, and their looks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from xml.etree import ElementTree

__all__ = [
    'Node',
    'bars',
    'element',
    'flow',
    'number',
    'page',
    'percent',
    'range_bars',
    'stacked_bars',
    'table',
]

# The parts of a stacked bar, in the colours of the style; the last is for what is unknown.
_PART_CLASSES = ('part-1', 'part-2', 'part-3', 'rest')

# Of the picture of a flow, in its own units: from stage to stage, a stage's width, the height of
# all films, and what the two lines of a stage's text need.
_STEP = 250
_WIDTH = 10
_WHOLE = 220
_SLOT = 46

_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f6f7f9; --card: #fff; --ink: #1d2733; --soft: #5b6776; --line: #e2e7ec;
  --main: #3f6fa3; --rest: #9aa5b1; --stream: #3f6fa32b; --loss: #9aa5b13d;
  --part-1: #84b8b2; --part-2: #6f8fb8; --part-3: #c97b4a; --notice: #fff8ea; --edge: #e0b364;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181e; --card: #1c222a; --ink: #e3e8ee; --soft: #9ba7b5; --line: #303945;
    --main: #6f9fd2; --rest: #74808d; --stream: #6f9fd238; --loss: #74808d40;
    --part-1: #5f9c98; --part-2: #6486b3; --part-3: #d58b5c; --notice: #2a2519; --edge: #7d6333;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink); font-variant-numeric: tabular-nums;
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif;
}
main, footer { max-width: 1000px; margin: 0 auto; padding: 0 20px; }
h1 { font-size: 28px; font-weight: 600; margin: 36px 0 12px; }
h2 { font-size: 19px; font-weight: 600; margin: 0 0 14px; }
h3 { font-size: 14px; font-weight: 600; margin: 0 0 10px; }
p { margin: 12px 0 0; }
.soft, footer { color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
.sentence {
  font-size: 17px; margin: 0 0 20px; padding-left: 14px; border-left: 3px solid var(--main);
}
section {
  margin: 0 0 20px; padding: 20px 22px; border: 1px solid var(--line); border-radius: 10px;
  background: var(--card);
}
.notice { background: var(--notice); border-color: var(--edge); }
.notice ul { margin: 0; padding-left: 20px; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(135px, 1fr)); gap: 12px;
  margin: 0 0 20px;
}
.tiles div {
  padding: 12px 16px; border: 1px solid var(--line); border-radius: 10px; background: var(--card);
}
.tiles b { display: block; font-size: 25px; font-weight: 600; line-height: 1.3; }
.tiles span { color: var(--soft); font-size: 13px; }
.charts { columns: 2 340px; column-gap: 40px; }
.chart {
  display: grid; grid-template-columns: fit-content(45%) 1fr auto; gap: 5px 12px;
  align-items: center; margin: 0 0 24px; font-size: 13px; line-height: 1.35; break-inside: avoid;
}
.chart h3, .chart .legend { grid-column: 1 / -1; margin: 0 0 4px; }
.chart .name { overflow-wrap: anywhere; }
.chart .remark { text-align: right; color: var(--soft); }
.track {
  display: flex; height: 9px; border-radius: 3px; overflow: hidden; background: var(--line);
}
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; color: var(--soft); }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; }
i.main { background: var(--main); }
i.part-1 { background: var(--part-1); }
i.part-2 { background: var(--part-2); }
i.part-3 { background: var(--part-3); }
i.rest { background: var(--rest); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; }
th, td { padding: 6px 16px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; white-space: nowrap; }
.text { overflow-wrap: anywhere; min-width: 90px; }
.listing td:first-child { white-space: nowrap; }
.charts + .scroll { margin-top: 14px; }
.flow { display: block; width: 100%; height: auto; }
.flow text { fill: var(--ink); font-size: 14px; }
.flow text.soft { fill: var(--soft); font-size: 13px; }
.flow .main { fill: var(--main); }
.flow .lost { fill: var(--rest); }
.flow .stream { fill: var(--stream); }
.flow .loss { fill: var(--loss); }
.stages { display: none; margin: 0; padding: 0; list-style: none; }
.stages ul { padding-left: 14px; border-left: 2px solid var(--line); list-style: none; }
summary { cursor: pointer; color: var(--main); font-size: 14px; }
details { margin: 10px 0 0; }
footer { padding-bottom: 40px; }
@media (max-width: 640px) {
  main, footer { padding: 0 12px; }
  section { padding: 16px 14px; }
  .flow { display: none; }
  .stages { display: block; }
  .listing thead { display: none; }
  .listing td { display: block; padding: 0; border: 0; }
  .listing td:first-child { padding-top: 8px; font-weight: 600; }
  .listing td:last-child { padding-bottom: 8px; border-bottom: 1px solid var(--line); }
}
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc; --notice: #fff; }
  body { font-size: 12px; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, h3 { break-after: avoid; }
  tr, .tiles, .flow, .notice { break-inside: avoid; }
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


def page(title: str, content: Iterable[ElementTree.Element], *, footer: str) -> str:
    """A whole page, light or dark as the reader's system is, for screen and paper."""
    head = element(
        'head',
        element('meta', charset='utf-8'),
        element('meta', name='viewport', content='width=device-width, initial-scale=1'),
        element('title', title),
        element('style', _STYLE),
    )
    main = element('main', element('h1', title), *content)
    root = element('html', head, element('body', main, element('footer', footer)), lang='en')
    text = ElementTree.tostring(root, encoding='unicode', method='html')
    # The name of a file may be no valid text.
    text = text.encode('utf-8', 'backslashreplace').decode('utf-8')
    return f'<!DOCTYPE html>\n{text}\n'


def element(tag: str, *content: ElementTree.Element | str, **attributes) -> ElementTree.Element:
    """An element; its texts are escaped when the page is written.

    Args:
        tag: its name.
        content: elements and texts, in order.
        attributes: ``class_`` is class, ``aria_label`` is aria-label.
    """
    made = ElementTree.Element(
        tag, {name.rstrip('_').replace('_', '-'): str(value) for name, value in attributes.items()}
    )
    for item in content:
        if not isinstance(item, str):
            made.append(item)
        elif len(made):
            made[-1].tail = (made[-1].tail or '') + item
        else:
            made.text = (made.text or '') + item
    return made


def number(value: float) -> str:
    """A number with its thousands apart: ``1,234``."""
    return f'{value:,.0f}'


def percent(share: float | None) -> str:
    """A share in percent; a dash where it is undefined."""
    if share is None:
        return '-'
    return '< 0.1 %' if 0 < share < 0.0005 else f'{100 * share:.1f} %'


def table(
    header: Sequence[str], rows: Sequence[Sequence[str | int | float]]
) -> ElementTree.Element:
    """A table of at least one row. Numbers stand on the right; those that are float are shares."""
    classes = ['text' if isinstance(cell, str) else 'number' for cell in rows[0]]
    head = [element('th', name, class_=kind) for name, kind in zip(header, classes, strict=True)]
    body = []
    for row in rows:
        cells = zip(map(_cell_text, row), classes, strict=True)
        body.append(element('tr', *(element('td', text, class_=kind) for text, kind in cells)))
    parts = element('thead', element('tr', *head)), element('tbody', *body)
    return element('div', element('table', *parts), class_='scroll')


def bars(title: str, counts: Mapping[str, int], total: int | None = None) -> ElementTree.Element:
    """A bar for each count, the largest of full length.

    Args:
        title: of the chart.
        counts: name -> count.
        total: what the shares beside the bars are of; without it the sum of the counts.
    """
    largest, total = max(counts.values(), default=0) or 1, total or sum(counts.values()) or 1
    return _chart(
        title,
        (
            _bar(name, f'{number(count)} · {percent(count / total)}', {'main': count / largest})
            for name, count in counts.items()
        ),
    )


def stacked_bars(
    title: str, parts: Sequence[str], rows: Iterable[tuple[str, str, Sequence[int]]]
) -> ElementTree.Element:
    """A bar of full length for each row, divided into its parts.

    Args:
        title: of the chart.
        parts: names of up to four parts, the fourth one for what is unknown.
        rows: name, remark, and the count of each part.
    """
    legend = [
        element('span', element('i', class_=kind), f' {part}')
        for kind, part in zip(_PART_CLASSES, parts, strict=False)
    ]
    drawn = (
        _bar(
            name,
            remark,
            {k: n / sum(counts) for k, n in zip(_PART_CLASSES, counts, strict=False)},
        )
        for name, remark, counts in rows
    )
    return _chart(title, [*drawn, [element('div', *legend, class_='legend')]])


def range_bars(
    title: str, ranges: Mapping[str, tuple[str, Sequence[float]]]
) -> ElementTree.Element:
    """A bar from the first to the third quartile of each row, with the median where colours meet.

    Args:
        title: of the chart.
        ranges: name -> (remark, quartiles as shares of the axis).
    """
    return _chart(
        title,
        (
            _bar(name, remark, {'gap': low, 'part-2': middle - low, 'part-1': high - middle})
            for name, (remark, (low, middle, high)) in ranges.items()
        ),
    )


def flow(root: Node) -> list[ElementTree.Element]:
    """Where films go, as a picture from left to right, and for narrow screens as a list."""
    return [_flow_picture(root), element('ul', _flow_list(root), class_='stages')]


def _cell_text(cell):
    if isinstance(cell, str):
        return cell
    return percent(cell) if isinstance(cell, float) else number(cell)


def _chart(title, rows):
    cells = [cell for row in rows for cell in row]
    return element('div', element('h3', title), *cells, class_='chart')


def _bar(name, remark, shares):
    """The cells of a chart's row: name, ``shares`` of the axis by class, remark."""
    pieces = [
        element('i', class_=kind, style=f'width:{100 * share:.2f}%')
        for kind, share in shares.items()
    ]
    return (
        element('span', name, class_='name'),
        element('div', *pieces, class_='track'),
        element('span', remark, class_='remark'),
    )


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
