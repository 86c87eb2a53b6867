"""What is chosen on validation films, so that nothing is chosen on those that are judged."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.extent import ExtentReference, fit_reference
from pneumo_jax.files import write_json
from pneumo_jax.metrics.calibration import fit_temperature
from pneumo_jax.metrics.classification import youden_threshold
from pneumo_jax.metrics.operating import abstention_region, threshold_at_sensitivity
from pneumo_jax.thresholds import Thresholds, thresholds_of

__all__ = ['CHOSEN_NAME', 'Chosen', 'choose', 'choose_thresholds', 'read_chosen', 'write_chosen']

CHOSEN_NAME = 'calibration.json'

# The sensitivities at which operating points are chosen.
_SENSITIVITIES = (0.90, 0.95)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Numbers chosen on validation films; NaN where they could not be.

    Attributes:
        num_films: how many films there were.
        num_positive: those with an opacity.
        thresholds: for films and boxes.
        temperature: divides the logit of a film's probability (``calibration.fit_temperature``).
        operating_points: name -> threshold of the film's probability: ``youden``, and
            ``sensitivity_0.90``, ``sensitivity_0.95``.
        wanted_error: that abstaining is to reach.
        abstention: from the first number on up to below the second a film gets no answer.
        extent: of the opacity extents of these films.
    """

    num_films: int
    num_positive: int
    thresholds: Thresholds
    temperature: float
    operating_points: dict[str, float]
    wanted_error: float
    abstention: tuple[float, float]
    extent: ExtentReference


def choose(films: ScoredFilms | None, thresholds: Thresholds, *, wanted_error: float) -> Chosen:
    """Chooses on films of validation.

    Args:
        films: of validation; without them nothing can be chosen.
        thresholds: for films and boxes, chosen on the same films.
        wanted_error: share of answered films that may be called wrong.
    """
    points = ['youden', *(f'sensitivity_{wanted:.2f}' for wanted in _SENSITIVITIES)]
    if films is None:
        nothing = np.zeros(0)
        return Chosen(
            num_films=0,
            num_positive=0,
            thresholds=thresholds,
            temperature=math.nan,
            operating_points=dict.fromkeys(points, math.nan),
            wanted_error=wanted_error,
            abstention=(math.nan, math.nan),
            extent=fit_reference(nothing, nothing, nothing),
        )
    labels, probs = films.labels, films.probs
    cuts = [youden_threshold(labels, probs)]
    cuts += [threshold_at_sensitivity(labels, probs, wanted) for wanted in _SENSITIVITIES]
    known = films.boxes_known
    return Chosen(
        num_films=len(films),
        num_positive=int(labels.sum()),
        thresholds=thresholds,
        temperature=fit_temperature(labels, probs),
        operating_points=dict(zip(points, cuts, strict=True)),
        wanted_error=wanted_error,
        abstention=abstention_region(labels, probs, wanted_error, thresholds.film),
        extent=fit_reference(
            films.extent['lungs'][known], films.true_extent['lungs'][known], labels[known]
        ),
    )


def choose_thresholds(films: ScoredFilms, *, learn_shrink: bool = False) -> Thresholds:
    """Thresholds for films and boxes, where no checkpoint has them: of an ensemble.

    Args:
        films: of validation.
        learn_shrink: also by how much boxes are shrunk.
    """
    known = films.select(films.boxes_known)
    located = known.truths, known.boxes, known.box_scores
    if not any(map(len, known.truths)):
        located = [], [], []
    return thresholds_of(films.labels, films.probs, located, learn_shrink=learn_shrink)


def write_chosen(path: pathlib.Path, chosen: Chosen, members: Sequence[str]) -> None:
    """Writes the numbers.

    Args:
        path: of the file.
        chosen: the numbers.
        members: SHA-256 of the parameters of each model whose answers they were chosen on, and
            the changes of settings under which it gave them.
    """
    content = dataclasses.asdict(chosen) | {'extent': chosen.extent.to_json()}
    write_json(path, {'members': sorted(members)} | _with_null(content))


def read_chosen(path: pathlib.Path, members: Sequence[str]) -> Chosen | None:
    """The numbers that ``write_chosen`` wrote for the same models; None for others, or no file.

    Raises:
        InputError: if the file is damaged.
    """
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if content.pop('members') != sorted(members):
            return None
        return Chosen(
            num_films=content['num_films'],
            num_positive=content['num_positive'],
            thresholds=Thresholds(**content['thresholds']),
            temperature=_number(content['temperature']),
            operating_points={k: _number(v) for k, v in content['operating_points'].items()},
            wanted_error=content['wanted_error'],
            abstention=tuple(map(_number, content['abstention'])),
            extent=ExtentReference.from_json(content['extent']),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f'{path} is damaged ({error!r}): delete it and run pneumo_jax.evaluate anew'
        ) from error


def _with_null(value):
    """NaN, which JSON lacks, as None."""
    if isinstance(value, dict):
        return {name: _with_null(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_with_null(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _number(value):
    return math.nan if value is None else value
