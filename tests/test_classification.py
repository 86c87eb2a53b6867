"""Film-level figures against scikit-learn and brute force."""

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from pneumo_jax.metrics.classification import (
    Confusion,
    Ranking,
    auprc,
    auroc,
    confusion,
    delong,
    pr_curve,
    roc_curve,
    threshold_between,
    variance_explained,
    within_group_auroc,
    youden_threshold,
)

pytestmark = pytest.mark.filterwarnings('error')

_RANKING = [auroc, auprc, youden_threshold]
_COUNTS = ('tp', 'fp', 'fn', 'tn')
_SHARES = ('accuracy', 'balanced_accuracy', 'sensitivity', 'specificity', 'ppv', 'npv', 'f1')


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


@pytest.mark.parametrize('dtype', [np.float32, np.float64, np.int64])
def test_weights_give_what_scikit_learn_gives(dtype):
    rng = np.random.default_rng(5)
    for _ in range(100):
        labels, scores = _random_case(rng)
        weights = rng.poisson(1, (len(labels), 3)).astype(dtype)
        if dtype == np.float64:
            weights *= rng.uniform(0.5, 2, weights.shape)
        ranking = Ranking(labels, scores)
        areas, precisions = ranking.auroc(weights), ranking.auprc(weights)
        assert areas.shape == precisions.shape == (3,)
        assert areas.dtype == precisions.dtype == np.float64
        for column, area, precision in zip(weights.T, areas, precisions, strict=True):
            if len(np.unique(labels[column > 0])) < 2:
                assert math.isnan(area)
                assert math.isnan(precision)
                continue
            drawn = {'sample_weight': column}
            expected = sklearn_metrics.roc_auc_score(labels, scores, **drawn)
            assert area == pytest.approx(expected, abs=1e-12)
            expected = sklearn_metrics.average_precision_score(labels, scores, **drawn)
            assert precision == pytest.approx(expected, abs=1e-12)


def test_a_weight_repeats_the_film():
    rng = np.random.default_rng(6)
    for _ in range(100):
        labels, scores = _random_case(rng)
        weights = rng.integers(0, 4, (len(labels), 2)).astype(np.float32)
        views = rng.choice(['AP', 'PA', ''], len(labels))
        figures = {
            'auroc': lambda y, s, v, w: auroc(y, s, w),
            'auprc': lambda y, s, v, w: auprc(y, s, w),
            'within': within_group_auroc,
            'variance': lambda y, s, v, w: variance_explained(s, v, w),
        }
        for name in (*_COUNTS, *_SHARES):
            figures[name] = lambda y, s, v, w, name=name: getattr(confusion(y, s > 0, w), name)
        for name, figure in figures.items():
            drawn = figure(labels, scores, views, weights)
            assert drawn.shape == (2,), name
            for column, value in zip(weights.T.astype(int), drawn, strict=True):
                if not column.any():
                    continue
                repeated = (np.repeat(x, column) for x in (labels, scores, views))
                expected = figure(*repeated, None)
                assert value == pytest.approx(expected, abs=1e-12, nan_ok=True), name


def test_ones_give_the_figures_without_weights():
    rng = np.random.default_rng(7)
    labels, scores = _random_case(rng)
    for figure in (auroc, auprc):
        assert figure(labels, scores, np.ones((len(labels), 1))).tolist() == [
            figure(labels, scores)
        ]
        assert isinstance(figure(labels, scores), float)


def test_draws_without_films_or_without_a_class_are_undefined():
    labels, scores = np.array([0, 1, 0]), np.array([0.1, 0.2, 0.2])
    weights = np.array([[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1]])
    for figure in (auroc, auprc):
        assert np.isnan(figure(labels, scores, weights)).tolist() == [True] * 3 + [False]
    counts = confusion(labels, scores > 0.15, weights)
    assert np.isnan(counts.sensitivity).tolist() == [True, False, True, False]
    assert np.isnan(counts.accuracy).tolist() == [True] + [False] * 3


def test_within_group_auroc_counts_the_pairs_of_a_group():
    rng = np.random.default_rng(8)
    for _ in range(50):
        labels, scores = _random_case(rng)
        views = rng.integers(0, 3, len(labels))
        wins = [
            (scores[i] > scores[j]) + (scores[i] == scores[j]) / 2
            for i in np.flatnonzero(labels == 1)
            for j in np.flatnonzero((labels == 0) & (views == views[i]))
        ]
        expected = np.mean(wins) if wins else math.nan
        figure = within_group_auroc(labels, scores, views)
        assert figure == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_score_that_is_the_view_knows_nothing_within_a_view():
    labels, views = np.array([1, 1, 0, 1, 0, 0]), np.array(['AP', 'AP', 'AP', 'PA', 'PA', 'PA'])
    assert auroc(labels, views == 'AP') > 0.6
    assert within_group_auroc(labels, views == 'AP', views) == 0.5
    assert within_group_auroc(labels, labels, np.full(6, 'AP')) == auroc(labels, labels) == 1


