"""Forest plots: the figures of groups of films, and how they differ, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.evaluation.pictures.curves import value_of
from pneumo_jax.evaluation.text import figure_title, part_of
from pneumo_jax.pages.style import COLOURS, new_picture
from pneumo_jax.thresholds import Thresholds

__all__ = [
    'STRATUM_FIGURES',
    'STRATUM_TITLES',
    'difference_title',
    'draw_differences',
    'draw_forest',
    'draw_strata',
    'group_title',
]

STRATUM_TITLES = {
    'view_position': 'View',
    'sex': 'Sex',
    'age': 'Age in years',
    'label_domain': 'Label domain',
    'opacity_size': 'Size of the opacity',
}
_GROUP_TITLES = {
    'M': 'male',
    'F': 'female',
    'single_read': 'read by one',
    'multi_read': 'read by several',
    'no_lung_opacity_not_normal': 'not normal, no opacity',
}
# What groups are compared by.
STRATUM_FIGURES = ('auroc', 'sensitivity', 'specificity', 'challenge_map')


def draw_strata(results: dict, films: ScoredFilms, thresholds: Thresholds) -> Figure | None:
    """The figures of every group; the dotted line is that of all films."""
    rows = []
    for stratum, content in part_of(results, 'strata').items():
        if content['groups']:
            rows.append((STRATUM_TITLES.get(stratum, stratum), None))
        for name, group in content['groups'].items():
            rows.append((f'{group_title(name)} ({group["num_films"]:,})', group['figures']))
    if not any(figures for _, figures in rows):
        return None
    whole = {**part_of(results, 'film'), **part_of(results, 'boxes')}
    figure = draw_forest(
        rows, STRATUM_FIGURES, reference={n: value_of(whole, n) for n in STRATUM_FIGURES}
    )
    figure.set_label('Figures of groups of films with their 95 % intervals; the same as a table.')
    return figure


def draw_differences(results: dict, films: ScoredFilms, thresholds: Thresholds) -> Figure | None:
    """How the groups' figures differ; an interval that crosses 0 leaves open which is higher."""
    rows = []
    for stratum, content in part_of(results, 'strata').items():
        differences = content.get('differences') or ()
        if differences:
            rows.append((STRATUM_TITLES.get(stratum, stratum), None))
        for difference in differences:
            rows.append((difference_title(difference['between']), difference['figures']))
    if not rows:
        return None
    figure = draw_forest(rows, STRATUM_FIGURES, reference=dict.fromkeys(STRATUM_FIGURES, 0.0))
    figure.set_label('Differences between groups with their 95 % intervals; the same as a table.')
    return figure


def draw_forest(
    rows: Sequence[tuple[str, dict | None]], names: Sequence[str], *, reference: dict[str, float]
) -> Figure:
    """A column of axes for each figure, a line for each row.

    Args:
        rows: title, and figures by name (``value``, ``low``, ``high``); None is a heading.
        names: of the figures, a column each.
        reference: of each figure, where a dotted line stands; NaN for none.
    """
    figure, columns = new_picture(9.2, 0.75 + 0.24 * len(rows), columns=len(names), sharey=True)
    figure.get_layout_engine().set(wspace=0.04)
    for axes, name in zip(columns, names, strict=True):
        for y, (_, figures) in enumerate(rows):
            _draw_interval(axes, y, (figures or {}).get(name))
        axes.axvline(reference[name], color=COLOURS['soft'], linewidth=1, linestyle=':')
        axes.set_title(figure_title(name))
        axes.grid(visible=False, axis='y')
        axes.tick_params(axis='y', length=0)
        axes.spines['left'].set_visible(False)
        axes.xaxis.get_major_locator().set_params(nbins=3)
    columns[0].set(ylim=(len(rows) - 0.4, -0.6))
    columns[0].set_yticks(range(len(rows)), [title for title, _ in rows])
    for label, (_, figures) in zip(columns[0].get_yticklabels(), rows, strict=True):
        label.set(color=COLOURS['ink'], weight='bold' if figures is None else 'normal')
    return figure


def group_title(name: str) -> str:
    """The name of a group for readers."""
    return _GROUP_TITLES.get(name, name.replace('_', ' '))


def difference_title(between: Sequence[str]) -> str:
    """The name of a difference of two groups, without what explains their names."""
    return ' minus '.join(group_title(name).partition(',')[0] for name in between)


def _draw_interval(axes, y, figure):
    value = (figure or {}).get('value')
    if value is None:
        return
    low, high = (value if figure.get(end) is None else figure[end] for end in ('low', 'high'))
    axes.plot([low, high], [y, y], color=COLOURS['main'], linewidth=1.6, solid_capstyle='butt')
    axes.plot(value, y, 's', color=COLOURS['main'], markersize=5)
