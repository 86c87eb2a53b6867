import dataclasses
import json
import time

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from pneumo_jax.evaluation.chosen import choose, choose_thresholds
from pneumo_jax.evaluation.results import Settings, results
from pneumo_jax.thresholds import Thresholds
from tests.made_scored_films import BOX, film, table_of

ABOUT = {
    'split': 'test',
    'protocol': 'person-grouped split',
    'persons_apart': True,
    'data_fingerprint': 'f',
    'num_rejected': 0,
    'model': 'resnet18',
    'changes': [],
    'members': [{'model': 'resnet18', 'epoch': 1, 'step': 9, 'params_sha256': '0a', 'init': None}],
}
NO_OVERLAP = {'films': 0, 'persons': 0, 'unchecked': 0}
HALF = Thresholds(film=0.5, box=0.5)


def results_of(films, thresholds=HALF, *, validation=None, site=None, **settings):
    films, validation = (
        table_of(table) if isinstance(table, list) else table for table in (films, validation)
    )
    chosen = choose(validation, thresholds, wanted_error=0.1)
    content = results(
        films,
        chosen,
        about=ABOUT,
        overlap=NO_OVERLAP,
        site=site,
        settings=Settings(**{'num_draws': 200} | settings),
    )
    return json.loads(json.dumps(content, allow_nan=False))


def value(content, *names):
    for name in names:
        content = content[name]
    return content['value']


