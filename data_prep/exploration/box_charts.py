"""Pictures of the boxes: how many, how large, of which shape, and where they lie."""

from __future__ import annotations

import dataclasses

import numpy as np
from matplotlib.figure import Figure

from data_prep.exploration.figures import covered_shares
from data_prep.exploration.films import CLASS_TITLES, ExploredFilms
from data_prep.exploration.label_charts import class_colour
from pneumo_jax.pages.style import COLOURS, legend, new_picture

__all__ = [
    'HeatMap',
    'domain_title',
    'draw_box_counts',
    'draw_box_sizes',
    'draw_heat_maps',
    'heat_maps',
]

# Cells a side of a heat map.
_CELLS = 64
_BINS = 28
_LINES = ('-', '--', ':')


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """Where the boxes of a class lie, in a label domain.

    Attributes:
        class_name: a key of ``CLASS_TITLES``.
        domain: the label domain.
        films: how many films with boxes, of known size.
        shares: float64 [64,64], the share of these films with a box over the middle of each cell;
            film sides are brought to the same length.
    """

    class_name: str
    domain: str
    films: int
    shares: np.ndarray


def heat_maps(films: ExploredFilms) -> list[HeatMap]:
    """A map for each class and label domain that has boxes on films of known size."""
    sums: dict[tuple[str, str], list] = {}
    middles = (np.arange(_CELLS) + 0.5) / _CELLS
    classes = films.classes
    for i, label in enumerate(films.labels):
        height, width = films.sizes[i]
        if not len(label.boxes) or not height:
            continue
        x, y, w, h = (label.boxes / (width, height, width, height)).T[:, :, None]
        rows, columns = (y <= middles) & (middles < y + h), (x <= middles) & (middles < x + w)
        covered = (rows[:, :, None] & columns[:, None, :]).any(axis=0)
        entry = sums.setdefault((str(classes[i]), label.label_domain), [0, np.zeros((_CELLS,) * 2)])
        entry[0] += 1
        entry[1] += covered
    return [
        HeatMap(class_name, domain, count, total / count)
        for (class_name, domain), (count, total) in sorted(sums.items())
    ]


def draw_box_counts(films: ExploredFilms) -> Figure | None:
    """How many boxes films with an opacity have."""
    counts = np.array([len(label.boxes) for label in films.labels])[films.positive]
    if not counts.any():
        return None
    numbers = np.bincount(counts)
    picture, (axes,) = new_picture(4.4, 2.8)
    bars = axes.bar(range(len(numbers)), numbers, width=0.7, color=class_colour('lung_opacity'))
    told = [f'{n:,}\n{100 * n / len(counts):.1f} %' if n else '' for n in numbers]
    axes.bar_label(bars, told, fontsize=8.5, padding=2)
    first = 0 if numbers[0] else 1
    axes.set_xticks(range(first, len(numbers)))
    axes.set(
        xlabel='boxes on the film', ylabel='films with an opacity',
        xlim=(first - 0.6, len(numbers) - 0.4), ylim=(0, 1.25 * numbers.max()),
    )  # fmt: skip
    axes.grid(visible=False, axis='x')
    picture.set_label(f'The {len(counts):,} films with an opacity by how many boxes they have.')
    return picture


