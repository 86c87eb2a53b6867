"""A comparison of runs as text: for the terminal, to paste into Markdown, and as CSV."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from pneumo_jax.evaluation.comparison import FIGURES, PAIRED
from pneumo_jax.evaluation.text import figure_text, figure_title
from pneumo_jax.pages.markdown import markdown_table

__all__ = [
    'CSV_HEADER',
    'blocks',
    'csv_rows',
    'difference_rows',
    'facts',
    'figure_label',
    'figure_rows',
    'markdown',
    'named_once',
    'p_text',
    'protocol_sentences',
    'run_warnings',
    'text_table',
]

_WIDTH = 120
_LABEL = 24
_COLUMN = 24
# As many runs as stand beside each other.
_BLOCK = (_WIDTH - _LABEL) // _COLUMN

_SHORT = {
    'froc_sensitivity_at_0.5': 'FROC, 0.5 false a film',
    'ece': 'ECE',
}
# Of no run, but of its films: what needs no model reaches them.
_TRIVIAL = tuple(name for name, group in FIGURES.items() if group == 'baselines')

CSV_HEADER = (
    'kind',
    'run',
    'baseline',
    'figure',
    'value',
    'low',
    'high',
    'p',
    'p_holm',
    'num_films',
    'num_positive',
    'num_persons',
)


def text_table(comparison: Mapping) -> str:
    """The comparison in lines of at most 120 characters."""
    runs = comparison['runs']
    lines = [f'{len(runs)} runs on the split {comparison["split"]}', *_protocol_lines(runs)]
    warnings = [each['message'] for each in comparison['warnings']] + run_warnings(comparison)
    lines += (line for each in warnings for line in _wrapped(f'WARNING: {each}'))
    for block in blocks(runs, _BLOCK):
        lines += ['', _line('', [run['name'] for run in block])]
        lines += [_line(label, cells) for label, cells in facts(block)]
        lines += [_line(label, cells) for label, cells in figure_rows(block)]
    if comparison['differences']:
        lines += ['', f'differences to {comparison["baseline"]} (run minus baseline, paired)']
        lines += _difference_lines(comparison)
        lines += ['', *_wrapped(comparison['method'])]
    return '\n'.join([*lines, '', *_wrapped(comparison['notice'])])


def markdown(comparison: Mapping) -> str:
    """The same as tables to paste."""
    runs = comparison['runs']
    header = ['', *(run['name'] for run in runs)]
    rows = [[label, *cells] for label, cells in (*facts(runs), *figure_rows(runs))]
    parts = [
        f'# {len(runs)} runs on the split {comparison["split"]}',
        comparison['notice'],
        *protocol_sentences(runs),
        *(f'**Warning:** {each["message"]}' for each in comparison['warnings']),
        *(f'**Warning:** {message}' for message in run_warnings(comparison)),
        markdown_table(header, rows),
    ]
    if comparison['differences']:
        header = ['run', 'films', 'figure', f'minus {comparison["baseline"]}', 'p', 'p (Holm)']
        parts += [
            '## Paired differences',
            markdown_table(header, named_once(difference_rows(comparison))),
            comparison['method'],
        ]
    return '\n\n'.join(parts) + '\n'


def csv_rows(comparison: Mapping) -> Iterator[tuple]:
    """A row for every figure of a run, and for every difference."""
    for run in comparison['runs']:
        counts = run['num_films'], run['num_positive'], run['num_persons']
        for name, figure in run['figures'].items():
            yield ('figure', run['name'], '', name, *_ends(figure), '', '', *counts)
    for one in comparison['differences']:
        counts = one['num_films'], one['num_positive'], one['num_persons']
        for kind, name, figure in _figures_of(one):
            p_values = figure['p'], figure['p_holm']
            yield (kind, one['run'], one['baseline'], name, *_ends(figure), *p_values, *counts)


def facts(runs: Sequence[Mapping]) -> list[tuple[str, list[str]]]:
    """What each run is and what it was evaluated on: label, and a text a run."""
    return [
        ('model', [run['model'] for run in runs]),
        ('best epoch', [_epoch_text(run) for run in runs]),
        ('starts from', [_joined(run['starts']) for run in runs]),
        ('films', [f'{run["num_films"]:,}' for run in runs]),
        ('persons', [_persons_text(run) for run in runs]),
        ('positive (prevalence)', [_positive_text(run) for run in runs]),
    ]


def figure_rows(runs: Sequence[Mapping]) -> list[tuple[str, list[str]]]:
    """The figures with their intervals: label, and a text a run. Those of no model are indented."""
    return [
        (
            ('  ' if name in _TRIVIAL else '') + figure_label(name),
            [_short_text(run['figures'][name]) for run in runs],
        )
        for name in FIGURES
    ]


def difference_rows(comparison: Mapping) -> list[list[str]]:
    """Run, films, figure, difference, p and adjusted p, all as texts."""
    return [
        [
            one['run'],
            f'{one["num_films"]:,}',
            figure_label(name) + (', DeLong' if kind == 'delong' else ''),
            _signed(figure),
            p_text(figure['p']),
            p_text(figure['p_holm']),
        ]
        for one in comparison['differences']
        for kind, name, figure in _figures_of(one)
    ]


def named_once(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Rows of ``difference_rows`` in which a run's name and films stand in its first one alone."""
    before = ['', *(row[0] for row in rows[:-1])]
    return [
        row if row[0] != last else ['', '', *row[2:]]
        for row, last in zip(rows, before, strict=True)
    ]


