import math

import numpy as np
import pytest
from scipy import stats

from pneumo_jax.metrics.classification import Ranking
from pneumo_jax.metrics.intervals import Bootstrap, Figure, Share


def mean_of(values):
    return lambda weights: {'mean': (values @ weights) / weights.sum(axis=0)}


def share_of(chosen, among=None):
    among = np.ones(len(chosen), bool) if among is None else among
    return lambda weights: {'share': Share((chosen & among) @ weights, among @ weights)}


def test_draws_take_whole_persons_and_as_many_as_there_are():
    persons = np.array([7, 7, 3, 9, 3, 7])
    draws = np.concatenate(list(Bootstrap(persons, num_draws=600).draws()), axis=1)
    assert draws.shape == (6, 600)
    assert (draws[0] == draws[1]).all()
    assert (draws[0] == draws[5]).all()
    assert (draws[2] == draws[4]).all()
    assert (draws[[0, 2, 3]].sum(axis=0) == 3).all()
    # Each person is expected once, with variance 1 - 1/P.
    assert draws[[0, 2, 3]].mean() == pytest.approx(1)
    assert draws[3].var() == pytest.approx(2 / 3, abs=0.1)


def test_the_same_seed_gives_the_same_interval_and_another_nearly_the_same():
    values = np.random.default_rng(0).normal(size=300)
    first, again, other = (
        Bootstrap(np.arange(300), seed=seed).figures(mean_of(values))['mean'] for seed in (0, 0, 1)
    )
    assert first == again
    assert other != first
    assert other.low == pytest.approx(first.low, abs=0.02)


def test_the_interval_of_a_mean_is_that_of_student():
    values = np.random.default_rng(1).normal(size=40)
    figure = Bootstrap(np.arange(40), num_draws=20_000).figures(mean_of(values))['mean']
    known = stats.t.interval(0.95, 39, values.mean(), values.std(ddof=1) / math.sqrt(40))
    assert figure.value == pytest.approx(values.mean())
    assert (figure.low, figure.high) == pytest.approx(known, abs=0.02)


def test_it_is_that_of_scipy_but_for_student():
    values = np.random.default_rng(2).exponential(size=400)
    figure = Bootstrap(np.arange(400), num_draws=20_000).figures(mean_of(values))['mean']
    known = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method='BCa', rng=np.random.default_rng(3)
    ).confidence_interval
    assert (figure.low, figure.high) == pytest.approx((known.low, known.high), abs=0.01)


def test_films_of_a_person_are_no_news():
    values = np.random.default_rng(4).normal(size=100)
    once = Bootstrap(np.arange(100)).figures(mean_of(values))['mean']
    persons, copies = np.repeat(np.arange(100), 5), np.repeat(values, 5)
    five_times = Bootstrap(persons).figures(mean_of(copies))['mean']
    assert (five_times.low, five_times.high) == pytest.approx((once.low, once.high))
    wrong = Bootstrap(np.arange(500)).figures(mean_of(copies))['mean']
    assert wrong.high - wrong.low < 0.6 * (once.high - once.low)


def test_many_persons_are_left_out_in_groups_with_the_same_interval():
    values = np.random.default_rng(5).exponential(size=1000) ** 2
    in_groups = Bootstrap(np.arange(1000)).figures(mean_of(values))['mean']
    bootstrap = Bootstrap(np.arange(1000))
    bootstrap._without = lambda: 1 - np.eye(1000, dtype=np.float32)
    one_by_one = bootstrap.figures(mean_of(values))['mean']
    assert (in_groups.low, in_groups.high) == pytest.approx(
        (one_by_one.low, one_by_one.high), rel=0.01
    )


