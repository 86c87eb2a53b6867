"""Losses, one value per film, and their means.

Every loss is linear in the label of a film, and cross entropies and focal losses in the share of a
mask cell: smoothed and mixed labels are labels between 0 and 1.
"""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp
import optax

from pneumo_jax.detector_losses import giou_loss, heat_loss
from pneumo_jax.registry import lookup

__all__ = ['FILM_LOSSES', 'MASK_LOSSES', 'Targets', 'film_losses', 'known_films', 'mean_losses']


@flax.struct.dataclass
class Targets:
    """The truth of B films.

    Attributes:
        label: float32 [B] in [0, 1], 1 for a lung opacity.
        classes: float32 [B,3], the shares of the challenge's classes; zeros where unknown.
        class_known: bool [B].
        mask: float32 [B,m,m,1] in [0, 1], the share of each cell inside boxes.
        boxes_known: bool [B] (``boxes.known.boxes_known``).
        film_known: bool [B], whether the label is of the run's own kind.
        weak_known: bool [B], whether it is of the weak kind (``data.extra_films``): of such a film
            class and boxes are not known.
        detection: of ``boxes.detector_targets``, by name; None without the detector.
    """

    label: jax.Array
    classes: jax.Array
    class_known: jax.Array
    mask: jax.Array
    boxes_known: jax.Array
    film_known: jax.Array
    weak_known: jax.Array
    detection: dict[str, jax.Array] | None = None


def film_losses(outputs: dict, targets: Targets, config) -> dict:
    """All losses of a batch, film by film.

    Args:
        outputs: of ``FilmModel``.
        targets: of the same films.
        config: section ``loss`` of a run's config, with a ``positive_weight`` more than 0 where
            ``film`` is ``weighted_bce``.

    Returns:
        ``film_loss``, ``mask_loss`` and, with these heads, ``class_loss``, ``weak_loss`` and
        ``detector_loss``, float32 [B] each, before the weights of the heads. A loss is 0 where its
        truth is not known.

    Raises:
        InputError: for an unknown name.
    """
    smoothing = config.label_smoothing
    film_loss = lookup(FILM_LOSSES, config.film, 'config.loss.film')
    labels = _smoothed(targets.label, smoothing, 2)
    film = film_loss(outputs['film_logits'], labels, config)
    mask = _mask_loss(outputs['mask_logits'], targets.mask, config)
    losses = {
        'film_loss': jnp.where(targets.film_known, film, 0.0),
        'mask_loss': jnp.where(targets.boxes_known, mask, 0.0),
    }
    if 'weak_logits' in outputs:
        weak = _bce(outputs['weak_logits'], labels, config)
        losses['weak_loss'] = jnp.where(targets.weak_known, weak, 0.0)
    if 'heat_logits' in outputs:
        detector = _detector_loss(outputs, targets.detection, config.detector)
        losses['detector_loss'] = jnp.where(targets.boxes_known, detector, 0.0)
    if 'class_logits' in outputs:
        smooth = _smoothed(targets.classes, smoothing, targets.classes.shape[-1])
        classes = optax.losses.softmax_cross_entropy(outputs['class_logits'], smooth)
        losses['class_loss'] = jnp.where(targets.class_known, classes, 0.0)
    return losses


def known_films(targets: Targets) -> dict:
    """The films that each loss of ``film_losses`` speaks of, bool [B] by its name."""
    return {
        'film_loss': targets.film_known,
        'weak_loss': targets.weak_known,
        'class_loss': targets.class_known,
        'mask_loss': targets.boxes_known,
        'detector_loss': targets.boxes_known,
    }


def mean_losses(losses: dict, known: dict, config, counts: dict | None = None) -> dict:
    """The means over films of what ``film_losses`` gives, and their weighted sum.

    Each is a mean over the films whose truth is known, as if the others were absent.

    Args:
        losses: of ``film_losses``, NumPy or JAX arrays [B].
        known: of ``known_films``, arrays of the same kind.
        config: section ``loss`` of a run's config.
        counts: by the names of ``known``, what the sums are divided by; the number of known films
            unless given. With those of a whole batch, the results of its parts add up to its own.

    Returns:
        Scalars by the same names and ``loss``; 0 where no film is known.
    """
    means = {}
    for name, values in losses.items():
        films = known[name]
        xp = films.__array_namespace__()
        count = films.sum() if counts is None else counts[name]
        means[name] = xp.where(films, values, 0.0).sum() / xp.maximum(count, 1)
    weights = {
        'film_loss': config.film_weight,
        'weak_loss': config.weak_weight,
        'class_loss': config.class_weight,
        'mask_loss': 1,
        'detector_loss': 1,
    }
    return {'loss': sum(weights[name] * mean for name, mean in means.items()), **means}


