"""Figures of an exploration against other implementations, and against plain loops."""

import csv
import dataclasses
import itertools
import json
import math
import statistics

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from sklearn.metrics import roc_auc_score

from data_prep.exploration.balance import split_balance
from data_prep.exploration.box_charts import heat_maps
from data_prep.exploration.duplicates import find_equal_films
from data_prep.exploration.figures import covered_shares, label_figures
from data_prep.exploration.film_rows import choose_films, film_rows
from data_prep.exploration.gathering import draw, gather
from data_prep.exploration.grey import (
    grey_figures,
    mean_films,
    mean_greys,
    unusualness,
)
from data_prep.exploration.groups import film_groups
from data_prep.exploration.label_charts import person_counts
from data_prep.exploration.loading import load_download
from data_prep.exploration.page import exploration_page
from data_prep.exploration.tables import write_tables
from data_prep.options import Options
from pneumo_jax.workers import WorkerPool
from tests.made_explorations import SIDE, made_films, relabelled


@pytest.fixture(scope='module')
def films():
    return made_films(300, splits=('train', 'validation', 'test'))


@pytest.fixture(scope='module')
def figures(films):
    return label_figures(films)


def test_every_film_is_counted_once_in_each_grouping(films, figures):
    for values in figures['groups'].values():
        assert sum(group['films'] for group in values.values()) == len(films)
        positives = sum(label.label for label in films.labels)
        assert sum(group['positives'] for group in values.values()) == positives
        for group in values.values():
            assert sum(group['classes'].values()) == group['films']
            assert group['prevalence']['value'] == pytest.approx(
                group['positives'] / group['films']
            )
    assert sum(row['films'] for row in figures['classes'].values()) == len(films)


def test_intervals_hold_their_figures(figures):
    for group in figures['groups']['view'].values():
        prevalence = group['prevalence']
        assert prevalence['low'] < prevalence['value'] < prevalence['high']


def test_more_films_of_the_same_persons_tell_no_more(films):
    once = label_figures(films)['prevalence']
    twice = dataclasses.replace(
        films,
        labels=films.labels * 2,
        labelled=np.tile(films.labelled, 2),
        splits=films.splits * 2,
        sizes=np.tile(films.sizes, (2, 1)),
        manufacturers=films.manufacturers * 2,
    )
    # Films of unknown persons would count as other persons: give all of them one.
    named = [
        dataclasses.replace(label, person_id=label.person_id or label.patient_id)
        for label in twice.labels
    ]
    doubled = label_figures(dataclasses.replace(twice, labels=named))['prevalence']
    assert doubled['value'] == once['value']
    assert doubled['high'] - doubled['low'] == pytest.approx(once['high'] - once['low'], rel=0.05)


@pytest.mark.parametrize('mirrored', [False, True])
def test_the_view_alone_is_judged_as_scikit_learn_judges_it(films, mirrored):
    if mirrored:
        other = {'AP': 'PA', 'PA': 'AP', '': ''}
        films = dataclasses.replace(
            films,
            labels=[
                dataclasses.replace(label, view_position=other[label.view_position])
                for label in films.labels
            ],
        )
    known = [label for label in films.labels if label.view_position]
    truth = [label.label for label in known]
    area = roc_auc_score(truth, [label.view_position == 'AP' for label in known])
    told = label_figures(films)['baselines']['view_alone_auroc']
    assert told['value'] == pytest.approx(max(area, 1 - area))
    assert told['low'] < told['value'] < told['high']


def test_trivial_answers(films, figures):
    positives = sum(label.label for label in films.labels)
    told = figures['baselines']
    assert told['all_negative_accuracy']['value'] == pytest.approx(1 - positives / len(films))
    free = []
    for label in films.labels:
        mask = np.ones((SIDE, SIDE), bool)
        for x, y, w, h in label.boxes:
            mask[round(y) : round(y + h), round(x) : round(x + w)] = False
        free.append(mask.mean())
    assert told['all_background_pixel_accuracy']['value'] == pytest.approx(np.mean(free), abs=2e-3)
    assert covered_shares(films) == pytest.approx(1 - np.array(free), abs=5e-3)


def test_without_any_box_an_empty_mask_proves_nothing(films):
    without = relabelled(films, boxes=np.zeros((0, 4), np.float32))
    assert label_figures(without)['baselines']['all_background_pixel_accuracy']['value'] is None


def test_median_box_areas(films, figures):
    for domain, row in figures['box_areas'].items():
        areas = [
            w * h
            for label in films.labels
            if label.label_domain == domain
            for _, _, w, h in label.boxes.tolist()
        ]
        assert row['boxes'] == len(areas)
        assert row['median']['value'] == pytest.approx(statistics.median_low(areas), rel=1e-6)
        assert row['median']['low'] <= row['median']['value'] <= row['median']['high']


