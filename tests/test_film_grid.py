import dataclasses

import numpy as np
import pytest

from pneumo_jax.evaluation.page.film_grid import GRID_COLUMNS, film_grid
from pneumo_jax.metrics.detection import challenge_film_scores
from pneumo_jax.overlay import PREDICTION_COLOUR, TRUTH_COLOUR
from pneumo_jax.pages.films import film_sheet
from tests.made_results import THRESHOLDS, made_films


@pytest.fixture(scope='module')
def films():
    return made_films(300)


def flat_picture(index):
    return np.full((64, 64), 100, np.uint8)


def chosen(films, count=4):
    """What each row of the grid should hold, by its rule, one film after another."""
    drawn = [THRESHOLDS.select(*pair) for pair in zip(films.boxes, films.box_scores, strict=True)]
    scores = challenge_film_scores(films.truths, *zip(*drawn, strict=True))
    rows = {name: [] for name in ('best', 'quiet', 'missed', 'false_alarms', 'worst_boxes')}
    keys = {
        'best': lambda i: -scores[i],
        'quiet': lambda i: films.probs[i],
        'missed': lambda i: films.probs[i],
        'false_alarms': lambda i: -films.probs[i],
        'worst_boxes': lambda i: scores[i],
    }
    for i in range(len(films)):
        positive, called = films.labels[i] == 1, films.probs[i] >= THRESHOLDS.film
        if positive and called and scores[i] > 0:
            rows['best'].append(i)
        if positive and called and scores[i] < 1:
            rows['worst_boxes'].append(i)
        if positive and not called:
            rows['missed'].append(i)
        if not positive and called:
            rows['false_alarms'].append(i)
        if not positive and not called and not len(drawn[i][0]):
            rows['quiet'].append(i)
    taken, found = set(), {}
    for name, eligible in rows.items():
        found[name] = sorted(set(eligible) - taken, key=keys[name])[:count]
        taken |= set(found[name])
    return found


@pytest.mark.parametrize('count', [1, 12, 40, 300])
def test_films_are_chosen_by_the_rules_that_are_told(count):
    films, asked = made_films(count, seed=count), []

    def film_picture(index):
        asked.append(index)
        return flat_picture(index)

    grid = film_grid(films, THRESHOLDS, film_picture)
    expected = chosen(films)
    assert [row.name for row in grid] == list(expected)
    assert asked == [i for name in expected for i in expected[name]]
    assert len(set(asked)) == len(asked)
    captions = [film.caption for row in grid for film in row.films]
    assert [caption[:6] for caption in captions] == [f'p {films.probs[i]:.2f}' for i in asked]


@pytest.mark.parametrize('side', [64, 448, 600])
@pytest.mark.parametrize('size', [(1000, 1000), (1000, 600), (500, 1000)])
def test_boxes_stand_where_they_are_on_a_film_of_any_shape(side, size):
    height, width = size
    truth, box = (
        [[0.25 * width, 0.25 * height, 0.2 * width, 0.3 * height]],
        [[0.6 * width, 0.5 * height, 0.2 * width, 0.3 * height]],
    )
    films = dataclasses.replace(
        made_films(1),
        labels=np.array([1]),
        probs=np.array([0.9]),
        film_sizes=np.array([size]),
        truths=[np.array(truth)],
        boxes=[np.array(box)],
        box_scores=[np.array([0.8])],
    )
    grid = film_grid(films, THRESHOLDS, lambda i: np.full((side, side), 128, np.uint8))
    (film,) = (film for row in grid for film in row.films)
    assert film.caption == 'p 0.90 · true boxes 1, drawn 1 · score 0.00'
    pixels = np.array(film.picture)
    for colour, (x, y, w, h) in ((TRUTH_COLOUR, truth[0]), (PREDICTION_COLOUR, box[0])):
        rows, columns = np.nonzero((pixels == colour).all(axis=2))
        longest, shown = max(size), len(pixels)
        left, top = (x + (longest - width) // 2, y + (longest - height) // 2)
        expected = np.array([left, top, left + w, top + h]) * shown / longest
        assert np.abs([columns.min(), rows.min(), columns.max(), rows.max()] - expected).max() <= 2


def test_captions_tell_what_is_not_known():
    films = made_films(40)
    films = dataclasses.replace(
        films,
        labels=np.ones(40, int),
        probs=np.full(40, 0.1),
        truths=[np.zeros((0, 4))] * 40,
    )
    rows = {row.name: row.films for row in film_grid(films, THRESHOLDS, flat_picture)}
    assert 'opacity, boxes unknown' in rows['missed'][0].caption
    assert 'score' not in rows['missed'][0].caption
    assert rows['best'] == rows['quiet'] == rows['worst_boxes'] == []


def test_the_sheet_holds_every_row_that_has_films(films):
    grid = film_grid(films, THRESHOLDS, flat_picture)
    whole = film_sheet(grid, columns=GRID_COLUMNS)
    empty = [dataclasses.replace(row, films=[]) for row in grid[1:]]
    assert whole.size == (1200, 5 * film_sheet([grid[0], *empty], columns=GRID_COLUMNS).height)
    assert film_sheet(empty, columns=GRID_COLUMNS).height == 1


def test_no_caption_tells_whose_film_it_is(films):
    captions = [
        film.caption for row in film_grid(films, THRESHOLDS, flat_picture) for film in row.films
    ]
    assert len(captions) == 20
    assert not any('secret' in caption for caption in captions)
