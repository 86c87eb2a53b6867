import math

import numpy as np
import pytest

from configs import base
from pneumo_jax.data.example import UNKNOWN_CLASS
from pneumo_jax.scoring import FilmScore, choose_thresholds, validation_figures

BOX = np.array([[100, 100, 200, 300]], np.float32)
NO_BOX = np.zeros((0, 4), np.float32)
LOSS = base.get_config().loss


def film(label, prob, *, boxes=NO_BOX, scores=(), view='AP', person='p', drawn=True):
    """A scored film; ``drawn`` False for a collection in which nobody drew boxes."""
    area = float(label and drawn) * 20
    return FilmScore(
        record={
            'patient_id': 'x',
            'person_id': person,
            'label': label,
            'class_id': UNKNOWN_CLASS,
            'view_position': view,
            'label_domain': 'unknown',
        },
        truth=BOX if label and drawn else NO_BOX,
        prob=prob,
        boxes=boxes,
        box_scores=np.array(scores, np.float32),
        sums={
            'film_loss': 1.0,
            'mask_loss': area,
            'mask_intersection': area,
            'mask_union': area,
            'mask_truth': area,
            'mask_correct': 100.0,
            'mask_pixels': 100.0,
        },
    )


def test_films_of_unknown_boxes_count_for_the_film_figures_alone():
    known = [
        film(1, 0.9, boxes=BOX, scores=[0.8]),
        film(1, 0.6),
        film(0, 0.7, boxes=BOX, scores=[0.6]),
    ]
    weak = [film(1, 0.2, boxes=BOX, scores=[0.7], drawn=False), film(1, 0.3, drawn=False)]
    figures, expected = (validation_figures(films, LOSS) for films in (known + weak, known))
    for name in ('loss', 'film_loss', 'mask_loss', 'challenge_map', 'mask_iou'):
        assert figures[name] == pytest.approx(expected[name]), name
    assert choose_thresholds(known + weak).box == choose_thresholds(known).box


@pytest.mark.parametrize('negatives', [0, 2])
def test_without_a_single_box_the_figures_of_boxes_are_undefined(negatives):
    films = [film(1, 0.9, boxes=BOX, scores=[0.8], drawn=False), film(1, 0.8, drawn=False)]
    films += [film(0, 0.3, boxes=BOX, scores=[0.4])] * negatives
    figures = validation_figures(films, LOSS)
    assert figures['loss'] == 1
    assert math.isnan(figures['mask_loss']) == (negatives == 0)
    assert math.isnan(figures['challenge_map'])
    assert math.isnan(figures['mask_iou'])
    thresholds = choose_thresholds(films)
    assert (thresholds.box, thresholds.box_chosen) == (0, False)
