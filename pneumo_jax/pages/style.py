"""The looks of all pictures, in one place: the colours of the page, thin lines, little ink.

Blue and orange are told apart by readers of every colour vision; where two things share a
picture they also differ in line, marker or lightness.
"""

from __future__ import annotations

import contextlib

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ['CLASS_COLOURS', 'COLOURS', 'drawing', 'legend', 'new_picture', 'share_axes']

# By the names of the variables of the page's style, so that a picture can follow it into the dark.
COLOURS = {
    'card': '#ffffff',
    'ink': '#1d2733',
    'soft': '#5b6776',
    'line': '#e2e7ec',
    'main': '#3f6fa3',
    'part-1': '#a5d0ea',
    'part-2': '#35629a',
    'part-3': '#d4722f',
    'rest': '#8a8f96',
}
# Of the classes of films, everywhere: blue is no opacity, orange is one, grey unknown. They differ
# in lightness too, so that they are told apart on paper and by readers of every colour vision.
CLASS_COLOURS = {
    'normal': 'part-1',
    'no_lung_opacity_not_normal': 'part-2',
    'lung_opacity': 'part-3',
    'unknown': 'rest',
}

_RC = {
    'font.family': 'DejaVu Sans',
    'font.size': 9.5,
    'axes.titlesize': 10,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'axes.labelsize': 9.5,
    'axes.labelcolor': COLOURS['soft'],
    'axes.edgecolor': COLOURS['rest'],
    'axes.linewidth': 0.8,
    'axes.facecolor': 'none',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': COLOURS['line'],
    'grid.linewidth': 0.8,
    'xtick.color': COLOURS['rest'],
    'ytick.color': COLOURS['rest'],
    'xtick.labelcolor': COLOURS['soft'],
    'ytick.labelcolor': COLOURS['soft'],
    'xtick.labelsize': 9,
    'ytick.labelsize': 9,
    'text.color': COLOURS['ink'],
    # A name from data with two dollars in it is no formula.
    'text.parse_math': False,
    'lines.linewidth': 1.8,
    'lines.markersize': 6,
    'legend.frameon': False,
    'legend.fontsize': 9,
    'figure.facecolor': COLOURS['card'],
    'savefig.facecolor': 'auto',
    'savefig.dpi': 150,
    'savefig.bbox': 'tight',
    'savefig.pad_inches': 0.06,
    'svg.fonttype': 'none',
    # Names inside an SVG are made of a number of chance where no salt is given.
    'svg.hashsalt': 'pneumo_jax',
}


def drawing() -> contextlib.AbstractContextManager:
    """The style, for as long as a picture is drawn or saved; nothing of it stays behind."""
    style = {k: v for k, v in mpl.rcParamsDefault.items() if k.partition('.')[0] != 'backend'}
    return mpl.rc_context({**style, **_RC})


def new_picture(
    width: float, height: float, *, columns: int = 1, rows: int = 1, **grid
) -> tuple[Figure, list[Axes]]:
    """An empty picture that no window and no registry knows of, and its axes row by row.

    Args:
        width: in inches.
        height: in inches.
        columns: of axes.
        rows: of axes.
        grid: for ``Figure.subplots``.
    """
    figure = Figure(figsize=(width, height), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False, **grid)
    return figure, list(axes.ravel())


def share_axes(axes: Axes, x: str, y: str) -> None:
    """Both axes from 0 to 1, square."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y, aspect='equal')


def legend(axes: Axes, **where) -> None:
    """The legend, if there is something to tell, on a ground that keeps lines behind it quiet."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            frameon=True, facecolor=COLOURS['card'], edgecolor='none', framealpha=0.85, **where
        )
