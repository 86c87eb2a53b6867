"""Figures of calibration against scikit-learn, fits against SciPy's optimisers."""

import math

import numpy as np
import pytest
from scipy import optimize, special
from sklearn import calibration as sklearn_calibration
from sklearn import linear_model
from sklearn import metrics as sklearn_metrics

from pneumo_jax.errors import InputError
from pneumo_jax.metrics.calibration import (
    TEMPERATURES,
    Recalibration,
    brier,
    ece,
    fit_recalibration,
    fit_temperature,
    log_loss,
    logit,
    reliability,
    scale,
)

pytestmark = pytest.mark.filterwarnings('error')

_FIGURES = [brier, log_loss, ece]
_NEAREST_ONE = 1 - 2.0**-24


def _random_case(rng, count=None):
    """Labels of both classes, and probabilities that may tie, be 0 or 1, or stand on an edge."""
    count = count or rng.integers(2, 80)
    labels = rng.integers(0, 2, count)
    labels[:2] = rng.permutation(2)
    levels = rng.choice([1, 10, 20, 10_000])
    return labels, rng.integers(0, levels + 1, count) / levels


def _overconfident(rng, count, factor=3.0, prevalence=0.25):
    """Labels, and probabilities whose logits are ``factor`` times those they were drawn from."""
    logits = rng.normal(special.logit(prevalence), 1.5, count)
    labels = (rng.random(count) < special.expit(logits)).astype(int)
    return labels, special.expit(factor * logits)


def test_brier_and_log_loss_equal_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(200):
        labels, probs = _random_case(rng)
        weights = rng.poisson(1, (len(labels), 2)).astype(np.float32)
        weights[0] = 1
        clipped = np.clip(probs, 1 - _NEAREST_ONE, _NEAREST_ONE)
        figures = {
            brier: lambda y, p, **k: sklearn_metrics.brier_score_loss(y, p, **k),
            log_loss: lambda y, p, **k: sklearn_metrics.log_loss(y, p, labels=[0, 1], **k),
        }
        for figure, reference in figures.items():
            used = probs if figure is brier else clipped
            assert figure(labels, probs) == pytest.approx(reference(labels, used), abs=1e-12)
            drawn = [reference(labels, used, sample_weight=w) for w in weights.T]
            assert figure(labels, probs, weights) == pytest.approx(drawn, abs=1e-12)


def test_log_loss_of_float32_that_is_sure():
    for dtype in (np.float32, np.float64):
        loss = log_loss([0, 1], np.array([1, 0], dtype))
        assert loss == pytest.approx(24 * math.log(2), rel=1e-6)
        assert 0 < log_loss([1, 0], np.array([1, 0], dtype)) < 1e-7
    nearest = np.nextafter(np.float32(1), np.float32(0))
    assert float(nearest) == _NEAREST_ONE
    assert logit(nearest) == pytest.approx(special.logit(float(nearest)))


def _literal_bins(labels, probs):
    """Films, mean probability, share of positives of ten bins, film by film."""
    bins = [[] for _ in range(10)]
    for label, prob in zip(labels, probs, strict=True):
        held = [k for k in range(10) if k / 10 <= prob < (k + 1) / 10]
        bins[held[0] if held else 9].append((prob, label))
    return bins


def test_ece_and_reliability_are_what_they_are_defined_as():
    rng = np.random.default_rng(1)
    for _ in range(200):
        labels, probs = _random_case(rng)
        gaps = 0.0
        for k, (found, films) in enumerate(
            zip(reliability(labels, probs), _literal_bins(labels, probs), strict=True)
        ):
            assert (found.low, found.high) == (k / 10, (k + 1) / 10)
            assert found.films == len(films)
            if not films:
                assert math.isnan(found.mean_probability)
                assert math.isnan(found.share_positive)
                continue
            mean, share = np.mean(films, axis=0)
            assert found.mean_probability == pytest.approx(mean)
            assert found.share_positive == pytest.approx(share)
            gaps += len(films) * abs(mean - share)
        assert ece(labels, probs) == pytest.approx(gaps / len(labels), abs=1e-12)


def test_reliability_equals_scikit_learn():
    labels, probs = _overconfident(np.random.default_rng(2), 500)
    share, mean = sklearn_calibration.calibration_curve(labels, probs, n_bins=10)
    bins = [b for b in reliability(labels, probs) if b.films]
    np.testing.assert_allclose([b.share_positive for b in bins], share)
    np.testing.assert_allclose([b.mean_probability for b in bins], mean)


def test_edges_of_the_bins_belong_to_the_upper_one_and_1_to_the_last():
    probs = np.array([0.0, 0.1, 0.3, 0.6, 0.7, 0.9, 1.0])
    films = [b.films for b in reliability(np.ones(7), probs)]
    assert films == [1, 1, 0, 1, 0, 0, 1, 1, 0, 2]