def _detector_loss(outputs, targets, config):
    """The weighted sum of the detector's losses, [B]."""
    heat = heat_loss(outputs['heat_logits'], targets['heat'])
    sides = giou_loss(outputs['box_sides'], targets['sides'], targets['sides_weight'])
    return config.heat * heat + config.giou * sides


def _mask_loss(logits, target, config):
    """The weighted sum of the mask head's losses, [B]."""
    total = jnp.zeros(len(logits))
    for name, weight in config.mask.items():
        if weight:
            loss = lookup(MASK_LOSSES, name, 'config.loss.mask')
            total += weight * loss(logits, target, config)
    return total


def _smoothed(labels, smoothing, num_classes):
    """Szegedy et al. 2015, arXiv:1512.00567."""
    return labels * (1 - smoothing) + smoothing / num_classes


def _bce(logits, labels, config):
    return optax.losses.sigmoid_binary_cross_entropy(logits, labels)


def _weighted_bce(logits, labels, config):
    positive, negative = _log_losses(logits)
    return config.positive_weight * labels * positive + (1 - labels) * negative


def _focal(logits, labels, config):
    """Lin et al. 2017, arXiv:1708.02002; of a soft label the mixture of both labels' losses."""
    alpha, gamma = config.focal.alpha, config.focal.gamma
    positive, negative = _log_losses(logits)
    # exp(-negative) is the probability of a negative, which an easy positive has little of.
    positive, negative = (
        jnp.exp(-gamma * negative) * positive,
        jnp.exp(-gamma * positive) * negative,
    )
    return alpha * labels * positive + (1 - alpha) * (1 - labels) * negative


def _log_losses(logits):
    """Cross entropies of a positive and of a negative, -log p and -log(1 - p)."""
    return jax.nn.softplus(-logits), jax.nn.softplus(logits)


def _mask_bce(logits, target, config):
    return _bce(logits, target, config).mean(axis=(1, 2, 3))


def _mask_focal(logits, target, config):
    return _focal(logits, target, config).mean(axis=(1, 2, 3))


def _mask_soft_iou(logits, target, config):
    """1 - (intersection + 1) / (union + 1) of probabilities; 0 for a film without boxes.

    The seed project took the sums over the whole batch. Film by film, a film without boxes has no
    overlap to speak of, and a term for it would be the steepest of all: masks then stay empty.
    Such films are left to the cross entropy.
    """
    probs = jax.nn.sigmoid(logits)
    intersection = _sum(probs * target)
    union = _sum(probs) + _sum(target) - intersection
    return _with_truth(1 - (intersection + 1) / (union + 1), target)


def _mask_dice(logits, target, config):
    """1 - Dice of probabilities (Milletari et al. 2016, arXiv:1606.04797), treated as soft IoU."""
    probs = jax.nn.sigmoid(logits)
    total = _sum(probs) + _sum(target)
    return _with_truth(1 - (2 * _sum(probs * target) + 1) / (total + 1), target)


def _mask_tversky(logits, target, config):
    """1 - Tversky's index (Salehi et al. 2017, arXiv:1706.05721), treated as soft IoU.

    With both weights one half it is Dice with a smoothing of 2, with both 1 it is soft IoU.
    """
    probs = jax.nn.sigmoid(logits)
    hits = _sum(probs * target)
    false_alarms, misses = _sum(probs) - hits, _sum(target) - hits
    wrong = config.tversky.alpha * false_alarms + config.tversky.beta * misses
    return _with_truth(1 - (hits + 1) / (hits + wrong + 1), target)


def _with_truth(loss, target):
    return jnp.where(_sum(target) > 0, loss, 0.0)


def _sum(x):
    return x.sum(axis=(1, 2, 3))


# name -> (float32 logits [B], labels [B] in [0, 1], section `loss`) -> losses [B].
FILM_LOSSES = {'bce': _bce, 'weighted_bce': _weighted_bce, 'focal': _focal}

# name -> (float32 logits [B,m,m,1], targets [B,m,m,1] in [0, 1], section `loss`) -> losses [B].
MASK_LOSSES = {
    'bce': _mask_bce,
    'soft_iou': _mask_soft_iou,
    'dice': _mask_dice,
    'tversky': _mask_tversky,
    'focal': _mask_focal,
}
