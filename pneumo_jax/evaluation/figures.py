"""All figures of a table of films, as functions of weights [N,D] (``metrics.intervals``)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pneumo_jax.evaluation.drawn_boxes import (
    box_matches,
    challenge_scores,
    comparable_films,
    drawn_boxes,
)
from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.metrics import mask
from pneumo_jax.metrics.calibration import brier, ece, log_loss, logit
from pneumo_jax.metrics.classification import (
    Confusion,
    Ranking,
    auroc,
    confusion,
    variance_explained,
    within_group_auroc,
)
from pneumo_jax.metrics.coco import average_precision
from pneumo_jax.metrics.detection import box_iou_sums
from pneumo_jax.metrics.froc import RATES, sensitivity_at
from pneumo_jax.metrics.intervals import Share
from pneumo_jax.metrics.weights import weighted_mean, weighted_ratio, weighted_sums
from pneumo_jax.thresholds import Thresholds

__all__ = [
    'BoxFigures',
    'calibration_figures',
    'called_figures',
    'film_figures',
    'mask_figures',
    'ranking_figures',
    'view_figures',
]

Figures = Mapping[str, np.ndarray | Share]


def film_figures(films: ScoredFilms, threshold: float, weights: np.ndarray) -> Figures:
    """Figures of the film-level answer.

    Args:
        films: N of them.
        threshold: a film is called positive from this probability on.
        weights: float [N,D].
    """
    called = films.probs >= threshold
    counts = confusion(films.labels, called, weights)
    return (
        ranking_figures(Ranking(films.labels, films.probs), weights)
        | {'accuracy': Share(counts.tp + counts.tn, weights.sum(axis=0, dtype=np.float64))}
        | {'balanced_accuracy': counts.balanced_accuracy}
        | called_figures(counts)
        | {'f1': counts.f1}
        | calibration_figures(films.labels, films.probs, weights)
    )


def ranking_figures(ranking: Ranking, weights: np.ndarray) -> Figures:
    """Figures of the order of the films, which need no threshold."""
    return {'auroc': ranking.auroc(weights), 'auprc': ranking.auprc(weights)}


def called_figures(counts: Confusion) -> Figures:
    """The four shares of a confusion matrix."""
    return {
        'sensitivity': Share(counts.tp, counts.tp + counts.fn),
        'specificity': Share(counts.tn, counts.tn + counts.fp),
        'ppv': Share(counts.tp, counts.tp + counts.fp),
        'npv': Share(counts.tn, counts.tn + counts.fn),
    }


def calibration_figures(labels: np.ndarray, probs: np.ndarray, weights: np.ndarray) -> Figures:
    """How far the probabilities can be believed."""
    return {
        'brier': brier(labels, probs, weights),
        'log_loss': log_loss(labels, probs, weights),
        'ece': ece(labels, probs, weights),
    }


def view_figures(films: ScoredFilms, weights: np.ndarray) -> Figures:
    """What the view alone, AP or PA, tells, and how much of the score it explains.

    ``auroc_explained_by_view`` is the share of the AUROC above one half that is lost when only
    films of the same view are compared. Films of unknown view are left out.
    """
    known = films.view_position != ''
    if not known.any():
        nothing = np.full(weights.shape[1], np.nan)
        names = 'view_alone_auroc', 'within_view_auroc', 'auroc_explained_by_view'
        return dict.fromkeys((*names, 'score_variance_explained_by_view'), nothing)
    labels, probs, views = films.labels[known], films.probs[known], films.view_position[known]
    weights = weights[known]
    pooled = auroc(labels, probs, weights)
    within = within_group_auroc(labels, probs, views, weights)
    above = np.where(pooled > 0.5, pooled - 0.5, np.nan)
    return {
        'view_alone_auroc': auroc(labels, views == 'AP', weights),
        'within_view_auroc': within,
        'auroc_explained_by_view': (pooled - within) / above,
        'score_variance_explained_by_view': variance_explained(logit(probs), views, weights),
    }


class BoxFigures:
    """Figures of boxes, matched once and weighed often.

    Only films of ``drawn_boxes.comparable_films`` count.

    Args:
        films: N of them.
        thresholds: which boxes are drawn.
        inclusive: an IoU on the challenge's threshold is a hit.
    """

    def __init__(self, films: ScoredFilms, thresholds: Thresholds, *, inclusive: bool):
        drawn = drawn_boxes(films, thresholds)
        self.known = comparable_films(films)
        self.num_drawn = np.array([len(boxes) for boxes in drawn[0]])
        self.matches = box_matches(films, thresholds)
        self.challenge_scores = challenge_scores(films, thresholds, inclusive=inclusive)
        self._iou_sums = box_iou_sums(films.truths, *drawn)

    def all(self, weights: np.ndarray) -> Figures:
        """Every figure of boxes; ``films_with_boxes`` and ``boxes_per_film`` count all films."""
        counted = weights * self.known[:, None]
        total = weights.sum(axis=0, dtype=np.float64)
        return (
            self.challenge(weights)
            | self.coco(weights)
            | self.froc(weights)
            | {
                'mean_iou': weighted_ratio(*self._iou_sums, counted),
                'films_with_boxes': Share(weighted_sums(self.num_drawn > 0, weights), total),
                'boxes_per_film': weighted_mean(self.num_drawn, weights),
            }
        )

    def challenge(self, weights: np.ndarray) -> Figures:
        """The challenge's metric."""
        return {'challenge_map': weighted_mean(self.challenge_scores, weights)}

    def coco(self, weights: np.ndarray) -> Figures:
        """COCO's average precision, over all its IoU thresholds and at 0.5."""
        precision = average_precision(self.matches, weights * self.known[:, None])
        return {'coco_ap': precision.mean(axis=0), 'coco_ap_50': precision[0]}

    def froc(self, weights: np.ndarray, rates=RATES) -> Figures:
        """Sensitivity for true boxes at so many false boxes a film."""
        found = sensitivity_at(self.matches, rates, weights * self.known[:, None])
        return {
            f'froc_sensitivity_at_{rate:g}': row for rate, row in zip(rates, found, strict=True)
        }

    def no_box(self, films: ScoredFilms, weights: np.ndarray) -> np.ndarray:
        """The challenge's metric of an answer without any box: 0, where there is a true one."""
        scores = np.where([len(truth) > 0 for truth in films.truths], 0.0, np.nan)
        return weighted_mean(np.where(self.known, scores, np.nan), weights)


def mask_figures(films: ScoredFilms, known: np.ndarray, weights: np.ndarray) -> Figures:
    """Figures of the mask on films of known boxes, and the baseline of an empty mask."""
    counted = weights * known[:, None]
    return {
        'pixel_accuracy': mask.pixel_accuracy(films.mask_sums, counted),
        'mean_iou': mask.mean_iou(films.mask_sums, counted),
        'dice': mask.dice(films.mask_sums, counted),
        'all_background_pixel_accuracy': mask.background_pixel_accuracy(films.mask_sums, counted),
    }