def test_a_share_without_exception_has_the_binomial_interval_of_its_persons():
    chosen = np.ones(60, bool)
    figure = Bootstrap(np.arange(60)).figures(share_of(chosen))['share']
    known = stats.binomtest(60, 60).proportion_ci(0.95, 'exact')
    assert (figure.value, figure.low, figure.high) == pytest.approx((1, known.low, 1))
    none = Bootstrap(np.arange(60)).figures(share_of(~chosen))['share']
    assert (none.low, none.high) == pytest.approx((0, 1 - known.low))
    # Three films a person: 20 independent ones.
    persons = np.repeat(np.arange(20), 3)
    fewer = Bootstrap(persons).figures(share_of(chosen))['share']
    assert fewer.low == pytest.approx(stats.binomtest(20, 20).proportion_ci(0.95, 'exact').low)


def test_what_is_undefined_has_no_interval():
    bootstrap = Bootstrap(np.arange(30))
    figures = bootstrap.figures(
        lambda weights: {
            'never': np.full(weights.shape[1], math.nan),
            'nothing': Share(0 * weights.sum(axis=0), 0 * weights.sum(axis=0)),
            'constant': np.zeros(weights.shape[1]),
            'rarely': np.where(weights[0] > 0, weights[1], math.nan),
        }
    )
    for name in ('never', 'nothing'):
        assert figures[name].to_json() == {'value': None, 'low': None, 'high': None}
    assert figures['constant'].to_json() == {'value': 0.0, 'low': None, 'high': None}
    assert math.isfinite(figures['rarely'].low)
    alone = Bootstrap(np.zeros(5, int)).figures(mean_of(np.arange(5.0)))['mean']
    assert alone.value == 2
    assert math.isnan(alone.low)
    assert Figure(0.5).to_json() == {'value': 0.5, 'low': None, 'high': None}


def test_differences_are_paired():
    rng = np.random.default_rng(6)
    shared, noise = rng.normal(size=200), 0.1 * rng.normal(size=200)

    def compute(weights):
        first, second = mean_of(shared)(weights)['mean'], mean_of(shared + noise)(weights)['mean']
        return {'first': first, 'difference': first - second}

    figures = Bootstrap(np.arange(200)).figures(compute)
    assert width(figures['difference']) < 0.2 * width(figures['first'])


def width(figure):
    return figure.high - figure.low


def binormal_films(rng, num_persons, separation):
    """Labels and scores that are alike within a person, who has two films on average."""
    films = rng.geometric(0.5, num_persons)
    persons = np.repeat(np.arange(num_persons), films)
    of_person = rng.normal(size=(2, num_persons))[:, persons]
    of_film = rng.normal(size=(2, len(persons)))
    labels = 0.7 * of_person[0] + math.sqrt(0.51) * of_film[0] > 0.52
    scores = labels * separation + 0.6 * of_person[1] + 0.8 * of_film[1]
    return persons, labels, scores


@pytest.mark.parametrize(('num_persons', 'separation'), [(80, 1.2), (250, 2.0)])
def test_intervals_cover_the_truth_in_95_of_100_samples(num_persons, separation):
    rng = np.random.default_rng(num_persons)

    def figures_of(labels, scores):
        ranking, called = Ranking(labels, scores), scores > separation / 2
        return lambda weights: {
            'auroc': ranking.auroc(weights),
            'auprc': ranking.auprc(weights),
            **{
                name: share_of(called == labels, among)(weights)['share']
                for name, among in (('sensitivity', labels), ('specificity', ~labels))
            },
            'ppv': Share((called & labels) @ weights, called @ weights),
        }

    _, labels, scores = binormal_films(rng, 200_000, separation)
    truth = {
        name: float((value.value if isinstance(value, Share) else value)[0])
        for name, value in figures_of(labels, scores)(np.ones((len(labels), 1))).items()
    }
    covered = {name: [] for name in truth}
    for _ in range(500):
        persons, labels, scores = binormal_films(rng, num_persons, separation)
        figures = Bootstrap(persons, num_draws=500).figures(figures_of(labels, scores))
        for name, figure in figures.items():
            covered[name].append(figure.low <= truth[name] <= figure.high)
    shares = {name: np.mean(each) for name, each in covered.items()}
    # A share of 500 samples is off by 0.01 by chance.
    assert np.mean(list(shares.values())) == pytest.approx(0.95, abs=0.015), shares
    assert all(0.92 < share < 0.98 for share in shares.values()), shares
