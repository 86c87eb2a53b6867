import json
import re

import numpy as np
import pytest

from pneumo_jax.evaluation.page import evaluation_page
from pneumo_jax.evaluation.page.film_grid import film_grid
from pneumo_jax.evaluation.pictures import draw_pictures
from pneumo_jax.evaluation.text import figure_text, figure_title, interval_text, value_text
from tests.made_results import THRESHOLDS, figure, made_films, made_results, undefined
from tests.test_evaluation_pictures import ALL
from tests.test_film_grid import flat_picture
from tests.test_report import PageReader

SECTIONS = {
    'notice',
    'warnings',
    'sentence',
    'figures',
    'film',
    'calibration',
    'operating-points',
    'boxes',
    'mask',
    'strata',
    'extent',
    'classes',
    'films',
    'making',
}
# The only parts of which there always is something.
ALWAYS = {'notice', 'num_films'}


class Reader(PageReader):
    """A reader that knows that a picture has no end."""

    def handle_starttag(self, tag, attrs):
        super().handle_starttag(tag, attrs)
        if tag == 'img':
            self.open_tags.pop()

    @property
    def text(self):
        return ''.join(self.texts).replace('\N{NO-BREAK SPACE}', ' ')


@pytest.fixture(scope='module')
def films():
    return made_films(200)


@pytest.fixture(scope='module')
def made(films):
    """Results, pictures and films of an evaluation in which all is defined."""
    results = made_results(films)
    grid = film_grid(films, THRESHOLDS, flat_picture)
    return results, draw_pictures(results, films, THRESHOLDS), grid


@pytest.fixture(scope='module')
def page(made):
    return evaluation_page(*made)


def all_figures(content):
    """Every FIGURE and COUNT below, and every reason."""
    if isinstance(content, dict) and 'value' in content:
        yield content
    elif isinstance(content, dict):
        for inner in content.values():
            yield from all_figures(inner)
    elif isinstance(content, list):
        for inner in content:
            yield from all_figures(inner)


def test_the_page_has_every_section_and_picture(made, page):
    reader = Reader(page)
    assert reader.ids >= SECTIONS
    labels = [
        value for tag, name, value in reader.attributes if (tag, name) == ('svg', 'aria-label')
    ]
    assert set(labels) == {picture.get_label() for picture in made[1].values()}
    assert len(labels) == len(ALL)
    alts = [value for tag, name, value in reader.attributes if (tag, name) == ('img', 'alt')]
    assert len(alts) == sum(len(row.films) for row in made[2])
    assert all('p 0.' in alt for alt in alts)


def test_every_figure_stands_on_the_page_with_its_interval_or_its_reason(made, page):
    results = made[0]
    # Of the strata the page shows fewer figures than there are.
    told = {name: part for name, part in results.items() if name != 'strata'}
    told['strata'] = [
        {name: group['figures'][name] for name in ('auroc', 'sensitivity', 'challenge_map')}
        for stratum in results['strata'].values()
        for group in [*stratum['groups'].values(), *stratum['differences']]
    ]
    text = Reader(page).text
    shown = list(all_figures(told))
    assert len(shown) > 80
    for each in shown:
        assert figure_text(each) in text
    assert 'undefined (too few)' in text
    assert 'sensitivity 0.95: undefined (validation has one class)' in text


def test_the_head_says_what_is_judged_and_what_a_trivial_answer_reaches(made, page):
    results = made[0]
    text = Reader(page).text
    assert text.count(results['notice']) == 2
    assert results['warnings'][0]['message'] in text
    assert (
        f'mobilenet_v2 on 200 films of 100 persons (split test); {results["num_positive"]}' in text
    )
    assert results['protocol'] in text
    assert '150 read by one, 50 read by several' in text
    head = text[text.index('AUROC') : text.index('Film level')]
    assert 'view alone: 0.700' in head
    assert f'all films negative: {1 - results["prevalence"]:.3f}' in head
    assert 'all background: 0.958' in head
    for made_from in (results['data_fingerprint'], 'f44fab696fc704dc', 'keras', 'from scratch'):
        assert made_from in text
    assert 'NIH ChestX-ray14' in text


def test_the_page_survives_json(made, page):
    results = json.loads(json.dumps(made[0], allow_nan=False))
    assert evaluation_page(results, {}, made[2]) == evaluation_page(made[0], {}, made[2])


@pytest.mark.parametrize('absent', ['missing', 'null', 'empty'])
def test_any_part_may_be_missing(made, absent):
    for name in made[0].keys() - ALWAYS:
        results = dict(made[0])
        if absent == 'missing':
            del results[name]
        elif absent == 'null':
            results[name] = None
        elif isinstance(results[name], dict):
            results[name] = {}
        assert Reader(evaluation_page(results, {}, [])).ids >= SECTIONS - {'warnings'}, name


