import collections
import csv
import dataclasses
import itertools
import json
import time

import numpy as np
import pytest

from data_prep.audit import audit_labels, class_name, count_values
from data_prep.labels import FilmLabel
from data_prep.rsna_labels import read_rsna_labels


def make_film(patient_id='film', boxes=(), **fields):
    """A film that is positive if it has boxes, and of which all is known, unless told."""
    positive = bool(len(boxes))
    known = {
        'label': int(positive),
        'class_id': 2 if positive else 0,
        'person_id': f'person of {patient_id}',
        'view_position': 'PA',
        'sex': 'F',
        'age': 40,
        'label_domain': 'single_read',
    }
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return FilmLabel(patient_id=patient_id, boxes=boxes, **(known | fields))


def random_films(rng, count, side):
    """Films of all kinds with boxes of whole pixels inside ``side`` x ``side``."""
    films = []
    for i in range(count):
        view = str(rng.choice(('AP', 'PA', '')))
        boxes = []
        if rng.random() < {'AP': 0.6, 'PA': 0.2, '': 0.4}[view]:
            for _ in range(rng.integers(1, 5)):
                (x0, x1), (y0, y1) = (np.sort(rng.choice(side, 2, replace=False)) for _ in 'xy')
                boxes.append((x0, y0, x1 - x0, y1 - y0))
        films.append(
            make_film(
                f'film{i}',
                boxes,
                class_id=2 if boxes else int(rng.integers(-1, 2)),
                person_id=str(rng.choice(('', 'a', 'b', 'c', f'only{i}'))),
                view_position=view,
                sex=str(rng.choice(('F', 'M', ''))),
                age=int(rng.integers(-1, 130)),
                label_domain=str(rng.choice(('single_read', 'multi_read'))),
            )
        )
    return films


@pytest.mark.parametrize('seed', range(5))
def test_counts_are_those_of_a_plain_count(seed):
    films = random_films(np.random.default_rng(seed), 80, side=30)
    audit = json.loads(json.dumps(audit_labels(films), allow_nan=False))
    positives = [film for film in films if film.label]
    assert (audit['films'], audit['positives']) == (80, len(positives))
    assert audit['prevalence'] == len(positives) / 80
    for name, key in (
        ('classes', lambda film: class_name(film.class_id)),
        ('views', lambda film: film.view_position or 'unknown'),
        ('sexes', lambda film: film.sex or 'unknown'),
        ('label_domains', lambda film: film.label_domain),
    ):
        assert audit[name] == collections.Counter(map(key, films))
    for view in ('AP', 'PA'):
        of_view = [film for film in films if film.view_position == view]
        group = audit['by_view'][view]
        assert group['films'] == len(of_view)
        assert group['prevalence'] == np.mean([film.label for film in of_view])
        assert sum(group['classes'].values()) == len(of_view)
    persons = collections.Counter(film.person_id for film in films if film.person_id)
    assert audit['persons'] == {
        'persons': len(persons),
        'films_per_person_median': np.median(list(persons.values())),
        'films_per_person_max': max(persons.values()),
        'persons_with_one_film': list(persons.values()).count(1),
        'films_without_person': sum(film.person_id == '' for film in films),
    }


@pytest.mark.parametrize('seed', range(5))
def test_box_figures_are_those_of_drawn_boxes(seed):
    side = 30
    films = random_films(np.random.default_rng(seed), 80, side)
    figures = audit_labels(films, {film.patient_id: (side, side) for film in films})['boxes']
    boxed = [film for film in films if len(film.boxes)]
    shares, overlapping, both_halves = [], 0, 0
    for film in boxed:
        drawn = np.zeros((side, side), int)
        for x, y, width, height in film.boxes.astype(int):
            drawn[y : y + height, x : x + width] += 1
        shares.append((drawn > 0).mean())
        overlapping += (drawn > 1).any()
        middles = [x + width / 2 for x, _, width, _ in film.boxes]
        both_halves += min(middles) < side / 2 <= max(middles)
    np.testing.assert_allclose(
        list(figures['share_of_film'].values()), np.percentile(shares, (25, 50, 75))
    )
    assert figures['films_with_overlap'] == overlapping
    assert figures['films_on_both_halves'] == both_halves
    assert figures['films_of_known_size'] == len(boxed)
    boxes = [box for film in boxed for box in film.boxes]
    assert figures['boxes'] == len(boxes)
    assert figures['width']['p50'] == np.median([width for _, _, width, _ in boxes])
    assert figures['height']['p25'] == np.percentile([height for *_, height in boxes], 25)
    assert figures['area']['p75'] == np.percentile([w * h for _, _, w, h in boxes], 75)
    assert figures['films_by_boxes'] == collections.Counter(str(len(f.boxes)) for f in boxed)


def test_boxes_that_touch_do_not_overlap():
    touching = make_film('a', [(0.1, 0, 0.2, 1000), (0.3, 0, 0.4, 1000), (0.7, 0, 500.3, 1000)])
    apart = make_film('b', [(0, 0, 10, 10), (20, 20, 10, 10)])
    inside = make_film('c', [(0, 0, 10, 10), (4, 4, 1, 1)])
    assert audit_labels([touching, apart])['boxes']['films_with_overlap'] == 0
    assert audit_labels([touching, apart, inside])['boxes']['films_with_overlap'] == 1


def test_what_needs_the_size_of_films_is_unknown_without_it():
    figures = audit_labels([make_film('a', [(1, 2, 3, 4)])])['boxes']
    assert figures['films_of_known_size'] == 0
    assert figures['share_of_film'] is figures['films_on_both_halves'] is None


