"""results.json as a page that a person can read: one file, without scripts, good offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree

from matplotlib.figure import Figure

from pneumo_jax.evaluation.page import sections
from pneumo_jax.evaluation.page.elements import STYLE
from pneumo_jax.evaluation.page.making import film_examples, making
from pneumo_jax.evaluation.page.strata import strata
from pneumo_jax.evaluation.pictures.forest import group_title
from pneumo_jax.evaluation.text import figure_title, interval_text, part_of, value_text
from pneumo_jax.pages.films import FilmRow
from pneumo_jax.pages.parts import element, note, number, page, percent, section, tiles

__all__ = ['evaluation_page', 'evaluation_sections', 'figure_tile']

# Of the head: group and name of a figure, and the baseline that it has to beat.
_HEAD = (
    ('film', 'auroc', 'view_alone_auroc'),
    ('film', 'auprc', 'prevalence'),
    ('film', 'sensitivity', None),
    ('film', 'specificity', None),
    ('film', 'accuracy', 'all_negative_accuracy'),
    ('boxes', 'challenge_map', 'no_box_challenge_map'),
    ('boxes', 'froc_sensitivity_at_0.5', None),
    ('mask', 'pixel_accuracy', 'all_background_pixel_accuracy'),
)

_SECTIONS = (
    sections.film_level,
    sections.calibration,
    sections.operating_points,
    sections.boxes,
    sections.mask,
    strata,
    sections.extent,
    sections.classes,
)


def evaluation_page(results: dict, pictures: Mapping[str, Figure], grid: Sequence[FilmRow]) -> str:
    """The page of an evaluation, as HTML that refers to nothing outside it; texts are escaped.

    Args:
        results: the content of results.json; any part of it may be missing or undefined.
        pictures: of ``pictures.draw_pictures``.
        grid: of ``film_grid.film_grid``.
    """
    return page(
        'Evaluation', _content(results, pictures, grid), footer=results['notice'], style=STYLE
    )


def evaluation_sections(
    results: dict, pictures: Mapping[str, Figure]
) -> Iterator[ElementTree.Element]:
    """What was found, film level first; arguments as of ``evaluation_page``."""
    for make in _SECTIONS:
        yield make(results, pictures)


def figure_tile(results: dict, group: str, name: str, baseline: str | None) -> tuple[str, ...]:
    """A figure for ``parts.tiles``, with its interval and what a trivial answer reaches.

    Args:
        results: the content of results.json.
        group: the part that the figure is in.
        name: of the figure.
        baseline: ``prevalence``, or the name of a figure of ``baselines``; None for none.
    """
    figure = part_of(results, group).get(name)
    lines = [figure_title(name)]
    if group == 'mask':
        lines[0] += ' of the mask'
    lines.append(interval_text(figure) or (figure or {}).get('undefined') or '')
    if baseline == 'prevalence':
        lines.append(f'prevalence: {results.get("prevalence") or 0:.3f}')
    elif baseline:
        told = value_text(part_of(results, 'baselines').get(baseline))
        lines.append(f'{figure_title(baseline)}: {told}')
    return (value_text(figure), *filter(None, lines))


def _content(results, pictures, grid) -> Iterator[ElementTree.Element]:
    yield element('p', results['notice'], class_='soft', id='notice')
    if results.get('warnings'):
        sentences = [element('li', warning['message']) for warning in results['warnings']]
        yield section('warnings', 'Please read', element('ul', *sentences), class_='notice')
    yield element('p', _sentence(results), class_='sentence', id='sentence')
    yield tiles(figure_tile(results, *head) for head in _HEAD)
    yield note(_interval_note(results))
    yield from evaluation_sections(results, pictures)
    yield film_examples(grid)
    yield making(results)


def _sentence(results):
    films, positive = results['num_films'], results.get('num_positive')
    persons, domains = results.get('num_persons'), part_of(results, 'label_domains')
    of = f' of {number(persons)} persons' if persons else ''
    told = 'some' if positive is None else number(positive)
    parts = [
        f'{results.get("model") or "A model"} on {number(films)} films{of} '
        f'(split {results.get("split") or "unknown"}); {told} of the films show a lung opacity '
        f'(prevalence {percent(results.get("prevalence"))}). '
        f'Protocol: {results.get("protocol") or "unknown"}. '
    ]
    if set(domains) - {'unknown'}:
        named = (f'{number(n)} {group_title(name)}' for name, n in domains.items())
        parts.append(f'Labels: {", ".join(named)}.')
    else:
        parts.append('Nothing is known of who read the films.')
    return ''.join(parts)


def _interval_note(results):
    intervals = part_of(results, 'intervals')
    level = percent(intervals.get('level', 0.95)).replace('.0 ', ' ')
    return (
        f'Under each figure stands its {level} interval, and what a trivial answer would reach. '
        'A figure means little without either.'
    )
