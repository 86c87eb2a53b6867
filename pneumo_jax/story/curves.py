"""Learning curves: figures of each epoch, the best one, and where early stopping ended the run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pneumo_jax.evaluation.text import figure_title
from pneumo_jax.pages.style import COLOURS, drawing, new_picture
from pneumo_jax.story.course import Course
from pneumo_jax.story.facts import TrainingRun

__all__ = ['course_text', 'curve_names', 'draw_curves']

_SIZE = 4.6, 3.7
# Of validation, beside the one that early stopping watches.
_SHOWN = ('loss', 'auroc', 'challenge_map')
_RATE = 'learning_rate'
# So many points are told apart by their marks.
_MOST_MARKS = 40


def draw_curves(runs: Sequence[TrainingRun], *, crossed: bool) -> dict[str, Figure]:
    """A picture for each figure: ``curve_<figure>``.

    Args:
        runs: a training, or those of the folds of a cross-validation; some epoch of each is over,
            or it is left out.
        crossed: whether they are folds, which share a picture, each a thin line.

    Returns:
        {name: picture} as in ``curve_names``; ``picture.get_label()`` tells what it shows.
    """
    runs = [run for run in runs if run.course.epochs]
    pictures = {}
    if not runs:
        return pictures
    with drawing():
        for name in curve_names(runs):
            figure = name.removeprefix('curve_')
            drawn = _draw_folds(runs, figure) if crossed else _draw_run(runs[0], figure)
            if drawn is not None:
                pictures[name] = drawn
    return pictures


def curve_names(runs: Sequence[TrainingRun]) -> list[str]:
    """Names of the pictures, the figure that early stopping watches first."""
    watched = [run.course.rule.metric for run in runs[:1]]
    return [f'curve_{name}' for name in dict.fromkeys((*watched, *_SHOWN, _RATE))]


def course_text(course: Course) -> str:
    """How far a training came and how it ended, a sentence."""
    if not course.epochs:
        return 'No epoch is over yet.'
    last, rule = course.epochs[-1].number, course.rule
    of = f' of {course.planned_epochs}' if course.planned_epochs else ''
    if course.ending == 'stopped_early':
        return (
            f'Stopped early after epoch {last}{of}: for {course.best.epochs_since_best} epochs '
            f'the validation figure {figure_title(rule.metric)} was no better than in epoch '
            f'{course.best.best_epoch} (patience {rule.patience}).'
        )
    if course.ending == 'all_epochs':
        return f'All epochs were done: {last}{of}.'
    return (
        f'The training is not at its end: epoch {last}{of} is over. It is still going on, or was '
        'interrupted; the command that began it goes on with it.'
    )


def _draw_run(run, name) -> Figure | None:
    course = run.course
    lines = {'validation': ('main', '-', 'o')}
    if name == 'loss':
        lines = {'train': ('rest', '--', 's'), **lines}
    elif name == _RATE:
        lines = {'train': ('main', '-', 'o')}
    values = {part: _values(course, f'{part}/{name}') for part in lines}
    if not any(np.isfinite(each).any() for each in values.values()):
        return None
    figure, (axes,) = new_picture(*_SIZE)
    for part, (colour, line, marker) in lines.items():
        label = 'training' if part == 'train' else part
        _draw_line(axes, values[part], colour, line, marker, label=label)
    last = course.epochs[-1].number
    told = [f'{_title(name)} of {last} epochs']
    if course.best_epoch is not None:
        at_best = values[list(lines)[-1]][course.best.best_epoch - 1]
        beside = f': {_short(at_best)}' if np.isfinite(at_best) else ''
        label = f'best epoch {course.best.best_epoch}{beside}'
        told.append(label)
        axes.axvline(
            course.best.best_epoch, color=COLOURS['ink'], linewidth=1.1, linestyle='-.', label=label
        )
    if course.ending == 'stopped_early':
        watched = figure_title(course.rule.metric)
        label = f'{course.best.epochs_since_best} epochs without better {watched}'
        told.append(f'stopped early after {label}')
        axes.axvspan(
            course.best.best_epoch,
            last,
            color=COLOURS['rest'],
            alpha=0.14,
            linewidth=0,
            label=label,
        )
    _mark_resumptions(axes, course)
    _finish(figure, axes, name, last)
    figure.set_label(f'{"; ".join(told)}.')
    return figure


def _draw_folds(runs, name) -> Figure | None:
    part = 'train' if name == _RATE else 'validation'
    rows = [_values(run.course, f'{part}/{name}') for run in runs]
    if not any(np.isfinite(row).any() for row in rows):
        return None
    figure, (axes,) = new_picture(*_SIZE)
    for number, (run, row) in enumerate(zip(runs, rows, strict=True)):
        label = f'{len(runs)} folds, a line each' if number == 0 else None
        _draw_line(axes, row, 'main', '-', '', label=label, linewidth=0.9, alpha=0.75)
        best = run.course.best.best_epoch
        if best:
            axes.plot(
                best,
                row[best - 1],
                'o',
                color=COLOURS['ink'],
                markersize=4.5,
                zorder=4,
                label='best epoch of each' if number == 0 else None,
            )
    _finish(figure, axes, name, max(len(row) for row in rows))
    best = ', '.join(str(run.course.best.best_epoch) for run in runs)
    figure.set_label(f'{_title(name)} of {len(runs)} folds by epoch; best epochs {best}.')
    return figure


def _values(course, name) -> np.ndarray:
    """Float64 [last epoch]: the figure by epoch; NaN where it is undefined or the epoch missing."""
    values = np.full(course.epochs[-1].number, np.nan)
    for epoch in course.epochs:
        values[epoch.number - 1] = epoch.figures.get(name, math.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _draw_line(axes, values, colour, line, marker, *, label, linewidth=1.6, alpha=1.0):
    epochs = np.arange(1, len(values) + 1)
    known = np.isfinite(values)
    # A point between two gaps has no line.
    alone = known & ~np.append(known[1:], False) & ~np.append(False, known[:-1])
    marked = known if marker and len(values) <= _MOST_MARKS else alone
    axes.plot(
        epochs,
        values,
        linestyle=line,
        marker=(marker or 'o') if marked.any() else '',
        markevery=marked.tolist(),
        markersize=3.5,
        linewidth=linewidth,
        alpha=alpha,
        color=COLOURS[colour],
        label=label,
        zorder=3,
    )


def _mark_resumptions(axes, course):
    steps = [0, *(epoch.step for epoch in course.epochs)]
    numbers = [0, *(epoch.number for epoch in course.epochs)]
    resumed = [start.step for start in course.starts[1:]]
    for number, step in enumerate(resumed):
        label = None if number else f'resumed ({len(resumed)} times)' if resumed[1:] else 'resumed'
        axes.axvline(
            np.interp(step, steps, numbers),
            color=COLOURS['rest'],
            linewidth=1,
            linestyle=':',
            label=label,
        )


def _finish(figure, axes, name, last):
    axes.set(xlabel='epoch', ylabel=_axis_title(name), xlim=(0.5, last + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.yaxis.get_major_locator().set_params(nbins=6)
    if name == _RATE:
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis='y', style='sci', scilimits=(-2, 3))
    axes.set_title(_title(name))
    # Curves may be anywhere inside.
    figure.legend(loc='outside lower left', ncols=2, handlelength=2.2)


def _title(name):
    title = figure_title(name)
    return title[:1].upper() + title[1:]


def _axis_title(name):
    if name == _RATE:
        return 'learning rate at the end of the epoch'
    return f'{figure_title(name)}, a mean over films' if name == 'loss' else figure_title(name)


def _short(value):
    return f'{value:.3g}' if abs(value) < 1e-2 and value else f'{value:.3f}'
