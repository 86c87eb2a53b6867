"""Pictures of what tables and headers tell: classes, groups, ages, spacings, persons."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_prep.exploration.balance import LARGE_DIFFERENCE, TRAITS
from data_prep.exploration.films import CLASS_TITLES, ExploredFilms, printable
from data_prep.exploration.groups import GROUPINGS
from pneumo_jax.data.example import OLDEST_AGE
from pneumo_jax.pages.style import CLASS_COLOURS, COLOURS, legend, new_picture

__all__ = [
    'class_colour',
    'draw_ages',
    'draw_classes',
    'draw_groups',
    'draw_persons',
    'draw_spacings',
    'draw_split_differences',
    'person_counts',
    'plot_interval',
]

_ROW = 0.27
# Five years each, and all from 90 on together.
_AGE_EDGES = np.arange(0, 100, 5)
_SPACING_BINS = 30
# Films of a person: (title, fewest, most).
_PERSON_BINS = (
    ('1', 1, 1),
    ('2', 2, 2),
    ('3-5', 3, 5),
    ('6-10', 6, 10),
    ('11-20', 11, 20),
    ('21 on', 21, np.inf),
)


def class_colour(name: str) -> str:
    """The colour of a class in all pictures."""
    return COLOURS[CLASS_COLOURS.get(name, 'soft')]


def draw_classes(figures: dict) -> Figure | None:
    """How many films each class has."""
    classes = figures.get('classes')
    if not classes:
        return None
    picture, (axes,) = new_picture(6.6, 0.9 + 0.42 * len(classes))
    for y, (name, row) in enumerate(classes.items()):
        share = row['share']
        axes.barh(y, 100 * share['value'], height=0.62, color=class_colour(name))
        plot_interval(axes, share, y, scale=100, colour=COLOURS['ink'], marker='')
        end = share['value'] if share['high'] is None else share['high']
        told = f'{row["films"]:,} films · {100 * share["value"]:.1f} %'
        axes.text(100 * end + 1.2, y, told, va='center', fontsize=9)
    axes.set_yticks(range(len(classes)), [CLASS_TITLES[name] for name in classes])
    axes.invert_yaxis()
    axes.set(xlim=(0, 118), xticks=range(0, 101, 20), xlabel='share of the films with a label, %')
    axes.grid(visible=False, axis='y')
    picture.set_label(
        'Films of each class, with the 95 % intervals of their shares. The same as a table below.'
    )
    return picture


def draw_groups(figures: dict) -> Figure | None:
    """Classes of the films of each view, sex, age and so on, and how many are positive."""
    rows = [
        (name, value, group)
        for name, values in figures.get('groups', {}).items()
        for value, group in values.items()
    ]
    if not rows:
        return None
    # A gap and a title before each grouping.
    places, titles, y = [], {}, 0.0
    for i, (name, _, _) in enumerate(rows):
        if i == 0 or rows[i - 1][0] != name:
            titles[name] = y
            y += 1
        places.append(y)
        y += 1
    picture, (left, right) = new_picture(
        9.2, 1.0 + _ROW * y, columns=2, sharey=True, width_ratios=(3, 2)
    )
    opacity = class_colour('lung_opacity')
    for place, (_, _, group) in zip(places, rows, strict=True):
        _stack(left, place, group)
        plot_interval(right, group['prevalence'], place, scale=100, colour=opacity)
    for name, place in titles.items():
        left.text(-0.01, place, GROUPINGS[name], ha='right', va='center', fontweight='bold',
                  transform=left.get_yaxis_transform())  # fmt: skip
    names = [f'{printable(value)} · {group["films"]:,}' for _, value, group in rows]
    left.set_yticks(places, names)
    left.set(xlim=(0, 100), ylim=(y - 0.4, -0.6), xlabel='classes, % of the films of the row')
    right.set_xlim(left=0)
    right.set_xlabel('with an opacity, % (95 % interval)')
    right.axvline(100 * figures['prevalence']['value'], color=COLOURS['soft'], linestyle=':',
                  linewidth=1.2)  # fmt: skip
    for axes in (left, right):
        axes.tick_params(axis='y', length=0)
        axes.grid(visible=False, axis='y')
    handles = [
        left.barh(0, 0, color=class_colour(name), label=CLASS_TITLES[name])
        for name in figures['classes']
    ]
    picture.legend(handles=handles, loc='outside upper left', ncols=len(handles), fontsize=9)
    picture.set_label(
        'Classes and prevalence of the films of each group, with 95 % intervals; the dotted line '
        'is the prevalence of all films. The same as a table below.'
    )
    return picture


def draw_ages(films: ExploredFilms) -> Figure | None:
    """The ages of the films of each class."""
    ages = films.column('age')
    values = np.where(ages < 0, np.nan, ages.clip(max=OLDEST_AGE).astype(float))
    picture = _shares_of_classes(films, values, _AGE_EDGES, 'age in years (90: 90 and over)')
    if picture:
        picture.set_label(
            'Ages by class, as shares of the films of each class that have a known age.'
        )
    return picture


def draw_spacings(films: ExploredFilms) -> Figure | None:
    """The pixel spacings of the films of each class."""
    known = films.spacings[np.isfinite(films.spacings)]
    if not len(known):
        return None
    # A few films of another kind must not leave the others one column.
    low, high = np.quantile(known, (0.005, 0.995))
    room = max(0.02, 0.1 * (high - low))
    edges = np.linspace(max(0.0, low - room), high + room, _SPACING_BINS + 1)
    picture = _shares_of_classes(
        films, films.spacings.clip(edges[0], edges[-1]), edges, 'pixel spacing, mm'
    )
    picture.set_label(
        'Pixel spacings by class, as shares of the films of each class that have a known one; '
        'the outermost columns hold all beyond them.'
    )
    return picture


def person_counts(films: ExploredFilms) -> dict[str, tuple[int, int]]:
    """How many known persons have so many films: title -> (persons, films of all of them)."""
    persons = [label.person_id for label in films.labels if label.person_id]
    counts = np.unique(persons, return_counts=True)[1] if persons else np.zeros(0, int)
    bins = {}
    for title, fewest, most in _PERSON_BINS:
        chosen = counts[(counts >= fewest) & (counts <= most)]
        bins[title] = (len(chosen), int(chosen.sum()))
    while bins and not bins[title := list(bins)[-1]][0]:
        del bins[title]
    return bins


def draw_persons(films: ExploredFilms) -> Figure | None:
    """How many films persons have."""
    counts = person_counts(films)
    persons, of_films = (sum(row[i] for row in counts.values()) for i in (0, 1))
    if not persons:
        return None
    picture, panels = new_picture(8.6, 2.6, columns=2, sharex=True)
    for axes, what, i in zip(panels, ('persons', 'films'), (0, 1), strict=True):
        numbers = [row[i] for row in counts.values()]
        total = sum(numbers)
        bars = axes.bar(range(len(counts)), numbers, width=0.7, color=COLOURS['rest'])
        axes.bar_label(
            bars, [f'{n:,}\n{100 * n / total:.0f} %' for n in numbers], fontsize=8.5, padding=2
        )
        axes.set_xticks(range(len(counts)), list(counts))
        axes.set(xlabel='films of the person', ylabel=what, ylim=(0, 1.28 * max(numbers)))
        axes.grid(visible=False, axis='x')
    picture.set_label(
        f'{persons:,} known persons by how many films they have, and the {of_films:,} films of '
        'these persons.'
    )
    return picture


def draw_split_differences(balance: dict) -> Figure | None:
    """How far each trait of the other splits is from the first one's."""
    if not balance:
        return None
    first, *others = balance['splits']
    traits = list(balance['splits'][first]['traits'])
    picture, (axes,) = new_picture(8.0, 1.0 + 0.36 * len(traits))
    axes.axvspan(-LARGE_DIFFERENCE, LARGE_DIFFERENCE, color=COLOURS['line'], linewidth=0)
    axes.axvline(0, color=COLOURS['soft'], linestyle=':', linewidth=1.2)
    markers = dict(zip(others, ('s', 'o'), strict=False))
    for i, (name, marker) in enumerate(markers.items()):
        colour = COLOURS['main' if i == 0 else 'ink']
        for y, trait in enumerate(traits):
            figure, place = balance['differences'][name][trait], y + 0.26 * i - 0.13
            plot_interval(axes, figure, place, scale=1, colour=colour, marker=marker)
        axes.plot([], [], marker, color=colour, label=f'{name} minus {first}')
    axes.set_yticks(range(len(traits)), [TRAITS[trait][0] for trait in traits])
    axes.set(ylim=(len(traits) - 0.5, -0.5), xlabel='standardised difference (95 % interval)')
    axes.grid(visible=False, axis='y')
    picture.legend(loc='outside upper left', ncols=2)
    picture.set_label(
        f'Standardised differences of the splits to {first} with 95 % intervals; the grey band is '
        f'that of less than {LARGE_DIFFERENCE}. The same as in the table below.'
    )
    return picture