def run_warnings(comparison: Mapping) -> list[str]:
    """The warnings of the runs' own results, each with the runs that it is of."""
    runs_of: dict[str, list[str]] = {}
    for run in comparison['runs']:
        for warning in run['warnings']:
            runs_of.setdefault(warning['message'], []).append(run['name'])
    return [f'{", ".join(names)}: {message}' for message, names in runs_of.items()]


def protocol_sentences(runs: Sequence[Mapping]) -> list[str]:
    """The split protocol, or those of the runs where they differ."""
    runs_of: dict[str, list[str]] = {}
    for run in runs:
        runs_of.setdefault(run['protocol'] or 'not known', []).append(run['name'])
    if len(runs_of) == 1:
        return [f'Split protocol: {next(iter(runs_of))}']
    return [f'Split protocol of {", ".join(names)}: {each}' for each, names in runs_of.items()]


def blocks(runs: Sequence[Mapping], size: int) -> list[Sequence[Mapping]]:
    """The runs in as few blocks of at most ``size`` as there can be, none much smaller."""
    count = -(-len(runs) // size)
    ends = [len(runs) * i // count for i in range(count + 1)]
    return [runs[start:end] for start, end in itertools.pairwise(ends)]


def figure_label(name: str) -> str:
    """A figure's name for readers, short."""
    return _SHORT.get(name) or figure_title(name)


def p_text(p: float | None) -> str:
    """A p-value of two digits that count."""
    if p is None:
        return 'undefined'
    return '< 0.001' if p < 0.001 else f'{p:.3f}' if p < 0.1 else f'{p:.2f}'


def _figures_of(one):
    """Kind, name and figure of each difference to a run, DeLong's below that of the AUROC."""
    for name in PAIRED:
        yield 'difference', name, one['figures'][name]
        if name == 'auroc' and one['delong']:
            yield 'delong', name, one['delong']


def _protocol_lines(runs):
    return [line for each in protocol_sentences(runs) for line in _wrapped(each)]


def _difference_lines(comparison):
    header = 'run', 'films', 'figure', 'difference', 'p', 'p (Holm)'
    widths = 30, 8, 26, 28, 10, 10
    lines, last = [], None
    for row in (header, *difference_rows(comparison)):
        shown = row if row[0] != last else ['', '', *row[2:]]
        last = row[0]
        cells = (
            _cut(cell, width - 1).ljust(width) for cell, width in zip(shown, widths, strict=True)
        )
        lines.append(''.join(cells).rstrip())
    return lines


def _line(label, cells):
    texts = (_cut(cell, _COLUMN - 1).ljust(_COLUMN) for cell in cells)
    return (label.ljust(_LABEL) + ''.join(texts)).rstrip()


def _cut(text, width):
    """A name that is too long keeps its beginning and its end, where names differ."""
    if len(text) <= width:
        return text
    end = (width - 2) // 2
    return f'{text[: width - 2 - end]}..{text[-end:]}'


def _wrapped(text):
    return textwrap.wrap(text, _WIDTH, subsequent_indent='  ')


def _ends(figure):
    return tuple('' if figure.get(end) is None else figure[end] for end in ('value', 'low', 'high'))


def _short_text(figure):
    """Without the reason why it is undefined, which stands in results.json."""
    return figure_text({name: figure.get(name) for name in ('value', 'low', 'high')})


def _signed(figure):
    text = _short_text(figure)
    return f'+{text}' if (figure['value'] or 0) > 0 and not text.startswith('0.000') else text


def _epoch_text(run):
    epochs = _joined([str(epoch) for epoch in run['epochs']])
    return f'{epochs} of {run["num_epochs"]}' if run['num_epochs'] else epochs


def _joined(texts):
    return ', '.join(dict.fromkeys(texts))


def _persons_text(run):
    return 'not known' if run['num_persons'] is None else f'{run["num_persons"]:,}'


def _positive_text(run):
    return f'{run["num_positive"]:,} ({run["prevalence"]:.1%})'
