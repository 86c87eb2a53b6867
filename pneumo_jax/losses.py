"""Losses, one value per film, and their means.

Logits and targets are float32. ``FILM_LOSSES`` take logits [B] and labels [B]; ``MASK_LOSSES`` take
logits [B,m,m,1] and targets [B,m,m,1] in [0, 1], the share of a cell that boxes cover.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

__all__ = ['FILM_LOSSES', 'MASK_LOSSES', 'film_losses', 'mean_losses']


def film_losses(outputs: dict, *, labels, mask_target, known, config) -> dict:
    """All losses of a batch.

    Args:
        outputs: of ``FilmModel``: ``film_logits`` [B], ``mask_logits`` [B,m,m,1].
        labels: [B], 1 for a lung opacity.
        mask_target: float32 [B,m,m,1], share of each cell inside boxes.
        known: bool [B], the films whose boxes are known (``boxes.targets.boxes_known``); the
            others have no mask loss, since their target says nothing.
        config: section ``loss`` of a run's config.

    Returns:
        ``loss`` (the weighted sum), ``film_loss`` and ``mask_loss``, float32 [B] each.
    """
    film = FILM_LOSSES[config.film](outputs['film_logits'], labels.astype(jnp.float32))
    mask = sum(
        weight * MASK_LOSSES[name](outputs['mask_logits'], mask_target)
        for name, weight in config.mask.items()
        if weight
    )
    mask = jnp.where(known, mask, 0.0)
    return {'loss': config.film_weight * film + mask, 'film_loss': film, 'mask_loss': mask}


def mean_losses(losses: dict, known) -> dict:
    """The means over films of what ``film_losses`` gives.

    The mask loss is the mean over the films whose boxes are known, as if the others were absent,
    and so it stands in the sum. Where all are known, the means are the plain ones, to the bit.

    Args:
        losses: of ``film_losses``, NumPy or JAX arrays [B].
        known: bool [B] of the same kind, the films whose boxes are known.

    Returns:
        Scalars by the same names; the mask loss is 0 where no film is known.
    """
    xp = known.__array_namespace__()
    means = {name: values.mean() for name, values in losses.items()}
    mask = means['mask_loss'] * (known.size / xp.maximum(known.sum(), 1))
    return means | {'loss': means['loss'] + (mask - means['mask_loss']), 'mask_loss': mask}


def _film_focal(logits, labels):
    """Lin et al. 2017, arXiv:1708.02002, with the paper's alpha 0.25 and gamma 2."""
    return optax.losses.sigmoid_focal_loss(logits, labels, alpha=0.25, gamma=2.0)


def _mask_bce(logits, target):
    return optax.losses.sigmoid_binary_cross_entropy(logits, target).mean(axis=(1, 2, 3))


def _mask_soft_iou(logits, target):
    """1 - (intersection + 1) / (union + 1) of probabilities; 0 for a film without boxes.

    The seed project took the sums over the whole batch. Film by film, a film without boxes has no
    overlap to speak of, and a term for it would be the steepest of all: masks then stay empty.
    Such films are left to the cross entropy.
    """
    probs = jax.nn.sigmoid(logits)
    intersection = _sum(probs * target)
    union = _sum(probs) + _sum(target) - intersection
    return _with_truth(1 - (intersection + 1) / (union + 1), target)


def _mask_dice(logits, target):
    """1 - Dice of probabilities (Milletari et al. 2016, arXiv:1606.04797), treated as soft IoU."""
    probs = jax.nn.sigmoid(logits)
    total = _sum(probs) + _sum(target)
    return _with_truth(1 - (2 * _sum(probs * target) + 1) / (total + 1), target)


def _with_truth(loss, target):
    return jnp.where(_sum(target) > 0, loss, 0.0)


def _sum(x):
    return x.sum(axis=(1, 2, 3))


FILM_LOSSES = {'bce': optax.losses.sigmoid_binary_cross_entropy, 'focal': _film_focal}
MASK_LOSSES = {'bce': _mask_bce, 'soft_iou': _mask_soft_iou, 'dice': _mask_dice}
