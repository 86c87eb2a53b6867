"""Predicted boxes and which of them hit, matched once for all figures and draws of films.

Films are given as three lists of one entry a film: ``truths`` float [m,4] and ``predictions`` float
[n,4], boxes (x, y, width, height) in film pixels, and ``scores`` float [n], the predictions'
confidences. A film without boxes has arrays of length 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from pneumo_jax.boxes.match import greedy_match

__all__ = [
    'COCO_IOU_THRESHOLDS',
    'COCO_MAX_BOXES',
    'FROC_IOU_THRESHOLD',
    'BoxMatches',
    'check_films',
    'match_films',
]

Boxes = Sequence[np.ndarray]

# As pycocotools computes them: some miss the decimal in the last bit.
COCO_IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
COCO_MAX_BOXES = 100
FROC_IOU_THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class BoxMatches:
    """All predicted boxes of N films, by descending confidence.

    Equal confidences stand in the order of the films, and within a film in that of its boxes.

    Attributes:
        num_truths: int [N], the number of each film's true boxes.
        films: int [n], the film of each predicted box.
        scores: float64 [n], its confidence.
        hits: bool [n], whether it hits in the challenge's matching at IoU > 0.5.
        coco_hits: bool [10,n], whether it hits in COCO's matching, a row a threshold.
        in_coco: bool [n], whether it is one of the 100 surest of its film: COCO sees no others.
    """

    num_truths: np.ndarray
    films: np.ndarray
    scores: np.ndarray
    hits: np.ndarray
    coco_hits: np.ndarray
    in_coco: np.ndarray

    @property
    def num_films(self) -> int:
        """N, films without any box included."""
        return len(self.num_truths)


def match_films(truths: Boxes, predictions: Boxes, scores: Sequence[np.ndarray]) -> BoxMatches:
    """Matches the boxes of each film, by COCO's rule and by the challenge's.

    Both are one-to-one, by descending confidence, and give each box the best true one still free.
    COCO takes an IoU on the threshold for a hit, and the last of equally good true boxes.

    Args:
        truths: true boxes [m,4], film by film.
        predictions: predicted boxes [n,4], film by film: all candidates, not only those drawn.
        scores: their confidences [n], film by film.

    Raises:
        ValueError: on no films, lists or arrays that do not fit, values that are not finite.
    """
    films = check_films(truths, predictions, scores)
    matched = [_match_film(*film) for film in films]
    counts = [len(predicted) for _, predicted, _ in films]
    confidence = np.concatenate([confidence for _, _, confidence in films])
    hits, coco_hits, in_coco = (
        np.concatenate(part, axis=-1) for part in zip(*matched, strict=True)
    )
    order = np.argsort(-confidence, kind='stable')
    return BoxMatches(
        num_truths=np.array([len(truth) for truth, _, _ in films]),
        films=np.repeat(np.arange(len(films)), counts)[order],
        scores=confidence[order],
        hits=hits[order],
        coco_hits=coco_hits[:, order],
        in_coco=in_coco[order],
    )


def check_films(
    truths: Boxes, predictions: Boxes, scores: Sequence[np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The three lists as one of (truth, predicted, confidence) in float64.

    Raises:
        ValueError: on no films, or lists of different lengths.
    """
    lengths = len(truths), len(predictions), len(scores)
    if len(set(lengths)) > 1:
        raise ValueError(
            f'{lengths[0]} films have truth, {lengths[1]} predictions, {lengths[2]} scores; '
            'give one entry of each a film'
        )
    if not lengths[0]:
        raise ValueError('there are no films: give at least one')
    return [
        tuple(np.asarray(array, np.float64) for array in film)
        for film in zip(truths, predictions, scores, strict=True)
    ]


def _match_film(truth, predicted, confidence):
    """Hits of the challenge [n] and of COCO [10,n], and which boxes COCO sees [n]."""
    matched = greedy_match(truth, predicted, confidence, FROC_IOU_THRESHOLD)
    in_coco = np.zeros(len(predicted), bool)
    in_coco[np.argsort(-confidence, kind='stable')[:COCO_MAX_BOXES]] = True
    # The first of equally good true boxes in reverse order is the last one.
    coco = greedy_match(truth[::-1], predicted, confidence, COCO_IOU_THRESHOLDS, inclusive=True)
    return matched >= 0, coco >= 0, in_coco
