import numpy as np
import pytest

from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.overlay import PREDICTION_COLOUR, TRUTH_COLOUR
from pneumo_jax.samples import sample_overlays
from pneumo_jax.scoring import FilmScore
from pneumo_jax.thresholds import Thresholds


@pytest.fixture(scope='module')
def split(phantom_shards):
    return FilmSplit(phantom_shards, 'validation')


@pytest.fixture(scope='module')
def films(split):
    """What a model would say that finds each box and is sure of it."""
    scored = []
    for i in range(len(split)):
        record = split[i]
        truth = record['boxes'][: record['num_boxes']]
        record = {name: value for name, value in record.items() if name != 'image'}
        sure = np.full(len(truth), 0.9, np.float32)
        scored.append(FilmScore(record, truth, 0.5, truth + 40, sure, {}))
    return scored


def colour(picture, wanted):
    return (np.asarray(picture) == wanted).all(axis=-1)


def test_films_with_boxes_come_first_and_boxes_are_where_the_films_have_them(split, films):
    with_boxes = sum(len(film.truth) > 0 for film in films)
    shown = sample_overlays(films, split, Thresholds(film=0.5, box=0.5), count=len(films))
    assert list(shown) == [f'validation_film_{i}' for i in range(len(films))]
    has_red = [colour(picture, TRUTH_COLOUR).any() for picture in shown.values()]
    assert has_red == [True] * with_boxes + [False] * (len(films) - with_boxes)
    first = next(film for film in films if len(film.truth))
    rows, columns = np.nonzero(colour(shown['validation_film_0'], TRUTH_COLOUR))
    # Square films of 1024 px as pictures of 64.
    x, y, w, h = (first.truth / 16).T
    assert columns.min() == pytest.approx(x.min(), abs=1)
    assert columns.max() == pytest.approx((x + w).max(), abs=1)
    assert rows.min() == pytest.approx(y.min(), abs=1)
    assert rows.max() == pytest.approx((y + h).max(), abs=1)


def test_boxes_under_the_threshold_are_not_drawn(split, films):
    for box, drawn in ((0.5, True), (0.95, False)):
        shown = sample_overlays(films, split, Thresholds(film=0.5, box=box), count=2)
        assert len(shown) == 2
        for picture in shown.values():
            assert colour(picture, PREDICTION_COLOUR).any() == drawn


def test_no_overlays_are_no_pictures(split, films):
    assert sample_overlays(films, split, Thresholds(film=0.5, box=0.5), count=0) == {}