@pytest.mark.parametrize('figure', _FIGURES)
def test_a_weight_repeats_the_film(figure):
    rng = np.random.default_rng(3)
    for _ in range(50):
        labels, probs = _random_case(rng)
        weights = rng.integers(0, 3, (len(labels), 3)).astype(np.float32)
        weights[:, 2] = 0
        drawn = figure(labels, probs, weights)
        assert drawn.dtype == np.float64
        assert math.isnan(drawn[2])
        for column, value in zip(weights.T[:2].astype(int), drawn, strict=False):
            if column.any():
                repeated = np.repeat(labels, column), np.repeat(probs, column)
                assert value == pytest.approx(figure(*repeated), abs=1e-12)


def test_reliability_of_weights():
    rng = np.random.default_rng(4)
    labels, probs = _random_case(rng, 50)
    weights = rng.integers(0, 3, (50, 2))
    for draw, column in enumerate(weights.T):
        repeated = reliability(np.repeat(labels, column), np.repeat(probs, column))
        for found, expected in zip(reliability(labels, probs, weights), repeated, strict=True):
            for name in ('films', 'mean_probability', 'share_positive'):
                value = getattr(found, name)[draw]
                assert value == pytest.approx(getattr(expected, name), nan_ok=True)


def test_one_class_alone_has_figures():
    for figure in _FIGURES:
        assert figure([0, 0], [0.0, 0.0]) == pytest.approx(0, abs=1e-7)
        assert figure([1, 1], [0.0, 0.0]) >= 1


def test_the_temperature_is_that_of_scipy():
    rng = np.random.default_rng(5)
    for factor in (0.3, 1.0, 3.0, 8.0):
        labels, probs = _overconfident(rng, 300, factor)

        def loss(log_temperature, labels=labels, probs=probs):
            return log_loss(labels, special.expit(logit(probs) / math.exp(log_temperature)))

        expected = optimize.minimize_scalar(loss, bounds=(-4, 4), method='bounded')
        temperature = fit_temperature(labels, probs)
        assert math.log(temperature) == pytest.approx(expected.x, abs=1e-4)
        assert loss(math.log(temperature)) <= expected.fun + 1e-12
        assert log_loss(labels, scale(probs, temperature)) <= log_loss(labels, probs)


def test_the_temperature_undoes_what_made_the_model_too_sure():
    labels, probs = _overconfident(np.random.default_rng(6), 20_000)
    temperature = fit_temperature(labels, probs)
    assert temperature == pytest.approx(3, rel=0.05)
    assert ece(labels, scale(probs, temperature)) < 0.02 < 0.1 < ece(labels, probs)
    assert fit_temperature(labels, scale(probs, temperature)) == pytest.approx(1, abs=1e-9)


def test_temperatures_at_the_ends():
    separated = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.6, 0.9])
    assert fit_temperature(*separated) == TEMPERATURES[0]
    backwards = np.array([1, 1, 0, 0]), np.array([0.1, 0.4, 0.6, 0.9])
    assert fit_temperature(*backwards) == TEMPERATURES[1]
    # Separated, but not at one half: no temperature moves that, so there is a best one.
    shifted = np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.8, 0.9])
    assert TEMPERATURES[0] < fit_temperature(*shifted) < TEMPERATURES[1]


@pytest.mark.parametrize(
    ('labels', 'probs'),
    [([0, 0, 0], [0.1, 0.2, 0.3]), ([1, 1], [0.1, 0.9]), ([0, 1], [0.5, 0.5])],
)
def test_temperatures_that_are_undefined(labels, probs):
    assert math.isnan(fit_temperature(labels, probs))


def test_scaling_keeps_the_order_and_one_half():
    probs = np.linspace(0, 1, 101)
    for temperature in (0.5, 1.0, 4.0):
        scaled = scale(probs, temperature)
        assert np.all(np.diff(scaled) > 0)
        assert scaled[50] == pytest.approx(0.5)
    np.testing.assert_allclose(scale(probs, 1.0), probs, atol=1e-7)
    assert np.all(np.isfinite(scale([0.0, 1.0], TEMPERATURES[0])))


@pytest.mark.parametrize('temperature', [0, -1, math.nan, math.inf])
def test_other_temperatures_are_refused(temperature):
    with pytest.raises(ValueError, match='the temperature is'):
        scale([0.5], temperature)


def _platt_targets(labels):
    positives, negatives = sum(labels == 1), sum(labels == 0)
    return np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def test_recalibration_equals_platt_scaling_by_scikit_learn_and_scipy():
    rng = np.random.default_rng(7)
    for factor, count in ((1.0, 100), (4.0, 100), (0.5, 30), (2.0, 3000)):
        labels, probs = _overconfident(rng, count, factor)
        logits, targets = logit(probs), _platt_targets(labels)

        def loss(line, logits=logits, targets=targets):
            x = line[0] + line[1] * logits
            return np.mean(np.logaddexp(0, x) - targets * x)

        expected = optimize.minimize(loss, [0, 1], method='BFGS', options={'gtol': 1e-9})
        fitted = fit_recalibration(labels, probs)
        assert (fitted.intercept, fitted.slope) == pytest.approx(tuple(expected.x), abs=1e-5)
        # Soft targets as two weighted films each.
        regression = linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
        regression.fit(
            np.tile(logits, 2)[:, None],
            np.repeat([1, 0], count),
            sample_weight=np.concatenate([targets, 1 - targets]),
        )
        assert fitted.slope == pytest.approx(regression.coef_[0, 0], rel=1e-4)
        assert fitted.intercept == pytest.approx(regression.intercept_[0], abs=1e-4)


