import dataclasses
import re
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from pneumo_jax.evaluation.films import EXTENT_NAMES
from pneumo_jax.evaluation.pictures import draw_pictures
from pneumo_jax.metrics.box_matches import match_films
from pneumo_jax.metrics.classification import auprc, auroc
from pneumo_jax.metrics.froc import sensitivity_at
from pneumo_jax.pages.inline_svg import inline_svg
from pneumo_jax.pages.pictures import save_pictures
from tests.made_results import THRESHOLDS, made_films, made_results, undefined

ALL = {
    'roc',
    'precision_recall',
    'scores',
    'confusion',
    'reliability',
    'froc',
    'strata',
    'differences',
    'class_confusion',
    'extent',
    'zones',
}


@pytest.fixture(scope='module')
def films():
    return made_films(300)


@pytest.fixture(scope='module')
def pictures(films):
    return draw_pictures(made_results(films), films, THRESHOLDS)


def line(picture, label):
    """Points of the line whose legend begins so."""
    (found,) = (it for it in picture.axes[0].lines if it.get_label().startswith(label))
    return np.array(found.get_data())


def texts(picture):
    return [text.get_text() for axes in picture.axes for text in axes.texts]


def test_every_picture_is_there_and_says_what_it_shows(pictures):
    assert pictures.keys() == ALL
    for picture in pictures.values():
        assert len(picture.get_label()) > 30
        assert '\n' not in picture.get_label()


def test_the_areas_under_the_drawn_curves_are_the_figures(films, pictures):
    x, y = line(pictures['roc'], 'AUROC')
    assert np.trapezoid(y, x) == pytest.approx(auroc(films.labels, films.probs), abs=1e-12)
    x, y = line(pictures['roc'], 'view alone')
    view = auroc(films.labels, films.view_position == 'AP')
    assert np.trapezoid(y, x) == pytest.approx(view, abs=1e-12)
    (curve,) = (
        it for it in pictures['precision_recall'].axes[0].lines if 'AUPRC' in it.get_label()
    )
    x, y = curve.get_data()
    assert curve.get_drawstyle() == 'steps-pre'
    area = np.sum(np.diff(x) * y[1:])
    assert area == pytest.approx(auprc(films.labels, films.probs), abs=1e-12)


def test_the_operating_points_lie_on_the_curves(films, pictures):
    for name in ('roc', 'precision_recall'):
        curve = line(pictures[name], 'AU')
        for label in ('threshold in use', 'Youden', 'sensitivity 0.90'):
            point = line(pictures[name], label)
            assert np.abs(curve - point).sum(axis=0).min() < 1e-9, (name, label)
        # Validation could not choose it.
        assert 'sensitivity 0.95' not in [it.get_label() for it in pictures[name].axes[0].lines]


def test_the_froc_curve_is_that_of_its_figures(films, pictures):
    (curve,) = (it for it in pictures['froc'].axes[0].lines if it.get_drawstyle() == 'steps-post')
    rates, sensitivity = curve.get_data()
    matches = match_films(films.truths, films.boxes, films.box_scores)
    for rate, expected in zip((0.25, 0.5), sensitivity_at(matches, (0.25, 0.5)), strict=True):
        assert sensitivity[rates <= rate].max() == pytest.approx(expected, abs=1e-12)


def test_no_film_is_lost_in_the_counts(films, pictures):
    for name in ('confusion', 'class_confusion'):
        counts = [int(text.replace(',', '')) for text in texts(pictures[name]) if '%' not in text]
        assert sum(counts) == len(films)
    for patch in pictures['reliability'].axes[1].patches:
        assert patch.get_data().values.sum() == len(films)
    for axes in pictures['scores'].axes:
        assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(1)


def test_shares_of_zones_are_those_of_the_films(films, pictures):
    positive = films.labels == 1
    for kind, extent in (('true', films.true_extent), ('predicted', films.extent)):
        zones = extent['zones'][positive].astype(int)
        shares = [100 * np.mean(zones & 2**i > 0) for i in range(6)]
        # In the order of their bits.
        shown = [text for text in texts(pictures['zones']) if text.startswith(kind)]
        assert shown == [f'{kind} {share:.0f} %' for share in shares]


