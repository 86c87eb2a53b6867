"""What the fields of a run's config may be, one by one."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

from pneumo_jax.boxes.refine import GATES
from pneumo_jax.data.shards import SPLITS
from pneumo_jax.losses import FILM_LOSSES
from pneumo_jax.models import BACKBONES, LOCALIZERS
from pneumo_jax.models.conventions import NORMALISATIONS, PADDINGS, VERSIONS
from pneumo_jax.optimizer import OPTIMIZERS
from pneumo_jax.schedules import SCHEDULES

__all__ = ['CHOICES', 'METRICS', 'NUMBERS', 'POSITIVE', 'RISING', 'Range']


class Range(NamedTuple):
    """Finite numbers from ``lowest`` to ``highest``, without these where ``above``, ``below``."""

    lowest: float
    highest: float = math.inf
    above: bool = False
    below: bool = False

    def holds(self, value) -> bool:
        """Whether a value is such a number."""
        if not isinstance(value, int | float) or not math.isfinite(value):
            return False
        low = self.lowest < value if self.above else self.lowest <= value
        return low and (value < self.highest if self.below else value <= self.highest)

    def __str__(self):
        low = f'more than {self.lowest}' if self.above else f'{self.lowest} or more'
        high = f'less than {self.highest}' if self.below else f'at most {self.highest}'
        return low if self.highest == math.inf else f'{low} and {high}'


_COUNT = Range(1)
POSITIVE = Range(0, above=True)
_NOT_NEGATIVE = Range(0)
_SHARE = Range(0, 1)
_LESS_THAN_ONE = Range(0, 1, below=True)

# All fields that are numbers, but for those of `transfer`, which `transfer.Transfer` knows.
NUMBERS = {
    # A larger seed than 32 bits makes the keys of a smaller one.
    'seed': Range(0, 2**32 - 1),
    'batch_size': _COUNT,
    'accumulation_steps': _COUNT,
    'learning_rate': _NOT_NEGATIVE,
    'num_epochs': _NOT_NEGATIVE,
    'num_steps': _NOT_NEGATIVE,
    'data.extra_share': Range(0, 1, above=True, below=True),
    'sampling.strength': _SHARE,
    'augment.rotation': Range(0, 180),
    'augment.scale': _LESS_THAN_ONE,
    'augment.shift': _SHARE,
    'augment.shear': Range(0, 90, below=True),
    'augment.crop': _LESS_THAN_ONE,
    'augment.brightness': _SHARE,
    'augment.contrast': _SHARE,
    'augment.gamma': _NOT_NEGATIVE,
    'augment.blur': _NOT_NEGATIVE,
    'augment.noise': _NOT_NEGATIVE,
    'augment.cutout': _SHARE,
    'augment.mixup': _NOT_NEGATIVE,
    'model.width': POSITIVE,
    'model.conventions.epsilon': _NOT_NEGATIVE,
    'model.dropout': _LESS_THAN_ONE,
    'model.pyramid_channels': _COUNT,
    'loss.film_weight': _NOT_NEGATIVE,
    'loss.class_weight': _NOT_NEGATIVE,
    'loss.positive_weight': _NOT_NEGATIVE,
    'loss.label_smoothing': _LESS_THAN_ONE,
    'loss.weak_weight': _NOT_NEGATIVE,
    'loss.detector.heat': _NOT_NEGATIVE,
    'loss.detector.giou': _NOT_NEGATIVE,
    'loss.mask.bce': _NOT_NEGATIVE,
    'loss.mask.soft_iou': _NOT_NEGATIVE,
    'loss.mask.dice': _NOT_NEGATIVE,
    'loss.mask.tversky': _NOT_NEGATIVE,
    'loss.mask.focal': _NOT_NEGATIVE,
    'loss.focal.alpha': _SHARE,
    'loss.focal.gamma': _NOT_NEGATIVE,
    'loss.tversky.alpha': _NOT_NEGATIVE,
    'loss.tversky.beta': _NOT_NEGATIVE,
    'optimizer.weight_decay': _NOT_NEGATIVE,
    'optimizer.clip_norm': _NOT_NEGATIVE,
    'optimizer.momentum': _LESS_THAN_ONE,
    'optimizer.beta1': _LESS_THAN_ONE,
    'optimizer.beta2': _LESS_THAN_ONE,
    'optimizer.ema_decay': _LESS_THAN_ONE,
    'schedule.warmup_epochs': _NOT_NEGATIVE,
    'schedule.warmup_steps': _NOT_NEGATIVE,
    # More than 1 looks for the rate at which a run diverges.
    'schedule.end_factor': _NOT_NEGATIVE,
    'schedule.factor': POSITIVE,
    'schedule.rise': Range(0, 1, above=True, below=True),
    'schedule.patience': _COUNT,
    'schedule.cooldown': _NOT_NEGATIVE,
    'schedule.min_factor': _SHARE,
    'early_stopping.patience': _NOT_NEGATIVE,
    'early_stopping.min_delta': _NOT_NEGATIVE,
    'early_stopping.warmup_epochs': _NOT_NEGATIVE,
    'early_stopping.warmup_steps': _NOT_NEGATIVE,
    'checkpoint.every_epochs': _NOT_NEGATIVE,
    'checkpoint.every_steps': _NOT_NEGATIVE,
    'logging.every_steps': _NOT_NEGATIVE,
    'logging.num_overlays': _NOT_NEGATIVE,
    'eval.batch_size': _COUNT,
    'eval.suppression_iou': _SHARE,
    'eval.voting_iou': _SHARE,
    'eval.faint_share': _SHARE,
    'eval.mask_threshold': Range(0, 1, above=True, below=True),
    'eval.min_box_area': _LESS_THAN_ONE,
}

# Fields of numbers that must rise.
RISING = ('schedule.boundaries_epochs', 'schedule.boundaries_steps')

# Validation figures, and what the better ones are.
METRICS = {
    'loss': 'min',
    'film_loss': 'min',
    'class_loss': 'min',
    'mask_loss': 'min',
    'detector_loss': 'min',
    'auroc': 'max',
    'auprc': 'max',
    'challenge_map': 'max',
    'mask_iou': 'max',
}

CHOICES: dict[str, Collection] = {
    'data.validation_split': SPLITS,
    'model.name': BACKBONES,
    'model.localizer': LOCALIZERS,
    'model.in_channels': (1, 3),
    'model.conventions.padding': ('', *PADDINGS),
    'model.conventions.version': ('', *VERSIONS),
    'model.conventions.normalisation': ('', *NORMALISATIONS),
    'model.dtype': ('float32', 'bfloat16'),
    'loss.film': FILM_LOSSES,
    'optimizer.name': OPTIMIZERS,
    'schedule.name': SCHEDULES,
    'early_stopping.metric': METRICS,
    'early_stopping.mode': ('max', 'min'),
    'eval.film_gate': GATES,
    'eval.merge': ('average', 'fusion'),
}
