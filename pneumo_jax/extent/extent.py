"""Opacity extent: the share of a film and of its lungs that opacities cover.

It is measured alike on predictions and on the truth, and the truth is boxes that radiologists drew
around opacities: a box is larger than the opacity in it, so extents are too. Extent says how far an
opacity reaches, not how ill a person is.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from pneumo_jax.data.geometry import film_to_image
from pneumo_jax.extent.lung_fields import ZONES, LungFields, cells_on_film

__all__ = ['TOUCHED_FROM', 'Extent', 'box_coverage', 'laterality', 'opacity_extent']

TOUCHED_FROM = 0.15
"""A zone is touched where opacities cover this share of it, of prediction and truth alike.

From a smaller share on, a mask's faint background touches zones of films without an opacity; from a
larger one on, the small boxes of some films touch none. Between 0.03 and 0.4, prediction and truth
agree best on zones at 0.15 to 0.2 (31 RSNA films with opacities, kappa 0.51 to 0.53).
"""

_RIGHT_ZONES, _LEFT_ZONES = 0b000111, 0b111000


@dataclasses.dataclass(frozen=True)
class Extent:
    """How much of a film opacities cover.

    Attributes:
        film: share of the film, in [0, 1].
        lungs: share of both lung fields together.
        right: share of the person's right lung field.
        left: share of the left one.
        zones: the touched zones as a bit mask: RU=1 RM=2 RL=4 LU=8 LM=16 LL=32.
    """

    film: float
    lungs: float
    right: float
    left: float
    zones: int

    @property
    def laterality(self) -> str:
        """``none``, ``right``, ``left`` or ``bilateral``: the lungs of which a zone is touched."""
        return laterality(self.zones)

    @property
    def zone_names(self) -> tuple[str, ...]:
        """The touched zones, of ``lung_fields.ZONES``."""
        return tuple(name for i, name in enumerate(ZONES) if self.zones >> i & 1)


def opacity_extent(
    opacity: np.ndarray, fields: LungFields, *, film_size: tuple[int, int]
) -> Extent:
    """Measures an extent in the cells of the model's mask.

    Args:
        opacity: float [m,m] in [0, 1], the share of each cell that opacities cover: a mask head's
            probabilities, which estimate it, or ``box_coverage`` of the true boxes. Shares are
            added up, not first thresholded, so that films rank finely.
        fields: of the film's picture, of m cells a side.
        film_size: (height, width) of the film in pixels.

    Raises:
        ValueError: if opacity and fields are of different sizes.
    """
    opacity = np.asarray(opacity, np.float64)
    if opacity.shape != fields.right.shape:
        raise ValueError(
            f'opacity has shape {opacity.shape} and the lung fields {fields.right.shape}: '
            'give the fields of the picture that the mask is of'
        )
    on_film = cells_on_film(film_size, len(opacity))
    # A cell across the film's border can be covered on the film only.
    film = np.minimum(opacity, on_film).sum() / on_film.sum()
    touched = [_share(opacity, zone) >= TOUCHED_FROM for zone in fields.zones]
    return Extent(
        film=float(film),
        lungs=_share(opacity, fields.both),
        right=_share(opacity, fields.right),
        left=_share(opacity, fields.left),
        zones=sum(1 << i for i, zone in enumerate(touched) if zone),
    )


def laterality(zones: int) -> str:
    """``none``, ``right``, ``left`` or ``bilateral``, of a bit mask of zones (``Extent.zones``).

    Raises:
        ValueError: if it is none, such as the -1 of a film of which nothing is known.
    """
    if not 0 <= zones < 1 << len(ZONES):
        raise ValueError(f'zones={zones} is no mask of six zones: give 0 to 63')
    right, left = bool(zones & _RIGHT_ZONES), bool(zones & _LEFT_ZONES)
    return {(False, False): 'none', (True, False): 'right', (False, True): 'left'}.get(
        (right, left), 'bilateral'
    )


def box_coverage(boxes: np.ndarray, film_size: tuple[int, int], num_cells: int) -> np.ndarray:
    """The share of each mask cell that boxes cover, exactly, also where they overlap.

    Args:
        boxes: float [n,4], (x, y, width, height) in film pixels; what reaches over the film's
            border does not count.
        film_size: (height, width) of the film in pixels.
        num_cells: m, cells along the side of the square.

    Returns:
        Float64 [m,m] in [0, 1].
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    corners = np.stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    corners = np.clip(corners, 0, np.asarray(film_size)[::-1])
    boxes = np.concatenate([corners[0], corners[1] - corners[0]], axis=1)
    x, y, width, height = film_to_image(boxes, np.asarray(film_size), num_cells).T
    columns, column_of, in_columns = _pieces(x, x + width, num_cells)
    rows, row_of, in_rows = _pieces(y, y + height, num_cells)
    covered = (in_rows[:, :, None] & in_columns[:, None, :]).any(axis=0)
    areas = covered * rows[:, None] * columns
    share = np.zeros((num_cells, num_cells))
    np.add.at(share, (row_of[:, None], column_of), areas)
    return np.minimum(share, 1)


def _pieces(start, end, num_cells):
    """An axis cut at cells and box edges: the pieces' lengths, their cells, and bool [n,pieces]."""
    cuts = np.unique(np.concatenate([np.arange(num_cells + 1), start, end]).clip(0, num_cells))
    middle = (cuts[:-1] + cuts[1:]) / 2
    inside = (start[:, None] < middle) & (middle < end[:, None])
    return np.diff(cuts), middle.astype(int), inside


def _share(opacity, field):
    """Mean opacity of a field's cells; 0 of a field without any."""
    return float(opacity[field].mean()) if field.any() else 0.0
