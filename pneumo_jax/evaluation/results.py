"""The content of results.json: all figures of a table of scored films, each with its interval."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from pneumo_jax.data.example import CLASS_NAMES
from pneumo_jax.evaluation.cautions import cautions
from pneumo_jax.evaluation.chosen import Chosen
from pneumo_jax.evaluation.extents import extent_figures
from pneumo_jax.evaluation.figures import (
    BoxFigures,
    calibration_figures,
    film_figures,
    mask_figures,
    view_figures,
)
from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.evaluation.names import NOTICE
from pneumo_jax.evaluation.operating_points import abstention, operating_points, recalibration
from pneumo_jax.evaluation.reasons import figures_json
from pneumo_jax.evaluation.strata import strata_figures
from pneumo_jax.metrics import classes
from pneumo_jax.metrics.calibration import reliability, scale
from pneumo_jax.metrics.classification import confusion
from pneumo_jax.metrics.intervals import LEVEL, Bootstrap, Figure, Share
from pneumo_jax.metrics.weights import weighted_sums

__all__ = ['SCHEMA', 'Settings', 'results']

SCHEMA = 2

_METHOD = (
    'bias-corrected and accelerated bootstrap (Efron 1987) over {unit}s, each with all its films, '
    "widened for few {unit}s by Student's t (Hesterberg 2015); thresholds, temperature and "
    'regions are those that validation chose, the same in every draw'
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a user may ask for.

    Attributes:
        prevalence: to which PPV and NPV are projected, or None.
        inclusive: an IoU on the challenge's threshold is a hit, as in some public code.
        num_draws: of the bootstrap.
    """

    prevalence: float | None = None
    inclusive: bool = False
    num_draws: int = 2000


def results(
    films: ScoredFilms,
    chosen: Chosen,
    *,
    about: Mapping,
    overlap: Mapping | None,
    site: ScoredFilms | None,
    settings: Settings,
) -> dict:
    """All figures of scored films; README and docs/evaluation.md describe them.

    Args:
        films: that are judged.
        chosen: on validation.
        about: what was evaluated: split, protocol, persons_apart, data_fingerprint, model, members
            and cautions of theirs.
        overlap: fields of ``overlap.Overlap``; None where nothing was compared.
        site: labelled films to recalibrate on, others than ``films``.
        settings: what the user asked for.
    """
    bootstrap = Bootstrap(films.persons, num_draws=settings.num_draws)
    thresholds = chosen.thresholds
    boxes = BoxFigures(films, thresholds, inclusive=settings.inclusive)
    content = {
        'schema': SCHEMA,
        'notice': NOTICE,
        'warnings': [],
        **about,
        'overlap': None if overlap is None else dict(overlap),
        'intervals': _intervals(films, bootstrap),
        **_counts(films),
        'thresholds': dataclasses.asdict(thresholds),
        'film': _film(films, thresholds.film, bootstrap),
        'calibration': _calibration(films, chosen, bootstrap),
        'classes': _classes(films, thresholds.film, bootstrap),
        **_located(films, boxes, bootstrap),
        'shortcut': {},
        'strata': strata_figures(films, boxes, thresholds.film, bootstrap, figures_json),
        'operating_points': operating_points(films, chosen, bootstrap, settings.prevalence),
        'abstention': abstention(films, chosen, bootstrap),
        'extent': extent_figures(films, chosen.extent, bootstrap),
    }
    views = figures_json(bootstrap.figures(lambda weights: view_figures(films, weights)))
    content['baselines'] |= {'view_alone_auroc': views.pop('view_alone_auroc')}
    content['shortcut'] = views
    content['boxes']['inclusive_iou'] = settings.inclusive
    if site is not None:
        content['recalibration'] = recalibration(films, site, thresholds.film, bootstrap)
    content['warnings'] = [*about.get('warnings', ()), *cautions(content, overlap)]
    return content


def _intervals(films, bootstrap):
    unit = 'person' if films.persons_known.any() else 'film'
    return {
        'level': LEVEL,
        'method': _METHOD.format(unit=unit),
        'draws': bootstrap.num_draws,
        'unit': unit,
        'num_units': bootstrap.num_persons,
    }