def plot_interval(
    axes: Axes, figure: Mapping, y: float, *, scale: float, colour: str, marker: str = 's'
) -> None:
    """A figure {value, low, high} as a marker and the line of its interval, at a height."""
    if figure['value'] is None:
        return
    if figure['low'] is not None:
        axes.plot(
            [scale * figure['low'], scale * figure['high']], [y, y],
            color=colour, linewidth=1.6, solid_capstyle='butt',
        )  # fmt: skip
    axes.plot(scale * figure['value'], y, marker, color=colour, markersize=5)


def _stack(axes, y, group):
    start = 0.0
    for name, count in group['classes'].items():
        share = 100 * count / group['films']
        axes.barh(y, share, left=start, height=0.7, color=class_colour(name))
        start += share


def _shares_of_classes(films, values, edges, xlabel) -> Figure | None:
    """A line of steps for each class: which share of its films has such values."""
    known = np.isfinite(values)
    if not known.any():
        return None
    picture, (axes,) = new_picture(6.6, 3.0)
    for name, title in CLASS_TITLES.items():
        chosen = values[known & (films.classes == name)]
        if not len(chosen):
            continue
        counts, _ = np.histogram(chosen, edges)
        axes.stairs(
            100 * counts / len(chosen), edges, color=class_colour(name), linewidth=2,
            label=f'{title} ({len(chosen):,})',
        )  # fmt: skip
    axes.set(xlabel=xlabel, ylabel='films of the class, %', xlim=(edges[0], edges[-1]))
    axes.set_ylim(bottom=0)
    legend(axes)
    return picture
