import collections

import numpy as np
import pytest

from configs import base
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.data.sampling import EpochOrder, group_weights
from pneumo_jax.errors import InputError


@pytest.fixture(scope='module')
def split(phantom_shards):
    return FilmSplit(phantom_shards, 'train')


def order_of(split, *by, seed=0, strength=1.0):
    config = base.get_config()
    config.seed = seed
    config.sampling.update({'by': by, 'strength': strength})
    return EpochOrder(split, config)


def test_columns_are_those_of_the_records(split):
    records = [split[i] for i in range(len(split))]
    assert split.columns(('label', 'view_position')) == [
        (record['label'], record['view_position']) for record in records
    ]


def test_without_groups_each_film_is_drawn_once(split):
    order = order_of(split)
    for epoch in range(3):
        assert sorted(order(epoch)) == list(range(len(split)))


@pytest.mark.parametrize('by', [('label',), ('label', 'view_position'), ('class_id',)])
def test_every_epoch_has_equal_shares_of_each_group(split, by):
    groups, order = split.columns(by), order_of(split, *by)
    sizes = collections.Counter(groups)
    assert len(set(sizes.values())) > 1, 'nothing to balance'
    for epoch in range(4):
        drawn = order(epoch)
        assert len(drawn) == len(split)
        shares = collections.Counter(groups[i] for i in drawn)
        share = len(split) / len(sizes)
        assert all(abs(count - share) < 1 for count in shares.values()), shares
        # A film is drawn as often as others of its group, but for rounding.
        times = collections.Counter(drawn.tolist())
        for group, size in sizes.items():
            counts = [times[i] for i in range(len(split)) if groups[i] == group]
            assert {count - int(share / size) for count in counts} <= {0, 1}
    assert not np.array_equal(order(0), order(1))


def test_an_order_depends_on_seed_and_epoch_alone(split):
    first, again, other = (order_of(split, 'label', seed=seed) for seed in (0, 0, 1))
    first(5)
    np.testing.assert_array_equal(first(2), again(2))
    assert not np.array_equal(first(2), other(2))


def test_strength_goes_from_films_to_groups():
    groups = np.array([0] * 16 + [1] * 4)
    for strength, share in ((0.0, 0.2), (0.5, 1 / 3), (1.0, 0.5)):
        weights = group_weights(groups, strength)
        assert weights.sum() == pytest.approx(1)
        assert weights[groups == 1].sum() == pytest.approx(share)
        assert len(set(weights[groups == 0].tolist())) == 1


def test_unknown_fields_are_refused_with_the_choices(split):
    with pytest.raises(InputError, match=r"sampling.by=.*'patient_id'; choose of label, class_id"):
        order_of(split, 'patient_id')
