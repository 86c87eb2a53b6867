"""Pictures of what a threshold trades: ROC, precision and recall, FROC."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from pneumo_jax.evaluation.drawn_boxes import box_matches
from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.evaluation.text import figure_text, part_of
from pneumo_jax.metrics.classification import pr_curve, roc_curve
from pneumo_jax.metrics.froc import froc_curve
from pneumo_jax.pages.style import COLOURS, legend, new_picture, share_axes
from pneumo_jax.thresholds import Thresholds

__all__ = ['draw_froc', 'draw_pr', 'draw_roc', 'value_of']

_SIZE = 4.6, 4.6

# Of the points on a curve: name in the results (None: the threshold in use), legend, marker.
_POINTS = (
    (None, 'threshold in use', 'o'),
    ('youden', 'Youden', 'D'),
    ('sensitivity_0.90', 'sensitivity 0.90', 's'),
    ('sensitivity_0.95', 'sensitivity 0.95', '^'),
)

# Beyond so many false boxes a film nobody would use a detector.
_MOST_FALSE_BOXES = 3.0


def draw_roc(results: dict, films: ScoredFilms, thresholds: Thresholds) -> Figure | None:
    """The ROC curve with its operating points, beside chance and the view alone."""
    if _of_one_class(films):
        return None
    figure, (axes,) = new_picture(*_SIZE)
    area = figure_text(_film(results, 'auroc'))
    false_rate, true_rate = roc_curve(films.labels, films.probs)
    axes.plot(false_rate, true_rate, color=COLOURS['main'], label=f'AUROC {area}')
    known = films.view_position != ''
    if len({*films.labels[known]}) == 2:
        view_area = figure_text(part_of(results, 'baselines').get('view_alone_auroc'))
        false_rate, true_rate = roc_curve(films.labels[known], films.view_position[known] == 'AP')
        style = {'color': COLOURS['soft'], 'linestyle': '--', 'linewidth': 1.2}
        axes.plot(false_rate, true_rate, **style, label=f'view alone {view_area}')
    axes.plot([0, 1], [0, 1], color=COLOURS['rest'], linewidth=1, linestyle=':', label='chance')
    _mark_points(
        axes, results, lambda f: (1 - value_of(f, 'specificity'), value_of(f, 'sensitivity'))
    )
    share_axes(axes, 'share of negative films called positive', 'sensitivity')
    legend(axes, loc='lower right')
    axes.set_title('ROC')
    figure.set_label(f'ROC curve of {len(films):,} films, AUROC {area}.')
    return figure


def draw_pr(results: dict, films: ScoredFilms, thresholds: Thresholds) -> Figure | None:
    """Precision against recall, with the prevalence, which a score without use would reach."""
    if _of_one_class(films):
        return None
    figure, (axes,) = new_picture(*_SIZE)
    area, prevalence = figure_text(_film(results, 'auprc')), films.labels.mean()
    recall, precision = pr_curve(films.labels, films.probs)
    axes.step(
        np.append(0, recall),
        np.append(precision[0], precision),
        where='pre',
        color=COLOURS['main'],
        label=f'AUPRC {area}',
    )
    style = {'color': COLOURS['rest'], 'linestyle': ':', 'linewidth': 1}
    axes.axhline(prevalence, **style, label=f'prevalence {prevalence:.3f}')
    _mark_points(axes, results, lambda f: (value_of(f, 'sensitivity'), value_of(f, 'ppv')))
    share_axes(axes, 'recall (sensitivity)', 'precision (PPV)')
    # Where a curve of that area is not.
    high = value_of(part_of(results, 'film'), 'auprc') > 0.5
    legend(axes, loc='lower left' if high else 'upper right')
    axes.set_title('Precision and recall')
    figure.set_label(f'Precision against recall of {len(films):,} films, AUPRC {area}.')
    return figure


def draw_froc(results: dict, films: ScoredFilms, thresholds: Thresholds) -> Figure | None:
    """Share of true boxes that are hit against false boxes a film, with the three rates."""
    films = films.select(films.boxes_known)
    if not any(len(truth) for truth in films.truths):
        return None
    matches = box_matches(films, thresholds)
    rates, sensitivity, _ = froc_curve(matches)
    figure, (axes,) = new_picture(*_SIZE)
    axes.step(rates, sensitivity, where='post', color=COLOURS['main'])
    for rate in ('0.25', '0.5', '1'):
        told = part_of(results, 'boxes').get(f'froc_sensitivity_at_{rate}')
        _mark_rate(axes, float(rate), told, f'{rate} a film: {figure_text(told)}')
    axes.set(
        xlim=(0, min(_MOST_FALSE_BOXES, max(1.25, rates.max()))),
        ylim=(0, 1.01),
        xlabel='false boxes a film',
        ylabel='share of true boxes hit (IoU over 0.5)',
    )
    axes.set_title('FROC')
    legend(axes, loc='lower right' if sensitivity.max() > 0.45 else 'upper left')
    figure.set_label(
        'FROC curve: share of true boxes hit against false boxes a film; at half a false box a '
        f'film {figure_text(part_of(results, "boxes").get("froc_sensitivity_at_0.5"))}.'
    )
    return figure


def value_of(figures: dict, name: str) -> float:
    """The value of a figure of a results dict; NaN where undefined."""
    value = (figures.get(name) or {}).get('value')
    return np.nan if value is None else value


def _film(results, name):
    return part_of(results, 'film').get(name)


def _of_one_class(films):
    return len({*films.labels}) < 2


def _mark_points(axes, results, place):
    """The operating points on a curve; ``place`` gives where figures stand on it."""
    chosen = part_of(results, 'operating_points')
    for name, label, marker in _POINTS:
        x, y = place(part_of(results, 'film') if name is None else chosen.get(name) or {})
        if np.isfinite([x, y]).all():
            # Open, since two points may well be the same.
            filled = COLOURS['part-3'] if name is None else 'none'
            axes.plot(
                x,
                y,
                marker,
                markerfacecolor=filled,
                color=COLOURS['part-3'],
                markersize=6 if name is None else 8,
                linestyle='none',
                clip_on=False,
                label=label,
                zorder=4,
            )


def _mark_rate(axes, rate, figure, label):
    value = value_of({'it': figure}, 'it')
    if np.isnan(value):
        return
    axes.axvline(rate, color=COLOURS['rest'], linewidth=0.8, linestyle=':')
    low, high = (value if figure.get(end) is None else figure[end] for end in ('low', 'high'))
    marker = {0.25: '^', 0.5: 'o', 1.0: 's'}[rate]
    axes.errorbar(
        rate,
        value,
        [[max(value - low, 0)], [max(high - value, 0)]],
        fmt=marker,
        color=COLOURS['part-3'],
        elinewidth=1.2,
        label=label,
        zorder=4,
    )
