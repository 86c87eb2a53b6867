"""Runs side by side, and how they differ on the films that both have answered.

Two figures whose intervals overlap may yet differ surely, since both runs fail on the same hard
films. So differences are paired: the same persons are drawn for both runs, and the difference is
computed in each draw. The p-value is two-sided, from the same draws: twice the share of draws on
the rarer side of zero (Efron and Tibshirani 1993, chapter 15), one draw added to either side so
that it is never 0. Where several differences are looked at, Holm's (1979) adjusted p-values hold
for all of them together.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.comparison.evaluated import EvaluatedRun
from pneumo_jax.evaluation.figures import BoxFigures
from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.metrics import classification
from pneumo_jax.metrics.intervals import LEVEL, Bootstrap, Figure
from pneumo_jax.thresholds import Thresholds

__all__ = ['FIGURES', 'PAIRED', 'compare', 'holm', 'paired_differences', 'two_sided_p']

# Of a run's results: name -> group, in the order of the table.
FIGURES: Mapping[str, str] = {
    'auroc': 'film',
    'view_alone_auroc': 'baselines',
    'auprc': 'film',
    'accuracy': 'film',
    'all_negative_accuracy': 'baselines',
    'sensitivity': 'film',
    'specificity': 'film',
    'challenge_map': 'boxes',
    'no_box_challenge_map': 'baselines',
    'coco_ap_50': 'boxes',
    'froc_sensitivity_at_0.5': 'boxes',
    'brier': 'film',
    'ece': 'film',
}
PAIRED = (
    'auroc',
    'accuracy',
    'sensitivity',
    'specificity',
    'challenge_map',
    'coco_ap_50',
    'froc_sensitivity_at_0.5',
)

# In a draw, a difference that is smaller is rounding.
_ZERO = 1e-9
# Boxes in film pixels that differ by less are the same.
_SAME_BOX = 0.01


def compare(runs: Sequence[EvaluatedRun], baseline: str, *, num_draws: int = 2000) -> dict:
    """The comparison, plain values for JSON; described in the documentation.

    Args:
        runs: at least one.
        baseline: name of the one that the others are compared with.
        num_draws: of the bootstrap.

    Raises:
        InputError: if two runs share no film, or the truth of a film differs between them.
    """
    (base,) = (run for run in runs if run.name == baseline)
    others = [run for run in runs if run is not base]
    differences = [
        {'run': run.name, 'baseline': base.name}
        | paired_differences(base, run, num_draws=num_draws)
        for run in others
    ]
    _adjust(differences)
    return {
        'schema': 1,
        'notice': base.results['notice'],
        'split': base.results.get('split'),
        'baseline': base.name,
        'method': _method(num_draws),
        'warnings': _warnings(runs),
        'runs': [_summary(run) for run in runs],
        'differences': differences,
    }


def paired_differences(base: EvaluatedRun, run: EvaluatedRun, *, num_draws: int = 2000) -> dict:
    """How a run differs from another on the films that both have.

    Args and errors as of ``compare``.

    Returns:
        ``num_films``, ``num_positive``, ``num_persons`` of those films; ``figures`` by name of
        ``PAIRED``, run minus base, each with ``value``, ``low``, ``high``, ``p``; and ``delong``,
        the same of the AUROC by DeLong's method, None where a person has several films.
    """
    ours, theirs = _shared(base, run)
    bootstrap = Bootstrap(_coarser(ours.persons, theirs.persons), num_draws=num_draws)
    # One rule for both: the challenge's own, where they were evaluated by different ones.
    inclusive = base.inclusive and run.inclusive
    answers = [
        _Answers(films, of.thresholds, inclusive) for films, of in ((ours, base), (theirs, run))
    ]

    def difference(weights):
        of_base, of_run = (answer.figures(weights) for answer in answers)
        return {name: of_run[name] - of_base[name] for name in PAIRED}

    figures = bootstrap.figures(difference)
    chunks = [difference(weights) for weights in bootstrap.draws()]
    drawn = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in PAIRED}
    return {
        'num_films': len(ours),
        'num_positive': int(ours.labels.sum()),
        'num_persons': bootstrap.num_persons,
        'figures': {
            name: figures[name].to_json() | {'p': _plain(two_sided_p(drawn[name]))}
            for name in PAIRED
        },
        'delong': _delong(ours, theirs) if bootstrap.num_persons == len(ours) else None,
    }


def two_sided_p(draws: np.ndarray) -> float:
    """How surely a difference is not zero: twice the share of draws on the rarer side of it.

    Args:
        draws: the difference in each draw [D], NaN where undefined.

    Returns:
        In (0, 1]; NaN where more than half of the draws are undefined.
    """
    known = draws[np.isfinite(draws)]
    if len(known) < max(len(draws) / 2, 1):
        return math.nan
    rarer = min(np.sum(known <= _ZERO), np.sum(known >= -_ZERO))
    return min(1.0, 2 * float(1 + rarer) / (1 + len(known)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: at most a share alpha of such families has a false one below alpha.

    Holm 1979, step-down. NaN is no comparison, and stays.
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if math.isfinite(p))
    adjusted, largest = [math.nan] * len(p_values), 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[i] = largest
    return adjusted


class _Answers:
    """A run's answers on films, ready for many weights."""

    def __init__(self, films: ScoredFilms, thresholds: Thresholds, inclusive: bool):
        self._labels = films.labels
        self._called = films.probs >= thresholds.film
        self._ranking = classification.Ranking(films.labels, films.probs)
        self._boxes = BoxFigures(films, thresholds, inclusive=inclusive)

    def figures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Float64 [D] by name of ``PAIRED``."""
        confusion = classification.confusion(self._labels, self._called, weights)
        return {
            'auroc': self._ranking.auroc(weights),
            'accuracy': confusion.accuracy,
            'sensitivity': confusion.sensitivity,
            'specificity': confusion.specificity,
            **self._boxes.challenge(weights),
            **self._boxes.coco(weights),
            **self._boxes.froc(weights, rates=(0.5,)),
        }


def _shared(base, run):
    """The films that both have, in the same order, with the same truth."""
    place = {film: i for i, film in enumerate(run.films.ids)}
    of_base = [i for i, film in enumerate(base.films.ids) if film in place]
    if not of_base:
        raise InputError(
            f'{base.name} and {run.name} share no film, so nothing can be compared: evaluate both '
            'on the same shards and split'
        )
    ours = base.films.select(np.array(of_base))
    theirs = run.films.select(np.array([place[film] for film in ours.ids]))
    different = sum(not _same_truth(ours, theirs, i) for i in range(len(ours)))
    if different:
        raise InputError(
            f'{different} of the {len(ours)} films that {base.name} and {run.name} share have '
            'another truth (label, boxes or size) in one than in the other: evaluate both on '
            'shards of the same labels'
        )
    return ours, theirs


def _same_truth(ours, theirs, i):
    a, b = ours.truths[i], theirs.truths[i]
    return (
        ours.labels[i] == theirs.labels[i]
        and (ours.film_sizes[i] == theirs.film_sizes[i]).all()
        and a.shape == b.shape
        and np.allclose(a, b, rtol=0, atol=_SAME_BOX)
    )


def _coarser(a, b):
    """Of two groupings by person that of fewer groups: the other knows less of the persons."""
    return b if len(np.unique(b)) < len(np.unique(a)) else a


def _delong(ours, theirs):
    difference, error = classification.delong(ours.labels, theirs.probs, ours.probs)
    if not math.isfinite(difference) or not error > 0:
        # Of scores that rank alike the difference is no estimate but a fact.
        return Figure(difference).to_json() | {'p': 1.0 if difference == 0 else None}
    reach = 1.959963984540054 * error
    figure = Figure(difference, difference - reach, difference + reach)
    return figure.to_json() | {'p': math.erfc(abs(difference) / error / math.sqrt(2))}


def _adjust(differences):
    """Holm's p-values over all differences; for DeLong's, it stands in the bootstrap's place."""
    figures = [(one, name) for one in differences for name in PAIRED]
    own = [_nan(one['figures'][name]['p']) for one, name in figures]
    for (one, name), adjusted in zip(figures, holm(own), strict=True):
        one['figures'][name]['p_holm'] = _plain(adjusted)
    instead = [
        _nan(one['delong']['p']) if name == 'auroc' and one['delong'] else p
        for (one, name), p in zip(figures, own, strict=True)
    ]
    for (one, name), adjusted in zip(figures, holm(instead), strict=True):
        if name == 'auroc' and one['delong']:
            one['delong']['p_holm'] = _plain(adjusted)


