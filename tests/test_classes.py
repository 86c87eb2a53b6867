"""Figures of the three classes against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from pneumo_jax.metrics.classes import balanced_accuracy, by_answer, class_confusion

pytestmark = pytest.mark.filterwarnings('error')


def _random_case(rng, present=(0, 1, 2)):
    count = rng.integers(1, 60)
    class_ids = rng.choice(present, count)
    return class_ids, rng.integers(0, 4, (count, 3)) / 4


def test_figures_equal_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(100):
        class_ids, class_probs = _random_case(rng)
        answers = class_probs.argmax(axis=1)
        counts = class_confusion(class_ids, class_probs)
        expected = sklearn_metrics.confusion_matrix(class_ids, answers, labels=[0, 1, 2])
        assert np.array_equal(counts, expected)
        assert counts.dtype == np.int64
        assert np.trace(counts) == np.sum(class_ids == answers)
        recalls = [np.mean(answers[class_ids == k] == k) for k in np.unique(class_ids)]
        assert balanced_accuracy(counts) == pytest.approx(np.mean(recalls))


def test_balanced_accuracy_equals_scikit_learn_with_all_classes():
    rng = np.random.default_rng(1)
    class_ids = np.append(rng.integers(0, 3, 50), [0, 1, 2])
    class_probs = rng.random((53, 3))
    weights = rng.integers(1, 4, (53, 2)).astype(np.float32)
    counts = class_confusion(class_ids, class_probs, weights)
    for draw, column in enumerate(weights.T):
        answers = class_probs.argmax(axis=1)
        expected = sklearn_metrics.balanced_accuracy_score(class_ids, answers, sample_weight=column)
        assert balanced_accuracy(counts)[draw] == pytest.approx(expected, abs=1e-12)
        expected = sklearn_metrics.accuracy_score(class_ids, answers, sample_weight=column)
        right = np.trace(counts)[draw] / counts.sum(axis=(0, 1))[draw]
        assert right == pytest.approx(expected, abs=1e-12)


def test_a_weight_repeats_the_film():
    rng = np.random.default_rng(2)
    for _ in range(50):
        class_ids, class_probs = _random_case(rng, present=(-1, 0, 2))
        called = class_probs[:, 2] > 0.3
        weights = rng.integers(0, 3, (len(class_ids), 2)).astype(np.float32)
        counts = class_confusion(class_ids, class_probs, weights)
        answers = by_answer(class_ids, called, weights)
        assert counts.shape == (3, 3, 2)
        assert answers.shape == (3, 2, 2)
        for draw, column in enumerate(weights.T.astype(int)):
            if not column.any():
                continue
            ids, probs = np.repeat(class_ids, column), np.repeat(class_probs, column, axis=0)
            expected = class_confusion(ids, probs)
            assert np.array_equal(counts[..., draw], expected)
            repeated = by_answer(ids, np.repeat(called, column))
            assert np.array_equal(answers[..., draw], repeated)
            value = balanced_accuracy(counts)[draw]
            assert value == pytest.approx(balanced_accuracy(expected), abs=1e-12, nan_ok=True)


def test_films_by_answer():
    counts = by_answer([0, 0, 1, 1, 1, 2, -1], [0, 1, 1, 1, 0, 1, 1])
    assert counts.tolist() == [[1, 1], [1, 2], [0, 1]]


def test_films_of_unknown_class_count_nowhere():
    counts = class_confusion([-1, 1, -1], [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert counts.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    nothing = class_confusion([-1], [[1, 0, 0]])
    assert nothing.sum() == 0
    assert math.isnan(balanced_accuracy(nothing))


def test_classes_that_a_draw_lacks_are_not_averaged():
    weights = np.array([[1, 0, 0], [1, 1, 0]])
    counts = class_confusion([0, 2], [[1, 0, 0], [1, 0, 0]], weights)
    np.testing.assert_array_equal(balanced_accuracy(counts), [0.5, 0, np.nan])


def test_of_equal_probabilities_the_first_class_is_the_answer():
    assert class_confusion([2], [[0.2, 0.4, 0.4]]).tolist()[2] == [0, 1, 0]


@pytest.mark.parametrize(
    ('class_ids', 'class_probs', 'message'),
    [
        ([0, 1], np.ones((3, 3)), r'class_probs have shape \(3, 3\); give \[2,3\]'),
        ([0], np.ones((1, 2)), r'shape \(1, 2\)'),
        ([], np.ones((0, 3)), r'class_ids have shape \(0,\)'),
        ([[0]], np.ones((1, 3)), r'class_ids have shape \(1, 1\)'),
        ([3], np.ones((1, 3)), 'class_ids hold 3'),
        ([0], [[0, 1, np.nan]], 'must be finite'),
    ],
)
def test_bad_classes_are_refused(class_ids, class_probs, message):
    with pytest.raises(ValueError, match=message):
        class_confusion(class_ids, class_probs)


def test_bad_answers_are_refused():
    with pytest.raises(ValueError, match=r'\(2,\) and called \(3,\)'):
        by_answer([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match=r'called hold 0\.5'):
        by_answer([0, 1], [0, 0.5])
    with pytest.raises(ValueError, match='weights have shape'):
        by_answer([0, 1], [0, 1], np.ones((3, 1)))