def test_ages_over_89_are_told_as_one(films):
    groups = film_groups(films)['age']
    assert groups['90 and over'].sum() == sum(label.age >= 90 for label in films.labels)
    assert not any(name.startswith(('90-', '9 ', '100')) for name in groups)
    assert list(groups)[:2] == ['0-9', '10-19']
    assert list(groups)[-1] == 'unknown'


def test_films_of_persons(films):
    counts = {}
    for label in films.labels:
        if label.person_id:
            counts[label.person_id] = counts.get(label.person_id, 0) + 1
    told = person_counts(films)
    assert sum(persons for persons, _ in told.values()) == len(counts)
    assert sum(of for _, of in told.values()) == sum(counts.values())
    assert told['1'] == (sum(n == 1 for n in counts.values()),) * 2
    assert told['3-5'][0] == sum(3 <= n <= 5 for n in counts.values())


def test_heat_maps_against_pixels(films):
    maps = {heat.domain: heat for heat in heat_maps(films)}
    assert maps.keys() == {'single_read', 'multi_read'}
    cell = SIDE / 64
    for domain, heat in maps.items():
        boxed = [x for x in films.labels if x.label_domain == domain and len(x.boxes)]
        assert heat.films == len(boxed)
        for row, column in itertools.product((10, 25, 40), (5, 20, 33)):
            px, py = (column + 0.5) * cell, (row + 0.5) * cell
            hits = sum(
                any(x <= px < x + w and y <= py < y + h for x, y, w, h in label.boxes.tolist())
                for label in boxed
            )
            assert heat.shares[row, column] == pytest.approx(hits / len(boxed))


def test_grey_values_are_means_of_films_not_of_pixels(films):
    histograms = films.pixels.histograms.astype(np.float64)
    shares = histograms / histograms.sum(axis=1, keepdims=True)
    positive = np.array([label.label == 1 for label in films.labels])
    told = grey_figures(films)['class']['lung_opacity']
    assert told.films == positive.sum()
    for i in (0, 17, 63):
        expected = shares[positive, 4 * i : 4 * i + 4].sum(axis=1).mean()
        value, low, high = told.shares[i]
        assert value == pytest.approx(expected, rel=1e-4)
        assert low < value < high
    assert told.shares[:, 0].sum() == pytest.approx(1, rel=1e-4)
    assert set(grey_figures(films)) == {'class', 'view', 'manufacturer', 'split'}


def test_unusual_films_by_the_earth_movers_distance():
    rng = np.random.default_rng(0)
    histograms = rng.integers(1, 50, (31, 256)).astype(np.uint32)
    histograms[3, :] = 0
    histograms[3, 255] = 100
    shares = histograms / histograms.sum(axis=1, keepdims=True)
    below = np.median(np.cumsum(shares, axis=1), axis=0)
    usual = np.diff(below, prepend=0)
    greys = np.arange(256)
    expected = [wasserstein_distance(greys, greys, film, usual) for film in shares]
    assert unusualness(histograms) == pytest.approx(expected, rel=1e-6)
    assert np.argmax(unusualness(histograms)) == 3
    assert mean_greys(histograms)[3] == 255


def test_mean_films_of_classes_and_views(films):
    means = mean_films(films)
    for view, row in means.items():
        for name, (count, mean) in row.items():
            chosen = [
                i
                for i, label in enumerate(films.labels)
                if films.classes[i] == name and view in ('all', label.view_position)
            ]
            assert count == len(chosen)
            assert mean == pytest.approx(films.pixels.thumbnails[chosen].mean(axis=0))


def test_equal_films_are_found_and_what_is_wrong_with_them(films):
    groups = find_equal_films(films)
    assert [group.rows for group in groups] == [(0, 1), (2, 3)]
    labels = films.labels
    for group in groups:
        first, second = (labels[row] for row in group.rows)
        same_boxes = sorted(first.boxes.tolist()) == sorted(second.boxes.tolist())
        assert group.conflicting == (not (first.label == second.label and same_boxes))
        assert group.several_splits == (films.splits[group.rows[0]] != films.splits[group.rows[1]])


