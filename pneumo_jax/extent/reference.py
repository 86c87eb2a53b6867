"""An opacity extent beside those of other films with opacities, and how far it may be off."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

__all__ = ['ExtentReference', 'fit_reference']

_LEVEL = 0.9


@dataclasses.dataclass(frozen=True)
class ExtentReference:
    """Predicted opacity extents of validation films, and their distances from the truth.

    The truth is the extent of boxes that radiologists drew: a box is larger than the opacity in
    it. So intervals are for the extent that boxes would have, and for films with an opacity, from
    where the validation films are from.

    Attributes:
        extents: the predicted extents of the positive validation films, ascending.
        half_width: of the interval, on the scale of square roots; NaN where there were fewer
            films than the level needs (9 for 0.90).
        level: share of films with an opacity whose true extent the interval holds, at least.
        num_films: the positive films with known truth from which ``half_width`` is.
    """

    extents: tuple[float, ...]
    half_width: float
    level: float
    num_films: int

    def percentile(self, extent):
        """Where an extent (or an array of them) stands among ``extents``, in [0, 100].

        An equal one counts half (mid-rank). NaN where there are none.
        """
        extent = np.asarray(extent, np.float64)
        if not self.extents:
            return np.full(extent.shape, np.nan)[()]
        below, up_to = (np.searchsorted(self.extents, extent, side) for side in ('left', 'right'))
        rank = 50 * (below + up_to) / len(self.extents)
        return np.where(np.isnan(extent), np.nan, rank)[()]

    def interval(self, extent):
        """(low, high) of the true extent behind a predicted one, or behind an array of them.

        Within [0, 1]; NaN where ``half_width`` is.
        """
        root = np.sqrt(np.asarray(extent, np.float64))
        low, high = np.maximum(root - self.half_width, 0), np.minimum(root + self.half_width, 1)
        return np.square(low), np.square(high)

    def to_json(self) -> dict:
        """Plain values; None where ``half_width`` is undefined."""
        content = dataclasses.asdict(self) | {'extents': list(self.extents)}
        return content | {'half_width': None if math.isnan(self.half_width) else self.half_width}

    @classmethod
    def from_json(cls, content: dict) -> ExtentReference:
        """The inverse of ``to_json``."""
        half_width = content['half_width']
        return cls(
            extents=tuple(content['extents']),
            half_width=math.nan if half_width is None else half_width,
            level=content['level'],
            num_films=content['num_films'],
        )


def fit_reference(
    predicted: np.ndarray, true: np.ndarray, labels: np.ndarray, *, level: float = _LEVEL
) -> ExtentReference:
    """The reference of a model, from validation films that it has not learned from.

    Intervals are by split conformal prediction (Lei et al. 2018) on square roots, on which errors
    of small and large extents are more alike, and among the films with an opacity: over all films
    together, the many without one would make them narrow. The half width is the k-th smallest
    distance with k = ceil((n + 1) level), so on films like these, at least a share ``level`` of
    intervals holds the truth, whatever the errors' distribution.

    Args:
        predicted: float [N], predicted extents in [0, 1].
        true: float [N], true extents; NaN where not known.
        labels: int [N], 1 for a film with an opacity, else 0.
        level: in (0, 1).
    """
    predicted, true = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    positive = np.asarray(labels) == 1
    known = positive & np.isfinite(true)
    distances = np.sort(np.abs(np.sqrt(predicted[known]) - np.sqrt(true[known])))
    # Less than a rounding error above a whole number is that number.
    rank = math.ceil((len(distances) + 1) * level - 1e-9)
    return ExtentReference(
        extents=tuple(np.sort(predicted[positive]).tolist()),
        half_width=float(distances[rank - 1]) if rank <= len(distances) else math.nan,
        level=level,
        num_films=len(distances),
    )
