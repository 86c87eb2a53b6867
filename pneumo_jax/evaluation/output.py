"""The files of an evaluation in its folder: tables, results, pictures and the page."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable

import numpy as np

from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.chosen import CHOSEN_NAME, choose, write_chosen
from pneumo_jax.evaluation.film_table import read_films, write_films
from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.evaluation.names import GRID_NAME, page_name, pictures_name, results_name
from pneumo_jax.evaluation.page import evaluation_page
from pneumo_jax.evaluation.page.film_grid import GRID_COLUMNS, film_grid
from pneumo_jax.evaluation.pictures import draw_pictures
from pneumo_jax.evaluation.results import SCHEMA, Settings, results
from pneumo_jax.files import write_atomically, write_json
from pneumo_jax.pages.films import film_sheet
from pneumo_jax.pages.pictures import save_pictures
from pneumo_jax.thresholds import Thresholds

__all__ = ['Evaluation', 'read_evaluation', 'write_evaluation']

_VALIDATION_NAME = 'validation-films.csv'
_SITE_NAME = 'recalibration-films.csv'
# Fields of results.json that say what was evaluated.
_ABOUT = (
    'split',
    'protocol',
    'persons_apart',
    'data_fingerprint',
    'num_rejected',
    'model',
    'changes',
    'members',
)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Everything that figures are made of.

    Attributes:
        about: what was evaluated, the first fields of results.json.
        overlap: fields of ``overlap.Overlap``; None where nothing was compared.
        thresholds: for films and boxes.
        films: that are judged.
        validation: that numbers are chosen on; None where they are not at hand.
        site: labelled films of another site to recalibrate on, or None.
    """

    about: dict
    overlap: dict | None
    thresholds: Thresholds
    films: ScoredFilms
    validation: ScoredFilms | None
    site: ScoredFilms | None = None


def write_evaluation(
    folder: pathlib.Path,
    evaluation: Evaluation,
    *,
    wanted_error: float,
    settings: Settings,
    film_picture: Callable[[int], np.ndarray] | None = None,
) -> dict:
    """Makes all figures and writes all files; returns the content of results.json.

    Args:
        folder: to write to; what an earlier evaluation of the split wrote is replaced.
        evaluation: what the figures are made of.
        wanted_error: that abstaining is to reach.
        settings: of the figures.
        film_picture: gives the standard picture uint8 [S,S] of a film by its index; None where
            they are not at hand, and no films are shown.
    """
    split, thresholds = evaluation.about['split'], evaluation.thresholds
    chosen = choose(evaluation.validation, thresholds, wanted_error=wanted_error)
    write_films(folder / f'films-{split}.csv', evaluation.films, thresholds, chosen)
    if evaluation.validation is not None:
        write_films(folder / _VALIDATION_NAME, evaluation.validation, thresholds, chosen)
        members = [member['params_sha256'] for member in evaluation.about['members']]
        # What was chosen under other settings is not for the models as they are.
        write_chosen(folder / CHOSEN_NAME, chosen, [*members, *evaluation.about['changes']])
    if evaluation.site is not None:
        write_films(folder / _SITE_NAME, evaluation.site, thresholds, chosen)
    content = results(
        evaluation.films,
        chosen,
        about=evaluation.about,
        overlap=evaluation.overlap,
        site=evaluation.site,
        settings=settings,
    )
    _write_pictures(folder, content, evaluation, film_picture)
    write_json(folder / results_name(split), content)
    return content


def read_evaluation(folder: pathlib.Path, split: str) -> Evaluation:
    """What ``write_evaluation`` wrote, to make the figures anew without a model.

    Raises:
        InputError: if there is no evaluation of the split, or it is damaged.
    """
    path = folder / results_name(split)
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if content.get('schema') != SCHEMA:
            raise InputError(f'{path} is of another version: run pneumo_jax.evaluate anew')
        evaluation = Evaluation(
            about={name: content[name] for name in _ABOUT},
            overlap=content['overlap'],
            thresholds=Thresholds(**content['thresholds']),
            films=read_films(folder / f'films-{split}.csv'),
            validation=_read_if_there(folder / _VALIDATION_NAME),
            site=_read_if_there(folder / _SITE_NAME) if 'recalibration' in content else None,
        )
    except OSError as error:
        raise InputError(
            f'{path} cannot be read ({error.strerror}): give a folder that pneumo_jax.evaluate '
            f'wrote for split {split!r}'
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path} is damaged ({error!r}): run pneumo_jax.evaluate anew') from error
    return evaluation


def _read_if_there(path):
    return read_films(path) if path.exists() else None


def _write_pictures(folder, content, evaluation, film_picture):
    split = evaluation.about['split']
    pictures_dir = folder / pictures_name(split)
    pictures_dir.mkdir(exist_ok=True)
    pictures = draw_pictures(content, evaluation.films, evaluation.thresholds)
    save_pictures(pictures, pictures_dir)
    grid = []
    if film_picture is not None:
        grid = film_grid(evaluation.films, evaluation.thresholds, film_picture)
        film_sheet(grid, columns=GRID_COLUMNS).save(pictures_dir / GRID_NAME, quality=90)
    page = evaluation_page(content, pictures, grid)
    write_atomically(folder / page_name(split), page)