def draw_box_sizes(films: ExploredFilms) -> Figure | None:
    """Width, height, shape, and what the boxes of a film cover, by label domain."""
    boxes, domains = [], []
    for label in films.labels:
        boxes.extend(label.boxes)
        domains.extend([label.label_domain] * len(label.boxes))
    if not boxes:
        return None
    width, height = np.array(boxes)[:, 2:].T
    covered = 100 * covered_shares(films)
    with_boxes = np.array([len(label.boxes) > 0 for label in films.labels]) & np.isfinite(covered)
    film_domains = films.column('label_domain')[with_boxes]
    longest = max(np.quantile(width, 0.998), np.quantile(height, 0.998))
    panels = {
        'width of a box, px': (width, domains, np.linspace(0, longest, _BINS)),
        'height of a box, px': (height, domains, np.linspace(0, longest, _BINS)),
        'height by width of a box': (height / width, domains, np.geomspace(0.25, 6, _BINS)),
    }
    if with_boxes.any():
        shares = covered[with_boxes]
        edges = np.linspace(0, np.quantile(shares, 0.998), _BINS)
        panels['covered share of the film, %'] = (shares, film_domains, edges)
    picture, axes = new_picture(9.2, 4.6, columns=2, rows=-(-len(panels) // 2))
    for panel, (title, (values, of, edges)) in zip(axes, panels.items(), strict=False):
        what = 'films with boxes, %' if 'film,' in title else 'boxes, %'
        _by_domain(panel, values.clip(edges[0], edges[-1]), np.array(of), edges)
        panel.set(xlabel=title, ylabel=what)
        panel.set_ylim(bottom=0)
    for unused in axes[len(panels) :]:
        unused.set_visible(False)
    axes[2].set_xscale('log', base=2)
    axes[2].set_xticks([0.25, 0.5, 1, 2, 4], ['1/4', '1/2', '1', '2', '4'])
    axes[2].axvline(1, color=COLOURS['rest'], linewidth=1, linestyle=':')
    legend(axes[0])
    picture.set_label(
        f'Sizes and shapes of {len(boxes):,} boxes, and the share of a film that its boxes cover; '
        'the outermost columns hold all beyond them.'
    )
    return picture


def draw_heat_maps(maps: list[HeatMap]) -> Figure | None:
    """Each map as it is, mirrored, and the difference of the two."""
    if not maps:
        return None
    picture, axes = new_picture(9.2, 3.1 * len(maps), columns=3, rows=len(maps))
    for i, heat in enumerate(maps):
        mirrored = heat.shares[:, ::-1]
        left, middle, right = axes[3 * i : 3 * i + 3]
        most = 100 * heat.shares.max()
        title = f'{CLASS_TITLES[heat.class_name]}{_of_domain(heat.domain)}, {heat.films:,} films'
        for panel, shares, name in ((left, heat.shares, title), (middle, mirrored, 'mirrored')):
            shown = _show(panel, 100 * shares, name, cmap='cividis', vmin=0, vmax=most)
        picture.colorbar(shown, ax=[left, middle], label='films with a box here, %', shrink=0.85)
        difference = 100 * (heat.shares - mirrored)
        reach = max(np.abs(difference).max(), 1e-9)
        shown = _show(
            right, difference, 'as it is minus mirrored', cmap='PuOr_r', vmin=-reach, vmax=reach
        )
        picture.colorbar(shown, ax=right, label='percentage points', shrink=0.85)
    picture.set_label(
        'Where boxes lie on the film, for each class and label domain: the share of films with a '
        'box at each place, the same mirrored left and right, and the difference.'
    )
    return picture


def domain_title(domain: str) -> str:
    """A label domain for readers."""
    return {'unknown': 'all boxes'}.get(domain, domain.replace('_', ' '))


def _by_domain(axes, values, domains, edges):
    for line, domain in zip(_LINES, np.unique(domains), strict=False):
        chosen = values[domains == domain]
        counts, _ = np.histogram(chosen, edges)
        axes.stairs(
            100 * counts / len(chosen), edges, color=class_colour('lung_opacity'), linewidth=2,
            linestyle=line, label=f'{domain_title(domain)} ({len(chosen):,})',
        )  # fmt: skip
        # The median, so that domains can be compared.
        axes.axvline(np.median(chosen), color=COLOURS['soft'], linewidth=1, linestyle=line)


def _of_domain(domain):
    return '' if domain == 'unknown' else f', {domain.replace("_", " ")}'


def _show(axes, values, title, **colours):
    shown = axes.imshow(values, extent=(0, 100, 100, 0), interpolation='nearest', **colours)
    axes.set_title(title, fontsize=9)
    ticks = (0, 50, 100)
    axes.set(xlabel='% of the width', ylabel='% of the height', xticks=ticks, yticks=ticks)
    axes.grid(visible=False)
    return shown
