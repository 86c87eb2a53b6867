"""From where on a film is called positive and a box is drawn."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from pneumo_jax.metrics import classification

__all__ = ['Thresholds', 'thresholds_of']


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Decision thresholds, chosen on validation films and saved with the checkpoint.

    Attributes:
        film: a film is called positive from this probability on.
        box: a box is drawn from this confidence on.
        film_chosen: False where nothing could be chosen, since validation had films of one class
            only; ``film`` is one half then.
        box_chosen: False where no box hit on validation, or validation has none; ``box`` is 0
            then and the mask's own threshold decides, as in the seed project.
    """

    film: float
    box: float
    film_chosen: bool = True
    box_chosen: bool = True

    def select(self, boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The boxes [k,4] and confidences [k] that reach the threshold."""
        keep = scores >= self.box
        return boxes[keep], scores[keep]


def thresholds_of(labels: np.ndarray, probs: np.ndarray, box: float) -> Thresholds:
    """Youden's film threshold, and the box threshold of the highest challenge mAP.

    Args:
        labels: 0 or 1 [N].
        probs: probabilities [N].
        box: of ``detection.best_score_threshold``, infinite where no box is worth drawing.
    """
    film = classification.youden_threshold(labels, probs)
    film_chosen, box_chosen = math.isfinite(film), math.isfinite(box)
    return Thresholds(
        film=film if film_chosen else 0.5,
        box=box if box_chosen else 0.0,
        film_chosen=film_chosen,
        box_chosen=box_chosen,
    )
