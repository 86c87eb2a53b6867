"""How much memory of a device training takes, found without a device or a compiler."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from pneumo_jax.losses import Targets, known_films
from pneumo_jax.models.heads import DETECTOR_STRIDE, MASK_STRIDE, NUM_CLASSES
from pneumo_jax.state import Graphs, TrainState
from pneumo_jax.steps import training_loss

__all__ = ['MemoryEstimate', 'estimate_memory']


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes per device.

    Attributes:
        parameters: of the model, its running statistics included.
        optimizer: its state.
        ema: the averages of the parameters, if there are any.
        gradients: of the parameters, and of a part of a batch beside their sum.
        activations: what the backward pass needs of the forward pass, on one part of a batch.
        batch: pictures and masks of a whole batch.
    """

    parameters: int
    optimizer: int
    ema: int
    gradients: int
    activations: int
    batch: int

    @property
    def total(self) -> int:
        """Bytes of all together."""
        return sum(dataclasses.astuple(self))

    def lines(self) -> list[str]:
        """A small table of mebibytes."""
        parts = dataclasses.asdict(self) | {'total': self.total}
        return [
            'memory of a device for training, estimated:',
            *(f'  {name:<12}{size / 2**20:>12,.1f} MiB' for name, size in parts.items() if size),
        ]


def estimate_memory(
    state: TrainState, graphs: Graphs, config, image_size: int, num_devices: int = 1
) -> MemoryEstimate:
    """The memory that the step of training takes on each device, all stages learning.

    The activations are the arrays that reverse-mode differentiation keeps. The compiler keeps
    fewer, since it computes cheap ones again, and needs room to work in: on the CPU it takes 0.7 to
    1.1 times as much for them.

    Args:
        state: arrays, or their shapes as ``jax.eval_shape`` gives them.
        graphs: of the model.
        config: a run's config; batch_size, accumulation_steps and loss are read.
        image_size: side of the pictures in pixels.
        num_devices: over which a batch is split.
    """
    rows = config.batch_size // num_devices
    parts = config.accumulation_steps
    images, targets = _films(rows, image_size, config)
    part_images, part_targets = _films(rows // parts, image_size, config)
    parameters = _bytes(state.params)
    return MemoryEstimate(
        parameters=parameters + _bytes(state.batch_stats),
        optimizer=_bytes((state.opt_state, state.plateau)),
        ema=_bytes(state.ema),
        gradients=parameters * (2 if parts > 1 else 1),
        activations=_kept_for_backward(state, part_images, part_targets, graphs, config),
        # The pictures as they come, one byte a pixel, and as they are augmented.
        batch=math.prod(images.shape) + _bytes((images, targets)),
    )


def _films(rows, image_size, config):
    """Shapes of augmented pictures and their targets."""
    mask_size = image_size // MASK_STRIDE
    shape = jax.ShapeDtypeStruct
    detection = None
    if config.model.localizer == 'detector':
        cells = (rows, *[image_size // DETECTOR_STRIDE] * 2)
        channels = {'heat': 1, 'sides': 4, 'sides_weight': 1}
        detection = {name: shape((*cells, n), jnp.float32) for name, n in channels.items()}
    return shape((rows, image_size, image_size, 1), jnp.float32), Targets(
        label=shape((rows,), jnp.float32),
        classes=shape((rows, NUM_CLASSES), jnp.float32),
        class_known=shape((rows,), bool),
        mask=shape((rows, mask_size, mask_size, 1), jnp.float32),
        boxes_known=shape((rows,), bool),
        film_known=shape((rows,), bool),
        weak_known=shape((rows,), bool),
        detection=detection,
    )


def _kept_for_backward(state, images, targets, graphs, config):
    """Bytes of what ``jax.vjp`` keeps beside what stands in memory anyway."""

    def kept(params, batch_stats, images, targets, key):
        counts = {name: known.sum() for name, known in known_films(targets).items()}

        def loss(params):
            return training_loss(
                params, batch_stats, images, targets, counts, key, graphs=graphs, config=config
            )

        _, backward, _ = jax.vjp(loss, params, has_aux=True)
        given = {id(x) for x in jax.tree.leaves((params, batch_stats, images, targets))}
        arrays = {id(x): x for x in jax.tree.leaves(backward)}
        # Without batch axis are the weights once more, as a convolution or a product takes them:
        # the same bytes under another shape.
        return [
            x
            for name, x in arrays.items()
            if name not in given and x.ndim and x.shape[0] == len(images)
        ]

    key = jax.eval_shape(lambda: jax.random.key(0))
    return _bytes(jax.eval_shape(kept, state.params, state.batch_stats, images, targets, key))


def _bytes(tree):
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))
