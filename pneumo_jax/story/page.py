"""The story of a run as one page that needs no other file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree

from matplotlib.figure import Figure
from PIL import Image

from pneumo_jax.evaluation.names import NOTICE, page_name
from pneumo_jax.evaluation.page import evaluation_sections, figure_tile
from pneumo_jax.evaluation.page.elements import STYLE
from pneumo_jax.evaluation.page.making import film_examples, making
from pneumo_jax.evaluation.text import figure_text, figure_title, part_of
from pneumo_jax.pages.films import FilmRow
from pneumo_jax.pages.parts import element, note, number, page, percent, section, table, tiles
from pneumo_jax.pages.pictures import film_figure, reading
from pneumo_jax.story import sections
from pneumo_jax.story.card import FIGURES_HEADER, PHANTOMS, CardPart, is_of_phantoms, stale_texts
from pneumo_jax.story.curves import course_text
from pneumo_jax.story.facts import Story
from pneumo_jax.story.films import ERROR_HEADER, error_rows
from pneumo_jax.story.wording import duration_text, listed

__all__ = ['story_page', 'story_sentence']

_TILES = (
    ('film', 'auroc', 'view_alone_auroc'),
    ('boxes', 'challenge_map', 'no_box_challenge_map'),
    ('film', 'accuracy', 'all_negative_accuracy'),
)

# Folds whose best epochs are listed.
_MOST_BESTS = 5

_STYLE = """
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 20px; font-size: 14px; }
nav a { color: var(--main); text-decoration: none; }
nav a:hover, nav a:focus { text-decoration: underline; }
.tiles { grid-template-columns: repeat(3, 1fr); }
h2.part { font-size: 22px; margin: 34px 0 6px; }
h2.part + .soft { margin: 0 0 14px; }
.charts.one { columns: auto; margin-top: 22px; }
.charts.one .chart { max-width: 640px; }
.facts th:first-child { width: 22%; }
.facts td + .text { overflow-wrap: anywhere; }
.facts td:first-child { overflow-wrap: normal; min-width: 92px; }
.differs td:nth-child(2) { font-weight: 600; }
.differs td { background: var(--notice); }
.differs td, .unchanged td { overflow-wrap: anywhere; }
.differs td:first-child { padding-left: 8px; box-shadow: inset 3px 0 var(--edge); }
.unchanged { columns: 2 300px; column-gap: 36px; }
.unchanged h3 { break-after: avoid; }
.errors table { font-size: 13px; }
.errors td:nth-child(2) { white-space: nowrap; }
.errors th:first-child { width: 34%; }
.sheet figure { margin: 14px 0 0; }
.sheet img { width: 100%; height: auto; border-radius: 4px; }
.card ul { margin: 0; padding-left: 20px; max-width: 85ch; overflow-wrap: anywhere; }
.card li { margin: 0 0 4px; }
@media (max-width: 640px) {
  .tiles { grid-template-columns: repeat(2, 1fr); }
  .splits td, .splits th { white-space: nowrap; }
}
@media print {
  nav, details:not([open]) { display: none; }
  .chart, .legend { font-size: 10.5px; }
  .card li { font-size: 10.5px; }
  .tiles { grid-template-columns: repeat(3, 1fr); }
}
"""


def story_page(
    story: Story,
    facts: Mapping,
    card: Sequence[CardPart],
    *,
    curves: Mapping[str, Figure],
    pictures: Mapping[str, Figure],
    grid: Sequence[FilmRow],
    sheet: Image.Image | None,
) -> str:
    """The page, as HTML that refers to nothing outside it and runs nothing; texts are escaped.

    Args:
        story: that it tells.
        facts: of ``card_facts.card_facts``.
        card: of ``card.card_parts``.
        curves: of ``curves.draw_curves``.
        pictures: of the evaluation, of ``evaluation.pictures.draw_pictures``.
        grid: films to look at, of ``films.grid_of_story``.
        sheet: what stands in for them where they are not at hand, or None.
    """
    content = list(_content(story, facts, card, curves, pictures, grid, sheet))
    return page(f'Run {story.name}', content, footer=NOTICE, style=STYLE + _STYLE)


def story_sentence(story: Story) -> str:
    """What a run is and what it reached, in a few sentences."""
    runs, results = story.runs, story.results
    told = []
    if runs:
        config = runs[0].config.model
        what = f'{len(runs)} folds of {config.name}' if story.crossed else config.name
        counts = {run.manifest['splits']['train']['films'] for run in runs if run.manifest}
        films = f' from {listed(map(number, sorted(counts)))} films' if counts else ''
        told.append(f'{what} learned{films} ({config.localizer}).')
        if not story.crossed:
            told.append(course_text(runs[0].course))
    if results is not None:
        persons = results.get('num_persons')
        of = f' of {number(persons)} persons' if persons else ''
        auroc, map_ = (
            figure_text(_without_reason(part_of(results, group).get(name)))
            for group, name in (('film', 'auroc'), ('boxes', 'challenge_map'))
        )
        alone = figure_text(_without_reason(part_of(results, 'baselines').get('view_alone_auroc')))
        what = '' if runs else f', {results["model"]}'
        told.append(
            f'On {number(results["num_films"])} films{of} of the split {story.split}{what}: AUROC '
            f'{auroc}, where the view alone reaches {alone}; challenge mAP {map_}.'
        )
    elif runs:
        told.append(f'It was not evaluated on the split {story.split}.')
    return ' '.join(told)


def _content(story, facts, card, curves, pictures, grid, sheet) -> Iterator[ElementTree.Element]:
    yield element('p', NOTICE, class_='soft', id='notice')
    if warnings := _warnings(story, facts):
        sentences = [element('li', message) for message in warnings]
        yield section('warnings', 'Please read', element('ul', *sentences), class_='notice')
    yield element('p', story_sentence(story), class_='sentence', id='sentence')
    yield tiles(_tiles(story))
    parts = list(_parts(story, card, curves, pictures, grid, sheet))
    links = [
        element('a', _heading(part), href=f'#{part.get("id")}')
        for part in parts
        if part.get('id') and part.get('class') != 'detail'
    ]
    yield element('nav', *links, aria_label='Sections')
    yield from parts


def _parts(story, card, curves, pictures, grid, sheet) -> Iterator[ElementTree.Element]:
    yield sections.data(story)
    if story.runs:
        yield sections.model(story)
        yield sections.config_section(story)
        yield sections.learning(story, curves)
    yield from _evaluation(story, pictures)
    if story.evaluation is not None:
        yield _errors(story, grid, sheet)
        made = making(story.results)
        made.set('class', 'detail')
        yield made
    if story.runs:
        yield sections.environment(story)
    yield _card(card)


def _warnings(story, facts) -> list[str]:
    """Those of the evaluation first."""
    results = story.results
    told = [] if results is None else [warning['message'] for warning in results['warnings']]
    if is_of_phantoms(facts):
        told.append(PHANTOMS)
    told += stale_texts(facts)
    told += [f'{run.name}: {course_text(run.course)}' for run in story.runs if _is_open(run.course)]
    return told


def _is_open(course):
    return course.ending == 'open'


def _tiles(story) -> Iterator[tuple[str, ...]]:
    results, courses = story.results, [run.course for run in story.runs]
    if results is not None:
        for head in _TILES:
            yield figure_tile(results, *head)
        persons = results.get('num_persons')
        yield (
            percent(results.get('prevalence')),
            'prevalence',
            f'{number(results["num_positive"])} of {number(results["num_films"])} films',
            f'{number(persons)} persons' if persons else 'persons not known',
        )
    if not courses:
        return
    bests = [course.best.best_epoch or '-' for course in courses]
    told = ', '.join(map(str, bests))
    # Of many folds a list is no head figure.
    if len(bests) > _MOST_BESTS and '-' not in bests:
        told = f'{min(bests)} to {max(bests)}'
    epochs = sorted({course.epochs[-1].number if course.epochs else 0 for course in courses})
    watched = figure_title(courses[0].rule.metric)
    endings = {'open': 'not at its end', 'stopped_early': 'stopped early'}
    ending = dict.fromkeys(endings.get(course.ending, 'all epochs done') for course in courses)
    yield (
        f'{told} of {" or ".join(map(str, epochs))}',
        'best epoch' if len(courses) == 1 else 'best epochs of the folds',
        f'by the validation figure {watched}',
        '; '.join(ending),
    )
    seconds = [course.seconds for course in courses]
    if None not in seconds:
        devices = dict.fromkeys(
            f'{run.environment.get("num_devices", "")} x {run.environment.get("device", "unknown")}'
            for run in story.runs
        )
        yield duration_text(sum(seconds)), 'training time', f'on {listed(devices)}'


def _evaluation(story, pictures) -> Iterator[ElementTree.Element]:
    title = f'Evaluation on the split {story.split}'
    yield element('h2', title, class_='part', id='evaluation')
    if story.evaluation is None:
        yield element('div', note(_how_to_evaluate(story)))
        return
    results = story.results
    others = ''
    if story.other_splits:
        others = f' There are evaluations of {listed(story.other_splits)} too.'
    yield note(
        f'{results["model"]} on {number(results["num_films"])} films. Each figure has its 95 % '
        f'interval, and beside it what a trivial answer reaches. {page_name(story.split)} shows '
        f'the same.{others}'
    )
    for made in evaluation_sections(results, pictures):
        made.set('class', 'detail')
        yield made


def _how_to_evaluate(story):
    if story.crossed:
        return (
            'There is no evaluation of the folds together: the command pneumo_jax.cross_validate '
            'that began them goes on, and ends with it.'
        )
    return (
        f'There is none yet. python -m pneumo_jax.evaluate --workdir={story.name} '
        f'--split={story.split} makes it; then make this report anew.'
    )


def _errors(story, grid, sheet):
    rows = error_rows(story.evaluation)
    parts = []
    if grid:
        shown = film_examples(grid)
        # What stands below its heading.
        parts += list(shown)[1:]
    elif sheet is not None:
        parts.append(
            note(
                'As evaluation drew them, truth in red and prediction in blue; the shards are not '
                'at hand.'
            )
        )
        parts.append(element('div', film_figure(sheet, 'the best and the worst'), class_='sheet'))
    else:
        parts.append(
            note('No films are shown: neither the shards nor pictures of theirs are at hand.')
        )
    parts.append(element('h3', 'The gravest errors of the film level'))
    if rows:
        made = table(ERROR_HEADER, rows)
        made.set('class', f'{made.get("class")} errors')
        parts += [
            made,
            note('The surest first; at most ten missed films, and ten false alarms.'),
        ]
    else:
        parts.append(note('No film was called wrong.'))
    return section(
        'errors',
        'Error cases',
        reading('Look at what it gets wrong before believing what it gets right.'),
        *parts,
    )


def _card(card: Sequence[CardPart]):
    parts = []
    for part in card:
        if not part.sentences and not part.rows:
            continue
        parts.append(element('h3', part.title))
        parts.append(element('ul', *(element('li', sentence) for sentence in part.sentences)))
        if part.rows:
            parts.append(table(FIGURES_HEADER, part.rows))
    return section(
        'card',
        'Model card',
        reading(
            'After Mitchell et al. 2019, "Model Cards for Model Reporting": what the files of the '
            'run bear out, and nothing else. It lies beside this page as model_card.md.'
        ),
        *parts,
        class_='card',
    )


def _heading(part):
    found = part if part.tag == 'h2' else part.find('h2')
    return found.text.partition(' on the split')[0]


def _without_reason(figure):
    return {name: (figure or {}).get(name) for name in ('value', 'low', 'high')}
