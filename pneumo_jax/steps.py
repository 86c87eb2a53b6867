"""The jitted steps: pure functions of a state and a batch."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from pneumo_jax.boxes.detector_targets import detector_targets
from pneumo_jax.boxes.known import boxes_known
from pneumo_jax.boxes.targets import box_mask
from pneumo_jax.data.augment import augment, blend, mixup_pairs
from pneumo_jax.data.geometry import film_to_image
from pneumo_jax.losses import Targets, film_losses, known_films, mean_losses
from pneumo_jax.metrics.mask import mask_sums
from pneumo_jax.models import param_stages
from pneumo_jax.models.heads import DETECTOR_STRIDE, MASK_STRIDE, NUM_CLASSES
from pneumo_jax.optimizer import ema_update
from pneumo_jax.state import Graphs, TrainState
from pneumo_jax.transfer import WHOLE, Phase
from pneumo_jax.views import answer_views

__all__ = ['make_eval_step', 'make_predict_step', 'make_train_step', 'training_loss', 'unit_range']


def make_train_step(
    *,
    graphs: Graphs,
    tx: optax.GradientTransformation,
    schedule: optax.Schedule,
    config,
    phase: Phase = WHOLE,
) -> Callable[[TrainState, dict], tuple[TrainState, dict]]:
    """The step of training, in one phase of a run.

    Args:
        graphs: of ``state.model_graphs``, for the phase.
        tx: the optimizer that made the state's ``opt_state``, for the phase.
        schedule: its learning rate, to be told.
        config: a run's config; seed, accumulation_steps, augment, loss and ema_decay are read.
        phase: which stages learn. The others keep their parameters to the bit, and nothing is
            computed backwards through the layers below the shallowest that learns.

    Returns:
        A jitted function ``(state, batch) -> (state, metrics)`` that donates the state. The
        metrics are float32 scalars on the device: ``loss``, the means of ``losses.film_losses``
        over the films of which the truth is known (0 in a batch without any), ``grad_norm`` (of
        what learns, before clipping) and ``learning_rate``.
    """
    root_key = jax.random.key(config.seed)

    def train_step(state: TrainState, batch: dict):
        keys = jax.random.split(jax.random.fold_in(root_key, state.step), 3)
        images, targets = _training_films(keys[:2], batch, config)
        stages = param_stages(graphs.train, state.params)
        learns = jax.tree.map(lambda stage: stage in phase.learning, stages)

        def loss_fn(params, *rest):
            fixed = jax.lax.stop_gradient(params)
            return training_loss(_where(learns, params, fixed), *rest, graphs=graphs, config=config)

        grads, metrics, batch_stats = _whole_gradients(
            jax.grad(loss_fn, has_aux=True), state, images, targets, keys[2], config
        )
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        metrics |= {'grad_norm': optax.tree.norm(grads), 'learning_rate': schedule(state.step)}
        if state.plateau is not None:
            updates = jax.tree.map(lambda update: update * state.plateau.scale, updates)
            metrics['learning_rate'] *= state.plateau.scale
        # Not even zero is added to what does not learn: it would make 0.0 of -0.0.
        params = _where(learns, optax.apply_updates(state.params, updates), state.params)
        state = state.replace(
            params=params, batch_stats=batch_stats, opt_state=opt_state, step=state.step + 1
        )
        if state.ema is not None:
            newest = {'params': params, 'batch_stats': batch_stats}
            decay = config.optimizer.ema_decay
            state = state.replace(ema=ema_update(state.ema, newest, decay=decay, step=state.step))
        return state, metrics

    return jax.jit(train_step, donate_argnums=0)


def training_loss(params, batch_stats, images, targets, counts, key, *, graphs: Graphs, config):
    """The loss that training takes the gradient of, on a batch or a part of one.

    Args:
        params: of the model.
        batch_stats: of the model.
        images: float32 [B,S,S,1] in [0, 1].
        targets: a ``losses.Targets`` of as many films.
        counts: what the means of the losses divide by, as ``losses.mean_losses`` takes it.
        key: of ``jax.random``, for dropout.
        graphs: of the model.
        config: a run's config; ``loss`` is read.

    Returns:
        The loss, and as auxiliary values the means of all losses and the new batch_stats.
    """
    model = nnx.merge(graphs.train, params, batch_stats)
    outputs = model(images, rngs=nnx.Rngs(dropout=key))
    losses = film_losses(outputs, targets, config.loss)
    means = mean_losses(losses, known_films(targets), config.loss, counts)
    return means['loss'], (means, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)))


def make_eval_step(*, graphs: Graphs, config) -> Callable[[dict, dict, dict], dict]:
    """The step of validation and evaluation, on films with labels.

    Returns:
        A jitted function ``(params, batch_stats, batch) -> scores``: what the predict step gives,
        and per film, float32 [B], the losses of ``losses.film_losses`` and the sums of
        ``metrics.mask.mask_sums``. Rows with ``mask`` False are computed too; the reader leaves
        them out.
    """
    loss = copy.deepcopy(config.loss)
    # A means of training: here answers are compared with the truth as it is.
    loss.label_smoothing = 0.0

    def eval_step(params, batch_stats, batch):
        images, boxes = _picture_coordinates(batch)
        answer = functools.partial(_answer, graphs, config, params, batch_stats)
        probs = answer_views(answer, images, config.eval)
        targets = _targets(batch, boxes, images.shape[1], config)
        sums = mask_sums(probs['mask_probs'], targets.mask, config.eval.mask_threshold)
        # Computed once by the compiler: the first view is the film as it is.
        losses = film_losses(_forward(graphs, params, batch_stats, images), targets, loss)
        # No film here is of the kind that the weak head knows.
        losses.pop('weak_loss', None)
        return probs | losses | sums

    return jax.jit(eval_step)


def make_predict_step(*, graphs: Graphs, config) -> Callable[[dict, dict, jax.Array], dict]:
    """The step of prediction, on pictures alone.

    Returns:
        A jitted function ``(params, batch_stats, image uint8 [B,S,S,1]) -> scores`` with
        ``film_prob`` float32 [B], ``mask_probs`` float32 [B,m,m,1], of a model with a head for the
        three classes ``class_probs`` float32 [B,3], and of one with the detector ``heat_probs``
        float32 [B,V,h,h,1] and ``box_sides`` float32 [B,V,h,h,4], all in the views of
        ``config.eval`` (``views.answer_views``). Where the film head was not trained
        (``config.loss.film_weight`` 0) the highest mask value is the film's probability.
    """

    def predict_step(params, batch_stats, image):
        answer = functools.partial(_answer, graphs, config, params, batch_stats)
        return answer_views(answer, unit_range(image), config.eval)

    return jax.jit(predict_step)


def unit_range(image):
    """Pictures uint8 as float32 in [0, 1], as the models take them."""
    return image.astype(jnp.float32) / 255


def _training_films(keys, batch, config):
    """Augmented pictures and their targets; those of mixed films are mixed alike."""
    images, boxes = _picture_coordinates(batch)
    images, boxes = augment(keys[0], images, boxes, config.augment)
    targets = _targets(batch, boxes, images.shape[1], config)
    if not config.augment.mixup:
        return images, targets
    partner, share = mixup_pairs(keys[1], len(images), config.augment.mixup)
    mixed = {name: blend(getattr(targets, name), partner, share) for name in _BLENDED}
    # A mixture with something unknown is unknown.
    known = {name: getattr(targets, name) & getattr(targets, name)[partner] for name in _KNOWN}
    return blend(images, partner, share), Targets(
        **mixed, **known, detection=_mixed_detection(targets.detection, partner, share)
    )


# Fields of Targets.
_BLENDED = ('label', 'classes', 'mask')
_KNOWN = ('class_known', 'boxes_known', 'film_known', 'weak_known')


def _mixed_detection(targets, partner, share):
    """Heat and weights of both films in proportion; a cell's sides are those that weigh more."""
    if targets is None:
        return None
    mixed = {name: blend(targets[name], partner, share) for name in ('heat', 'sides_weight')}
    share = share[:, None, None, None]
    own, other = share * targets['sides_weight'], (1 - share) * targets['sides_weight'][partner]
    sides = jnp.where(own >= other, targets['sides'], targets['sides'][partner])
    return mixed | {'sides': sides}


