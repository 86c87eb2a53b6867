import math

import numpy as np
import pytest
from scipy import stats

from pneumo_jax.metrics.agreement import rank_correlation


@pytest.mark.parametrize('levels', [3, 10, 10_000])
def test_it_is_spearman_s_with_ties(levels):
    rng = np.random.default_rng(levels)
    a = rng.integers(0, levels, 80) / levels
    b = np.round(a + rng.normal(0, 0.3, 80), 1)
    assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    assert rank_correlation(a, a) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)


def test_weights_repeat_films():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=30).round(1), rng.normal(size=30).round(1)
    weights = rng.integers(0, 4, (30, 5)).astype(float)
    repeated = [
        rank_correlation(*(np.repeat(x, draw.astype(int)) for x in (a, b))) for draw in weights.T
    ]
    np.testing.assert_allclose(rank_correlation(a, b, weights), repeated, atol=1e-12)


def test_it_is_undefined_where_nothing_varies():
    assert math.isnan(rank_correlation(np.ones(5), np.arange(5.0)))
    assert math.isnan(rank_correlation(np.array([1.0]), np.array([2.0])))
    weights = np.array([[1.0, 0], [1, 0], [1, 2]])
    found = rank_correlation(np.arange(3.0), np.arange(3.0), weights)
    assert found[0] == pytest.approx(1)
    assert math.isnan(found[1])


def test_measurements_of_other_films_are_refused():
    with pytest.raises(ValueError, match='shapes'):
        rank_correlation(np.ones(3), np.ones(4))
