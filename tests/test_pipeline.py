import itertools

import numpy as np
import pytest

from configs import base
from pneumo_jax.data.pipeline import FilmSplit, eval_batches, prefetch, to_batch, train_batches
from pneumo_jax.data.sampling import EpochOrder
from pneumo_jax.errors import InputError


@pytest.fixture(scope='module')
def split(phantom_shards):
    return FilmSplit(phantom_shards, 'train')


def films_of(split, batches):
    """The indices of the films in the batches, found by their pixels."""
    index = {split[i]['image'].tobytes(): i for i in range(len(split))}
    return [index[image.tobytes()] for batch in batches for image in batch['image']]


def training(split, size, steps, seed=0):
    config = base.get_config()
    config.seed = seed
    order = EpochOrder(split, config)
    batches = list(train_batches(split, epoch_order=order, batch_size=size, steps=steps))
    films = {split[i]['patient_id']: split[i]['image'] for i in range(len(split))}
    for batch, ids in batches:
        np.testing.assert_array_equal(batch['image'], [films[film] for film in ids])
    return [batch for batch, _ in batches]


def test_every_film_once_an_epoch_over_the_seams(split):
    size, epochs = 7, 3
    steps = range(epochs * len(split) // size + 1)
    seen = films_of(split, training(split, size, steps))
    orders = [seen[e * len(split) : (e + 1) * len(split)] for e in range(epochs)]
    for order in orders:
        assert sorted(order) == list(range(len(split)))
    assert orders[0] != orders[1] != orders[2]


def test_fault_54_resuming_in_mid_epoch_gives_the_same_batches(split):
    def batches(steps, seed=0):
        return films_of(split, training(split, 8, steps, seed))

    assert batches(range(9))[3 * 8 :] == batches(range(3, 9))
    assert batches(range(9)) != batches(range(9), seed=1)


def test_the_last_evaluation_batch_is_padded_and_masked_never_dropped(split):
    size = len(split) - 3
    (first, first_records), (last, last_records) = eval_batches(split, batch_size=size)
    assert first['mask'].all()
    np.testing.assert_array_equal(last['mask'], np.arange(size) < 3)
    assert len(first_records) + len(last_records) == len(split)
    assert {v.shape[0] for v in last.values()} == {size}
    assert films_of(split, [{'image': last['image'][last['mask']]}]) == [size, size + 1, size + 2]


def test_batches_have_the_documented_dtypes(split):
    (batch,) = training(split, 4, range(1))
    assert {k: (v.dtype.name, v.shape) for k, v in batch.items()} == {
        'image': ('uint8', (4, 64, 64, 1)),
        'label': ('int32', (4,)),
        'class_id': ('int32', (4,)),
        'boxes': ('float32', (4, 8, 4)),
        'num_boxes': ('int32', (4,)),
        'film_size': ('int32', (4, 2)),
        'mask': ('bool', (4,)),
        'weak': ('bool', (4,)),
    }


def test_weak_rows_are_those_that_were_named(split):
    records = [split[i] for i in range(3)]
    assert to_batch(records, 5)['weak'].tolist() == [False] * 5
    assert to_batch(records, 5, weak=[0, 2])['weak'].tolist() == [True, False, True, False, False]
    batches = [*eval_batches(split, batch_size=8), *((b, None) for b in training(split, 8, [0]))]
    assert not any(batch['weak'].any() for batch, _ in batches)


def test_fault_56_batch_larger_than_the_split(split):
    with pytest.raises(InputError, match='larger than'):
        training(split, len(split) + 1, range(1))


def test_prefetch_raises_where_the_item_would_have_come():
    def items():
        yield 1
        yield 2
        raise OSError('disk')

    got = []
    with pytest.raises(OSError, match='disk'):
        for item in prefetch(items()):
            got.append(item)
    assert got == [1, 2]


def test_prefetch_can_be_left_early():
    assert list(itertools.islice(prefetch(iter(range(1000))), 3)) == [0, 1, 2]
