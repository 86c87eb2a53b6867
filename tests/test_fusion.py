"""Weighted box fusion against a literal transcription of its paper."""

import numpy as np
import pytest

from pneumo_jax.boxes.fusion import fuse_boxes
from pneumo_jax.boxes.match import iou_matrix
from tests.made_boxes import NO_BOX, NO_SCORE, random_boxes


def _literal_fusion(boxes, scores, threshold):
    """Section 3.2 of the paper, step by step, on corners."""
    num_models = len(boxes)
    pool = [
        (float(score), (float(x), float(y), float(x + w), float(y + h)))
        for model_boxes, model_scores in zip(boxes, scores, strict=True)
        for (x, y, w, h), score in zip(model_boxes, model_scores, strict=True)
    ]
    pool.sort(key=lambda entry: -entry[0])
    clusters, fused = [], []
    for score, corners in pool:
        best, best_iou = None, threshold
        for position, (_, other) in enumerate(fused):
            iou = _corner_iou(corners, other)
            if iou > best_iou:
                best, best_iou = position, iou
        if best is None:
            clusters.append([(score, corners)])
            fused.append((score, corners))
            continue
        clusters[best].append((score, corners))
        total = sum(c for c, _ in clusters[best])
        mean = tuple(sum(c * x[k] for c, x in clusters[best]) / total for k in range(4))
        fused[best] = (total / len(clusters[best]), mean)
    fused = [
        (score * min(len(cluster), num_models) / num_models, corners)
        for (score, corners), cluster in zip(fused, clusters, strict=True)
    ]
    return sorted(fused, key=lambda entry: -entry[0])


def _corner_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)


def _random_models(rng, num_models):
    """Models that see the same boxes, moved, some missed and some seen twice, and others."""
    common = rng.uniform((0, 0, 20, 20), (80, 80, 60, 60), (rng.integers(1, 5), 4))
    boxes, scores = [], []
    for _ in range(num_models):
        seen = common[rng.integers(0, len(common), rng.integers(0, 5))]
        other = random_boxes(rng, rng.integers(0, 3), 60)
        boxes.append(np.concatenate([seen + rng.normal(0, 4, seen.shape), other]))
        scores.append(rng.uniform(0.01, 1, len(boxes[-1])))
    return boxes, scores


@pytest.mark.parametrize('threshold', [0.2, 0.4, 0.55])
def test_fusion_is_that_of_the_paper(threshold):
    rng = np.random.default_rng(0)
    merged = 0
    for _ in range(300):
        boxes, scores = _random_models(rng, rng.integers(1, 6))
        got, got_scores = fuse_boxes(boxes, scores, iou_threshold=threshold, max_boxes=99)
        expected = _literal_fusion(boxes, scores, threshold)
        np.testing.assert_allclose(got_scores, [score for score, _ in expected], rtol=1e-6)
        corners = np.concatenate([got[:, :2], got[:, :2] + got[:, 2:]], axis=1)
        expected = np.array([corner for _, corner in expected]).reshape(-1, 4)
        np.testing.assert_allclose(corners, expected, atol=1e-4)
        merged += sum(map(len, boxes)) - len(got)
        few, few_scores = fuse_boxes(boxes, scores, iou_threshold=threshold, max_boxes=2)
        np.testing.assert_array_equal(few, got[:2])
        np.testing.assert_array_equal(few_scores, got_scores[:2])
    assert merged > 500


def test_boxes_of_one_model_that_are_apart_come_back():
    boxes = np.array([[10, 20, 30.3, 40], [60, 20.7, 30, 40], [10, 80, 30, 12.1]], np.float32)
    scores = np.array([0.3, 0.9, 0.6], np.float32)
    got, got_scores = fuse_boxes([boxes], [scores])
    np.testing.assert_array_equal(got, boxes[[1, 2, 0]])
    np.testing.assert_array_equal(got_scores, scores[[1, 2, 0]])
    assert got.dtype == got_scores.dtype == np.float32


def test_models_that_agree_change_nothing_and_one_alone_counts_its_share():
    box, other = np.array([[10.0, 20, 30, 40]]), np.array([[60.0, 20, 30, 40]])
    got, scores = fuse_boxes([box] * 4, [np.array([0.8])] * 4)
    np.testing.assert_allclose(got, box)
    np.testing.assert_allclose(scores, [0.8])
    got, scores = fuse_boxes([box, NO_BOX, np.concatenate([box, other])], [[0.6], [], [0.9, 0.9]])
    np.testing.assert_allclose(got, [box[0], other[0]])
    np.testing.assert_allclose(scores, [0.75 * 2 / 3, 0.9 / 3])
    # More boxes than models do not raise the confidence over their mean.
    np.testing.assert_allclose(fuse_boxes([np.tile(box, (3, 1))], [[0.9, 0.6, 0.3]])[1], [0.6])


def test_the_fused_box_is_nearer_to_the_truth_than_its_parts():
    rng = np.random.default_rng(1)
    truth = np.array([[100.0, 150, 80, 110]])
    fused, single = [], []
    for _ in range(200):
        boxes = [truth + rng.normal(0, 8, (1, 4)) for _ in range(5)]
        got, _ = fuse_boxes(boxes, [np.array([0.7])] * 5)
        fused.append(iou_matrix(got, truth).max())
        single.append(iou_matrix(np.concatenate(boxes), truth).mean())
    assert np.mean(fused) > np.mean(single) + 0.05


def test_a_box_of_no_confidence_is_none():
    padded = np.array([[10.0, 20, 30, 40], [0, 0, 0, 0]])
    got, scores = fuse_boxes([padded, padded], [[0.5, 0], [0.5, 0]])
    np.testing.assert_allclose(got, padded[:1])
    np.testing.assert_allclose(scores, [0.5])
    for empty in (fuse_boxes([NO_BOX], [NO_SCORE]), fuse_boxes([padded[1:]], [[0.0]])):
        assert [part.shape for part in empty] == [(0, 4), (0,)]


@pytest.mark.parametrize(
    ('boxes', 'scores', 'message'),
    [
        ([], [], 'at least one'),
        ([np.ones((1, 4))], [[0.5], [0.5]], '1 models and scores of 2'),
        ([np.ones((2, 4))], [[0.5]], r'shape \(2, 4\) and scores \(1,\)'),
        ([np.ones((2, 3))], [[0.5, 0.5]], r'shape \(2, 3\)'),
        ([np.full((1, 4), np.inf)], [[0.5]], 'not finite'),
        ([np.ones((1, 4))], [[np.nan]], 'not finite'),
        ([np.ones((1, 4))], [[-0.5]], 'negative'),
    ],
)
def test_bad_input_is_refused(boxes, scores, message):
    with pytest.raises(ValueError, match=message):
        fuse_boxes(boxes, scores)