def _targets(batch, boxes, image_size, config):
    """``Targets`` of a batch whose boxes float32 [B,N,4] are in picture pixels."""
    mask_size = image_size // MASK_STRIDE
    weak, detection = batch['weak'], None
    if config.model.localizer == 'detector':
        detection = detector_targets(
            boxes,
            batch['num_boxes'],
            image_size=image_size,
            map_size=image_size // DETECTOR_STRIDE,
        )
    return Targets(
        label=batch['label'].astype(jnp.float32),
        # Nothing but zeros for an unknown class, -1.
        classes=jax.nn.one_hot(batch['class_id'], NUM_CLASSES),
        class_known=(batch['class_id'] >= 0) & ~weak,
        mask=box_mask(boxes, batch['num_boxes'], image_size=image_size, mask_size=mask_size),
        boxes_known=boxes_known(batch['label'], batch['num_boxes']) & ~weak,
        film_known=~weak,
        weak_known=weak,
        detection=detection,
    )


def _whole_gradients(grad_fn, state, images, targets, key, config):
    """Gradients of a batch's loss, its metrics and the new statistics, part by part if asked for.

    Every part's losses are divided by the counts of the whole batch, so that sums over the parts
    are what the batch in one piece has.
    """
    parts = config.accumulation_steps
    counts = {name: films.sum() for name, films in known_films(targets).items()}
    if parts == 1:
        grads, (metrics, batch_stats) = grad_fn(
            state.params, state.batch_stats, images, targets, counts, key
        )
        return grads, metrics, batch_stats

    def add_part(carry, part):
        sums, batch_stats = carry
        images, targets, key = part
        grads, (metrics, batch_stats) = grad_fn(
            state.params, batch_stats, images, targets, counts, key
        )
        return (jax.tree.map(jnp.add, sums, (grads, metrics)), batch_stats), None

    # Each part has rows of every device: row i belongs to part i % parts.
    split = jax.tree.map(
        lambda x: jnp.swapaxes(x.reshape(-1, parts, *x.shape[1:]), 0, 1), (images, targets)
    )
    example = jax.tree.map(lambda x: x[0], split)
    shapes = jax.eval_shape(grad_fn, state.params, state.batch_stats, *example, counts, key)
    grads, (metrics, _) = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    ((grads, metrics), batch_stats), _ = jax.lax.scan(
        add_part,
        ((grads, metrics), state.batch_stats),
        (*split, jax.random.split(key, parts)),
    )
    return grads, metrics, batch_stats