def _counts(films):
    known = films.persons[films.persons_known]
    return {
        'num_films': len(films),
        'num_positive': int(films.labels.sum()),
        'num_films_with_known_boxes': int(films.boxes_known.sum()),
        'num_persons': len(np.unique(known)) or None,
        'prevalence': float(films.labels.mean()),
        'label_domains': _count_values(films.label_domain),
        'class_counts': {
            name: int(np.sum(films.class_id == i)) for i, name in enumerate(CLASS_NAMES)
        }
        | {'unknown': int(np.sum(~films.class_known))},
    }


def _count_values(values):
    names, counts = np.unique(values, return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def _film(films, threshold, bootstrap):
    figures = bootstrap.figures(lambda weights: film_figures(films, threshold, weights))
    counts = confusion(films.labels, films.probs >= threshold)
    counted = {
        'true_positives': counts.tp,
        'false_positives': counts.fp,
        'false_negatives': counts.fn,
        'true_negatives': counts.tn,
    }
    return figures_json(figures) | {name: {'value': count} for name, count in counted.items()}


def _calibration(films, chosen, bootstrap):
    temperature = chosen.temperature
    known = math.isfinite(temperature)
    probs = {'before': films.probs} | ({'after': scale(films.probs, temperature)} if known else {})
    content = {
        'temperature': temperature if known else None,
        'num_films': chosen.num_films,
        'before': {},
        'after': {},
        'reliability': {'before': [], 'after': []},
    }
    for when, of in probs.items():
        figures = bootstrap.figures(
            lambda weights, of=of: calibration_figures(films.labels, of, weights)
        )
        content[when] = figures_json(figures)
        content['reliability'][when] = [_bin(found) for found in reliability(films.labels, of)]
    if not known:
        reason = (
            'validation has films of one class only, or scores that tell nothing'
            if chosen.num_films
            else 'no validation films are at hand'
        )
        content['undefined'] = reason
        content['after'] = figures_json(dict.fromkeys(content['before'], Figure(math.nan)), reason)
    return content


def _classes(films, threshold, bootstrap):
    known = films.class_known
    content = {
        'num_films': int(known.sum()),
        'by_answer': dict(
            zip(
                CLASS_NAMES,
                classes.by_answer(films.class_id, films.probs >= threshold).tolist(),
                strict=True,
            )
        ),
        'confusion': None,
    }
    if films.class_probs is None or not known.any():
        reason = 'the model has no head for the three classes'
        if films.class_probs is not None:
            reason = 'no film has a known class'
        nothing = dict.fromkeys(('accuracy', 'balanced_accuracy'), Figure(math.nan))
        return content | figures_json(nothing, reason)

    def compute(weights):
        counts = classes.class_confusion(films.class_id, films.class_probs, weights)
        return {
            'accuracy': Share(np.trace(counts), counts.sum(axis=(0, 1))),
            'balanced_accuracy': classes.balanced_accuracy(counts),
        }

    counts = classes.class_confusion(films.class_id, films.class_probs)
    return content | {'confusion': counts.tolist()} | figures_json(bootstrap.figures(compute))


def _located(films, boxes, bootstrap):
    """Parts of boxes, masks, and the trivial answers."""

    def compute(weights):
        own = {('boxes', name): figure for name, figure in boxes.all(weights).items()}
        masks = {
            ('mask', name): figure
            for name, figure in mask_figures(films, boxes.known, weights).items()
        }
        total = weights.sum(axis=0, dtype=np.float64)
        baselines = {
            'all_negative_accuracy': Share(weighted_sums(films.labels == 0, weights), total),
            'all_background_pixel_accuracy': masks.pop(('mask', 'all_background_pixel_accuracy')),
            'no_box_challenge_map': boxes.no_box(films, weights),
        }
        return own | masks | {('baselines', name): f for name, f in baselines.items()}

    figures = bootstrap.figures(compute)
    return {
        part: figures_json({key[1]: f for key, f in figures.items() if key[0] == part})
        for part in ('boxes', 'mask', 'baselines')
    }


def _bin(found):
    """A BIN of results.json."""
    means = {
        name: getattr(found, name) if found.films else None
        for name in ('mean_probability', 'share_positive')
    }
    return {'low': found.low, 'high': found.high, 'films': int(found.films), **means}
