"""Films of an evaluation to look at, and the table of its gravest errors."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.data.shards import load_manifest
from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.comparison.evaluated import EvaluatedRun
from pneumo_jax.evaluation.names import GRID_NAME, pictures_name
from pneumo_jax.evaluation.page.film_grid import film_grid
from pneumo_jax.pages.films import FilmRow
from pneumo_jax.story.facts import Story

__all__ = ['ERROR_HEADER', 'error_rows', 'error_sheet', 'grid_of_story']

ERROR_HEADER = ('film', 'error', 'probability', 'truth', 'view', 'sex', 'age')

# Of each kind of error.
_MOST_ERRORS = 10
_CLASS_TRUTHS = {0: 'normal', 1: 'no opacity, not normal'}


def grid_of_story(story: Story) -> list[FilmRow]:
    """The best films and the worst, drawn from the shards; [] where these are not at hand."""
    evaluation = story.evaluation
    pictures = _film_pictures(story)
    if pictures is None:
        return []
    return film_grid(evaluation.films, evaluation.thresholds, pictures)


def error_sheet(story: Story) -> Image.Image | None:
    """The same as evaluation drew it, as one picture; None where there is none.

    Raises:
        InputError: for a damaged file.
    """
    path = story.folder / pictures_name(story.split) / GRID_NAME
    try:
        with Image.open(path) as picture:
            return picture.convert('RGB')
    except FileNotFoundError:
        return None
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(
            f'{path} is damaged ({error}): remove it, or run pneumo_jax.evaluate anew'
        ) from error


def error_rows(evaluation: EvaluatedRun) -> list[tuple[str, ...]]:
    """The films on which the model was most sure and wrong, at most ten of each kind."""
    films, threshold = evaluation.films, evaluation.thresholds.film
    called = films.probs >= threshold
    rows = []
    for error, wrong, order in (
        ('missed', (films.labels == 1) & ~called, films.probs),
        ('false alarm', (films.labels == 0) & called, -films.probs),
    ):
        worst = [i for i in np.argsort(order, kind='stable') if wrong[i]][:_MOST_ERRORS]
        rows += [(films.ids[i], error, *_told(films, i)) for i in worst]
    return rows


def _told(films, i):
    boxes = len(films.truths[i])
    truth = _CLASS_TRUTHS.get(int(films.class_id[i]), 'no opacity')
    if films.labels[i]:
        truth = f'opacity, {boxes} {"box" if boxes == 1 else "boxes"}' if boxes else 'opacity'
    age = str(films.age[i]) if films.age[i] >= 0 else '-'
    view, sex = films.view_position[i] or '-', films.sex[i] or '-'
    return f'{films.probs[i]:.3f}', truth, str(view), str(sex), age


def _film_pictures(story) -> Callable[[int], np.ndarray] | None:
    """Gives the standard picture of a film by its index; None unless all are at hand."""
    ids = story.evaluation.films.ids
    try:
        splits = [FilmSplit(folder, split) for folder, split in _shards(story)]
        places = {
            film: (split, i)
            for split in splits
            for i, (film,) in enumerate(split.columns(['patient_id']))
        }
    except InputError:
        return None
    if not all(film in places for film in ids):
        return None

    def picture(index):
        split, i = places[ids[index]]
        return split[i]['image'][:, :, 0]

    return picture


def _shards(story) -> Iterator[tuple[str | pathlib.Path, str]]:
    """Folders and splits of the shards that the evaluation is of."""
    fingerprint = story.results['data_fingerprint']
    for run in story.runs:
        # A cross-validation is of the test films of all its folds.
        if run.manifest and (story.crossed or run.data['fingerprint'] == fingerprint):
            yield run.config.data.dir, story.split
    own = story.folder / 'films'
    if not story.runs and own.is_dir() and load_manifest(own)['fingerprint'] == fingerprint:
        yield own, story.split
