"""Pictures of answers: reliability, scores by class, confusion, opacity extent."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.ticker import PercentFormatter

from pneumo_jax.data.example import CLASS_NAMES
from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.evaluation.pictures.curves import value_of
from pneumo_jax.evaluation.text import figure_text, part_of, percent_text
from pneumo_jax.pages.style import CLASS_COLOURS, COLOURS, legend, new_picture
from pneumo_jax.thresholds import Thresholds

__all__ = [
    'CLASS_TITLES',
    'draw_class_confusion',
    'draw_confusion',
    'draw_extent',
    'draw_reliability',
    'draw_scores',
    'draw_zones',
]

CLASS_TITLES = ('normal', 'not normal,\nno opacity', 'lung opacity')

# More marks than this are drawn as pixels, which keeps the page small.
_MOST_MARKS = 1500

# Of a lung field: name, bit, and where it stands (column, row); the person's right is on the left.
_ZONES = (
    ('right upper', 1, 0, 0),
    ('right middle', 2, 0, 1),
    ('right lower', 4, 0, 2),
    ('left upper', 8, 1, 0),
    ('left middle', 16, 1, 1),
    ('left lower', 32, 1, 2),
)


def draw_reliability(results: dict, films: ScoredFilms, thresholds: Thresholds) -> Figure | None:
    """How often films are positive for each probability, before and after temperature scaling."""
    calibration = part_of(results, 'calibration')
    bins = part_of(calibration, 'reliability')
    shown = {name: bins[name] for name in ('before', 'after') if bins.get(name)}
    if not shown:
        return None
    figure, (axes, counts) = new_picture(
        4.6, 5.8, rows=2, sharex=True, gridspec_kw={'height_ratios': (4.6, 0.8)}
    )
    axes.plot([0, 1], [0, 1], color=COLOURS['rest'], linewidth=1, linestyle=':', label='ideal')
    styles = {
        'before': ('part-3', 's', '--', 'before scaling'),
        'after': ('main', 'o', '-', 'after scaling'),
    }
    told = []
    for name, rows in shown.items():
        colour, marker, line, label = styles[name]
        filled = [row for row in rows if row['films']]
        points = [[row[x] for row in filled] for x in ('mean_probability', 'share_positive')]
        weights = np.array([row['films'] for row in filled])
        ece = figure_text(part_of(calibration, name).get('ece'))
        told.append(f'{label} {ece}')
        axes.plot(*points, linestyle=line, linewidth=1, alpha=0.5, color=COLOURS[colour])
        axes.scatter(
            *points,
            # The more films a point has, the more it counts.
            s=14 + 110 * weights / weights.sum(),
            marker=marker,
            label=f'{label}: ECE {ece}',
            zorder=3,
            color=COLOURS[colour],
            clip_on=False,
        )
        edges = [row['low'] for row in rows] + [rows[-1]['high']]
        counts.stairs(
            [row['films'] for row in rows],
            edges,
            color=COLOURS[colour],
            linestyle=line,
            linewidth=1.3,
        )
    axes.set(xlim=(0, 1), ylim=(-0.01, 1.01), ylabel='share of films with an opacity')
    # Points may stand anywhere inside.
    figure.legend(loc='outside lower left')
    axes.set_title('Reliability')
    counts.set(ylabel='films', xlabel='predicted probability of an opacity')
    counts.yaxis.get_major_locator().set_params(nbins=2, integer=True)
    figure.set_label(f'Reliability diagram; calibration error {", ".join(told)}.')
    return figure


def draw_scores(results: dict, films: ScoredFilms, thresholds: Thresholds) -> Figure | None:
    """How probabilities are spread in each class, each over its own films, with the threshold."""
    groups = _groups_by_class(films)
    figure, axes = new_picture(4.6, 1.0 + 1.05 * len(groups), rows=len(groups), sharex=True)
    edges = np.linspace(0, 1, 41)
    for ax, (name, chosen) in zip(axes, groups.items(), strict=True):
        title = _class_title(name).replace('\n', ' ')
        probs = films.probs[chosen]
        weights = np.full(len(probs), 1 / max(len(probs), 1))
        ax.hist(probs, edges, weights=weights, color=COLOURS[CLASS_COLOURS[name]])
        ax.axvline(thresholds.film, color=COLOURS['ink'], linewidth=1, linestyle='--')
        called = np.mean(probs >= thresholds.film) if len(probs) else 0
        ax.set_title(
            f'{title}: {len(probs):,} films, {percent_text(called)} called positive', fontsize=9
        )
        ax.set(xlim=(0, 1), yticks=[])
        ax.grid(visible=False)
        ax.spines['left'].set_visible(False)
    axes[-1].set_xlabel('predicted probability of an opacity; dashed: the threshold')
    told = (_class_title(name).replace('\n', ' ') for name in groups)
    figure.set_label(f'Histograms of the probability by true class: {", ".join(told)}.')
    return figure


def draw_confusion(results: dict, films: ScoredFilms, thresholds: Thresholds) -> Figure | None:
    """Films by truth and answer; with three classes the negative ones by what they are."""
    classes = part_of(results, 'classes')
    by_answer = classes.get('by_answer')
    if by_answer and classes.get('num_films') == len(films):
        counts = list(by_answer.values())
        rows = [_class_title(name) for name in by_answer]
    else:
        film = part_of(results, 'film')
        counts = [
            [value_of(film, 'true_negatives'), value_of(film, 'false_positives')],
            [value_of(film, 'false_negatives'), value_of(film, 'true_positives')],
        ]
        rows = ['no opacity', 'lung opacity']
    counts = np.array(counts, float)
    if not np.isfinite(counts).all():
        return None
    columns = ['called negative', 'called positive']
    return _matrix('Truth and answer', counts, rows, columns, 'the answer')


def draw_class_confusion(
    results: dict, films: ScoredFilms, thresholds: Thresholds
) -> Figure | None:
    """Films by true class and by the class that got the highest probability."""
    counts = part_of(results, 'classes').get('confusion')
    if not counts:
        return None
    rows = list(CLASS_TITLES)
    return _matrix('Three classes', np.array(counts, float), rows, rows, 'the likeliest class')


def draw_extent(results: dict, films: ScoredFilms, thresholds: Thresholds) -> Figure | None:
    """Predicted against true opacity extent, of the positive films; beside it the negative ones."""
    name = 'lungs' if np.isfinite(films.true_extent['lungs']).any() else 'film'
    truth, predicted = films.true_extent[name], films.extent[name]
    known = np.isfinite(truth) & np.isfinite(predicted)
    positive = known & (films.labels == 1)
    if not positive.any():
        return None
    figure, (axes,) = new_picture(4.6, 4.6)
    axes.plot(
        truth[positive],
        predicted[positive],
        'o',
        color=COLOURS['main'],
        alpha=0.5,
        markersize=4,
        markeredgewidth=0,
        rasterized=positive.sum() > _MOST_MARKS,
        label=f'{positive.sum():,} films with boxes',
    )
    most = max(truth[positive].max(), predicted[known].max(), 0.1) * 1.03
    negative = predicted[known & (films.labels == 0)]
    if len(negative):
        low, middle, high = np.quantile(negative, (0.05, 0.5, 0.95))
        axes.errorbar(
            -0.03 * most,
            middle,
            [[middle - low], [high - middle]],
            fmt='s',
            markersize=4,
            color=COLOURS['part-3'],
            elinewidth=1.5,
            label=f'{len(negative):,} films without opacity\n(median, 5 % to 95 %)',
        )
    axes.plot([0, most], [0, most], color=COLOURS['rest'], linewidth=1, linestyle=':')
    of = {'lungs': 'of the lung fields', 'film': 'of the film'}[name]
    axes.set(
        xlim=(-0.06 * most, most),
        ylim=(-0.01 * most, most),
        aspect='equal',
        xlabel=f'true extent, share {of}',
        ylabel=f'predicted extent, share {of}',
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(nbins=5)
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=' %'))
    legend(axes, loc='upper left')
    axes.set_title('Opacity extent')
    rank = figure_text(part_of(results, 'extent').get('rank_correlation'))
    figure.set_label(
        f'Predicted against true opacity extent of {positive.sum():,} films; rank correlation '
        f'{rank}.'
    )
    return figure


def draw_zones(results: dict, films: ScoredFilms, thresholds: Thresholds) -> Figure | None:
    """How often each zone of the lungs is touched, in truth and as predicted: positive films."""
    truth, predicted = films.true_extent['zones'], films.extent['zones']
    known = (truth >= 0) & (predicted >= 0) & (films.labels == 1)
    if not known.any():
        return None
    truth, predicted = truth[known].astype(int), predicted[known].astype(int)
    figure, (axes,) = new_picture(4.6, 4.0)
    for name, bit, column, row in _ZONES:
        shares = [float(np.mean(zones & bit > 0)) for zones in (truth, predicted)]
        _draw_zone(axes, name, column, row, shares)
    axes.set(xlim=(-0.04, 2.14), ylim=(3.05, -0.32), xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for column, side in enumerate(("person's right lung", "person's left lung")):
        axes.text(1.12 * column + 0.49, -0.1, side, ha='center', color=COLOURS['soft'])
    axes.set_title(f'Zones touched, of {known.sum():,} films with boxes')
    figure.set_label('Share of films in which each of six lung zones is touched.')
    return figure


def _draw_zone(axes, name, column, row, shares):
    x, y = 1.12 * column, row
    shape = FancyBboxPatch(
        (x + 0.03, y + 0.03),
        0.92,
        0.94,
        boxstyle='round,pad=0,rounding_size=0.08',
        facecolor=COLOURS['main'],
        alpha=0.08,
        linewidth=0,
    )
    axes.add_patch(shape)
    axes.text(x + 0.1, y + 0.22, name, fontsize=9, color=COLOURS['soft'])
    for number, (share, label, colour) in enumerate(
        zip(shares, ('true', 'predicted'), ('part-3', 'main'), strict=True)
    ):
        top = y + 0.36 + 0.3 * number
        for width, alpha in ((0.78, 0.15), (0.78 * share, 0.85)):
            bar = Rectangle((x + 0.1, top), width, 0.07, color=COLOURS[colour], alpha=alpha, lw=0)
            axes.add_patch(bar)
        axes.text(x + 0.1, top + 0.2, f'{label} {percent_text(share)}', fontsize=9)


def _groups_by_class(films):
    """Class -> mask of films, the positive ones last; ``unknown`` is no opacity, normal or not."""
    positive = films.labels == 1
    if not films.class_known.all():
        return {'unknown': ~positive, 'lung_opacity': positive}
    return {name: films.class_id == i for i, name in enumerate(CLASS_NAMES)}


def _class_title(name):
    titles = dict(zip(CLASS_NAMES, CLASS_TITLES, strict=True)) | {'unknown': 'no opacity'}
    return titles.get(name, name.replace('_', ' '))


def _matrix(title, counts, rows, columns, answer):
    """Counts and their shares of a row, the darker the larger the share."""
    figure, (axes,) = new_picture(4.6, 1.3 + 0.78 * len(rows))
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    for (row, column), share in np.ndenumerate(shares):
        cell = Rectangle(
            (column + 0.02, row + 0.02),
            0.96,
            0.96,
            color=COLOURS['main'],
            alpha=0.05 + 0.5 * share,
            linewidth=0,
        )
        axes.add_patch(cell)
        number = f'{counts[row, column]:,.0f}'
        axes.text(column + 0.5, row + 0.44, number, ha='center', fontsize=12, weight='bold')
        axes.text(column + 0.5, row + 0.74, percent_text(share), ha='center', fontsize=9)
    axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0), xlabel=answer, ylabel='the truth')
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(title)
    told = '; '.join(
        f'{row}: '
        + ', '.join(f'{n:,.0f} {column}' for n, column in zip(line, columns, strict=True))
        for row, line in zip(rows, counts, strict=True)
    )
    figure.set_label(f'Films by the truth and {answer}: {told}.'.replace('\n', ' '))
    return figure
