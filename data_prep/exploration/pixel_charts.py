"""Pictures of what the pixels tell: grey values by group, and mean films."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from data_prep.exploration.films import CLASS_TITLES
from data_prep.exploration.grey import BIN_WIDTH, GreyFigures
from data_prep.exploration.label_charts import class_colour
from pneumo_jax.pages.style import COLOURS, legend, new_picture

__all__ = ['draw_grey_values', 'draw_mean_films']

# Of groups that are no classes: told apart by line and marker, not by colour alone.
_LINES = (
    {'color': COLOURS['ink'], 'linestyle': '-'},
    {'color': COLOURS['soft'], 'linestyle': '--'},
    {'color': COLOURS['rest'], 'linestyle': '-.'},
    {'color': COLOURS['main'], 'linestyle': ':'},
    {'color': COLOURS['ink'], 'linestyle': ':'},
    {'color': COLOURS['soft'], 'linestyle': '-.'},
    {'color': COLOURS['rest'], 'linestyle': '--'},
    {'color': COLOURS['main'], 'linestyle': '-'},
)


def draw_grey_values(grey: Mapping[str, Mapping[str, GreyFigures]]) -> dict[str, Figure]:
    """A picture for each grouping of ``grey_figures``: ``grey_by_class`` and so on."""
    return {f'grey_by_{name}': _grey_picture(name, groups) for name, groups in grey.items()}


def draw_mean_films(means: Mapping) -> Figure | None:
    """The mean film of each class, all views and each view, and what an opacity adds.

    Args:
        means: of ``grey.mean_films``.
    """
    if not means:
        return None
    classes = [name for name in CLASS_TITLES if any(name in row for row in means.values())]
    baseline = next((n for n in ('normal', 'unknown') if n in classes), None)
    compared = baseline is not None and 'lung_opacity' in classes
    columns = len(classes) + compared
    picture, axes = new_picture(
        2.3 * columns + 0.5, 2.55 * len(means), columns=columns, rows=len(means)
    )
    reach = 0.0
    differences = {}
    if compared:
        for view, row in means.items():
            if baseline in row and 'lung_opacity' in row:
                differences[view] = row['lung_opacity'][1] - row[baseline][1]
        reach = max([np.abs(d).max() for d in differences.values()], default=1.0)
    for i, (view, row) in enumerate(means.items()):
        line = axes[columns * i : columns * (i + 1)]
        for panel, name in zip(line, classes, strict=False):
            _bare(panel)
            if name in row:
                count, mean = row[name]
                panel.imshow(mean, cmap='gray', vmin=0, vmax=255, interpolation='bicubic')
                panel.set_title(f'{CLASS_TITLES[name]}\n{count:,} films', fontsize=8.5)
        line[0].set_ylabel('all views' if view == 'all' else view, fontsize=10)
        if compared:
            _bare(line[-1])
            if view in differences:
                shown = line[-1].imshow(
                    differences[view], cmap='PuOr_r', vmin=-reach, vmax=reach,
                    interpolation='bicubic',
                )  # fmt: skip
                line[-1].set_title(f'lung opacity minus\n{CLASS_TITLES[baseline]}', fontsize=8.5)
                picture.colorbar(shown, ax=line[-1], label='grey values', shrink=0.8)
    picture.set_label(
        'The mean film of each class, for all films and for each view, and the mean film with an '
        'opacity minus that without.'
    )
    return picture


def _grey_picture(grouping, groups):
    picture, (axes,) = new_picture(5.4, 3.3)
    greys = (np.arange(256 // BIN_WIDTH) + 0.5) * BIN_WIDTH
    for i, (name, figures) in enumerate(groups.items()):
        style, title = _LINES[i % len(_LINES)], name
        if grouping == 'class':
            style, title = {'color': class_colour(name)}, CLASS_TITLES[name]
        value, low, high = 100 * figures.shares.T
        axes.fill_between(greys, low, high, color=style['color'], alpha=0.22, linewidth=0)
        axes.plot(greys, value, label=f'{title} ({figures.films:,})', **style)
    axes.set(
        xlim=(0, 256), xticks=range(0, 257, 32), yscale='log',
        xlabel='grey value (0 black, 255 white)', ylabel=f'pixels of {BIN_WIDTH} grey values, %',
    )  # fmt: skip
    # Few pixels of a few films say nothing.
    top = 100 * max(f.shares[:, 0].max() for f in groups.values())
    axes.set_ylim(max(top / 2000, 1e-3), 1.6 * top)
    axes.yaxis.set_major_formatter(lambda value, place: f'{value:g}')
    legend(axes)
    picture.set_label(
        f'Grey values by {grouping}: of each {BIN_WIDTH} grey values the share of the pixels of '
        'the mean film, with the 95 % interval as a band; the scale is logarithmic.'
    )
    return picture


def _bare(axes):
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