def test_every_class_has_its_own_films_in_the_picture_of_scores(films, pictures):
    for i, (axes, name) in enumerate(
        zip(pictures['scores'].axes, ('normal', 'not normal', 'lung opacity'), strict=True)
    ):
        called = films.probs[films.class_id == i] >= THRESHOLDS.film
        told = f'{len(called)} films, {100 * called.mean():.0f} % called positive'
        title = axes.get_title('left')
        assert title.startswith(name)
        assert title.endswith(told)


def test_groups_with_nothing_defined_leave_gaps(films):
    results = made_results(films)
    results['strata']['sex']['groups']['M']['figures'] = {'auroc': undefined('one class')}
    with_gap = draw_pictures(results, films, THRESHOLDS)['strata'].axes
    whole = draw_pictures(made_results(films), films, THRESHOLDS)['strata'].axes
    lost = [len(a.lines) - len(b.lines) for a, b in zip(whole, with_gap, strict=True)]
    assert lost == [2, 2, 2, 2]


def test_a_picture_of_what_is_undefined_is_left_out(films):
    negative = films.select(films.labels == 0)
    results = made_results(films) | {'calibration': None, 'strata': {}, 'classes': None}
    drawn = draw_pictures(results, negative, THRESHOLDS)
    assert drawn.keys() == {'scores', 'confusion'}
    unknown = {name: np.full(len(films), np.nan) for name in EXTENT_NAMES}
    without = dataclasses.replace(
        films, true_extent=unknown, truths=[np.zeros((0, 4))] * len(films)
    )
    drawn = draw_pictures(made_results(films), without, THRESHOLDS)
    assert drawn.keys() == ALL - {'froc', 'extent', 'zones'}


def test_films_of_unknown_view_and_class_are_drawn_without_them(films):
    unknown = dataclasses.replace(
        films,
        view_position=np.full(len(films), ''),
        class_id=np.full(len(films), -1),
        class_probs=None,
    )
    results = made_results(films) | {'classes': {'num_films': 0}}
    drawn = draw_pictures(results, unknown, THRESHOLDS)
    assert len(drawn['scores'].axes) == 2
    assert not any('view' in it.get_label() for it in drawn['roc'].axes[0].lines)
    assert sum(int(text) for text in texts(drawn['confusion']) if '%' not in text) == len(films)


def test_a_picture_in_a_page_follows_its_colours_and_refers_to_itself_alone(pictures):
    ids = set()
    for name, picture in pictures.items():
        svg = inline_svg(picture, name)
        text = ElementTree.tostring(svg, encoding='unicode', method='html')
        assert svg.get('role') == 'img'
        assert svg.get('aria-label') == picture.get_label()
        assert 'var(--ink)' in text
        assert not re.findall('#[0-9a-f]{6}\\b', text), name
        assert '<style' not in text
        assert '://' not in text
        own = {node.get('id') for node in svg.iter() if node.get('id')}
        referred = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
        assert referred <= own
        assert not own & ids
        ids |= own


def test_pictures_are_the_same_each_time_and_change_no_settings(films, tmp_path):
    before = dict(mpl.rcParams)
    drawn = [draw_pictures(made_results(films), films, THRESHOLDS) for _ in range(2)]
    for name in ALL:
        one, two = (ElementTree.tostring(inline_svg(some[name], name)) for some in drawn)
        assert one == two
    save_pictures(drawn[0], tmp_path)
    assert {path.stem for path in tmp_path.glob('*.png')} == ALL
    assert min(Image.open(tmp_path / 'roc.png').size) > 600
    assert dict(mpl.rcParams) == before


def test_no_window_system_and_no_device_is_needed():
    code = (
        'import sys, pneumo_jax.evaluation.pictures, pneumo_jax.evaluation.page; '
        'print([name for name in ("matplotlib.pyplot", "jax") if name in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


def test_nothing_tells_whose_films_they_are(films, pictures):
    for name, picture in pictures.items():
        assert b'secret' not in ElementTree.tostring(inline_svg(picture, name))
