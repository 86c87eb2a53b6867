"""IoU and matching against rasterised boxes and a literal transcription."""

import numpy as np
import pytest

from pneumo_jax.boxes.match import greedy_match, iou_matrix


def _whole_pixel_boxes(rng, count, size=24):
    low = rng.integers(0, size - 1, (count, 2))
    return np.concatenate([low, rng.integers(1, size - low + 1)], axis=1).astype(np.float32)


def _rasterised(box, size=48):
    x, y, w, h = box.astype(int)
    picture = np.zeros((size, size), bool)
    picture[y : y + h, x : x + w] = True
    return picture


def _slow_match(iou, scores, threshold, inclusive):
    """The definition, word by word, in plain Python."""
    taken, matched = set(), [-1] * len(scores)
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        free = [j for j in range(iou.shape[1]) if j not in taken]
        if not free:
            continue
        best = max(free, key=lambda j: (iou[i, j], -j))
        if iou[i, best] > threshold or (inclusive and iou[i, best] == threshold):
            matched[i] = best
            taken.add(best)
    return matched


def test_iou_is_that_of_the_pixels():
    rng = np.random.default_rng(0)
    a, b = _whole_pixel_boxes(rng, 30), _whole_pixel_boxes(rng, 20)
    iou = iou_matrix(a, b)
    for i, one in enumerate(map(_rasterised, a)):
        for j, other in enumerate(map(_rasterised, b)):
            assert iou[i, j] == np.sum(one & other) / np.sum(one | other)


def test_iou_of_whole_pixel_boxes_equals_the_decimal_threshold():
    for percent in range(40, 80, 5):
        truth = np.array([[3, 7, 100, 1]], np.float32)
        part = np.array([[3, 7, percent, 1]], np.float32)
        assert iou_matrix(part, truth)[0, 0] == float(f'0.{percent}')


def test_iou_is_symmetric_and_knows_no_scale_or_place():
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0, 100, (2, 15, 4))
    np.testing.assert_allclose(iou_matrix(a, b), iou_matrix(b, a).T)
    np.testing.assert_allclose(iou_matrix(7 * a, 7 * b), iou_matrix(a, b))
    move = np.array([50.0, -20.0, 0, 0])
    np.testing.assert_allclose(iou_matrix(a + move, b + move), iou_matrix(a, b), atol=1e-12)
    np.testing.assert_allclose(np.diag(iou_matrix(a, a)), 1)


def test_empty_boxes_and_no_boxes():
    empty = np.array([[5.0, 5.0, 0.0, 0.0]])
    assert iou_matrix(empty, empty)[0, 0] == 0
    assert iou_matrix(np.zeros((0, 4)), empty).shape == (0, 1)
    assert greedy_match(np.zeros((0, 4)), empty, [0.5], 0.4).tolist() == [-1]
    assert greedy_match(empty, np.zeros((0, 4)), [], [0.4, 0.5]).shape == (2, 0)


@pytest.mark.parametrize('inclusive', [False, True])
def test_matches_are_those_of_the_definition(inclusive):
    rng = np.random.default_rng(2)
    thresholds = [0.0, 0.25, 0.4, 0.5]
    for _ in range(500):
        truth = _whole_pixel_boxes(rng, rng.integers(0, 5), size=6)
        predicted = _whole_pixel_boxes(rng, rng.integers(0, 6), size=6)
        scores = rng.integers(0, 4, len(predicted)) / 4  # with ties
        iou = iou_matrix(predicted, truth)
        together = greedy_match(truth, predicted, scores, thresholds, inclusive=inclusive)
        for threshold, matched in zip(thresholds, together, strict=True):
            if inclusive and threshold == 0:
                continue
            assert matched.tolist() == _slow_match(iou, scores, threshold, inclusive)
            alone = greedy_match(truth, predicted, scores, threshold, inclusive=inclusive)
            assert alone.tolist() == matched.tolist()


def test_the_surer_box_takes_the_true_one():
    truth = np.array([[0, 0, 10, 10]])
    predicted = np.array([[0, 0, 10, 10], [1, 0, 10, 10]])
    assert greedy_match(truth, predicted, [0.5, 0.6], 0.4).tolist() == [-1, 0]
    assert greedy_match(truth, predicted, [0.6, 0.6], 0.4).tolist() == [0, -1]


def test_what_is_no_box_or_score_is_refused():
    box = np.array([[0.0, 0, 1, 1]])
    with pytest.raises(ValueError, match=r'shape \(0,\)'):
        iou_matrix([], box)
    with pytest.raises(ValueError, match='not finite'):
        iou_matrix(box, box * np.nan)
    with pytest.raises(ValueError, match='1 predicted boxes'):
        greedy_match(box, box, [0.5, 0.6], 0.4)
    with pytest.raises(ValueError, match='finite scores'):
        greedy_match(box, box, [np.nan], 0.4)
