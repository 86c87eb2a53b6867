"""Gates, faint boxes and shrinking by their definitions."""

import math

import numpy as np
import pytest

from pneumo_jax.boxes.match import iou_matrix
from pneumo_jax.boxes.refine import GATES, drop_faint, gate, shrink
from pneumo_jax.errors import InputError

_SCORES = np.array([0.81, 0.25, 0.04, 0.0], np.float32)


@pytest.mark.parametrize(
    ('how', 'expected'),
    [
        ('none', [0.81, 0.25, 0.04, 0]),
        ('product', [0.2916, 0.09, 0.0144, 0]),
        ('sqrt', [0.486, 0.15, 0.024, 0]),
    ],
)
def test_gates_are_their_formulas(how, expected):
    got = gate(_SCORES, 0.36, how)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert got.dtype == np.float32
    assert gate(_SCORES, np.float64(0.36), how).dtype == np.float32
    assert gate(_SCORES[:0], 0.36, how).shape == (0,)


@pytest.mark.parametrize('how', GATES)
def test_gates_keep_the_order_within_a_film_and_raise_boxes_of_likelier_films(how):
    gated = np.stack([gate(_SCORES, prob, how) for prob in (0.1, 0.5, 1.0)])
    assert (np.diff(gated, axis=1) < 0).all()
    assert (np.diff(gated, axis=0) >= 0).all()
    assert how == 'none' or (np.diff(gated[:, :3], axis=0) > 0).all()


def test_what_is_no_gate_and_no_probability_is_refused():
    with pytest.raises(InputError, match=r"film_gate='prodct' is .* none, product, sqrt"):
        gate(_SCORES, 0.5, 'prodct')
    for prob in (-0.1, 1.2, math.nan):
        with pytest.raises(ValueError, match=f'film_prob is {prob}'):
            gate(_SCORES, prob, 'product')


def test_boxes_under_a_share_of_the_surest_are_dropped():
    boxes = np.arange(16, dtype=np.float32).reshape(4, 4)
    scores = np.array([0.5, 0.125, 0.25, 0.75], np.float32)
    for share, kept in [(0, [0, 1, 2, 3]), (1 / 3, [0, 2, 3]), (0.34, [0, 3]), (1, [3])]:
        got_boxes, got_scores = drop_faint(boxes, scores, share)
        np.testing.assert_array_equal(got_boxes, boxes[kept])
        np.testing.assert_array_equal(got_scores, scores[kept])
    # It knows no scale: a gate does not change which are dropped.
    np.testing.assert_array_equal(drop_faint(boxes, scores / 8, 0.34)[0], boxes[[0, 3]])
    assert drop_faint(boxes[:0], scores[:0], 0.5)[0].shape == (0, 4)
    for share in (-0.1, 50, math.nan):
        with pytest.raises(ValueError, match=f'share is {share}'):
            drop_faint(boxes, scores, share)


def test_a_shrunk_box_keeps_its_middle_and_shape():
    rng = np.random.default_rng(0)
    boxes = rng.uniform(1, 100, (50, 4))
    for factor in (0.7, 0.9, 1.15):
        got = shrink(boxes, factor)
        np.testing.assert_allclose(got[:, 2:], factor * boxes[:, 2:])
        np.testing.assert_allclose(got[:, :2] + got[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2)
        iou = np.diag(iou_matrix(got, boxes))
        np.testing.assert_allclose(iou, min(factor, 1 / factor) ** 2)
        np.testing.assert_allclose(shrink(got, 1 / factor), boxes)
    np.testing.assert_array_equal(shrink(boxes, 1), boxes)
    assert shrink(boxes.astype(np.float32), 0.9).dtype == np.float32
    assert shrink(np.zeros((0, 4)), 0.9).shape == (0, 4)


def test_what_cannot_be_shrunk_is_refused():
    for factor in (0, -1, math.nan):
        with pytest.raises(ValueError, match=f'factor is {factor}'):
            shrink(np.ones((1, 4)), factor)
    for boxes in (np.ones(4), np.ones((2, 3))):
        with pytest.raises(ValueError, match=r'give \[k,4\]'):
            shrink(boxes, 0.9)
