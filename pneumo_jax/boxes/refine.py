"""What becomes of a film's boxes after they were found and before they are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pneumo_jax.registry import lookup

__all__ = ['GATES', 'drop_faint', 'gate', 'shrink']

# How the probability of the film enters the score of a box on it: within a film none changes the
# order of boxes, between films the root does so half as much as the product.
GATES: dict[str, Callable] = {
    'none': lambda scores, prob: scores,
    'product': lambda scores, prob: scores * prob,
    'sqrt': lambda scores, prob: scores * math.sqrt(prob),
}


def gate(scores: np.ndarray, film_prob: float, how: str) -> np.ndarray:
    """The scores of a film's boxes, in the light of the whole film.

    A box found on a film that looks healthy as a whole is rarely right: the challenge's winners
    gated theirs by a classifier of films.

    Args:
        scores: float [k], not negative.
        film_prob: the film's probability of a lung opacity.
        how: one of ``GATES``.

    Returns:
        Float [k], of the dtype of ``scores``.

    Raises:
        InputError: if ``how`` is unknown.
        ValueError: if ``film_prob`` is outside [0, 1].
    """
    gated = lookup(GATES, how, 'config.eval.film_gate')
    if not 0 <= film_prob <= 1:
        raise ValueError(f'film_prob is {film_prob}; give a probability, not a logit')
    # A NumPy scalar would decide the dtype.
    return gated(scores, float(film_prob))


def drop_faint(
    boxes: np.ndarray, scores: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """A film's boxes without those far fainter than its surest one.

    Args:
        boxes: [k,4].
        scores: [k], not negative, in any order.
        share: boxes under this share of the highest score are left out; 0 keeps all.

    Returns:
        Boxes [n,4] and scores [n], in the same order.

    Raises:
        ValueError: if ``share`` is outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f'share is {share}; give one from 0, which keeps all boxes, to 1')
    keep = scores >= share * scores.max(initial=0)
    return boxes[keep], scores[keep]


def shrink(boxes: np.ndarray, factor: float) -> np.ndarray:
    """Boxes with their sides times a factor, about their middles.

    Args:
        boxes: float [k,4], (x, y, width, height).
        factor: below 1 for smaller boxes. Larger ones may reach over the film's border.

    Returns:
        Float [k,4], of the same dtype.

    Raises:
        ValueError: if ``factor`` is not above 0, or boxes are not [k,4].
    """
    if not factor > 0:
        raise ValueError(f'factor is {factor}; give one above 0, 1 to leave boxes as they are')
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f'boxes have shape {boxes.shape}; give [k,4], for no box [0,4]')
    starts, sizes = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([starts + (1 - factor) / 2 * sizes, factor * sizes], axis=1)
