"""What the files of an evaluation are called, and what stands in all of them."""

from __future__ import annotations

__all__ = ['GRID_NAME', 'NOTICE', 'page_name', 'pictures_name', 'results_name']

NOTICE = 'Research software, not a medical device: no figure here supports a clinical decision.'

# Of the best and the worst films, in the folder of pictures.
GRID_NAME = 'films.jpg'


def results_name(split: str) -> str:
    """``results.json``, for splits other than test ``results-<split>.json``."""
    return 'results.json' if split == 'test' else f'results-{split}.json'


def page_name(split: str) -> str:
    """``evaluation-<split>.html``."""
    return f'evaluation-{split}.html'


def pictures_name(split: str) -> str:
    """``pictures-<split>``, a folder."""
    return f'pictures-{split}'
