"""The viewer's page in headless Chromium: what it shows is what was evaluated."""

import contextlib
import dataclasses
import os
import time

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.actions.mouse_button import MouseButton
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

from pneumo_jax.evaluation.drawn_boxes import challenge_scores, drawn_boxes
from pneumo_jax.metrics.weights import weighted_mean
from pneumo_jax.thresholds import Thresholds
from tests.made_evaluations import THRESHOLDS
from tests.made_viewer import HOSTILE_IDS, varied_films, write_shown
from tests.viewer_page import Page, serving, start_browser

SIDE = 1024
NUM_FILMS = 2000
GREY = 100


@pytest.fixture(scope='module')
def browser():
    browser = start_browser()
    yield browser
    browser.quit()


def with_pictures(folder, films):
    """The films as evaluation and files of uniform grey, as options of ``viewer``."""
    images = folder / 'images'
    images.mkdir()
    picture = folder / 'film.png'
    Image.new('L', (SIDE, SIDE), GREY).save(picture)
    for name in films.ids:
        os.link(picture, images / f'{name}.png')
    return {'folder': write_shown(folder / 'run', films), 'data': str(images)}


@pytest.fixture(scope='module')
def many_films():
    films = varied_films(NUM_FILMS)
    # One with an opacity on which nobody drew a box, and two boxes that reach the same true one.
    films.truths[1] = np.zeros((0, 4))
    films.truths[2] = np.array([[50.0, 50, 100, 100], [60.0, 60, 100, 100]])
    films.labels[2], films.class_id[2] = 1, 2
    films.boxes[2] = np.array([[55.0, 55, 100, 100], [50.0, 50, 100, 100], [60.0, 50, 100, 99]])
    films.box_scores[2] = np.array([0.75, 0.5, 0.25])
    return films


@pytest.fixture(scope='module')
def many(browser, many_films, tmp_path_factory):
    """A page of 2,000 films with pictures, open for the tests of this module."""
    folder = tmp_path_factory.mktemp('many')
    with serving(**with_pictures(folder, many_films)) as address:
        yield Page(browser, address)


@pytest.fixture
def page(many):
    """The same, as it is opened; afterwards no error may have been reported."""
    fresh = Page(many.browser, many.address)
    yield fresh
    fresh.check_is_quiet()


@pytest.fixture
def open_page(browser, tmp_path):
    """Opens pages of other films, without pictures."""
    with contextlib.ExitStack() as stack:

        def open_films(films):
            return Page(browser, stack.enter_context(serving(write_shown(tmp_path / 'run', films))))

        yield open_films


def errors_but_of_pictures(page):
    """Without those of pictures that are not there."""
    return [message for message in page.errors() if '/pictures/' not in message]


def test_2000_films_are_there_in_two_seconds(many):
    def seconds():
        many.browser.get('about:blank')
        start = time.perf_counter()
        many.browser.get(many.address)
        many.wait_for(lambda: many.text('position') == f'1 of {NUM_FILMS}')
        assert many.figure('TP') is not None
        return time.perf_counter() - start

    # Again, if other tests compute beside this one.
    assert any(seconds() < 2 for _ in range(3))
    many.wait_for_picture()
    pictures = many.script(
        "return performance.getEntriesByType('resource').filter((e) => /pictures/.test(e.name))"
    )
    # The film on display and those beside it.
    assert 1 <= len(pictures) <= 3


def test_the_film_threshold_moves_the_figures(page, many_films):
    positive = many_films.labels == 1
    for film in (0.0, 0.3333, 0.5, 0.81, 1.0):
        page.move('film-threshold', film)
        check_figures(page, called=many_films.probs >= film, positive=positive)
        moved = film != THRESHOLDS.film
        assert page.find('#caution').is_displayed() == moved
    assert 'optimistic' in page.text('caution')
    page.press('x')
    check_figures(page, called=many_films.probs >= THRESHOLDS.film, positive=positive)
    assert not page.find('#caution').is_displayed()


def check_figures(page, *, called, positive):
    expected = {
        'TP': np.sum(called & positive),
        'FP': np.sum(called & ~positive),
        'TN': np.sum(~called & ~positive),
        'FN': np.sum(~called & positive),
    }
    assert {name: page.figure(name) for name in expected} == expected
    for name, group, right in (
        ('sensitivity', positive, called),
        ('specificity', ~positive, ~called),
        ('ppv', called, positive),
        ('npv', ~called, ~positive),
    ):
        share = pytest.approx(np.mean(right[group])) if group.any() else None
        assert page.figure(name) == share, name
    assert page.figure('accuracy') == pytest.approx(np.mean(called == positive))
    assert page.figure('prevalence') == pytest.approx(np.mean(positive))


