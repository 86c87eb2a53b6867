"""An evaluation as it lies in its folder: the results and the films they are of."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections import Counter
from collections.abc import Sequence

from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.film_table import read_films
from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.evaluation.names import results_name
from pneumo_jax.metrics import classification
from pneumo_jax.thresholds import Thresholds

__all__ = ['EvaluatedRun', 'load_evaluated']

_SCHEMA = 2
# What the comparison reads, beside figures, thresholds and counts.
_FIELDS = ('notice', 'model', 'members', 'warnings', 'prevalence', 'num_persons', 'label_domains')
# Of numbers that were written to a file and read again.
_SAME = 1e-6


@dataclasses.dataclass(frozen=True)
class EvaluatedRun:
    """A run and what an evaluation found.

    Attributes:
        name: the last part of its folder's path, with as much before it as tells runs apart.
        results: the content of results.json.
        films: the films it is of.
        thresholds: the decisions' thresholds.
        inclusive: whether an IoU on the challenge's threshold was a hit.
        num_epochs: that it was to be trained for; None where its folder does not tell.
    """

    name: str
    results: dict
    films: ScoredFilms
    thresholds: Thresholds
    inclusive: bool
    num_epochs: int | None


def load_evaluated(folders: Sequence[str | pathlib.Path], split: str) -> list[EvaluatedRun]:
    """Reads the evaluations of runs.

    Args:
        folders: workdirs, or output folders of evaluations.
        split: that was evaluated.

    Raises:
        InputError: for a folder named twice, without an evaluation of the split or with a damaged
            one, and where results and films are not of the same evaluation.
    """
    # absolute(): a name such as "." tells nothing; resolve() would rename a link.
    paths = [pathlib.Path(folder).absolute() for folder in folders]
    for path, count in Counter(path.resolve() for path in paths).items():
        if count > 1:
            raise InputError(f'{path} is given {count} times: give each run once')
    return [_load(path, name, split) for path, name in zip(paths, _names(paths), strict=True)]


def _load(folder, name, split):
    path = folder / results_name(split)
    results = _read_json(path, split)
    if results.get('schema') != _SCHEMA:
        raise InputError(
            f'{path} is of schema {results.get("schema", 1)}, not {_SCHEMA}: run '
            'pneumo_jax.evaluate of this version anew'
        )
    films = read_films(folder / f'films-{split}.csv')
    try:
        if missing := [name for name in _FIELDS if name not in results]:
            raise KeyError(missing[0])
        given = results['thresholds'].items()
        # No box is worth drawing from an infinite one, which JSON does not know.
        thresholds = Thresholds(**{k: math.inf if v is None else v for k, v in given})
        inclusive = bool(results['boxes'].get('inclusive_iou', False))
        different = _difference(results, films, thresholds)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f'{path} is damaged ({error!r}): run pneumo_jax.evaluate anew') from error
    if different:
        raise InputError(
            f'{path} and films-{split}.csv are not of the same evaluation '
            f'({different}): run pneumo_jax.evaluate anew'
        )
    return EvaluatedRun(name, results, films, thresholds, inclusive, _num_epochs(folder))


def _read_json(path, split):
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise InputError(
            f'no {path}: evaluate the run first, python -m pneumo_jax.evaluate '
            f'--workdir={path.parent} --split={split}'
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f'{path} cannot be read ({error}): run pneumo_jax.evaluate anew'
        ) from error
    if not isinstance(content, dict):
        raise InputError(f'{path} holds no results: run pneumo_jax.evaluate anew')
    return content


def _difference(results, films, thresholds) -> str:
    """What results say and their films do not; '' for nothing."""
    called = classification.confusion(films.labels, films.probs >= thresholds.film)
    figures = results['film']
    pairs = {
        'films': (results['num_films'], len(films)),
        'positive films': (results['num_positive'], int(films.labels.sum())),
        'true positives': (figures['true_positives']['value'], called.tp),
        'false positives': (figures['false_positives']['value'], called.fp),
        'AUROC': (figures['auroc']['value'], classification.auroc(films.labels, films.probs)),
    }
    for name, (said, found) in pairs.items():
        said = math.nan if said is None else said
        if not (math.isnan(said) and math.isnan(found)) and not abs(said - found) <= _SAME:
            return f'{name}: {said:.6g} there, {found:.6g} here'
    twice = [film for film, count in Counter(films.ids).items() if count > 1]
    return f'{len(twice)} films stand in the table more than once' if twice else ''


def _num_epochs(folder):
    """From the config of a run, if the folder is one's."""
    try:
        content = json.loads((folder / 'config.json').read_text(encoding='utf-8'))
        return int(content['config']['num_epochs']) or None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _names(paths):
    """The shortest ends of the paths that differ from each other, all of the same length."""
    for length in range(1, max(len(path.parts) for path in paths) + 1):
        names = ['/'.join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
