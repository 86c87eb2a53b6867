"""From a model's answers to the boxes of each film: the one place that does it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from pneumo_jax.boxes.decode import mask_to_boxes, to_film
from pneumo_jax.boxes.detections import peaks_to_boxes
from pneumo_jax.boxes.fusion import fuse_boxes
from pneumo_jax.boxes.refine import drop_faint, gate

__all__ = ['Localizer']

Boxes = tuple[np.ndarray, np.ndarray]


class Localizer:
    """Makes boxes of the answers of ``steps.make_predict_step``.

    Args:
        kind: of ``models.LOCALIZERS``.
        config: section ``eval`` of a run's config.
        image_size: side of the model's square picture in pixels.
    """

    def __init__(self, kind: str, config, image_size: int):
        self._config, self._image_size = config, image_size
        self._locate = {'mask': self._in_masks, 'detector': self._at_peaks}[kind]
        self._peaks = jax.jit(
            functools.partial(
                peaks_to_boxes,
                image_size=image_size,
                iou_threshold=config.suppression_iou,
                voting_iou=config.voting_iou,
            )
        )

    def boxes(self, answers: Mapping, film_sizes: Sequence[tuple[int, int]]) -> list[Boxes]:
        """The boxes of each film, before any threshold of confidence.

        Args:
            answers: of a batch, arrays on the host.
            film_sizes: height and width in pixels of each film, at most as many as rows.

        Returns:
            Boxes float32 [k,4], (x, y, width, height) in film pixels, and their confidences float32
            [k], descending, film by film.
        """
        return [
            self._refined(boxes, scores, float(prob))
            for (boxes, scores), prob in zip(
                self._locate(answers, film_sizes), answers['film_prob'], strict=False
            )
        ]

    def _in_masks(self, answers, film_sizes):
        for mask, film_size in zip(answers['mask_probs'], film_sizes, strict=False):
            yield mask_to_boxes(
                mask[:, :, 0],
                film_size=film_size,
                image_size=self._image_size,
                threshold=self._config.mask_threshold,
                min_area=self._config.min_box_area,
            )

    def _at_peaks(self, answers, film_sizes):
        heat, sides = answers['heat_probs'], answers['box_sides']
        # Views stand beside films: one call, whatever their number.
        flat = (maps.reshape(-1, *maps.shape[2:]) for maps in (heat, sides))
        boxes, scores = (np.asarray(x) for x in self._peaks(*flat))
        boxes, scores = (x.reshape(*heat.shape[:2], *x.shape[1:]) for x in (boxes, scores))
        for film_boxes, film_scores, film_size in zip(boxes, scores, film_sizes, strict=False):
            views = [
                (to_film(view[s > 0], film_size, self._image_size), s[s > 0])
                for view, s in zip(film_boxes, film_scores, strict=True)
            ]
            yield views[0] if len(views) == 1 else fuse_boxes(*zip(*views, strict=True))

    def _refined(self, boxes, scores, prob):
        scores = gate(scores, prob, self._config.film_gate)
        return drop_faint(boxes, scores.astype(np.float32), self._config.faint_share)
