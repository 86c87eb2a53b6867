"""The evaluations of a cross-validation to one: every film answered by a run that knew it not."""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Mapping, Sequence

from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.chosen import choose_thresholds
from pneumo_jax.evaluation.films import concatenate
from pneumo_jax.evaluation.output import Evaluation

__all__ = ['pool_evaluations', 'refuse_shared_films']


def pool_evaluations(evaluations: Mapping[str, Evaluation]) -> Evaluation:
    """The films of several evaluations in one table, as if one model had answered them all.

    The runs of a cross-validation differ in how sure they are of themselves, and one threshold for
    all of them, chosen on the validation films of all, can only be worse for it: what is pooled
    so is no better than the runs are.

    Args:
        evaluations: one of each fold, by the names that errors are to call them.

    Raises:
        InputError: for fewer than two, evaluations under different settings or without validation
            films, or a film that is in two of them.
    """
    if len(evaluations) < 2:
        raise InputError('--pool needs the folders of at least two evaluations, one of each fold')
    _check(evaluations)
    evaluations = list(evaluations.values())
    abouts = [evaluation.about for evaluation in evaluations]
    overlaps = [evaluation.overlap for evaluation in evaluations]
    # Where runs learned by how much their boxes are shrunk, all of them together learn it anew.
    learn_shrink = any(evaluation.thresholds.shrink != 1 for evaluation in evaluations)
    validation = concatenate([evaluation.validation for evaluation in evaluations])
    fingerprints = ' '.join(sorted(about['data_fingerprint'] for about in abouts))
    return Evaluation(
        about=abouts[0]
        | {
            'protocol': f'{len(abouts)} evaluations pooled, each film answered by the run of its '
            f'fold; of the first: {abouts[0]["protocol"]}',
            'persons_apart': _all_apart([about['persons_apart'] for about in abouts]),
            'data_fingerprint': hashlib.sha256(fingerprints.encode()).hexdigest(),
            'num_rejected': sum(about['num_rejected'] for about in abouts),
            'model': f'{len(abouts)} folds: {abouts[0]["model"]}',
            'members': [member for about in abouts for member in about['members']],
        },
        overlap=None
        if None in overlaps
        else {name: sum(overlap[name] for overlap in overlaps) for name in overlaps[0]},
        thresholds=choose_thresholds(validation, learn_shrink=learn_shrink),
        films=concatenate([evaluation.films for evaluation in evaluations]),
        validation=validation,
    )


def _check(evaluations):
    (first_name, first), *_ = evaluations.items()
    for name, evaluation in evaluations.items():
        if evaluation.validation is None:
            raise InputError(f'{name} has no answers for validation films: thresholds need them')
        if evaluation.site is not None:
            raise InputError(f'{name} is recalibrated to a site, and cannot be pooled')
        if evaluation.about['changes'] != first.about['changes']:
            raise InputError(
                f'{first_name} and {name} were evaluated under different --eval: '
                f'{first.about["changes"]} and {evaluation.about["changes"]}'
            )
    refuse_shared_films({name: each.films.ids for name, each in evaluations.items()})


def refuse_shared_films(test_films: Mapping[str, Sequence[str]]) -> None:
    """Of the folds of a cross-validation each film is judged in one.

    Args:
        test_films: ids of the films of each fold, by the names that the error is to call folds.

    Raises:
        InputError: if a film is in two of them.
    """
    counts = collections.Counter(film for films in test_films.values() for film in films)
    if twice := sum(count > 1 for count in counts.values()):
        raise InputError(
            f'{twice} films are judged in two of {", ".join(test_films)}: give folds of one '
            '--split=kfold:K:I, each once'
        )


def _all_apart(known):
    """Whether no person is in training and here, in all of them; None where one does not say."""
    return None if None in known else all(known)
