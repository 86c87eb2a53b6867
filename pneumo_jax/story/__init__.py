"""The story of a run: everything its workdir tells, on one page, and its model card."""

from __future__ import annotations

import pathlib

from pneumo_jax.evaluation.pictures import draw_pictures
from pneumo_jax.evaluation.text import figure_text, figure_title
from pneumo_jax.files import write_atomically, write_json
from pneumo_jax.pages.pictures import save_pictures
from pneumo_jax.story.card import card_markdown, card_parts
from pneumo_jax.story.card_facts import HEAD_FIGURES, card_facts
from pneumo_jax.story.curves import draw_curves
from pneumo_jax.story.facts import Story, read_story
from pneumo_jax.story.films import error_sheet, grid_of_story
from pneumo_jax.story.page import story_page, story_sentence

__all__ = ['CARD_JSON_NAME', 'PAGE_NAME', 'read_story', 'story_text', 'write_story']

PAGE_NAME = 'report.html'
CARD_NAME = 'model_card.md'
CARD_JSON_NAME = 'model_card.json'
_PICTURES_NAME = 'pictures-report'


def write_story(story: Story, folder: pathlib.Path) -> None:
    """Writes the page, the model card (Markdown and JSON) and the learning curves as PNG.

    Args:
        story: of ``read_story``.
        folder: to write to; what an earlier report left there is replaced.

    Raises:
        InputError: for a damaged picture of an evaluation.
    """
    evaluation = story.evaluation
    facts = card_facts(story)
    card = card_parts(facts)
    curves = draw_curves(story.runs, crossed=story.crossed)
    pictures, grid, sheet = {}, [], None
    if evaluation is not None:
        pictures = draw_pictures(evaluation.results, evaluation.films, evaluation.thresholds)
        grid = grid_of_story(story)
        sheet = None if grid else error_sheet(story)
    page = story_page(story, facts, card, curves=curves, pictures=pictures, grid=grid, sheet=sheet)
    _replace_pictures(folder / _PICTURES_NAME, curves)
    write_json(
        folder / CARD_JSON_NAME,
        facts | {'card': {part.title: list(part.sentences) for part in card}},
    )
    write_atomically(folder / CARD_NAME, card_markdown(facts, card))
    write_atomically(folder / PAGE_NAME, page)


def story_text(story: Story) -> str:
    """What a run is, and its head figures with their intervals, in a few lines."""
    lines = [f'{story.name}: {story_sentence(story)}']
    results = story.results
    if results is not None:
        lines += [f'WARNING: {warning["message"]}' for warning in results['warnings']]
        evaluation = card_facts(story)['evaluation']
        for _, name, baseline in HEAD_FIGURES:
            text = f'{figure_title(name):<26}{figure_text(evaluation["figures"][name])}'
            if baseline:
                told = figure_text(evaluation['baselines'].get(baseline))
                text = f'{text:<54}{figure_title(baseline)}: {told}'
            lines.append(text)
    # The name of a folder may be no valid text, which no terminal takes.
    return '\n'.join(lines).encode('utf-8', 'backslashreplace').decode('utf-8')


def _replace_pictures(folder, pictures):
    folder.mkdir(exist_ok=True)
    for path in folder.glob('curve_*.png'):
        path.unlink()
    save_pictures(pictures, folder)
