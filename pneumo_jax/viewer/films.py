"""What the page is told of the films: one JSON with a column for each fact."""

from __future__ import annotations

import json
import math
import pathlib

import numpy as np

from pneumo_jax.data.example import CLASS_NAMES, OLDEST_AGE
from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.evaluation.names import results_name
from pneumo_jax.evaluation.output import Evaluation, read_evaluation
from pneumo_jax.metrics.classification import auroc

__all__ = ['page_data', 'read_shown']


def read_shown(workdir: str | pathlib.Path, split: str) -> tuple[Evaluation, list[str]]:
    """An evaluation, and the messages of its warnings.

    Raises:
        InputError: if the folder has no evaluation of the split, or a damaged one.
    """
    workdir = pathlib.Path(workdir)
    path = workdir / results_name(split)
    if not path.exists():
        flag = '' if split == 'test' else f' --split={split}'
        raise InputError(
            f'no {path.name} in {workdir}: run python -m pneumo_jax.evaluate '
            f'--workdir={workdir}{flag} first, or give the folder that it wrote to'
        )
    evaluation = read_evaluation(workdir, split)
    try:
        warnings = json.loads(path.read_text(encoding='utf-8'))['warnings']
        return evaluation, [str(warning['message']) for warning in warnings]
    except (KeyError, TypeError) as error:
        raise InputError(f'{path} is damaged ({error!r}): run pneumo_jax.evaluate anew') from error


def page_data(
    evaluation: Evaluation, *, name: str, warnings: list[str], notices: list[str], square: bool
) -> bytes:
    """The JSON of ``/data.json``, ASCII; numbers come back as they were, to the bit.

    Persons have no number in it.

    Args:
        evaluation: that is shown.
        name: of the run.
        warnings: of its results.
        notices: what there is to say of the pictures.
        square: whether pictures are padded to squares, as those of shards.

    Raises:
        InputError: if a number of the table is not finite.
    """
    try:
        content = _content(evaluation, name, warnings, notices, square)
        return json.dumps(content, separators=(',', ':'), allow_nan=False).encode('ascii')
    except ValueError as error:
        raise InputError(
            f'the table of films is damaged ({error}): run pneumo_jax.evaluate anew'
        ) from error


def _content(evaluation, name, warnings, notices, square):
    films, about = evaluation.films, evaluation.about
    return {
        'name': name,
        'model': about['model'],
        'split': about['split'],
        'protocol': about['protocol'],
        'warnings': warnings,
        'notices': notices,
        'square': square,
        'class_names': CLASS_NAMES,
        'oldest_age': OLDEST_AGE,
        'thresholds': {
            field: getattr(evaluation.thresholds, field)
            for field in ('film', 'box', 'film_chosen', 'box_chosen')
        },
        'auroc': _number(auroc(films.labels, films.probs)),
        'films': _columns(films, evaluation.thresholds),
    }


def _columns(films: ScoredFilms, thresholds) -> dict:
    return {
        'id': films.ids,
        'label': films.labels.tolist(),
        'probability': films.probs.tolist(),
        'view': films.view_position.tolist(),
        'sex': films.sex.tolist(),
        'age': np.minimum(films.age, OLDEST_AGE).tolist(),
        'class_id': films.class_id.tolist(),
        'label_domain': films.label_domain.tolist(),
        'height': films.film_sizes[:, 0].tolist(),
        'width': films.film_sizes[:, 1].tolist(),
        'extent': [_number(share) for share in films.extent['lungs']],
        'true_extent': [_number(share) for share in films.true_extent['lungs']],
        'truths': [boxes.tolist() for boxes in films.truths],
        # Of the size in which they are drawn, the surest first.
        'boxes': [thresholds.resized(boxes).tolist() for boxes in films.boxes],
        'scores': [scores.tolist() for scores in films.box_scores],
    }


def _number(value):
    """A float for JSON, which has no NaN."""
    return float(value) if math.isfinite(value) else None
