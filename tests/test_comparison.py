"""Runs are compared on the same films, with the same draws, and never silently on others."""

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats

from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.comparison import (
    FIGURES,
    PAIRED,
    compare,
    holm,
    paired_differences,
    two_sided_p,
)
from pneumo_jax.evaluation.comparison.evaluated import load_evaluated
from pneumo_jax.evaluation.comparison.text import csv_rows, markdown, run_warnings, text_table
from pneumo_jax.metrics.box_matches import match_films
from pneumo_jax.metrics.classification import auroc
from pneumo_jax.metrics.coco import average_precision
from pneumo_jax.metrics.detection import challenge_map
from pneumo_jax.metrics.froc import sensitivity_at
from pneumo_jax.thresholds import Thresholds
from tests.made_evaluations import THRESHOLDS, made_films, write_evaluation


@pytest.fixture
def load(tmp_path):
    """Loads evaluations of films, written to folders a, b, ..."""

    def load(*films, **changes):
        folders = [
            write_evaluation(tmp_path / name, each, **changes)
            for name, each in zip('abcdef', films, strict=False)
        ]
        return load_evaluated(folders, 'test')

    return load


def test_an_evaluation_is_read_as_it_was_written(load):
    films = made_films(40)
    (run,) = load(films)
    assert (run.name, run.thresholds, run.inclusive) == ('a', THRESHOLDS, False)
    assert run.films.ids == films.ids
    np.testing.assert_array_equal(run.films.probs, films.probs)


def test_a_box_threshold_of_infinity_is_null_in_json(tmp_path):
    films = made_films(20)
    folder = write_evaluation(tmp_path / 'a', films)
    content = json.loads((folder / 'results.json').read_text())
    content['thresholds'] |= {'box': None, 'box_chosen': False}
    (folder / 'results.json').write_text(json.dumps(content))
    (run,) = load_evaluated([folder], 'test')
    assert run.thresholds == Thresholds(film=0.5, box=math.inf, box_chosen=False)


def test_runs_are_named_by_what_tells_them_apart(tmp_path):
    paths = [tmp_path / 'x' / 'run', tmp_path / 'y' / 'run', tmp_path / 'z']
    for path in paths:
        write_evaluation(path, made_films(10))
    assert [run.name for run in load_evaluated(paths[1:], 'test')] == ['run', 'z']
    assert [run.name for run in load_evaluated(paths[:2], 'test')] == ['x/run', 'y/run']


def test_differences_are_those_of_the_figures(load):
    a, b = load(made_films(60, skill=0.5, seed=1), made_films(60, skill=2.0, seed=2))
    made = paired_differences(a, b, num_draws=50)
    figures = made['figures']
    called_a, called_b = (run.films.probs >= 0.5 for run in (a, b))
    labels = a.films.labels

    def challenge(films):
        found = zip(films.boxes, films.box_scores, strict=True)
        boxes, scores = zip(*(THRESHOLDS.select(*film) for film in found), strict=True)
        return challenge_map(films.truths, boxes, scores)

    def matches(films):
        return match_films(films.truths, films.boxes, films.box_scores)

    def precision_50(films):
        return average_precision(matches(films))[0]

    def found(films):
        return sensitivity_at(matches(films), (0.5,))[0]

    expected = {
        'auroc': auroc(labels, b.films.probs) - auroc(labels, a.films.probs),
        'accuracy': np.mean(called_b == labels) - np.mean(called_a == labels),
        'sensitivity': called_b[labels == 1].mean() - called_a[labels == 1].mean(),
        'specificity': called_a[labels == 0].mean() - called_b[labels == 0].mean(),
        'challenge_map': challenge(b.films) - challenge(a.films),
        'coco_ap_50': precision_50(b.films) - precision_50(a.films),
        'froc_sensitivity_at_0.5': found(b.films) - found(a.films),
    }
    assert tuple(figures) == PAIRED
    for name, value in expected.items():
        assert figures[name]['value'] == pytest.approx(value, abs=1e-9), name
        assert figures[name]['low'] <= value <= figures[name]['high']
    assert (made['num_films'], made['num_positive']) == (60, labels.sum())


