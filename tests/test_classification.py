"""Film-level figures against scikit-learn and brute force."""

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from pneumo_jax.metrics.classification import (
    Confusion,
    auprc,
    auroc,
    confusion,
    threshold_between,
    youden_threshold,
)

_RANKING = [auroc, auprc, youden_threshold]


def _random_case(rng):
    """Labels of both classes, and scores that may tie."""
    count = rng.integers(2, 60)
    labels = rng.integers(0, 2, count)
    labels[:2] = rng.permutation(2)
    levels = rng.choice([2, 5, 1000])
    return labels, rng.integers(0, levels, count) / levels - rng.integers(0, 2)


def test_auroc_and_average_precision_equal_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(300):
        labels, scores = _random_case(rng)
        assert auroc(labels, scores) == pytest.approx(
            sklearn_metrics.roc_auc_score(labels, scores), abs=1e-12
        )
        assert auprc(labels, scores) == pytest.approx(
            sklearn_metrics.average_precision_score(labels, scores), abs=1e-12
        )


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(1)
    for _ in range(50):
        labels, scores = _random_case(rng)
        pairs = scores[labels == 1][:, None] - scores[labels == 0]
        assert auroc(labels, scores) == pytest.approx(np.mean((pairs > 0) + (pairs == 0) / 2))


def test_known_values():
    assert auroc([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]) == 1
    assert auroc([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4]) == 0
    assert auroc([0, 1, 0, 1], [0.3] * 4) == 0.5
    assert auprc([0, 1, 0, 0], [0.3] * 4) == 0.25
    # The view as a score: a yes or no.
    assert auroc([1, 0, 1, 0], np.array([True, False, True, True])) == 0.75


@pytest.mark.parametrize('figure', _RANKING)
@pytest.mark.parametrize('label', [0, 1])
def test_one_class_alone_is_undefined_and_not_a_half(figure, label):
    assert math.isnan(figure([label] * 4, [0.1, 0.2, 0.2, 0.9]))


def test_confusion_figures_equal_scikit_learn():
    rng = np.random.default_rng(2)
    for _ in range(100):
        labels, scores = _random_case(rng)
        predicted = scores >= np.median(scores)
        counts = confusion(labels, predicted)
        tn, fp, fn, tp = sklearn_metrics.confusion_matrix(labels, predicted).ravel()
        assert counts == Confusion(tp=tp, fp=fp, fn=fn, tn=tn)
        expected = {
            'accuracy': sklearn_metrics.accuracy_score(labels, predicted),
            'balanced_accuracy': sklearn_metrics.balanced_accuracy_score(labels, predicted),
            'sensitivity': sklearn_metrics.recall_score(labels, predicted),
            'specificity': sklearn_metrics.recall_score(labels, predicted, pos_label=0),
            'ppv': sklearn_metrics.precision_score(labels, predicted, zero_division=np.nan),
            'npv': sklearn_metrics.precision_score(
                labels, predicted, pos_label=0, zero_division=np.nan
            ),
            'f1': sklearn_metrics.f1_score(labels, predicted, zero_division=np.nan),
        }
        for name, value in expected.items():
            assert getattr(counts, name) == pytest.approx(value, nan_ok=True), name


def test_figures_of_the_confusion_that_are_undefined():
    all_negative = confusion([0, 0, 0], [0, 0, 0])
    assert all_negative.accuracy == all_negative.specificity == all_negative.npv == 1
    for name in ('sensitivity', 'ppv', 'f1', 'balanced_accuracy'):
        assert math.isnan(getattr(all_negative, name)), name
    missed = confusion([1, 0], [0, 1])
    assert missed.f1 == missed.ppv == missed.sensitivity == 0


def test_youden_is_the_best_cut_by_brute_force():
    rng = np.random.default_rng(3)
    for _ in range(200):
        labels, scores = _random_case(rng)
        values = np.unique(scores)
        if len(values) == 1:
            assert math.isnan(youden_threshold(labels, scores))
            continue

        def youden(threshold, labels=labels, scores=scores):
            counts = confusion(labels, scores >= threshold)
            return counts.sensitivity + counts.specificity - 1

        threshold = youden_threshold(labels, scores)
        figures = np.array([youden(value) for value in values[1:]])
        assert youden(threshold) == pytest.approx(figures.max())
        best = np.abs(figures - figures.max()) < 1e-12
        gap = values[values >= threshold].min() - values[values < threshold].max()
        assert gap == pytest.approx(np.diff(values)[best].max())


def test_youden_stands_between_the_scores():
    assert youden_threshold([0, 0, 1, 1], [0.1, 0.25, 0.75, 0.9]) == 0.5


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_a_threshold_separates_neighbouring_numbers(dtype):
    rng = np.random.default_rng(4)
    for low in np.append(rng.uniform(-1, 1, 200), [0, 0.5, 1]).astype(dtype):
        for high in (np.nextafter(low, dtype(2)), low + dtype(1e-3)):
            threshold = threshold_between(float(low), float(high))
            assert threshold == threshold_between(low, high)
            scores = np.array([low, high], dtype)
            # NumPy compares float32 arrays with the threshold rounded to float32.
            assert (scores >= threshold).tolist() == [False, True]
            assert (scores.astype(np.float64) >= threshold).tolist() == [False, True]


@pytest.mark.parametrize('figure', [*_RANKING, confusion])
@pytest.mark.parametrize(
    ('labels', 'scores', 'message'),
    [
        ([0, 1], [0, 1, 1], r'\(2,\).*\(3,\)'),
        ([[0, 1]], [[0, 1]], r'\(1, 2\)'),
        ([], [], 'no films'),
        ([0, 1], [0, np.nan], 'score 1 is nan'),
        ([0, 1], [np.inf, 0], 'score 0 is inf'),
        ([0, 2], [0, 1], 'labels hold 2'),
        ([0, np.nan], [0, 1], 'labels hold nan'),
    ],
)
def test_bad_input_is_refused(figure, labels, scores, message):
    with pytest.raises(ValueError, match=message):
        figure(np.array(labels), np.array(scores))


def test_scores_are_no_decisions():
    with pytest.raises(ValueError, match=r'predicted hold 0\.7'):
        confusion([0, 1], [0.0, 0.7])