def test_view_alone_is_as_good_as_a_count_of_pairs_says():
    films = random_films(np.random.default_rng(0), 60, side=30)
    known = [film for film in films if film.view_position]
    rate = {v: np.mean([f.label for f in known if f.view_position == v]) for v in ('AP', 'PA')}
    pairs = [
        (rate[positive.view_position], rate[negative.view_position])
        for positive, negative in itertools.product(known, known)
        if positive.label > negative.label
    ]
    expected = np.mean([(p > n) + 0.5 * (p == n) for p, n in pairs])
    assert audit_labels(films)['view_alone_auroc'] == pytest.approx(expected)


@pytest.mark.parametrize(
    'films',
    [
        [make_film('a'), make_film('b', [(0, 0, 9, 9)])],
        [make_film('a'), make_film('b', view_position='AP')],
        [make_film('a', view_position=''), make_film('b', [(0, 0, 9, 9)])],
    ],
    ids=['one view', 'one label', 'one view known'],
)
def test_view_alone_is_undefined_where_it_cannot_rank(films):
    assert audit_labels(films)['view_alone_auroc'] is None


def test_ages_over_89_are_told_as_one():
    films = [make_film(str(age), age=age) for age in (0, 9, 10, 89, 90, 97, 155, -1)]
    ages = audit_labels(films)['ages']
    assert list(ages) == [*(f'{n}-{n + 9}' for n in range(0, 90, 10)), '90 and over', 'unknown']
    counts = {'0-9': 2, '10-19': 1, '80-89': 1, '90 and over': 3, 'unknown': 1}
    assert {name: count for name, count in ages.items() if count} == counts
    assert not {'97', '155'} & set(json.dumps(audit_labels(films)).replace('"', ' ').split())


def test_no_films_are_no_error():
    audit = json.loads(json.dumps(audit_labels([]), allow_nan=False))
    assert audit['prevalence'] is audit['view_alone_auroc'] is audit['boxes']['width'] is None
    assert audit['warnings'] == ['There are no films.']


def good_films():
    """As many positives in either view, and nothing else to warn of."""
    return [
        make_film(f'{view}{i}', [(0, 0, 9, 9)] if i < 3 else (), view_position=view)
        for view in ('AP', 'PA')
        for i in range(10)
    ]


def test_good_films_need_no_warning():
    assert audit_labels(good_films())['warnings'] == []


@pytest.mark.parametrize(
    ('change', 'warning'),
    [
        ({'person_id': ''}, 'Persons are not known'),
        ({'view_position': ''}, '20 films of unknown view'),
        ({'class_id': -1}, '20 films of unknown class'),
        ({'age': 121}, '20 films with an age over 120'),
        ({'label': 0}, 'No film is positive'),
        ({'label': 1}, 'No film is negative'),
        ({'label': 1}, '14 films positive without a box'),
    ],
)
def test_what_is_wrong_with_all_films_is_told(change, warning):
    films = [dataclasses.replace(film, **change) for film in good_films()]
    assert any(text.startswith(warning) for text in audit_labels(films)['warnings'])


def test_shortcuts_and_differences_are_told_with_their_figures():
    films = good_films()
    films[0] = dataclasses.replace(films[0], person_id='')
    films += [
        make_film(f'more{i}', [(0, 0, 9, 9)], view_position='AP', label_domain='multi_read')
        for i in range(20)
    ]
    one_person, view, domains = audit_labels(films)['warnings']
    assert one_person.startswith('1 film without a known person')
    assert 'AUROC 0.69' in view
    assert '100.0 % of multi_read, 30.0 % of single_read' in domains


def test_values_are_counted_in_order_of_their_numbers():
    assert list(count_values(['16', '8', '12', '8'])) == ['8', '12', '16']
    assert count_values(['16', '8', '12', '8'])['8'] == 2


def test_the_published_tables_have_their_published_figures(shared_data):
    folder = shared_data / 'rsna_full_csv'
    films = read_rsna_labels(
        folder / 'stage_2_train_labels.csv',
        folder / 'stage_2_detailed_class_info.csv',
        folder / 'rsna_to_nih_mapping.csv',
    ).films
    start = time.perf_counter()
    audit = audit_labels(films, {film.patient_id: (1024, 1024) for film in films})
    assert time.perf_counter() - start < 2

    rows = read_csv(folder / 'stage_2_train_labels.csv')
    boxes = [row for row in rows if row['Target'] == '1']
    per_film = collections.Counter(row['patientId'] for row in boxes)
    assert audit['films'] == len({row['patientId'] for row in rows})
    assert audit['positives'] == len(per_film)
    assert audit['boxes']['boxes'] == len(boxes)
    assert audit['boxes']['films_by_boxes'] == collections.Counter(map(str, per_film.values()))
    persons = collections.Counter(
        row['nih_patient'] for row in read_csv(folder / 'rsna_to_nih_mapping.csv')
    )
    assert audit['persons']['persons'] == len(persons)
    assert audit['persons']['films_per_person_max'] == max(persons.values()) == 65
    # The complete table, of which 756 films are missing here, has 22.5 %, 217 x 298, and 0.706.
    assert audit['prevalence'] == pytest.approx(0.225, abs=0.01)
    assert audit['boxes']['width']['p50'] == pytest.approx(217, abs=3)
    assert audit['boxes']['height']['p50'] == pytest.approx(298, abs=3)
    assert audit['view_alone_auroc'] == pytest.approx(0.706, abs=0.001)
    assert audit['by_view']['AP']['prevalence'] == pytest.approx(0.383, abs=0.01)
    shares = list(audit['boxes']['share_of_film'].values())
    assert shares == pytest.approx([0.045, 0.087, 0.166], abs=0.002)
    on_both = audit['boxes']['films_on_both_halves'] / audit['positives']
    assert on_both == pytest.approx(0.55, abs=0.01)


def read_csv(path):
    with path.open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))