def test_differences_are_paired(load):
    """Two runs that answer nearly alike differ surely, though their own intervals overlap."""
    films = made_films(600, skill=0.8)
    # The other one is right where this one is a little wrong, on few films.
    probs = films.probs.copy()
    wrong = np.flatnonzero((films.labels == 1) & (probs < 0.5))[:12]
    probs[wrong] = np.float32(0.75)
    a, b = load(films, dataclasses.replace(films, probs=probs))
    figure = paired_differences(a, b)['figures']['sensitivity']
    width = figure['high'] - figure['low']
    positive = films.labels == 1
    shares = [np.mean(each[positive] >= 0.5) for each in (films.probs, probs)]
    unpaired = 2 * 1.96 * math.sqrt(sum(s * (1 - s) for s in shares) / positive.sum())
    assert width < 0.75 * unpaired
    assert figure['low'] > 0 and figure['p'] < 0.01


def test_a_run_does_not_differ_from_its_copy(load):
    films = made_films(50)
    made = compare(load(films, films), 'a', num_draws=50)
    (one,) = made['differences']
    for name in PAIRED:
        assert one['figures'][name]['value'] == 0
        assert one['figures'][name]['p'] == one['figures'][name]['p_holm'] == 1
    assert one['delong']['value'] == 0 and one['delong']['p'] == 1