def test_splits_that_differ_are_told_from_those_that_do_not(films):
    balance = split_balance(films)
    train, test = (
        [label.age for label, split in zip(films.labels, films.splits, strict=True)
         if split == name and label.age >= 0]
        for name in ('train', 'test')
    )  # fmt: skip
    pooled = math.sqrt((statistics.pvariance(train) + statistics.pvariance(test)) / 2)
    expected = (statistics.mean(test) - statistics.mean(train)) / pooled
    told = balance['differences']['test']['age']
    assert told['value'] == pytest.approx(expected)
    assert told['low'] < told['value'] < told['high']
    assert balance['splits']['train']['traits']['age']['value'] == pytest.approx(
        statistics.mean(train)
    )
    # Drawn by chance, the splits agree; made of the old and the young, they do not.
    assert told['low'] < 0 < told['high']
    ages = [label.age for label in films.labels]
    by_age = dataclasses.replace(films, splits=['train' if age < 50 else 'test' for age in ages])
    told = split_balance(by_age)['differences']['test']['age']
    assert told['low'] > 1


def test_persons_and_equal_films_in_two_splits_are_counted(films):
    balance = split_balance(films)
    seen = {}
    for label, split in zip(films.labels, films.splits, strict=True):
        if label.person_id:
            seen.setdefault(label.person_id, set()).add(split)
    assert balance['persons_in_two_splits'] == sum(len(of) > 1 for of in seen.values()) > 0
    assert balance['equal_films_in_two_splits'] == sum(
        group.several_splits for group in find_equal_films(films)
    )
    assert split_balance(made_films(20)) == {}


@pytest.mark.shared_data
def test_the_full_tables_recomputed_from_their_rows(shared_data, tmp_path):
    folder = shared_data / 'rsna_full_csv'
    options = Options(
        output_dir='',
        labels_csv=folder / 'stage_2_train_labels.csv',
        class_info_csv=folder / 'stage_2_detailed_class_info.csv',
        person_csv=folder / 'rsna_to_nih_mapping.csv',
    )
    with WorkerPool(1, item_timeout=60) as pool:
        films = load_download(options, pool=pool, cache_dir=tmp_path)
    figures = label_figures(films)
    with (folder / 'rsna_to_nih_mapping.csv').open() as file:
        rows = list(csv.DictReader(file))
    labelled = {label.patient_id for label in films.labels}
    rows = [row for row in rows if row['patientId'] in labelled]
    assert len(rows) == len(films)
    for view in ('AP', 'PA'):
        of_view = [row for row in rows if row['view'] == view]
        told = figures['groups']['view'][view]
        assert told['films'] == len(of_view)
        assert told['positives'] == sum(row['Target'] == '1' for row in of_view)
    area = roc_auc_score(
        [int(row['Target']) for row in rows], [row['view'] == 'AP' for row in rows]
    )
    assert figures['baselines']['view_alone_auroc']['value'] == pytest.approx(area)
    assert figures['audit']['boxes']['boxes'] == sum(int(row['n_boxes']) for row in rows)
    spacings = sorted(float(row['pixel_spacing']) for row in rows)
    assert sorted(films.spacings.tolist()) == pytest.approx(spacings)
    assert figures['audit']['persons']['persons'] == len({row['nih_patient'] for row in rows})


NO_BOXES = np.zeros((0, 4), np.float32)
NOTHING_KNOWN = {
    'label': 0,
    'class_id': -1,
    'boxes': NO_BOXES,
    'person_id': '',
    'view_position': '',
    'sex': '',
    'age': -1,
    'label_domain': 'unknown',
}


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(
    'odd',
    [
        made_films(1),
        made_films(30, pixels=False),
        relabelled(made_films(20), label=0, class_id=0, boxes=NO_BOXES),
        relabelled(made_films(20), label=1, class_id=2, boxes=np.ones((1, 4), np.float32)),
        relabelled(made_films(20), **NOTHING_KNOWN),
        relabelled(made_films(20), person_id='one'),
        dataclasses.replace(made_films(20), labelled=np.zeros(20, bool)),
        dataclasses.replace(made_films(20), spacings=np.full(20, 0.14)),
        dataclasses.replace(made_films(20), picture=lambda rows, side: [None] * len(rows)),
        made_films(20, splits=('train',)),
    ],
    ids=[
        'one film',
        'no pixels',
        'no opacity',
        'opacities alone',
        'nothing known',
        'one person',
        'no labels',
        'one spacing',
        'unreadable by now',
        'one split',
    ],
)
def test_odd_sets_of_films_are_explored_too(odd, tmp_path):
    found = gather(odd)
    json.dumps([found.figures, found.balance], allow_nan=False)
    draw(found)
    rows = film_rows(odd, choose_films(odd, found.duplicates))
    assert 'How it was made' in exploration_page(found, {}, rows)
    write_tables(
        tmp_path,
        odd,
        found.figures,
        grey=found.grey,
        balance=found.balance,
        duplicates=found.duplicates,
        maps=found.maps,
    )
    with (tmp_path / 'films.csv').open(encoding='utf-8', newline='') as file:
        assert len(list(csv.DictReader(file))) == len(odd)
