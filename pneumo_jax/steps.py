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
from pneumo_jax.models import param_stages
from pneumo_jax.models.heads import MASK_STRIDE
from pneumo_jax.state import Graphs, TrainState
from pneumo_jax.transfer import WHOLE, Phase

__all__ = ['make_eval_step', 'make_predict_step', 'make_train_step', 'unit_range']


def make_train_step(
    *, graphs: Graphs, tx: optax.GradientTransformation, config, phase: Phase = WHOLE
) -> Callable[[TrainState, dict], tuple[TrainState, dict]]:
    """The step of training, in one phase of a run.

    Args:
        graphs: of ``state.model_graphs``, for the phase.
        tx: the optimizer that made the state's ``opt_state``, for the phase.
        config: a run's config; seed, augment and loss are read.
        phase: which stages learn. The others keep their parameters to the bit, and nothing is
            computed backwards through the layers below the shallowest that learns.

    Returns:
        A jitted function ``(state, batch) -> (state, metrics)`` that donates the state. The
        metrics are float32 scalars on the device: ``loss``, ``film_loss``, ``mask_loss`` (the
        mean over films whose boxes are known, 0 in a batch without any), ``grad_norm`` (of what
        learns).
    """
    root_key = jax.random.key(config.seed)

    def train_step(state: TrainState, batch: dict):
        augment_key, dropout_key = jax.random.split(jax.random.fold_in(root_key, state.step))
        images, boxes = _picture_coordinates(batch)
        images, boxes = augment(augment_key, images, boxes, config.augment)
        target = _mask_target(boxes, batch['num_boxes'], images.shape[1])
        known = boxes_known(batch['label'], batch['num_boxes'])
        stages = param_stages(graphs.train, state.params)
        learns = jax.tree.map(lambda stage: stage in phase.learning, stages)

        def loss_fn(params):
            fixed = jax.lax.stop_gradient(params)
            model = nnx.merge(graphs.train, _where(learns, params, fixed), state.batch_stats)
            outputs = model(images, rngs=nnx.Rngs(dropout=dropout_key))
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
            # Not even zero is added to what does not learn: it would make 0.0 of -0.0.
            params=_where(learns, optax.apply_updates(state.params, updates), state.params),
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
            forward(params, batch_stats, unit_range(image))
        )
    )


def unit_range(image):
    """Pictures uint8 as float32 in [0, 1], as the models take them."""
    return image.astype(jnp.float32) / 255


def _where(chosen, tree, other):
    """Leaves of one tree where a tree of bools is True, of the other elsewhere."""
    return jax.tree.map(lambda first, a, b: a if first else b, chosen, tree, other)


def _make_forward(graphs):
    def forward(params, batch_stats, images):
        return nnx.merge(graphs.eval, params, batch_stats)(images)

    return forward


def _picture_coordinates(batch):
    """Pictures as float32 in [0, 1] and boxes in picture pixels."""
    image_size = batch['image'].shape[1]
    boxes = film_to_image(batch['boxes'], batch['film_size'], image_size)
    return unit_range(batch['image']), boxes


def _mask_target(boxes, num_boxes, image_size):
    return box_mask(boxes, num_boxes, image_size=image_size, mask_size=image_size // MASK_STRIDE)


def _probabilities(outputs):
    return {
        'film_prob': jax.nn.sigmoid(outputs['film_logits']),
        'mask_probs': jax.nn.sigmoid(outputs['mask_logits']),
    }