def test_variance_explained_is_eta_squared():
    rng = np.random.default_rng(9)
    for offset in (0, 1e6):
        views = rng.integers(0, 3, 40)
        values = rng.normal(size=40) + views + offset
        means = np.array([values[views == view].mean() for view in range(3)])[views]
        expected = np.sum((means - values.mean()) ** 2) / np.sum((values - values.mean()) ** 2)
        assert variance_explained(values, views) == pytest.approx(expected, abs=1e-9)
    assert variance_explained(views.astype(float), views) == pytest.approx(1, abs=1e-12)
    assert math.isnan(variance_explained(np.full(40, 0.1), views))
    assert math.isnan(variance_explained(values, np.zeros(40)))
    # Draws of films that are all the same, among others that are not.
    same = np.append(np.repeat(values[:1], 10), values)
    draws = np.append(rng.integers(1, 9, (10, 50)), np.zeros((40, 50)), axis=0)
    assert np.isnan(variance_explained(same, np.arange(50) % 2, draws)).all()
    drawn = variance_explained([0.1, 0.1, 7.0], [0, 1, 0], np.array([[1, 1], [2, 1], [0, 1]]))
    assert np.isnan(drawn).tolist() == [True, False]


def test_the_areas_under_the_curves_are_the_figures():
    rng = np.random.default_rng(10)
    for _ in range(50):
        labels, scores = _random_case(rng)
        false, sensitivity = roc_curve(labels, scores)
        expected = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
        np.testing.assert_allclose([false, sensitivity], expected[:2], atol=1e-12)
        assert np.trapezoid(sensitivity, false) == pytest.approx(auroc(labels, scores))
        recall, precision = pr_curve(labels, scores)
        assert np.sum(np.diff(recall, prepend=0) * precision) == pytest.approx(
            auprc(labels, scores)
        )
        assert recall[-1] == 1
    for curve in (roc_curve, pr_curve):
        assert [len(part) for part in curve([1, 1], [0, 1])] == [0, 0]


def _literal_delong(labels, *scores):
    """Variance of the difference by the paper's structural components, pair by pair."""
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    parts = []
    for score in scores:
        wins = np.array(
            [
                [1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0]
                for i in positives
                for j in negatives
            ]
        ).reshape(len(positives), len(negatives))
        parts.append((wins.mean(axis=1), wins.mean(axis=0)))
    (rows_a, columns_a), (rows_b, columns_b) = parts
    covariance = np.cov(rows_a, rows_b) / len(positives)
    covariance = covariance + np.cov(columns_a, columns_b) / len(negatives)
    contrast = np.array([1, -1])
    return rows_a.mean() - rows_b.mean(), max(0.0, contrast @ covariance @ contrast) ** 0.5


def test_delong_equals_its_definition():
    rng = np.random.default_rng(11)
    for _ in range(100):
        labels, scores = _random_case(rng)
        other = np.round(scores + rng.normal(size=len(labels)), rng.integers(0, 3))
        labels = np.concatenate([labels, [0, 1]])
        scores, other = np.append(scores, [0, 0.5]), np.append(other, [0.5, 0.5])
        expected = _literal_delong(labels, scores, other)
        assert delong(labels, scores, other) == pytest.approx(expected, abs=1e-9)
        assert delong(labels, scores, scores) == (0, 0)
        assert delong(labels, scores, other)[0] == pytest.approx(
            auroc(labels, scores) - auroc(labels, other)
        )


def test_delong_is_undefined_where_it_has_too_few_films():
    assert all(math.isnan(x) for x in delong([0, 0, 0], [1, 2, 3], [3, 2, 1]))
    difference, error = delong([0, 0, 1], [1, 2, 3], [3, 2, 1])
    assert difference == 1
    assert math.isnan(error)


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        (np.ones((3, 1)), r'\(3, 1\)'),
        (np.ones(2), r'\(2,\)'),
        (np.array([[1], [-1]]), '-1'),
        (np.array([[1], [np.nan]]), 'nan'),
    ],
)
def test_bad_weights_are_refused(weights, message):
    for figure in (auroc, auprc, confusion):
        with pytest.raises(ValueError, match=message):
            figure([0, 1], [0, 1], weights)
    with pytest.raises(ValueError, match=message):
        within_group_auroc([0, 1], [0, 1], [0, 0], weights)


def test_groups_that_do_not_fit_are_refused():
    for figure in (
        lambda: within_group_auroc([0, 1], [0, 1], [0]),
        lambda: variance_explained([0, 1], [0]),
    ):
        with pytest.raises(ValueError, match=r'groups have shape \(1,\)'):
            figure()


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
