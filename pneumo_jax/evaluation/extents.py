"""How far predicted opacity extents are from those of the true boxes."""

from __future__ import annotations

import numpy as np

from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.evaluation.reasons import figures_json
from pneumo_jax.extent import ExtentReference, laterality
from pneumo_jax.metrics.agreement import rank_correlation
from pneumo_jax.metrics.intervals import Bootstrap, Figure, Share
from pneumo_jax.metrics.weights import weighted_mean, weighted_sums

__all__ = ['extent_figures']


def extent_figures(films: ScoredFilms, reference: ExtentReference, bootstrap: Bootstrap) -> dict:
    """The part ``extent`` of results.json: of positive films with known boxes.

    Args:
        films: that are judged.
        reference: of validation films.
        bootstrap: over the persons of the films.
    """
    judged = (films.labels == 1) & np.isfinite(films.true_extent['lungs'])
    content = {'num_films': int(judged.sum()), 'interval_level': reference.level}
    if not judged.any():
        names = 'rank_correlation', 'mean_absolute_error', 'laterality_agreement'
        nothing = dict.fromkeys((*names, 'interval_coverage'), Figure(np.nan))
        return content | figures_json(nothing)
    predicted, true = films.extent['lungs'][judged], films.true_extent['lungs'][judged]
    same_side = _laterality(films.extent, judged) == _laterality(films.true_extent, judged)
    low, high = reference.interval(predicted)
    inside = (low <= true) & (true <= high)

    def compute(weights):
        weights = weights[judged]
        total = weights.sum(axis=0, dtype=np.float64)
        coverage = Share(weighted_sums(inside, weights), total)
        if np.isnan(low).any():
            coverage = np.full(len(total), np.nan)
        return {
            'rank_correlation': rank_correlation(predicted, true, weights),
            'mean_absolute_error': weighted_mean(np.abs(predicted - true), weights),
            'laterality_agreement': Share(weighted_sums(same_side, weights), total),
            'interval_coverage': coverage,
        }

    return content | figures_json(bootstrap.figures(compute))


def _laterality(extent, judged):
    return np.array([laterality(int(zones)) for zones in extent['zones'][judged]])
