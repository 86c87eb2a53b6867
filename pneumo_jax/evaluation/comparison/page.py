"""The comparison of runs as a page that needs no other file, and its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from matplotlib.figure import Figure

from pneumo_jax.evaluation.comparison import PAIRED
from pneumo_jax.evaluation.comparison.text import (
    blocks,
    difference_rows,
    facts,
    figure_rows,
    named_once,
    protocol_sentences,
    run_warnings,
)
from pneumo_jax.evaluation.pictures.forest import draw_forest
from pneumo_jax.evaluation.text import figure_title
from pneumo_jax.pages.parts import element, note, page, section, table
from pneumo_jax.pages.pictures import PICTURES_STYLE, picture_row, reading
from pneumo_jax.pages.style import drawing

__all__ = ['comparison_page', 'draw_comparison']

# Of the picture of runs, and as many runs as a table has side by side.
_SHOWN = ('auroc', 'challenge_map')
_BLOCK = 4

_STYLE = """
#notice { margin-bottom: 16px; }
.figures table { table-layout: fixed; }
.figures td, .paired td + td { white-space: nowrap; }
.figures th, .paired th { overflow-wrap: anywhere; }
.facts td + td { overflow-wrap: normal; }
.facts .text, .paired .text { min-width: 0; }
.trivial td { color: var(--soft); }
.trivial td:first-child { padding-left: 14px; }
@media (max-width: 640px) {
  .figures table { table-layout: auto; }
  .facts td, .facts th { white-space: nowrap; }
}
@media print {
  .figures { break-inside: avoid; }
  .facts th, .facts td { padding-right: 8px; }
}
"""


def draw_comparison(comparison: Mapping) -> dict[str, Figure]:
    """Forest plots: ``runs`` with their figures, and ``run_differences`` where there are any.

    Args:
        comparison: of ``comparison.compare``.
    """
    runs = comparison['runs']
    (base,) = (run for run in runs if run['name'] == comparison['baseline'])
    values = {name: base['figures'][name]['value'] for name in _SHOWN}
    reference = {name: float('nan') if v is None else v for name, v in values.items()}
    with drawing():
        rows = [(run['name'], run['figures']) for run in runs]
        pictures = {'runs': draw_forest(rows, _SHOWN, reference=reference)}
        pictures['runs'].set_label(
            f'{" and ".join(map(figure_title, _SHOWN))} of each run with their 95 % intervals; the '
            f'dotted line is {comparison["baseline"]}. The same as a table below.'
        )
        if comparison['differences']:
            rows = [(one['run'], one['figures']) for one in comparison['differences']]
            picture = draw_forest(rows, PAIRED, reference=dict.fromkeys(PAIRED, 0.0))
            picture.set_label(
                f'Differences of each run to {comparison["baseline"]} with their 95 % intervals. '
                'The same as a table below.'
            )
            pictures['run_differences'] = picture
    return pictures


def comparison_page(comparison: Mapping, pictures: Mapping[str, Figure]) -> str:
    """The page, as HTML that refers to nothing outside it; texts are escaped.

    Args:
        comparison: of ``comparison.compare``.
        pictures: of ``draw_comparison``.
    """
    return page(
        'Comparison of runs',
        _content(comparison, pictures),
        footer=comparison['notice'],
        style=PICTURES_STYLE + _STYLE,
    )


def _content(comparison, pictures) -> Iterator[ElementTree.Element]:
    runs = comparison['runs']
    yield element('p', comparison['notice'], class_='soft', id='notice')
    warnings = [each['message'] for each in comparison['warnings']] + run_warnings(comparison)
    if warnings:
        sentences = [element('li', message) for message in warnings]
        yield section('warnings', 'Please read', element('ul', *sentences), class_='notice')
    compared = f', compared with {comparison["baseline"]}' if len(runs) > 1 else ''
    yield element(
        'p', f'{len(runs)} runs on the split {comparison["split"]}{compared}.', class_='sentence'
    )
    yield section('runs', 'Runs', _facts_table(runs), *map(note, protocol_sentences(runs)))
    yield section(
        'figures',
        'Figures',
        reading(
            'Each run at its own thresholds, chosen on validation, with 95 % intervals. Below '
            'some figures stands what needs no model: all films negative, the view alone, no box '
            'at all. Intervals that overlap do not tell whether two runs differ.'
        ),
        *picture_row(pictures, ('runs',), wide=True),
        *map(_figures_table, blocks(runs, _BLOCK)),
    )
    if comparison['differences']:
        yield _differences(comparison, pictures)


def _differences(comparison, pictures):
    header = ('run', 'films', 'figure', f'minus {comparison["baseline"]}', 'p', 'p (Holm)')
    return section(
        'differences',
        'Paired differences',
        reading(
            f'How far each run is above (+) or below {comparison["baseline"]} on the films that '
            'both have. An interval on both sides of 0 leaves open which is better.'
        ),
        *picture_row(pictures, ('run_differences',), wide=True),
        _classed(table(header, named_once(difference_rows(comparison))), 'paired'),
        note(comparison['method']),
    )


def _facts_table(runs):
    columns = facts(runs)
    header = ('run', *(label for label, _ in columns), 'data')
    rows = [
        (run['name'], *(cells[i] for _, cells in columns), (run['data_fingerprint'] or '-')[:8])
        for i, run in enumerate(runs)
    ]
    return _classed(table(header, rows), 'facts')


def _figures_table(runs):
    rows = figure_rows(runs)
    header = ('', *(run['name'] for run in runs))
    made = _classed(table(header, [(label, *cells) for label, cells in rows]), 'figures')
    for line, (label, _) in zip(made.iter('tr'), [('', ()), *rows], strict=True):
        if label.startswith(' '):
            line.set('class', 'trivial')
    return made


def _classed(made, name):
    made.set('class', f'{made.get("class")} {name}')
    return made