def _where(chosen, tree, other):
    """Leaves of one tree where a tree of bools is True, of the other elsewhere."""
    return jax.tree.map(lambda first, a, b: a if first else b, chosen, tree, other)


def _forward(graphs, params, batch_stats, images):
    return nnx.merge(graphs.eval, params, batch_stats)(images)


def _picture_coordinates(batch):
    """Pictures as float32 in [0, 1] and boxes in picture pixels."""
    image_size = batch['image'].shape[1]
    boxes = film_to_image(batch['boxes'], batch['film_size'], image_size)
    return unit_range(batch['image']), boxes


def _answer(graphs, config, params, batch_stats, images):
    """What the model says of float32 pictures, as probabilities."""
    outputs = _forward(graphs, params, batch_stats, images)
    mask = jax.nn.sigmoid(outputs['mask_logits'])
    film = jax.nn.sigmoid(outputs['film_logits'])
    if not config.loss.film_weight:
        film = mask.max(axis=(1, 2, 3))
    probs = {'film_prob': film, 'mask_probs': mask}
    if 'class_logits' in outputs:
        probs['class_probs'] = jax.nn.softmax(outputs['class_logits'])
    if 'heat_logits' in outputs:
        probs['heat_probs'] = jax.nn.sigmoid(outputs['heat_logits'])
        probs['box_sides'] = outputs['box_sides']
    return probs
