"""Who is mixed with whom, at which share, and the algebra of the blend."""

import jax
import numpy as np
import pytest
from scipy import stats

from pneumo_jax.data.augment import blend, mixup_pairs


@pytest.mark.parametrize('batch_size', range(2, 10))
def test_a_film_is_never_mixed_with_itself_and_each_is_a_partner_once(batch_size):
    partner, share = map(np.asarray, mixup_pairs(jax.random.key(0), batch_size, 0.4))
    assert partner.dtype == np.int32
    assert share.dtype == np.float32
    assert (partner != np.arange(batch_size)).all()
    np.testing.assert_array_equal(np.sort(partner), np.arange(batch_size))


def test_a_film_alone_stays_as_it_is():
    partner, share = mixup_pairs(jax.random.key(0), 1, 0.4)
    x = np.float32([[0.3, 0.7]])
    np.testing.assert_allclose(blend(x, partner, share), x, rtol=1e-6)


@pytest.mark.parametrize('alpha', [0.2, 1.0])
def test_shares_are_of_a_beta_distribution_mirrored_to_its_upper_half(alpha):
    _, share = mixup_pairs(jax.random.key(0), 4000, alpha)
    share = np.asarray(share)
    assert share.min() >= 0.5
    assert share.max() <= 1
    expected = np.float32(np.random.default_rng(0).beta(alpha, alpha, 20_000))
    assert stats.ks_2samp(share, np.maximum(expected, 1 - expected)).pvalue > 0.01


def test_a_blend_is_the_weighted_sum_of_both_rows():
    rng = np.random.default_rng(0)
    images = rng.random((4, 5, 5, 1), np.float32)
    labels = np.float32([0, 1, 1, 0])
    partner, share = np.array([2, 3, 0, 1]), np.float32([1.0, 0.5, 0.9, 0.75])
    for x in (images, labels):
        mixed = np.asarray(blend(x, partner, share))
        for i in range(4):
            expected = share[i] * x[i] + (1 - share[i]) * x[partner[i]]
            np.testing.assert_allclose(mixed[i], expected, rtol=1e-6)
    np.testing.assert_array_equal(blend(images, partner, share)[0], images[0])


def test_keys_decide_the_shares():
    first, again, other = (mixup_pairs(jax.random.key(k), 8, 0.4)[1] for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
