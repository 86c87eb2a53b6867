"""What follows from a film's answer, for the tables of evaluation and prediction."""

from __future__ import annotations

import math

import numpy as np

from pneumo_jax.evaluation.chosen import Chosen
from pneumo_jax.extent import laterality
from pneumo_jax.metrics.calibration import scale

__all__ = ['CONCLUSIONS', 'conclusions']

CONCLUSIONS = (
    'laterality',
    'calibrated_probability',
    'abstain',
    'extent_percentile',
    'extent_low',
    'extent_high',
)


def conclusions(
    prob: float, positive: bool, lungs: float, zones: float, chosen: Chosen | None
) -> tuple[str, ...]:
    """The cells of ``CONCLUSIONS``, empty where something is not known.

    Args:
        prob: probability of a lung opacity.
        positive: whether the film is called positive: on others, faint traces of a mask would
            pass for affected zones.
        lungs: opacity extent of both lung fields; NaN unknown.
        zones: touched ones (``extent.Extent``); NaN unknown.
        chosen: on validation, or None.
    """
    side = laterality(int(zones)) if positive and math.isfinite(zones) else ''
    if chosen is None:
        return (side, *[''] * (len(CONCLUSIONS) - 1))
    calibrated = math.nan
    if math.isfinite(chosen.temperature):
        (calibrated,) = scale(np.array([prob]), chosen.temperature)
    low, high = chosen.abstention
    numbers = chosen.extent.percentile(lungs), *chosen.extent.interval(lungs)
    return (
        side,
        '' if math.isnan(calibrated) else f'{calibrated:.6f}',
        '' if math.isnan(low) else str(int(low <= prob < high)),
        *('' if math.isnan(number) else f'{number:.4g}' for number in numbers),
    )
