"""One or several trained models that answer together: their raw outputs are averaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from pneumo_jax.boxes.decode import mask_to_boxes
from pneumo_jax.errors import InputError
from pneumo_jax.sharding import shard_batch
from pneumo_jax.steps import make_predict_step
from pneumo_jax.trained import TrainedModel, load_trained

__all__ = ['Answer', 'Ensemble', 'load_ensemble']


@dataclasses.dataclass(frozen=True)
class Answer:
    """What is answered of one film.

    Attributes:
        prob: probability of a lung opacity.
        class_probs: float32 [3] of the three classes; None without such a head in every member.
        mask_probs: float32 [m,m], per cell of the standard picture: is it inside a box?
        boxes: float32 [k,4] (x, y, width, height) in film pixels, before any threshold of
            confidence.
        scores: float32 [k], their confidences, descending.
    """

    prob: float
    class_probs: np.ndarray | None
    mask_probs: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


class Ensemble:
    """Answers films by one model, or by the mean of several.

    Probabilities of film, classes and mask are averaged before boxes are made of the mask, at the
    mean of the members' ``config.eval``.

    Args:
        members: at least one.

    Attributes:
        members: as given.
        image_size: side in pixels of the pictures they take.
        decoding: of these pictures, as in the manifest.
        batch_size: films in a batch.
        mask_threshold: mask cells above it are opacity.

    Raises:
        InputError: if they take different pictures.
    """

    def __init__(self, members: Sequence[TrainedModel]):
        self.members = tuple(members)
        first = self.members[0]
        for member in self.members[1:]:
            for name in ('image_size', 'decoding'):
                if getattr(member, name) != getattr(first, name):
                    raise InputError(
                        f'the runs were trained on pictures of {name} {getattr(first, name)} and '
                        f'{getattr(member, name)}: an ensemble needs runs on the same pictures'
                    )
        self.image_size, self.decoding = first.image_size, first.decoding
        self.batch_size = first.config.eval.batch_size
        self._steps = [make_predict_step(graphs=m.graphs, config=m.config) for m in self.members]
        self.mask_threshold = self._mean_setting('mask_threshold')
        self._min_area = self._mean_setting('min_box_area')

    @property
    def name(self) -> str:
        """The model, or ``ensemble of 2: resnet18, vgg19``."""
        names = [member.config.model.name for member in self.members]
        return names[0] if len(names) == 1 else f'ensemble of {len(names)}: {", ".join(names)}'

    def answer(self, images: np.ndarray, film_sizes: Sequence[tuple[int, int]]) -> list[Answer]:
        """The answers for a batch.

        Args:
            images: standard pictures uint8 [batch_size,S,S,1]; rows after the films are padding.
            film_sizes: height and width in pixels of each film, at most as many as rows.
        """
        outputs = [
            step(member.params, member.batch_stats, shard_batch(images, member.mesh))
            for step, member in zip(self._steps, self.members, strict=True)
        ]
        mean = _mean(jax.device_get(outputs))
        return [self._answer(mean, i, film_size) for i, film_size in enumerate(film_sizes)]

    def _answer(self, outputs, i, film_size):
        mask_probs = outputs['mask_probs'][i, :, :, 0]
        boxes, scores = mask_to_boxes(
            mask_probs,
            film_size=film_size,
            image_size=self.image_size,
            threshold=self.mask_threshold,
            min_area=self._min_area,
        )
        return Answer(
            prob=float(outputs['film_prob'][i]),
            class_probs=outputs['class_probs'][i] if 'class_probs' in outputs else None,
            mask_probs=mask_probs,
            boxes=boxes,
            scores=scores,
        )

    def _mean_setting(self, name):
        return float(np.mean([member.config.eval[name] for member in self.members]))


def load_ensemble(workdirs: Sequence[str]) -> Ensemble:
    """The best checkpoints of runs.

    Raises:
        InputError: if a workdir holds no trained model, or is named twice.
    """
    if not workdirs:
        raise InputError('no model: give --workdir=W, a run of pneumo_jax.main')
    if len(set(workdirs)) < len(workdirs):
        raise InputError(f'a workdir is named twice among {", ".join(workdirs)}: name each once')
    return Ensemble([load_trained(workdir) for workdir in workdirs])


def _mean(outputs):
    """Outputs that all members have, averaged."""
    if len(outputs) == 1:
        return outputs[0]
    names = set.intersection(*(set(output) for output in outputs))
    return {name: np.mean([output[name] for output in outputs], axis=0) for name in names}
