"""The jitted steps: pure functions of a state and a batch."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from pneumo_jax.boxes.targets import box_mask, boxes_known
from pneumo_jax.data.augment import augment
from pneumo_jax.data.geometry import film_to_image
from pneumo_jax.losses import film_losses, mean_losses
from pneumo_jax.metrics.mask import mask_sums
from pneumo_jax.models.heads import MASK_STRIDE
from pneumo_jax.state import Graphs, TrainState

__all__ = ['make_eval_step', 'make_predict_step', 'make_train_step']


def make_train_step(
    *, graphs: Graphs, tx: optax.GradientTransformation, config
) -> Callable[[TrainState, dict], tuple[TrainState, dict]]:
    """The step of training.

    Args:
        graphs: of ``state.model_graphs``.
        tx: the optimizer that made the state's ``opt_state``.
        config: a run's config; seed, augment and loss are read.

    Returns:
        A jitted function ``(state, batch) -> (state, metrics)`` that donates the state. The
        metrics are float32 scalars on the device: ``loss``, ``film_loss``, ``mask_loss`` (the
        mean over films whose boxes are known, 0 in a batch without any), ``grad_norm``.
    """
    root_key = jax.random.key(config.seed)

    def train_step(state: TrainState, batch: dict):
        augment_key, dropout_key = jax.random.split(jax.random.fold_in(root_key, state.step))
        images, boxes = _picture_coordinates(batch)
        images, boxes = augment(augment_key, images, boxes, config.augment)
        target = _mask_target(boxes, batch['num_boxes'], images.shape[1])
        known = boxes_known(batch['label'], batch['num_boxes'])

        def loss_fn(params):
            model = nnx.merge(graphs.train, params, state.batch_stats)
            outputs = model(_standardise(images), rngs=nnx.Rngs(dropout=dropout_key))
            losses = film_losses(
                outputs,
                labels=batch['label'],
                mask_target=target,
                known=known,
                config=config.loss,
            )
            means = mean_losses(losses, known)
            batch_stats = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
            return means['loss'], (means, batch_stats)

        grads, (metrics, batch_stats) = jax.grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        metrics['grad_norm'] = optax.tree.norm(grads)
        return TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        ), metrics

    return jax.jit(train_step, donate_argnums=0)


def make_eval_step(*, graphs: Graphs, config) -> Callable[[dict, dict, dict], dict]:
    """The step of validation and evaluation, on films with labels.

    Returns:
        A jitted function ``(params, batch_stats, batch) -> scores``: what the predict step gives,
        and per film, float32 [B], the losses (the mask loss 0 where the boxes are not known) and
        the sums of ``metrics.mask.mask_sums``. Rows with ``mask`` False are computed too; the
        reader leaves them out.
    """
    forward = _make_forward(graphs)

    def eval_step(params, batch_stats, batch):
        images, boxes = _picture_coordinates(batch)
        outputs = forward(params, batch_stats, images)
        target = _mask_target(boxes, batch['num_boxes'], images.shape[1])
        losses = film_losses(
            outputs,
            labels=batch['label'],
            mask_target=target,
            known=boxes_known(batch['label'], batch['num_boxes']),
            config=config.loss,
        )
        probs = _probabilities(outputs)
        sums = mask_sums(probs['mask_probs'], target, config.eval.mask_threshold)
        return probs | losses | sums

    return jax.jit(eval_step)


def make_predict_step(*, graphs: Graphs) -> Callable[[dict, dict, jax.Array], dict]:
    """The step of prediction, on pictures alone.

    Returns:
        A jitted function ``(params, batch_stats, image uint8 [B,S,S,1]) -> scores`` with
        ``film_prob`` float32 [B] and ``mask_probs`` float32 [B,m,m,1].
    """
    forward = _make_forward(graphs)
    return jax.jit(
        lambda params, batch_stats, image: _probabilities(
            forward(params, batch_stats, _unit_range(image))
        )
    )


def _make_forward(graphs):
    def forward(params, batch_stats, images):
        return nnx.merge(graphs.eval, params, batch_stats)(_standardise(images))

    return forward


def _picture_coordinates(batch):
    """Pictures as float32 in [0, 1] and boxes in picture pixels."""
    image_size = batch['image'].shape[1]
    boxes = film_to_image(batch['boxes'], batch['film_size'], image_size)
    return _unit_range(batch['image']), boxes


def _unit_range(image):
    return image.astype(jnp.float32) / 255


def _standardise(images):
    """[0, 1] to [-1, 1]."""
    return 2 * images - 1


def _mask_target(boxes, num_boxes, image_size):
    return box_mask(boxes, num_boxes, image_size=image_size, mask_size=image_size // MASK_STRIDE)


def _probabilities(outputs):
    return {
        'film_prob': jax.nn.sigmoid(outputs['film_logits']),
        'mask_probs': jax.nn.sigmoid(outputs['mask_logits']),
    }
