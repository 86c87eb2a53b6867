"""A model's answers on labelled films, film by film, and the thresholds chosen from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from pneumo_jax.boxes.known import boxes_known
from pneumo_jax.data.example import UNKNOWN_CLASS
from pneumo_jax.data.pipeline import FilmSplit, eval_batches
from pneumo_jax.localizers import Localizer
from pneumo_jax.losses import mean_losses
from pneumo_jax.metrics import classification, mask
from pneumo_jax.metrics.detection import best_score_threshold
from pneumo_jax.sharding import shard_batch
from pneumo_jax.thresholds import Thresholds, thresholds_of

__all__ = [
    'LOCATION_FIGURES',
    'FilmScore',
    'boxes_text',
    'choose_thresholds',
    'films_to_locate_on',
    'mask_columns',
    'score_split',
    'validation_figures',
]

# The validation figures that compare with true boxes.
LOCATION_FIGURES = ('challenge_map', 'mask_iou')

_LOSSES = ('film_loss', 'class_loss', 'mask_loss', 'detector_loss')


@dataclasses.dataclass(frozen=True)
class FilmScore:
    """What is known and what was predicted of one film.

    Attributes:
        record: the film's record (``data.example``) without its pixels.
        truth: float32 [n,4], the true boxes in film pixels; none where they are not known.
        prob: probability of a lung opacity.
        boxes: float32 [k,4], predicted boxes in film pixels, before any score threshold.
        box_scores: float32 [k], their confidences, descending.
        sums: losses, and sums of ``metrics.mask.mask_sums``, by name.
    """

    record: dict
    truth: np.ndarray
    prob: float
    boxes: np.ndarray
    box_scores: np.ndarray
    sums: dict[str, float]

    @property
    def label(self) -> int:
        """1 for a lung opacity, else 0."""
        return int(self.record['label'])

    @property
    def class_known(self) -> bool:
        """False for a film of which no table of classes was given."""
        return self.record['class_id'] != UNKNOWN_CLASS

    @property
    def boxes_known(self) -> bool:
        """False for a film with an opacity on which nobody drew a box."""
        return boxes_known(self.label, len(self.truth))


def score_split(
    split: FilmSplit,
    *,
    eval_step: Callable,
    params: dict,
    batch_stats: dict,
    mesh: Mesh,
    config,
    stop: Callable[[], bool] = lambda: False,
) -> list[FilmScore] | None:
    """The answers for every film of a split, in order.

    Args:
        split: the films.
        eval_step: of ``steps.make_eval_step``.
        params: of the model.
        batch_stats: of the model.
        mesh: of ``sharding.make_mesh``.
        config: a run's config; ``model.localizer`` and section ``eval`` are read.
        stop: asked before each batch whether to give up; the answer is None then.
    """
    films = []
    localizer = Localizer(config.model.localizer, config.eval, split.image_size)
    for batch, records in eval_batches(split, batch_size=config.eval.batch_size):
        if stop():
            return None
        outputs = jax.device_get(eval_step(params, batch_stats, shard_batch(batch, mesh)))
        sizes = [(record['film_height'], record['film_width']) for record in records]
        located = localizer.boxes(outputs, sizes)
        films.extend(
            _film_score(outputs, i, record, *boxes)
            for i, (record, boxes) in enumerate(zip(records, located, strict=True))
        )
    return films


def films_to_locate_on(films: list[FilmScore]) -> list[FilmScore]:
    """The films on which boxes and masks can be compared with the truth.

    They are those whose boxes are known, and none at all where none of them has a box: nothing
    could be found there, and the best answer would be an empty one.
    """
    known = [film for film in films if film.boxes_known]
    return known if any(len(film.truth) for film in known) else []


def choose_thresholds(films: list[FilmScore], *, learn_shrink: bool = False) -> Thresholds:
    """``thresholds_of`` validation films."""
    located = _boxes(films_to_locate_on(films))
    return thresholds_of(*_labels_and_probs(films), located, learn_shrink=learn_shrink)


def validation_figures(films: list[FilmScore], config) -> dict[str, float]:
    """The figures that early stopping can watch; NaN where undefined on these films.

    As in training, the losses are means over the films of which the truth is known.

    Args:
        films: of ``score_split``.
        config: section ``loss`` of a run's config.
    """
    labels, probs = _labels_and_probs(films)
    located = films_to_locate_on(films)
    return _mean_losses(films, config) | {
        'auroc': classification.auroc(labels, probs),
        'auprc': classification.auprc(labels, probs),
        'challenge_map': best_score_threshold(*_boxes(located))[1] if located else math.nan,
        'mask_iou': mask.mean_iou(mask_columns(located)) if located else math.nan,
    }


def mask_columns(films: list[FilmScore]) -> dict[str, np.ndarray]:
    """The sums of ``metrics.mask.mask_sums`` as arrays over films."""
    names = {name for film in films for name in film.sums} - set(_LOSSES)
    return {name: np.array([f.sums[name] for f in films]) for name in names}


def boxes_text(boxes: np.ndarray, scores: np.ndarray) -> str:
    """Boxes [k,4] and confidences [k] as Kaggle's PredictionString: ``conf x y w h`` repeated."""
    return ' '.join(
        f'{score:.4f} {x:.1f} {y:.1f} {w:.1f} {h:.1f}'
        for score, (x, y, w, h) in zip(scores, boxes, strict=True)
    )


def _film_score(outputs, i, record, boxes, scores):
    record = {name: value for name, value in record.items() if name != 'image'}
    # What is one number a film.
    sums = {name: float(x[i]) for name, x in outputs.items() if x.ndim == 1}
    return FilmScore(
        record=record,
        truth=record['boxes'][: record['num_boxes']],
        prob=sums.pop('film_prob'),
        boxes=boxes,
        box_scores=scores,
        sums=sums,
    )


def _mean_losses(films, config):
    names = [name for name in _LOSSES if name in films[0].sums]
    losses = {name: np.array([f.sums[name] for f in films]) for name in names}
    known = {
        'film_loss': np.ones(len(films), bool),
        'class_loss': np.array([f.class_known for f in films]),
        **dict.fromkeys(('mask_loss', 'detector_loss'), np.array([f.boxes_known for f in films])),
    }
    means = {name: float(mean) for name, mean in mean_losses(losses, known, config).items()}
    return means | {name: math.nan for name in names if not known[name].any()}


def _labels_and_probs(films):
    return np.array([f.label for f in films]), np.array([f.prob for f in films])


def _boxes(films):
    return [f.truth for f in films], [f.boxes for f in films], [f.box_scores for f in films]