def test_the_box_threshold_moves_boxes_and_the_challenge_s_score(page, many_films):
    on_display = many_films.ids.index(page.film())
    for box in (0.0, 0.2, 0.3, 0.6, 1.0):
        page.move('box-threshold', box)
        thresholds = Thresholds(film=0.5, box=box)
        scores = challenge_scores(many_films, thresholds, inclusive=False)
        assert page.figure('challengeMap') == pytest.approx(weighted_mean(scores), abs=1e-12)
        drawn, _ = drawn_boxes(many_films, thresholds)
        assert page.figure('boxes') == sum(map(len, drawn))
        assert page.figure('filmsWithBoxes') == sum(map(bool, map(len, drawn)))
        label = page.find('#film').get_attribute('aria-label')
        assert f'predicted boxes: {len(drawn[on_display])}' in label


def test_outcomes_are_counted_and_filtered_at_the_current_threshold(page, many_films):
    page.move('film-threshold', 0.7)
    page.click('[data-outcome=FN]')
    missed = (many_films.probs < 0.7) & (many_films.labels == 1)
    assert page.find('[data-outcome=FN]').text.split() == ['FN', str(missed.sum())]
    assert page.text('position').endswith(f'of {missed.sum()}')
    page.choose('filter-view', 'unknown')
    missed &= many_films.view_position == ''
    assert page.text('position').endswith(f'of {missed.sum()}')
    page.click('[data-outcome=FP]')
    wrong = (many_films.probs >= 0.7) != (many_films.labels == 1)
    assert page.text('position').endswith(f'of {np.sum(wrong & (many_films.view_position == ""))}')
    assert set(page.ids()) <= {many_films.ids[i] for i in np.flatnonzero(wrong)}
    # The figures are of all films until the others are asked for.
    assert page.figure('TP') + page.figure('FN') == many_films.labels.sum()
    page.click('#scope button:last-child')
    assert page.figure('TP') == page.figure('TN') == 0
    assert page.figure('FN') == missed.sum()


def test_films_are_sorted_by_what_is_asked_for(open_page):
    films = varied_films(12)
    page = open_page(films)
    ids, order = np.array(films.ids), np.arange(len(films))
    scores = challenge_scores(films, THRESHOLDS, inclusive=False)
    surest = np.array([max(scores, default=np.nan) for scores in films.box_scores])
    called = films.probs >= 0.5
    kinds = np.where(called == films.labels, 2, 0) + np.where(films.labels == 1, 0, 1)
    ages = np.where(films.age < 0, np.nan, np.minimum(films.age, 90))
    for sort, values, down in (
        ('error', np.abs(films.labels - films.probs), True),
        ('probability', films.probs, True),
        ('outcome', kinds.astype(float), False),
        ('challenge', scores, False),
        ('box', surest, True),
        ('age', ages, False),
        ('extent', films.extent['lungs'], True),
        ('id', order.astype(float), False),
    ):
        page.choose('sort', sort)
        # Unknown ones last, equal ones as they were evaluated.
        keys = np.where(np.isnan(values), np.inf, -values if down else values)
        assert page.ids() == ids[np.argsort(keys, kind='stable')].tolist(), sort
    page.choose('sort', 'age')
    page.click('#direction')
    assert (
        page.ids()
        == ids[np.argsort(np.where(np.isnan(ages), np.inf, -ages), kind='stable')].tolist()
    )


def test_the_keyboard_leafs_through_the_list(page, many_films):
    wrongness = np.abs(many_films.labels - many_films.probs)
    order = [many_films.ids[i] for i in np.argsort(-wrongness, kind='stable')]
    page.press('j' + Keys.ARROW_DOWN + Keys.ARROW_RIGHT)
    assert (page.film(), page.text('position')) == (order[3], f'4 of {NUM_FILMS}')
    page.press('kk')
    assert page.film() == order[1]
    page.press(Keys.END)
    assert page.film() == order[-1]
    assert page.find('.row[aria-selected=true]').is_displayed()
    # After the last film the first error comes again.
    page.press('f')
    assert page.film() == order[0]
    page.choose('sort', 'id')
    wrong = np.flatnonzero((many_films.probs >= 0.5) != (many_films.labels == 1))
    page.press(Keys.HOME + 'f')
    assert page.film() == many_films.ids[wrong[wrong > 0][0]]
    # In the search, letters are letters.
    page.press('/')
    page.press('01999jk')
    assert page.text('position').endswith('of 0') and page.find('#empty').is_displayed()
    page.press(Keys.BACKSPACE * 2 + Keys.ESCAPE)
    page.press('j')
    assert page.film() == 'film01999'
    page.press('?')
    assert page.find('#help').is_displayed()
    page.press(Keys.ESCAPE)
    assert not page.find('#help').is_displayed()


def test_boxes_come_and_go_and_stay_thin(page, many_films):
    page.move('box-threshold', 0)
    film = next(i for i in range(3, NUM_FILMS) if is_in_the_middle(many_films, i))
    page.press('/')
    page.press(many_films.ids[film] + Keys.ESCAPE)
    page.press('j')
    page.wait_for_picture()
    both = page.colours()
    assert both['red'] > 100 and both['blue'] > 100
    page.press('t')
    assert page.colours()['red'] == 0 and page.colours()['blue'] > 100
    page.press('tp')
    assert page.colours()['blue'] == 0 and page.colours()['red'] > 100
    assert page.find('#prediction').get_attribute('aria-pressed') == 'false'
    page.press('po')
    assert page.colours() == {'red': 0, 'blue': 0}
    page.press('o')
    assert page.colours() == both
    page.press('p')
    before = page.red_rows()
    page.press('++')
    after = page.red_rows()
    assert len(after) == pytest.approx(1.25**2 * len(before), rel=0.05)
    # Most rows cross two upright sides.
    assert np.median(before) <= 6 and abs(np.median(after) - np.median(before)) <= 1