@pytest.mark.parametrize(
    ('part', 'lost'),
    [
        ('film', set()),
        ('boxes', set()),
        ('baselines', set()),
        ('operating_points', set()),
        ('extent', set()),
        ('calibration', {'reliability'}),
        ('classes', {'class_confusion'}),
        ('strata', {'strata', 'differences'}),
    ],
)
def test_pictures_need_their_own_part_only(films, made, part, lost):
    drawn = draw_pictures(made[0] | {part: None}, films, THRESHOLDS)
    assert drawn.keys() == ALL - lost


def test_films_of_which_nothing_is_defined_have_a_page_that_says_so(made):
    reason = 'films of one class only'
    results = {'notice': 'no device', 'num_films': 3, 'prevalence': 0.0, 'num_positive': 0}
    results |= {
        part: {name: undefined(reason) for name in made[0][part]}
        for part in ('film', 'boxes', 'mask', 'baselines', 'shortcut')
    }
    results['calibration'] = {'temperature': None, 'undefined': reason}
    results['abstention'] = {'wanted_error': 0.1, 'low': None, 'high': None, 'undefined': reason}
    text = Reader(evaluation_page(results, {}, [])).text
    names = [*made[0]['film'], *made[0]['boxes'], *made[0]['mask'], *made[0]['shortcut']]
    assert text.count(f'undefined ({reason})') >= len(names) - 4
    assert f'Temperature: undefined ({reason}).' in text
    assert f'A region without an answer: undefined ({reason}).' in text


def test_the_page_refers_to_nothing_outside_and_runs_nothing(page):
    for word in ('://', '@import', '<script', '<link', '<iframe', '<object', '<foreign'):
        assert word not in page
    reader = Reader(page)
    for tag, name, value in reader.attributes:
        assert not name.startswith('on')
        assert name not in ('data', 'action', 'srcset', 'xlink:href')
        if name == 'src':
            assert value.startswith('data:image/jpeg;base64,')
        if name == 'href' and tag == 'image':
            assert value.startswith('data:image/png;base64,')
        elif name == 'href':
            assert value[0] == '#' and value[1:] in reader.ids
    for target in re.findall(r'url\(([^)]*)\)', page):
        assert target[0] == '#' and target[1:] in reader.ids
    ids = [value for _, name, value in reader.attributes if name == 'id']
    assert len(ids) == len(set(ids))


def test_all_texts_are_escaped(films):
    evil = '<script>alert("&")</script>'

    def spoilt(content):
        if isinstance(content, dict):
            fixed = ('groups', 'strata')
            return {key: spoilt(value) for key, value in content.items() if key not in fixed}
        if isinstance(content, list):
            return [spoilt(item) for item in content]
        return evil if isinstance(content, str) else content

    results = made_results(films)
    group = next(iter(results['strata']['sex']['groups'].values()))
    spoilt_results = spoilt(results) | {
        'strata': {
            evil: {
                'groups': {evil: group, 'other': group},
                'differences': [{'between': [evil, 'other'], 'figures': group['figures']}],
            }
        },
        'label_domains': {evil: 3},
        'film': results['film'] | {evil: undefined(evil)},
        'operating_points': {evil: {'threshold': None, 'undefined': evil}},
    }
    pictures = draw_pictures(spoilt_results, films, THRESHOLDS)
    page = evaluation_page(spoilt_results, pictures, film_grid(films, THRESHOLDS, flat_picture))
    assert '<script' not in page
    assert page.count('&lt;script&gt;') > 20
    Reader(page)


def test_no_film_and_no_person_is_named(page):
    assert 'secret' not in page


def test_a_page_of_thousands_of_films_is_small():
    films = made_films(4000)
    rng = np.random.default_rng(0)
    results = made_results(films)
    grid = film_grid(films, THRESHOLDS, lambda i: rng.integers(0, 256, (256, 256), np.uint8))
    page = evaluation_page(results, draw_pictures(results, films, THRESHOLDS), grid)
    assert len(page) < 5_000_000


@pytest.mark.parametrize(
    ('given', 'text'),
    [
        (figure(0.853, 0.04), '0.853 (0.81 to 0.89)'),
        # Both ends of the first would read 0.02.
        ({'value': 0.021, 'low': 0.019, 'high': 0.023}, '0.021 (0.019 to 0.023)'),
        ({'value': -0.0002, 'low': -0.1, 'high': 0.1}, '0.000 (-0.10 to 0.10)'),
        ({'value': 0.5, 'low': None, 'high': None}, '0.500'),
        ({'value': 1234}, '1,234'),
        ({'value': None, 'undefined': 'one class'}, 'undefined (one class)'),
        ({'value': None}, 'undefined'),
        (None, 'undefined'),
    ],
)
def test_figures_as_text(given, text):
    assert figure_text(given) == text


def test_parts_of_a_figure_as_text():
    assert value_text(figure(0.5)) == '0.500'
    assert interval_text(figure(0.5, 0.25)) == '0.25 to 0.75'
    assert interval_text({'value': 0.5}) == ''
    assert figure_text(figure(0.123456, 0.1), digits=4) == '0.1235 (0.023 to 0.223)'
    assert figure_title('challenge_map') == 'challenge mAP'
    assert figure_title('log_loss') == 'log loss'
