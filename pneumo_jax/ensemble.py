"""One or several trained models that answer together: their raw outputs are averaged."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from pneumo_jax.config_checks import check_answers
from pneumo_jax.errors import InputError
from pneumo_jax.folds import fold_folders
from pneumo_jax.localizers import Localizer
from pneumo_jax.sharding import shard_batch
from pneumo_jax.steps import make_predict_step
from pneumo_jax.trained import TrainedModel, load_trained
from pneumo_jax.views import DETECTOR_MAPS

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


# Of config.eval, what decides how answers become boxes; numbers of several members are averaged.
_NUMBERS = ('mask_threshold', 'min_box_area', 'suppression_iou', 'voting_iou', 'faint_share')
_CHOICES = ('film_gate', 'merge', 'learn_shrink')


class Ensemble:
    """Answers films by one model, or by several together.

    Probabilities of film, classes and mask are averaged, and the maps of detectors too, or where
    ``config.eval.merge`` is ``fusion`` the boxes of each are fused.

    Args:
        members: at least one.

    Attributes:
        members: as given.
        image_size: side in pixels of the pictures they take.
        decoding: of these pictures, as in the manifest.
        batch_size: films in a batch.
        config: section ``eval`` of the members' configs, put together.

    Raises:
        InputError: if they take different pictures, or make boxes in different ways.
    """

    def __init__(self, members: Sequence[TrainedModel]):
        self.members = tuple(members)
        first = self.members[0]
        self._check_alike()
        self.image_size, self.decoding = first.image_size, first.decoding
        self.batch_size = first.config.eval.batch_size
        self.config = copy.deepcopy(first.config.eval)
        for name in _NUMBERS:
            numbers = [member.config.eval[name] for member in self.members]
            self.config[name] = float(np.mean(numbers))
        self._steps = [make_predict_step(graphs=m.graphs, config=m.config) for m in self.members]
        self._localizer = Localizer(first.config.model.localizer, self.config, self.image_size)

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
        together = self._together(jax.device_get(outputs))
        located = self._localizer.boxes(together, film_sizes)
        classes = together.get('class_probs')
        return [
            Answer(
                prob=float(together['film_prob'][i]),
                class_probs=None if classes is None else classes[i],
                mask_probs=together['mask_probs'][i, :, :, 0],
                boxes=boxes,
                scores=scores,
            )
            for i, (boxes, scores) in enumerate(located)
        ]

    def _together(self, outputs):
        """Outputs that all members have, averaged; maps of a fusion side by side."""
        if len(outputs) == 1:
            return outputs[0]
        names = set.intersection(*(set(output) for output in outputs))
        together = {}
        for name in names:
            arrays = [output[name] for output in outputs]
            whole = name in DETECTOR_MAPS and self.config.merge == 'fusion'
            together[name] = np.concatenate(arrays, axis=1) if whole else np.mean(arrays, axis=0)
        return together

    def _check_alike(self):
        first = self.members[0]
        for member in self.members[1:]:
            ways = [
                (f'pictures of {name}', getattr(first, name), getattr(member, name))
                for name in ('image_size', 'decoding')
            ]
            ways.append(
                ('config.model.localizer', *(m.config.model.localizer for m in (first, member)))
            )
            ways += [
                (f'config.eval.{name}', *(m.config.eval[name] for m in (first, member)))
                for name in _CHOICES
            ]
            for what, one, other in ways:
                if one != other:
                    raise InputError(
                        f'the runs were trained with {what} {one} and {other}: an ensemble needs '
                        'runs that are alike in this'
                    )


def load_ensemble(workdirs: Sequence[str], changes: Sequence[str] = ()) -> Ensemble:
    """The best checkpoints of runs.

    Args:
        workdirs: of the runs; one of ``pneumo_jax.cross_validate`` stands for those of its folds.
        changes: ``NAME=VALUE`` of fields of ``config.eval`` that are to be other than in training,
            or ``localizer=mask`` for the mask of a run with the detector. Thresholds that were
            chosen under other settings hold no more then.

    Raises:
        InputError: if a workdir holds no trained model, or is named twice, or for a change that no
            config can have.
    """
    if not workdirs:
        raise InputError('no model: give --workdir=W, a run of pneumo_jax.main')
    workdirs = [run for workdir in workdirs for run in _runs_of(workdir)]
    if len(set(workdirs)) < len(workdirs):
        raise InputError(f'a workdir is named twice among {", ".join(workdirs)}: name each once')
    return Ensemble([_changed(load_trained(workdir), changes) for workdir in workdirs])


def _runs_of(workdir):
    return [str(fold) for fold in fold_folders(workdir)] or [workdir]


def _changed(member, changes):
    if not changes:
        return member
    config = copy.deepcopy(member.config)
    for change in changes:
        name, equals, value = change.partition('=')
        section = config.model if name == 'localizer' else config.eval
        if not equals or name not in section:
            names = ', '.join(['localizer', *config.eval])
            raise InputError(f'--eval={change}: give NAME=VALUE with a NAME of {names}')
        section[name] = _read(value, section[name], change)
    if member.config.model.localizer == 'mask' != config.model.localizer:
        raise InputError('--eval=localizer=detector: the run has no detector, but a mask alone')
    check_answers(config)
    return dataclasses.replace(member, config=config)


def _read(text, old, change):
    """A value of the type of the old one."""
    try:
        if isinstance(old, bool):
            return {'true': True, 'false': False}[text.lower()]
        if isinstance(old, tuple):
            return tuple(float(part) for part in text.split(',') if part)
        return type(old)(text)
    except (ValueError, KeyError) as error:
        raise InputError(
            f'--eval={change}: {text!r} is no {type(old).__name__}, such as {old!r}'
        ) from error
