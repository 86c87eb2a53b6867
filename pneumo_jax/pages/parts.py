"""The parts of a page that needs no other file: elements, tables, bars, and their looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from xml.etree import ElementTree

__all__ = [
    'bars',
    'element',
    'note',
    'number',
    'page',
    'percent',
    'range_bars',
    'section',
    'stacked_bars',
    'table',
    'tiles',
]

# The parts of a stacked bar, in the colours of the style; the last is for what is unknown.
_PART_CLASSES = ('part-1', 'part-2', 'part-3', 'rest')

# Whatever a text were to smuggle in, the browser runs nothing and asks nobody for anything.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f6f7f9; --card: #fff; --ink: #1d2733; --soft: #5b6776; --line: #e2e7ec;
  --main: #3f6fa3; --rest: #8a8f96;
  --part-1: #a5d0ea; --part-2: #35629a; --part-3: #d4722f; --notice: #fff8ea; --edge: #e0b364;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181e; --card: #1c222a; --ink: #e3e8ee; --soft: #9ba7b5; --line: #303945;
    --main: #6f9fd2; --rest: #74808d;
    --part-1: #a9d3ea; --part-2: #4f86c6; --part-3: #e08a4f; --notice: #2a2519; --edge: #7d6333;
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
.tiles span { display: block; color: var(--soft); font-size: 13px; line-height: 1.4; }
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
.charts + .scroll { margin-top: 14px; }
summary { cursor: pointer; color: var(--main); font-size: 14px; }
details { margin: 10px 0 0; }
footer { padding-bottom: 40px; }
@media (max-width: 640px) {
  main, footer { padding: 0 12px; }
  section { padding: 16px 14px; }
}
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc; --notice: #fff; }
  body { font-size: 12px; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, h3 { break-after: avoid; }
  tr, .tiles, .notice { break-inside: avoid; }
}
"""


def page(
    title: str, content: Iterable[ElementTree.Element], *, footer: str, style: str = ''
) -> str:
    """A whole page, light or dark as the reader's system is, for screen and paper.

    Args:
        title: of the page, and its heading.
        content: the page's sections and what stands between them.
        footer: its last line.
        style: CSS of what this page alone has.
    """
    head = element(
        'head',
        element('meta', charset='utf-8'),
        element('meta', http_equiv='Content-Security-Policy', content=_POLICY),
        element('meta', name='viewport', content='width=device-width, initial-scale=1'),
        element('title', title),
        element('style', _STYLE + style),
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


def section(
    name: str, title: str, *content: ElementTree.Element, **attributes
) -> ElementTree.Element:
    """A titled part of a page; ``name`` is its id."""
    return element('section', element('h2', title), *content, id=name, **attributes)


def note(text: str) -> ElementTree.Element:
    """A paragraph in small, soft letters."""
    return element('p', text, class_='soft')


def tiles(figures: Iterable[Sequence[str]]) -> ElementTree.Element:
    """The head figures of a page, a tile each.

    Args:
        figures: the figure as text, its name, and remarks, each on a line of its own.
    """
    made = (
        element('div', element('b', figure), *(element('span', line) for line in lines))
        for figure, *lines in figures
    )
    return element('div', *made, class_='tiles', id='figures')


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
