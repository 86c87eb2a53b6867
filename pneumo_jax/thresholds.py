"""From where on a film is called positive and a box is drawn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from pneumo_jax.boxes.refine import shrink
from pneumo_jax.metrics import classification
from pneumo_jax.metrics.box_shrink import best_shrink
from pneumo_jax.metrics.detection import best_score_threshold

__all__ = ['Thresholds', 'thresholds_of']

Boxes = tuple[Sequence[np.ndarray], Sequence[np.ndarray], Sequence[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Decision thresholds, chosen on validation films and saved with the checkpoint.

    Attributes:
        film: a film is called positive from this probability on.
        box: a box is drawn from this confidence on.
        film_chosen: False where nothing could be chosen, since validation had films of one class
            only; ``film`` is one half then.
        box_chosen: False where no box hit on validation, or validation has none; ``box`` is 0
            then and all candidates are drawn, as in the seed project.
        shrink: boxes are drawn with their sides times this, about the same middles.
    """

    film: float
    box: float
    film_chosen: bool = True
    box_chosen: bool = True
    shrink: float = 1.0

    def select(self, boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The boxes [k,4] as they are drawn, and confidences [k], that reach the threshold."""
        keep = scores >= self.box
        return self.resized(boxes[keep]), scores[keep]

    def resized(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes [n,4] as they are drawn."""
        return boxes if self.shrink == 1 else shrink(boxes, self.shrink)


def thresholds_of(
    labels: np.ndarray, probs: np.ndarray, located: Boxes, *, learn_shrink: bool
) -> Thresholds:
    """Youden's film threshold, and the box threshold of the highest challenge mAP.

    Args:
        labels: 0 or 1 [N].
        probs: probabilities [N].
        located: true boxes, predicted boxes and their confidences, three lists of an entry for
            each film on which boxes can be compared; empty where there is none.
        learn_shrink: also choose by how much boxes are shrunk.
    """
    factor, box = 1.0, math.inf
    if located[0]:
        if learn_shrink:
            factor, box, _ = best_shrink(*located)
        else:
            box, _ = best_score_threshold(*located)
    film = classification.youden_threshold(labels, probs)
    film_chosen, box_chosen = math.isfinite(film), math.isfinite(box)
    return Thresholds(
        film=film if film_chosen else 0.5,
        box=box if box_chosen else 0.0,
        film_chosen=film_chosen,
        box_chosen=box_chosen,
        shrink=factor if box_chosen else 1.0,
    )