def test_recalibration_finds_a_line_of_many_films():
    rng = np.random.default_rng(8)
    labels, probs = _overconfident(rng, 50_000, factor=1.0)
    shifted = special.expit(2 * logit(probs) + 1)
    fitted = fit_recalibration(labels, shifted)
    assert (fitted.intercept, fitted.slope) == pytest.approx((-0.5, 0.5), abs=0.03)
    assert fitted.apply(shifted).mean() == pytest.approx(labels.mean(), abs=1e-3)


def test_recalibration_on_a_hundred_films_helps_on_others():
    rng = np.random.default_rng(9)
    gains = []
    for _ in range(30):
        labels, probs = _overconfident(rng, 1100, factor=4.0)
        fitted = fit_recalibration(labels[:100], probs[:100])
        after = log_loss(labels[100:], fitted.apply(probs[100:]))
        gains.append(log_loss(labels[100:], probs[100:]) - after)
    assert min(gains) > 0.1


@pytest.mark.parametrize('count', [2, 10, 100, 4000])
def test_separated_films_give_a_finite_line(count):
    probs = np.linspace(0, 1, count)
    fitted = fit_recalibration(probs >= 0.5, probs)
    assert 0 < fitted.slope < 30
    assert abs(fitted.intercept) < 1
    targets = _platt_targets((probs >= 0.5).astype(int))
    # A logistic fit leaves no gap between the means of targets and probabilities.
    assert fitted.apply(probs).mean() == pytest.approx(targets.mean(), abs=1e-9)


def test_sure_and_wrong_films_give_a_finite_line():
    labels = np.array([0] * 90 + [1] * 10)
    probs = np.where(np.arange(100) % 10 == 0, 1 - labels, labels).astype(float)
    fitted = fit_recalibration(labels, probs)
    assert 0 < fitted.slope < 1
    assert 0.01 < fitted.apply(np.array([0.0])) < fitted.apply(np.array([1.0])) < 0.99


def test_a_line_that_whole_newton_steps_would_not_find():
    logits = np.append([-16.0, 5.0, -16.0, -16.0], np.zeros(96))
    labels = (np.arange(100) == 1).astype(int)
    fitted = fit_recalibration(labels, special.expit(logits))
    gap = fitted.apply(special.expit(logits)) - _platt_targets(labels)
    assert (gap.sum(), gap @ logits) == pytest.approx((0, 0), abs=1e-9)


def test_a_model_that_ranks_backwards_is_not_turned_round():
    rng = np.random.default_rng(10)
    labels, probs = _overconfident(rng, 100)
    fitted = fit_recalibration(labels, 1 - probs)
    assert fitted.slope == 0
    assert np.ptp(fitted.apply(probs)) == 0
    assert fitted.apply(probs)[0] == pytest.approx(_platt_targets(labels).mean())


def test_recalibration_keeps_the_order():
    applied = Recalibration(intercept=-1.0, slope=0.5).apply(np.linspace(0, 1, 11))
    assert np.all(np.diff(applied) > 0)
    assert applied[5] == pytest.approx(special.expit(-1))


@pytest.mark.parametrize(
    ('labels', 'probs', 'message'),
    [
        ([0, 0, 0], [0.1, 0.2, 0.3], '0 of 3 films have an opacity'),
        ([1, 1], [0.1, 0.2], '2 of 2 films have an opacity'),
        ([0, 1], [0.25, 0.25], r'all 2 the probability 0\.25'),
    ],
)
def test_films_that_no_line_can_be_fitted_to_are_refused(labels, probs, message):
    with pytest.raises(InputError, match=message):
        fit_recalibration(labels, probs)


@pytest.mark.parametrize('figure', [*_FIGURES, reliability, fit_temperature, fit_recalibration])
@pytest.mark.parametrize(
    ('labels', 'probs', 'message'),
    [
        ([0, 1], [0, 1, 1], r'\(2,\).*\(3,\)'),
        ([], [], 'no films'),
        ([0, 1], [0, math.nan], 'score 1 is nan'),
        ([0, 1], [0, 1.5], r'probability is 1\.5'),
        ([0, 1], [-0.5, 1], r'probability is -0\.5'),
        ([0, 2], [0, 1], 'labels hold 2'),
    ],
)
def test_bad_input_is_refused(figure, labels, probs, message):
    with pytest.raises(ValueError, match=message):
        figure(labels, probs)


def test_weights_that_do_not_fit_are_refused():
    for figure in (*_FIGURES, reliability):
        with pytest.raises(ValueError, match='weights have shape'):
            figure([0, 1], [0.1, 0.2], np.ones((3, 1)))