def is_in_the_middle(films, i):
    """Whether film i has one true box, away from the borders, and one predicted box."""
    if not len(films.truths[i]) == len(films.boxes[i]) == 1:
        return False
    x, y, width, height = films.truths[i][0]
    return min(x, y) > 220 and max(x + width, y + height) < 800


def test_window_level_and_zoom(page):
    page.wait_for_picture()
    page.press('o')
    stage = page.find('#film').rect
    middle = stage['width'] // 2, stage['height'] // 2
    assert page.grey(*middle) == GREY
    page.press('i')
    assert page.grey(*middle) == 255 - GREY
    page.press('i' + 'w' * 5)
    narrowed = round(255 * ((GREY - 127.5) / 205 + 0.5))
    assert page.grey(*middle) == narrowed < GREY
    page.press('ll')
    assert page.grey(*middle) == round(255 * ((GREY - 107.5) / 205 + 0.5))
    assert page.find('#preset').get_attribute('value') == ''
    page.press('1')
    assert page.grey(*middle) == GREY
    film = page.find('#film')
    mouse = ActionChains(page.browser, duration=0).move_to_element(film)
    mouse.w3c_actions.pointer_action.pointer_down(MouseButton.RIGHT)
    mouse.w3c_actions.pointer_action.move_by(0, 60)
    mouse.w3c_actions.pointer_action.pointer_up(MouseButton.RIGHT)
    mouse.perform()
    page.settle()
    # Down is a higher level: the same grey is darker.
    assert page.grey(*middle) < GREY - 20
    page.press('1')
    # The corner of the stage is beside the film until it is zoomed.
    assert page.grey(2, 2) == 0
    page.press('+++')
    assert page.grey(2, 2) == GREY and page.zoom() == 2.0
    page.press('0')
    assert page.grey(2, 2) == 0 and page.zoom() == 1.0
    wheel = ActionChains(page.browser, duration=0)
    wheel.scroll_from_origin(ScrollOrigin.from_element(film), 0, -1000).perform()
    page.settle()
    assert page.zoom() == 4.5


def test_a_reload_comes_back_to_the_same_film(page):
    page.click('[data-outcome=FN]')
    page.choose('filter-sex', 'female')
    page.choose('sort', 'age')
    page.move('film-threshold', 0.625)
    page.press('jjj')
    before = page.film(), page.text('position'), page.ids(), page.figure('TP')
    page.wait_for(lambda: 'film=' in page.browser.current_url)
    time.sleep(0.3)
    # No id stays in the browser's history.
    assert page.film() not in page.browser.current_url
    page.browser.refresh()
    page.wait_for(lambda: page.text('position'))
    assert (page.film(), page.text('position'), page.ids(), page.figure('TP')) == before


def test_names_run_nothing_and_are_shown_as_they_are(open_page):
    films = varied_films(len(HOSTILE_IDS))
    films.ids[:] = HOSTILE_IDS
    page = open_page(films)
    page.choose('sort', 'id')
    assert sorted(page.ids()) == sorted(HOSTILE_IDS)
    page.press(Keys.HOME)
    seen = {page.film()}
    for _ in HOSTILE_IDS[1:]:
        page.press('j')
        seen.add(page.film())
    assert seen == set(HOSTILE_IDS)
    page.press('/')
    page.press('<img')
    assert page.ids() == ['<img src=x onerror=alert(1)>']
    # Reading anything would raise an error while an alert is open.
    assert page.script('return [window.hacked === undefined, document.images.length]') == [True, 0]
    elements = "return document.querySelectorAll('script, style, svg, img').length"
    assert page.script(elements) == 1
    assert errors_but_of_pictures(page) == []


def test_a_single_film_of_which_nothing_is_known(open_page):
    films = varied_films(5).select(np.array([0]))
    films = dataclasses.replace(
        films,
        view_position=np.array(['']),
        sex=np.array(['']),
        age=np.array([-1]),
        class_id=np.array([-1]),
        label_domain=np.array(['unknown']),
        truths=[np.zeros((0, 4))],
        boxes=[np.zeros((0, 4))],
        box_scores=[np.zeros(0)],
        extent={name: np.array([np.nan]) for name in films.extent},
    )
    page = open_page(films)
    assert page.text('position') == '1 of 1'
    assert page.figure('challengeMap') is None and page.figure('sensitivity') is None
    page.press('jkffF' + Keys.END + Keys.HOME + 'otpiwl+-0x2')
    page.move('box-threshold', 0.5)
    # Why there is no picture is told in its place.
    page.wait_for(lambda: '--data=DIR' in page.text('placeholder'))
    assert page.find('#placeholder').is_displayed()
    assert errors_but_of_pictures(page) == []
