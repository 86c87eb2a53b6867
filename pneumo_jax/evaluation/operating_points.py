"""Figures at thresholds that validation chose, of abstaining, and of a new calibration."""

from __future__ import annotations

import math

import numpy as np

from pneumo_jax.evaluation.chosen import Chosen
from pneumo_jax.evaluation.figures import calibration_figures, called_figures
from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.evaluation.reasons import figures_json
from pneumo_jax.metrics.calibration import fit_recalibration
from pneumo_jax.metrics.classification import confusion, youden_threshold
from pneumo_jax.metrics.intervals import Bootstrap, Figure, Share
from pneumo_jax.metrics.operating import project
from pneumo_jax.metrics.weights import weighted_sums

__all__ = ['abstention', 'operating_points', 'recalibration']

_CALLED = ('sensitivity', 'specificity', 'ppv', 'npv')


def operating_points(
    films: ScoredFilms, chosen: Chosen, bootstrap: Bootstrap, prevalence: float | None
) -> dict:
    """The part ``operating_points`` of results.json.

    Args:
        films: that are judged.
        chosen: thresholds by name, NaN where validation could not choose.
        bootstrap: over the persons of the films.
        prevalence: to which PPV and NPV are projected, or None.
    """
    content = {}
    for name, threshold in chosen.operating_points.items():
        figures = _at(films, threshold, bootstrap, prevalence)
        reason = '' if math.isfinite(threshold) else _reason(chosen)
        content[name] = {
            'threshold': threshold if math.isfinite(threshold) else None,
            **({'undefined': reason} if reason else {}),
            **figures_json({key: figures[key] for key in _CALLED}, reason),
        }
        if prevalence is not None:
            projected = {key: figures[f'projected_{key}'] for key in ('ppv', 'npv')}
            content[name]['projected'] = {
                'prevalence': prevalence,
                **figures_json(projected, reason or 'sensitivity or specificity is undefined'),
            }
    return content


def abstention(films: ScoredFilms, chosen: Chosen, bootstrap: Bootstrap) -> dict:
    """The part ``abstention`` of results.json: what the region of validation does here."""
    low, high = chosen.abstention
    if math.isnan(low):
        reason = _reason(chosen)
        nothing = figures_json({'abstained': Figure(math.nan), 'error': Figure(math.nan)}, reason)
        region = {'low': None, 'high': None, 'undefined': reason}
        return {'wanted_error': chosen.wanted_error, **region, **nothing}
    answered = (films.probs < low) | (films.probs >= high)
    wrong = answered & ((films.probs >= high) != (films.labels == 1))

    def compute(weights):
        total = weights.sum(axis=0, dtype=np.float64)
        return {
            'abstained': Share(weighted_sums(~answered, weights), total),
            'error': Share(*weighted_sums([wrong, answered], weights)),
        }

    figures = figures_json(bootstrap.figures(compute))
    return {'wanted_error': chosen.wanted_error, 'low': low, 'high': high, **figures}


def recalibration(
    films: ScoredFilms, site: ScoredFilms, threshold: float, bootstrap: Bootstrap
) -> dict:
    """The part ``recalibration`` of results.json.

    Args:
        films: that are judged.
        site: labelled films of the same site, others than those.
        threshold: a film was called positive from this probability on.
        bootstrap: over the persons of the films that are judged.
    """
    fitted = fit_recalibration(site.labels, site.probs)
    new_threshold = youden_threshold(site.labels, fitted.apply(site.probs))
    answers = {
        'before': (films.probs, threshold),
        'after': (fitted.apply(films.probs), new_threshold),
    }

    def compute(weights):
        figures = {}
        for when, (probs, cut) in answers.items():
            counts = confusion(films.labels, probs >= cut, weights)
            own = calibration_figures(films.labels, probs, weights) | called_figures(counts)
            figures |= {(when, name): figure for name, figure in own.items()}
        return figures

    figures = bootstrap.figures(compute)
    reason = ''
    if math.isnan(new_threshold):
        reason = 'on the films to recalibrate on, positive films do not score higher than others'
    return {
        'num_films': len(site),
        'num_positive': int(site.labels.sum()),
        'intercept': fitted.intercept if math.isfinite(fitted.intercept) else None,
        'slope': fitted.slope if math.isfinite(fitted.slope) else None,
        'threshold': new_threshold if math.isfinite(new_threshold) else None,
        **({'undefined': reason} if reason else {}),
        **{
            when: figures_json({key[1]: f for key, f in figures.items() if key[0] == when}, reason)
            for when in answers
        },
    }


def _at(films, threshold, bootstrap, prevalence):
    def compute(weights):
        called = films.probs >= threshold
        figures = called_figures(confusion(films.labels, called, weights))
        if math.isnan(threshold):
            nothing = np.full(weights.shape[1], math.nan)
            figures = dict.fromkeys(figures, nothing)
        if prevalence is None:
            return figures
        rates = [
            figure.value if isinstance(figure, Share) else figure
            for figure in (figures['sensitivity'], figures['specificity'])
        ]
        ppv, npv = project(*rates, prevalence)
        return figures | {'projected_ppv': ppv, 'projected_npv': npv}

    return bootstrap.figures(compute)


def _reason(chosen):
    if not chosen.num_films:
        return 'no validation films are at hand'
    if chosen.num_positive in (0, chosen.num_films):
        return 'validation has films of one class only'
    return 'validation could not choose it'