def test_delong_agrees_with_the_bootstrap_and_needs_one_film_a_person(load):
    pair = [made_films(400, skill=s, seed=i) for i, s in enumerate((0.8, 1.1))]
    made = paired_differences(*load(*pair))
    boot, delong = made['figures']['auroc'], made['delong']
    assert delong['value'] == pytest.approx(boot['value'], abs=1e-12)
    for end in ('low', 'high'):
        assert delong[end] == pytest.approx(boot[end], abs=0.006)
    error = (delong['high'] - delong['value']) / stats.norm.ppf(0.975)
    expected = 2 * stats.norm.sf(abs(delong['value']) / error)
    assert delong['p'] == pytest.approx(expected, rel=1e-6)
    several = [dataclasses.replace(films, persons=np.arange(400) // 2) for films in pair]
    made = paired_differences(*load(*several), num_draws=50)
    assert made['delong'] is None
    assert made['num_persons'] == 200


def test_the_coarser_grouping_by_person_is_used(load):
    films = made_films(40)
    grouped = dataclasses.replace(films, persons=np.arange(40) // 4)
    for pair in ((films, grouped), (grouped, films)):
        made = paired_differences(*load(*pair), num_draws=20)
        assert made['num_persons'] == 10


def test_only_shared_films_are_compared_whatever_their_order(load):
    films, better = made_films(80, seed=1), made_films(80, seed=2, skill=2.0)
    order = np.random.default_rng(0).permutation(np.arange(20, 80))
    a, b = load(films.select(np.arange(60)), better.select(order))
    made = paired_differences(a, b, num_draws=30)
    shared = np.arange(20, 60)
    whole = paired_differences(*load(films.select(shared), better.select(shared)), num_draws=30)
    assert made == whole
    assert made['num_films'] == 40
    codes = [each['code'] for each in compare([a, b], 'a', num_draws=20)['warnings']]
    assert codes == ['different_films']


def test_runs_without_a_shared_film_are_refused(load):
    films = made_films(20)
    runs = load(films.select(np.arange(10)), films.select(np.arange(10, 20)))
    with pytest.raises(InputError, match='a and b share no film'):
        compare(runs, 'a', num_draws=20)


@pytest.mark.parametrize('field', ['labels', 'truths', 'film_sizes'])
def test_films_with_another_truth_are_refused(load, field):
    films = made_films(20)
    positive = int(np.flatnonzero(films.labels)[0])
    if field == 'truths':
        other = list(films.truths)
        other[positive] = other[positive] + [[1, 0, 0, 0]]
    else:
        other = getattr(films, field).copy()
        other[positive] = 0
    runs = load(films, dataclasses.replace(films, **{field: other}))
    with pytest.raises(InputError, match=r'1 of the 20 films .* another truth'):
        compare(runs, 'b', num_draws=20)


@pytest.mark.parametrize(
    ('changes', 'code'),
    [
        ({'protocol': 'image-level'}, 'different_protocol'),
        ({'data_fingerprint': 'ff'}, 'different_data'),
        ({'label_domains': {'multi_read': 20}}, 'different_label_domains'),
    ],
)
def test_what_differs_between_runs_is_warned_of(tmp_path, changes, code):
    films = made_films(20)
    folders = [write_evaluation(tmp_path / name, films) for name in 'ab']
    folders.append(write_evaluation(tmp_path / 'c', films, **changes))
    made = compare(load_evaluated(folders, 'test'), 'a', num_draws=20)
    (warning,) = made['warnings']
    assert warning['code'] == code
    assert 'a, b | c' in warning['message']
    for text in (text_table(made), markdown(made)):
        assert 'different' in text
    made = compare(load_evaluated(folders[:2], 'test'), 'a', num_draws=20)
    assert made['warnings'] == []


def test_one_rule_of_the_challenge_for_both_runs(tmp_path):
    films = made_films(30)
    # Boxes with an IoU of exactly one half, against none.
    halves = [truth * [1, 1, 0.5, 1] for truth in films.truths]
    folders = [
        write_evaluation(
            tmp_path / name,
            dataclasses.replace(films, boxes=boxes, box_scores=[np.ones(len(b)) for b in boxes]),
        )
        for name, boxes in (('a', [np.zeros((0, 4))] * 30), ('b', halves))
    ]

    def challenge(folder, inclusive):
        content = json.loads((folder / 'results.json').read_text())
        content['boxes']['inclusive_iou'] = inclusive
        (folder / 'results.json').write_text(json.dumps(content))
        made = compare(load_evaluated(folders, 'test'), 'a', num_draws=20)
        return made['warnings'], made['differences'][0]['figures']['challenge_map']['value']

    # Of eight thresholds, 0.40 and 0.45 are hit, and 0.50 by the inclusive rule.
    assert challenge(folders[1], False) == ([], 2 / 8)
    (warning,), value = challenge(folders[1], True)
    assert (warning['code'], value) == ('different_iou_rule', 2 / 8)
    assert challenge(folders[0], True) == ([], 3 / 8)


def test_films_on_which_nobody_drew_a_box_do_not_count_for_boxes(load):
    def pair():
        return [made_films(40, seed=i, skill=1 + i) for i in range(2)]

    first = int(np.flatnonzero(made_films(40).labels)[0])
    undrawn = [
        dataclasses.replace(
            films,
            truths=[*films.truths[:first], np.zeros((0, 4)), *films.truths[first + 1 :]],
        )
        for films in pair()
    ]
    left_out = [films.select(np.arange(40) != first) for films in pair()]
    values = [
        paired_differences(*load(*films), num_draws=20)['figures']['challenge_map']['value']
        for films in (undrawn, left_out)
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-12)


def test_figures_that_are_undefined_stay_so(load):
    films = made_films(20)
    negative = films.select(films.labels == 0)
    made = compare(load(negative, negative), 'a', num_draws=20)
    figures = made['differences'][0]['figures']
    for name in ('auroc', 'sensitivity', 'challenge_map'):
        assert figures[name]['value'] is None and figures[name]['p'] is None
    assert figures['accuracy']['value'] == 0
    assert 'undefined' in text_table(made)
    json.dumps(made, allow_nan=False)


def test_warnings_of_the_runs_are_carried_on(tmp_path):
    films = made_films(20)
    warning = {'code': 'seen', 'message': 'Weights have seen it.'}
    init = {'origin': 'timm', 'card': {'saw': ['NIH ChestX-ray14'], 'file': 'README.md'}}
    folders = [
        write_evaluation(tmp_path / 'a', films),
        write_evaluation(
            tmp_path / 'b',
            films,
            warnings=[warning],
            members=[{'epoch': 3, 'init': init}, {'epoch': 5, 'init': None}],
        ),
    ]
    made = compare(load_evaluated(folders, 'test'), 'a', num_draws=20)
    assert run_warnings(made) == ['b: Weights have seen it.']
    text = text_table(made)
    assert 'WARNING: b: Weights have seen it.' in text
    assert 'timm, saw NIH, random' in text
    assert '3, 5' in text


def test_two_sided_p():
    draws = np.arange(1, 1000) - 50.5
    assert two_sided_p(draws) == pytest.approx(2 * 51 / 1000)
    assert two_sided_p(-draws) == two_sided_p(draws)
    assert two_sided_p(np.zeros(100)) == 1
    assert two_sided_p(np.ones(1999)) == pytest.approx(0.001)
    assert math.isnan(two_sided_p(np.array([1.0, math.nan, math.nan])))
    assert math.isnan(two_sided_p(np.array([])))


def test_p_values_of_equal_runs_are_uniform():
    """Runs of the same skill: p is below 0.1 in a tenth of comparisons, as of a fair test."""
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(400):
        differences = rng.normal(size=60)
        draws = differences[rng.integers(60, size=(500, 60))].mean(axis=1)
        p_values.append(two_sided_p(draws))
    # With 3 standard errors.
    assert np.mean(np.array(p_values) < 0.1) == pytest.approx(0.1, abs=0.045)


def test_holm_against_the_definition():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.random(6) ** 3
        adjusted = np.array(holm(p))
        order = np.argsort(p)
        for alpha in (0.01, 0.05, 0.2):
            # Step down: reject while the k-th smallest is at most alpha / (m - k).
            rejected = set()
            for k, i in enumerate(order):
                if p[i] > alpha / (6 - k):
                    break
                rejected.add(i)
            assert set(np.flatnonzero(adjusted <= alpha)) == rejected
    assert holm([0.01]) == [0.01]
    assert holm([]) == []
    with_nan = holm([0.01, math.nan, 0.04])
    assert with_nan[0] == 0.02 and math.isnan(with_nan[1]) and with_nan[2] == 0.04


def test_delong_stands_in_the_bootstraps_place_when_adjusted(load):
    runs = load(*(made_films(60, seed=i, skill=0.5 + i) for i in range(3)))
    made = compare(runs, 'a', num_draws=100)
    all_p = [one['figures'][name]['p'] for one in made['differences'] for name in PAIRED]
    assert len(all_p) == 2 * len(PAIRED)
    adjusted = [one['figures'][n]['p_holm'] for one in made['differences'] for n in PAIRED]
    assert adjusted == pytest.approx(holm(all_p))
    # Where the AUROC of either run stands.
    places = [i * len(PAIRED) + PAIRED.index('auroc') for i in range(2)]
    all_p[places[0]], all_p[places[1]] = (one['delong']['p'] for one in made['differences'])
    expected = holm(all_p)
    found = [one['delong']['p_holm'] for one in made['differences']]
    assert found == pytest.approx([expected[i] for i in places])


@pytest.mark.parametrize('num_runs', [1, 2, 4, 5, 6])
def test_the_text_fits_120_columns(tmp_path, num_runs):
    films = made_films(30)
    folders = [
        write_evaluation(tmp_path / f'a-rather-long-name-of-the-run-number-{i}-of-them', films)
        for i in range(num_runs)
    ]
    runs = load_evaluated(folders, 'test')
    text = text_table(compare(runs, runs[0].name, num_draws=20))
    assert max(map(len, text.splitlines())) <= 120
    assert text.count('AUPRC') == -(-num_runs // 4)
    # Shortened names still differ.
    assert all(f'{i}-of-them' in text for i in range(num_runs))
    assert 'not a medical device' in text
    assert 'films of the same' not in text


def test_tables_hold_every_figure(load):
    runs = load(*(made_films(40, seed=i) for i in range(3)))
    made = compare(runs, 'b', num_draws=20)
    rows = list(csv_rows(made))
    # Of each difference the AUROC's by DeLong too.
    assert len(rows) == 3 * len(FIGURES) + 2 * (len(PAIRED) + 1)
    assert {row[1:3] for row in rows if row[0] != 'figure'} == {('a', 'b'), ('c', 'b')}
    lines = [line for line in markdown(made).splitlines() if line.startswith('|')]
    assert {line.replace('\\|', '').count('|') for line in lines[:20]} == {5}
    assert 'minus b' in markdown(made)


def test_names_cannot_break_markdown(tmp_path):
    folder = write_evaluation(tmp_path / 'a|b_<i>', made_films(10))
    made = compare(load_evaluated([folder], 'test'), 'a|b_<i>', num_draws=20)
    header = next(line for line in markdown(made).splitlines() if line.startswith('|'))
    assert header == r'|  | a\|b\_&lt;i&gt; |'
