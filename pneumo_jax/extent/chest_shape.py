"""Two lungs as eleven numbers: outlines of a chest film, and how these numbers are spread.

The means and spreads are those of 36 films measured by eye (24 RSNA films with pneumonia, 6 other
NIH films, 6 children's films of Kermany et al. 2018, AP and PA). Lengths are shares of the film's
side; x runs to the picture's right, y downward.
"""

from __future__ import annotations

import numpy as np

__all__ = ['APEX', 'BASE', 'LATERAL', 'MEAN', 'MEDIAL', 'NUM_POINTS', 'PIVOT', 'SPREAD', 'outlines']

# Midline at mid-height; tilt in radians; half the chest's width, and how far the left side is
# wider; height of the apices, and how much lower the left one is; from apex to the diaphragm's
# dome, and how much lower the left dome is; from the dome down to the costophrenic angle; how wide
# the mediastinum is to the right and to the left, relative to the average.
MEAN = np.array([0.497, 0.0, 0.336, 0.0, 0.148, 0.0, 0.557, 0.02, 0.062, 1.0, 1.0])
SPREAD = np.array([0.035, 0.035, 0.045, 0.03, 0.05, 0.02, 0.095, 0.045, 0.028, 0.2, 0.2])

# Outward from the midline in half widths of the chest, along the height from apex to angle.
_OUTER_AT = np.array([0, 0.02, 0.05, 0.1, 0.17, 0.25, 0.35, 0.47, 0.6, 0.73, 0.86, 1])
_OUTER = np.array([0.47, 0.6, 0.68, 0.765, 0.84, 0.89, 0.93, 0.962, 0.985, 1, 1, 0.975])
# Likewise the inner border, from the cardiophrenic angle up to the apex: hila, heart, vessels.
_INNER_AT = np.array([1, 0.95, 0.85, 0.75, 0.65, 0.55, 0.45, 0.35, 0.25, 0.15, 0.08, 0.03])
_INNER_RIGHT = np.array([0.25, 0.26, 0.265, 0.26, 0.245, 0.235, 0.225, 0.2, 0.185, 0.2, 0.24, 0.33])
_INNER_LEFT = np.array([0.38, 0.41, 0.4, 0.37, 0.32, 0.26, 0.23, 0.215, 0.21, 0.2, 0.24, 0.33])
# Along the diaphragm from the outer to the inner border; the dome is highest at half the width.
_ALONG = np.array([0.88, 0.72, 0.55, 0.39, 0.26, 0.13])
_DOME_AT = 0.5
_INNER_DROP = 0.02
# Tilted about this height.
PIVOT = 0.45

NUM_POINTS = len(_OUTER) + len(_ALONG) + len(_INNER_AT)
# Which points of an outline belong to which border.
APEX = slice(0, 5)
LATERAL = slice(5, 12)
BASE = slice(12, 18)
MEDIAL = slice(18, NUM_POINTS)


def outlines(shapes: np.ndarray) -> np.ndarray:
    """The closed outlines of both lungs.

    Args:
        shapes: float [N,11], rows like ``MEAN``.

    Returns:
        Float [N,2,NUM_POINTS,2]: the right lung (on the picture's left), then the left one; the
        points (x, y) run from the apex down the chest wall, inward along the diaphragm and up the
        mediastinum.
    """
    columns = np.asarray(shapes).T[:, :, None]
    middle, tilt, width, wider, apex, lower_apex, height, lower_dome, drop = columns[:9]
    dome = apex + height
    lungs = []
    for side, inner, profile in ((-1, columns[9], _INNER_RIGHT), (1, columns[10], _INNER_LEFT)):
        half = width * (1 + side * wider)
        top, bottom = apex + side * lower_apex / 2, dome + side * lower_dome / 2
        inward = profile * inner
        along = inward[:, :1] + (_OUTER[-1] - inward[:, :1]) * _ALONG
        off = np.where(along > _DOME_AT, drop, _INNER_DROP) * ((along - _DOME_AT) / 0.475) ** 2
        out = half * np.concatenate(
            [np.broadcast_to(_OUTER, (len(half), len(_OUTER))), along, inward], axis=1
        )
        down = np.concatenate(
            [
                top + (bottom + drop - top) * _OUTER_AT,
                bottom + off,
                top + (bottom + _INNER_DROP - top) * _INNER_AT,
            ],
            axis=1,
        )
        x, y = side * out, down - PIVOT
        cos, sin = np.cos(tilt), np.sin(tilt)
        lungs.append(np.stack([middle + cos * x - sin * y, PIVOT + sin * x + cos * y], axis=-1))
    return np.stack(lungs, axis=1)