def _summary(run):
    results = run.results
    names = 'num_films', 'num_positive', 'num_persons', 'prevalence', 'label_domains', 'warnings'
    return {
        'name': run.name,
        'model': results['model'],
        'epochs': [member['epoch'] for member in results['members']],
        'num_epochs': run.num_epochs,
        'starts': [_start_text(member['init']) for member in results['members']],
        **{name: results[name] for name in names},
        'protocol': results.get('protocol'),
        'data_fingerprint': results.get('data_fingerprint'),
        'thresholds': dataclasses.asdict(run.thresholds),
        'figures': {
            name: (results.get(group) or {}).get(name) or {'value': None}
            for name, group in FIGURES.items()
        },
    }


def _start_text(init):
    """What the weights of a model started from."""
    if init is None:
        return 'random'
    card = init.get('card')
    # The first words, NIH and RSNA, say enough beside the run's warning.
    seen = (
        f', saw {"+".join(name.split()[0] for name in card["saw"])}' if card and card['saw'] else ''
    )
    return f'{init["origin"]}{seen}'


def _warnings(runs):
    """What makes figures of different runs no figures of the same thing."""
    differing = {
        'different_protocol': ('split protocols', lambda run: run.results.get('protocol')),
        'different_data': ('data', lambda run: run.results.get('data_fingerprint')),
        'different_films': ('films', lambda run: frozenset(run.films.ids)),
        'different_label_domains': (
            'label domains',
            lambda run: frozenset(run.results['label_domains'].items()),
        ),
    }
    return [
        {
            'code': code,
            'message': f'The runs were evaluated on different {what}: {_grouped(runs, key)}. Their '
            'figures are not of the same thing; the paired differences, on the films that two '
            'runs share, compare them.',
        }
        for code, (what, key) in differing.items()
        if len({key(run) for run in runs}) > 1
    ] + _rule_warning(runs)


def _rule_warning(runs):
    if len({run.inclusive for run in runs}) == 1:
        return []
    return [
        {
            'code': 'different_iou_rule',
            'message': 'An IoU on a threshold of the challenge mAP is a hit in some runs alone: '
            f'{_grouped(runs, lambda run: run.inclusive)}. The differences count it as none.',
        }
    ]


def _grouped(runs, key):
    """``a, b | c``: runs of the same value together."""
    groups: dict = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run.name)
    return ' | '.join(map(', '.join, groups.values()))


def _method(num_draws):
    return (
        f'Differences are run minus baseline on the films that both have, with {LEVEL:.0%} '
        f'intervals of {num_draws:,} bootstrap draws of persons, the same for both runs; p is '
        'two-sided, twice the share of draws on the rarer side of zero, never below '
        f'{2 / (1 + num_draws):.3f}, and may lie just on the other side of 0.05 from its interval, '
        'which is corrected for bias; DeLong compares '
        'AUROCs where every person has one film; Holm adjusts p for all differences of this table.'
    )


def _plain(value):
    return float(value) if math.isfinite(value) else None


def _nan(value):
    return math.nan if value is None else value