def random_films(num_films, seed, **changes):
    """Films of half as many persons, with answers of some skill."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(num_films):
        class_id = int(rng.choice(3, p=(0.35, 0.4, 0.25)))
        label = int(class_id == 2)
        view = 'AP' if rng.random() < 0.3 + 0.4 * label else 'PA'
        logit = rng.normal(2 * label - 1, 1.2)
        moved = np.array(BOX) + rng.normal(0, 12, 4)
        boxes = [moved] * (label and rng.random() < 0.7) + [rng.integers(100, 400, 4)] * (
            rng.random() < 0.3
        )
        true_extent = label * rng.uniform(0.01, 0.4)
        extent = float(np.clip(true_extent + rng.normal(0.05, 0.04), 0, 1))
        rows.append(
            film(
                label,
                1 / (1 + np.exp(-logit)),
                boxes=boxes,
                scores=np.sort(rng.random(len(boxes)))[::-1],
                person_id=str(rng.integers(num_films // 2)),
                view_position=view,
                sex=str(rng.choice(['F', 'M'])),
                age=int(rng.integers(1, 95)),
                label_domain=str(rng.choice(['single_read', 'multi_read'])),
                class_id=class_id,
                class_probs=rng.dirichlet(1 + 4 * np.eye(3)[class_id]),
                extent={**dict.fromkeys(('film', 'lungs', 'right', 'left'), extent), 'zones': 1},
                true_extent={
                    **dict.fromkeys(('film', 'lungs', 'right', 'left'), true_extent),
                    'zones': label * int(rng.choice([1, 9])),
                },
            )
            | changes
        )
    films = table_of(rows)
    areas = dict(films.mask_sums)
    for part, whole in (('intersection', 'union'), ('correct', 'pixels')):
        areas[f'mask_{part}'] = areas[f'mask_{whole}'] * rng.uniform(0.5, 1, num_films)
    return dataclasses.replace(films, mask_sums=areas)


FILMS, VALIDATION = random_films(300, 0), random_films(200, 1)
CHOSEN = choose_thresholds(VALIDATION)
CONTENT = results_of(
    FILMS, CHOSEN, validation=VALIDATION, site=random_films(100, 2), prevalence=0.05
)


def test_perfect_answers():
    films = [
        film(1, 0.9, boxes=[BOX], scores=[0.8], view_position='AP'),
        film(0, 0.2, view_position='PA'),
        film(0, 0.1, view_position='AP'),
    ]
    content = results_of(films)
    for name in ('auroc', 'auprc', 'accuracy', 'sensitivity', 'specificity', 'ppv', 'npv', 'f1'):
        assert value(content, 'film', name) == 1
    for name in ('challenge_map', 'coco_ap', 'coco_ap_50', 'mean_iou', 'froc_sensitivity_at_0.25'):
        assert value(content, 'boxes', name) == pytest.approx(1)
    assert value(content, 'mask', 'pixel_accuracy') == 1
    assert content['prevalence'] == pytest.approx(1 / 3)
    assert value(content, 'baselines', 'all_negative_accuracy') == pytest.approx(2 / 3)
    # AP films: one positive, one negative; the PA film is negative.
    assert value(content, 'baselines', 'view_alone_auroc') == pytest.approx(0.75)
    assert value(content, 'baselines', 'no_box_challenge_map') == 0
    assert content['strata']['view_position']['groups']['AP']['num_films'] == 2


def test_thresholds_decide_which_boxes_and_films_count():
    films = [film(1, 0.4, boxes=[BOX], scores=[0.3]), film(0, 0.2)]
    content = results_of(films)
    assert value(content, 'film', 'sensitivity') == value(content, 'boxes', 'challenge_map') == 0
    content = results_of(films, Thresholds(film=0.4, box=0.3))
    assert value(content, 'film', 'sensitivity') == value(content, 'boxes', 'challenge_map') == 1


def test_fault_55_undefined_figures_are_null_and_say_why():
    content = results_of([film(0, 0.2), film(0, 0.4)])
    for group, name, reason in (
        ('film', 'auroc', 'films of one class only'),
        ('film', 'sensitivity', 'no positive film'),
        ('film', 'ppv', 'no film is called positive'),
        ('boxes', 'challenge_map', 'no film has a known true box'),
        ('mask', 'pixel_accuracy', 'no film has a known true box'),
        ('baselines', 'view_alone_auroc', 'needs films of both classes and of a known view'),
        ('extent', 'rank_correlation', 'needs positive films with known boxes'),
        ('classes', 'accuracy', 'the model has no head for the three classes'),
    ):
        figure = content[group][name]
        assert figure == {'value': None, 'low': None, 'high': None, 'undefined': reason}
    assert value(content, 'film', 'accuracy') == 1
    assert content['calibration']['undefined'] == 'no validation films are at hand'
    assert content['operating_points']['youden']['threshold'] is None
    assert content['abstention']['undefined'] == 'no validation films are at hand'


def test_films_of_unknown_boxes_count_for_the_film_figures_alone():
    known = [
        film(1, 0.9, boxes=[BOX], scores=[0.8]),
        film(1, 0.6),
        film(0, 0.7, boxes=[BOX], scores=[0.6]),
    ]
    weak = [film(1, 0.2, boxes=[BOX], scores=[0.7], drawn=False), film(1, 0.3, drawn=False)]
    without, content = results_of(known), results_of(known + weak)
    assert content['num_films'] == 5
    assert content['num_films_with_known_boxes'] == without['num_films_with_known_boxes'] == 3
    assert value(content, 'film', 'false_negatives') == 2
    drawn = {'films_with_boxes', 'boxes_per_film', 'inclusive_iou'}
    for group, names in (
        ('boxes', content['boxes'].keys() - drawn),
        ('mask', content['mask']),
        ('baselines', ('all_background_pixel_accuracy', 'no_box_challenge_map')),
    ):
        for name in names:
            assert value(content, group, name) == value(without, group, name) is not None
    # What is drawn needs no truth.
    assert value(content, 'boxes', 'films_with_boxes') == 3 / 5


def test_film_figures_are_those_of_scikit_learn():
    labels, probs, called = FILMS.labels, FILMS.probs, FILMS.probs >= CHOSEN.film
    expected = {
        'auroc': sk.roc_auc_score(labels, probs),
        'auprc': sk.average_precision_score(labels, probs),
        'accuracy': sk.accuracy_score(labels, called),
        'balanced_accuracy': sk.balanced_accuracy_score(labels, called),
        'sensitivity': sk.recall_score(labels, called),
        'ppv': sk.precision_score(labels, called),
        'f1': sk.f1_score(labels, called),
        'brier': sk.brier_score_loss(labels, probs),
        'log_loss': sk.log_loss(labels, probs),
    }
    for name, figure in expected.items():
        assert value(CONTENT, 'film', name) == pytest.approx(figure), name
    guess = FILMS.class_probs.argmax(axis=1)
    assert value(CONTENT, 'classes', 'accuracy') == pytest.approx(np.mean(guess == FILMS.class_id))
    assert CONTENT['classes']['confusion'] == sk.confusion_matrix(FILMS.class_id, guess).tolist()
    by_answer = np.array(list(CONTENT['classes']['by_answer'].values()))
    assert by_answer[2].tolist() == [
        value(CONTENT, 'film', 'false_negatives'),
        value(CONTENT, 'film', 'true_positives'),
    ]
    assert by_answer.sum() == len(FILMS)


def test_every_figure_has_an_interval_around_it():
    assert CONTENT['intervals']['unit'] == 'person'
    assert CONTENT['intervals']['num_units'] == CONTENT['num_persons'] < 150
    constant = {'no_box_challenge_map'}
    count = 0
    for path, figure in figures_of(CONTENT):
        if path[-1] in constant:
            continue
        assert figure['value'] is not None, path
        assert figure['low'] <= figure['value'] <= figure['high'], path
        assert figure['low'] < figure['high'], path
        count += 1
    assert count > 150


def figures_of(content, path=()):
    if isinstance(content, dict) and 'low' in content and 'value' in content:
        yield path, content
    elif isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for name, item in items:
            yield from figures_of(item, (*path, name))


def test_strata_are_the_figures_of_their_films():
    chosen = FILMS.view_position == 'AP'
    alone = results_of(FILMS.select(chosen), CHOSEN)
    views = CONTENT['strata']['view_position']
    group = views['groups']['AP']
    assert group['num_films'] == chosen.sum()
    assert group['prevalence'] == pytest.approx(FILMS.labels[chosen].mean())
    for name in ('auroc', 'auprc', 'sensitivity', 'specificity', 'ppv', 'npv'):
        assert value(group, 'figures', name) == pytest.approx(value(alone, 'film', name))
    for name in ('challenge_map', 'froc_sensitivity_at_0.5'):
        assert value(group, 'figures', name) == pytest.approx(value(alone, 'boxes', name))
    (difference,) = views['differences']
    assert difference['between'] == ['AP', 'PA']
    for name in ('auroc', 'sensitivity', 'specificity', 'challenge_map'):
        parts = [value(views['groups'][view], 'figures', name) for view in ('AP', 'PA')]
        assert value(difference, 'figures', name) == pytest.approx(parts[0] - parts[1])


def test_groups_by_age_and_size_have_their_films():
    ages = CONTENT['strata']['age']['groups']
    assert [group['num_films'] for group in ages.values()] == [
        np.sum((FILMS.age >= low) & (FILMS.age < high))
        for low, high in ((0, 18), (18, 40), (40, 65), (65, 200))
    ]
    assert len(CONTENT['strata']['age']['differences']) == 6
    sizes = CONTENT['strata']['opacity_size']
    negative = len(FILMS) - FILMS.labels.sum()
    positives = [group['num_positive'] for group in sizes['groups'].values()]
    assert sum(positives) == FILMS.labels.sum()
    assert [g['num_films'] - g['num_positive'] for g in sizes['groups'].values()] == [negative] * 3
    share = FILMS.true_extent['film'][FILMS.labels == 1]
    assert positives[2] == np.sum(share > 0.166)
    assert all('specificity' not in d['figures'] for d in sizes['differences'])
    unknown = results_of([film(1, 0.7), film(0, 0.2)])
    assert unknown['strata'].keys() == set()


def test_a_score_that_is_the_view_is_found_out():
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(1000):
        label = int(rng.random() < 0.3)
        ap = rng.random() < (0.8 if label else 0.2)
        prob = np.clip(0.5 + 0.3 * (1 if ap else -1) + rng.normal(0, 0.02), 0, 1)
        rows.append(film(label, prob, view_position='AP' if ap else 'PA'))
    content = results_of(rows)
    assert value(content, 'film', 'auroc') > 0.75
    assert value(content, 'shortcut', 'within_view_auroc') == pytest.approx(0.5, abs=0.12)
    assert value(content, 'shortcut', 'auroc_explained_by_view') > 0.6
    assert value(content, 'shortcut', 'score_variance_explained_by_view') > 0.95
    assert 'view_explains_most' in [warning['code'] for warning in content['warnings']]
    assert 'view_explains_most' not in [warning['code'] for warning in CONTENT['warnings']]


def test_operating_points_are_chosen_on_validation_and_judged_here():
    for name, wanted in (('sensitivity_0.90', 0.9), ('sensitivity_0.95', 0.95)):
        point = CONTENT['operating_points'][name]
        called = VALIDATION.probs >= point['threshold']
        assert called[VALIDATION.labels == 1].mean() >= wanted
        # A film more called negative, and it is less.
        higher = VALIDATION.probs > VALIDATION.probs[called].min()
        assert higher[VALIDATION.labels == 1].mean() < wanted
        here = FILMS.probs >= point['threshold']
        assert value(point, 'sensitivity') == pytest.approx(here[FILMS.labels == 1].mean())
    youden = CONTENT['operating_points']['youden']
    assert youden['threshold'] == CHOSEN.film
    hits, false = (value(youden, name) * 0.05 for name in ('sensitivity', 'specificity'))
    specificity = value(youden, 'specificity')
    expected = hits / (hits + (1 - specificity) * 0.95)
    assert value(youden, 'projected', 'ppv') == pytest.approx(expected)
    assert false < 1


def test_the_region_of_abstention_is_that_of_validation():
    abstention = CONTENT['abstention']
    low, high = abstention['low'], abstention['high']
    assert abstention['wanted_error'] == 0.1
    for films, check in ((VALIDATION, None), (FILMS, abstention)):
        answered = (films.probs < low) | (films.probs >= high)
        error = np.mean((films.probs >= high)[answered] != films.labels[answered])
        if check is None:
            assert error <= 0.1
        else:
            assert value(check, 'error') == pytest.approx(error)
            assert value(check, 'abstained') == pytest.approx(np.mean(~answered))


def test_temperature_helps_a_model_that_is_too_sure():
    def sharpened(films):
        logits = np.log(films.probs / (1 - films.probs))
        probs = (1 / (1 + np.exp(-4 * logits))).astype(np.float32).astype(float)
        return dataclasses.replace(films, probs=probs)

    content = results_of(sharpened(FILMS), CHOSEN, validation=sharpened(VALIDATION))
    calibration = content['calibration']
    assert calibration['temperature'] > 2
    for name in ('brier', 'log_loss', 'ece'):
        assert value(calibration, 'after', name) < value(calibration, 'before', name)
    for bins in calibration['reliability'].values():
        assert sum(found['films'] for found in bins) == len(FILMS)


def test_a_new_site_is_drawn_straight():
    def shifted(films):
        logits = np.log(films.probs / (1 - films.probs))
        probs = (1 / (1 + np.exp(-(logits + 3)))).astype(np.float32).astype(float)
        return dataclasses.replace(films, probs=probs)

    site = shifted(random_films(100, 5))
    content = results_of(shifted(FILMS), CHOSEN, validation=VALIDATION, site=site)
    recalibrated = content['recalibration']
    assert recalibrated['num_films'] == 100
    for name in ('brier', 'log_loss', 'ece'):
        assert value(recalibrated, 'after', name) < value(recalibrated, 'before', name)
    assert value(recalibrated, 'before', 'specificity') < 0.5
    assert value(recalibrated, 'after', 'specificity') > 0.5


def test_extents_are_compared_on_positive_films_with_boxes():
    extent = CONTENT['extent']
    judged = FILMS.labels == 1
    assert extent['num_films'] == judged.sum()
    error = np.abs(FILMS.extent['lungs'] - FILMS.true_extent['lungs'])[judged].mean()
    assert value(extent, 'mean_absolute_error') == pytest.approx(error)
    same = (FILMS.true_extent['zones'] == 1)[judged].mean()
    assert value(extent, 'laterality_agreement') == pytest.approx(same)
    known = (FILMS.extent['lungs'][judged], FILMS.true_extent['lungs'][judged])
    assert value(extent, 'rank_correlation') == pytest.approx(stats.spearmanr(*known).statistic)
    assert extent['interval_level'] == 0.9
    assert value(extent, 'interval_coverage') == pytest.approx(0.95, abs=0.05)


def test_an_iou_on_a_threshold_is_a_hit_on_request():
    # IoU is exactly 0.4, the lowest threshold.
    two_fifths = (BOX[0], BOX[1], BOX[2], BOX[3] * 0.4)
    films = [film(1, 0.9, boxes=[two_fifths], scores=[0.9]), film(0, 0.1)]
    assert value(results_of(films), 'boxes', 'challenge_map') == 0
    assert value(results_of(films, inclusive=True), 'boxes', 'challenge_map') == 1 / 8


def test_all_figures_of_4000_films_take_seconds():
    films = random_films(4000, 6)
    start = time.process_time()
    results_of(films, CHOSEN, validation=VALIDATION, num_draws=2000)
    assert time.process_time() - start < 10
