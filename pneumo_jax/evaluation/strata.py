"""Figures of parts of the films: by view, sex, age, label domain and size of the opacity."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from pneumo_jax.evaluation.figures import BoxFigures, called_figures, ranking_figures
from pneumo_jax.evaluation.films import ScoredFilms
from pneumo_jax.metrics.classification import Ranking, confusion
from pneumo_jax.metrics.intervals import Bootstrap, Share

__all__ = ['Group', 'strata', 'strata_figures']

# Names and lower bounds in years.
_AGES = (('0 to 17', 0), ('18 to 39', 18), ('40 to 64', 40), ('65 and older', 65))
# Of the film, by the union of the true boxes: the quartiles of RSNA's positive films.
_SMALL, _LARGE = 0.045, 0.166

_COMPARED = ('auroc', 'sensitivity', 'specificity', 'challenge_map')
_FROC_RATE = 0.5


@dataclasses.dataclass(frozen=True)
class Group:
    """Films of one kind.

    Attributes:
        name: such as ``AP``.
        films: bool [N], which of all films they are.
    """

    name: str
    films: np.ndarray


def strata(films: ScoredFilms) -> dict[str, list[Group]]:
    """The groups of each division that the films know of; films of an unknown value are in none.

    A group of ``opacity_size`` has the positive films of that size, and all negative ones beside.
    """
    found = {
        'view_position': _by_value(films.view_position, ('AP', 'PA')),
        'sex': _by_value(films.sex, ('F', 'M')),
        'age': list(_by_age(films.age)),
        'label_domain': _by_value(films.label_domain, ('single_read', 'multi_read')),
        'opacity_size': list(_by_size(films)),
    }
    return {
        name: some
        for name, groups in found.items()
        if (some := [group for group in groups if group.films.any()])
    }


def strata_figures(
    films: ScoredFilms,
    boxes: BoxFigures,
    threshold: float,
    bootstrap: Bootstrap,
    to_json: Callable[[dict], dict],
) -> dict:
    """The part ``strata`` of results.json.

    Args:
        films: all films.
        boxes: of these films.
        threshold: a film is called positive from this probability on.
        bootstrap: over the persons of these films.
        to_json: makes FIGUREs of ``Figure`` s by name.
    """
    return {
        name: _division(name, films, groups, boxes, threshold, bootstrap, to_json)
        for name, groups in strata(films).items()
    }


def _division(name, films, groups, boxes, threshold, bootstrap, to_json) -> dict:
    rankings = [Ranking(films.labels[g.films], films.probs[g.films]) for g in groups]
    called = films.probs >= threshold
    # Of all sizes of opacities the negative films are the same.
    compared = [key for key in _COMPARED if (name, key) != ('opacity_size', 'specificity')]
    pairs = list(itertools.combinations([group.name for group in groups], 2))

    def compute(weights):
        found = {
            group.name: _figures(films, group, ranking, called, boxes, weights)
            for group, ranking in zip(groups, rankings, strict=True)
        }
        flat = {(name, key): figure for name, own in found.items() for key, figure in own.items()}
        return flat | {
            (*pair, key): _plain(found[pair[0]][key]) - _plain(found[pair[1]][key])
            for pair in pairs
            for key in compared
        }

    figures = bootstrap.figures(compute)

    def part(*names):
        return {key[-1]: figure for key, figure in figures.items() if key[:-1] == names}

    return {
        'groups': {
            group.name: _counts(films.labels[group.films]) | {'figures': to_json(part(group.name))}
            for group in groups
        },
        'differences': [{'between': list(pair), 'figures': to_json(part(*pair))} for pair in pairs],
    }


def _figures(films, group, ranking, called, boxes, weights):
    rows = group.films
    counts = confusion(films.labels[rows], called[rows], weights[rows])
    own = weights * rows[:, None]
    return (
        ranking_figures(ranking, weights[rows])
        | called_figures(counts)
        | boxes.challenge(own)
        | boxes.froc(own, (_FROC_RATE,))
    )


def _counts(labels):
    return {
        'num_films': len(labels),
        'num_positive': int(labels.sum()),
        'prevalence': float(labels.mean()),
    }


def _plain(figure):
    return figure.value if isinstance(figure, Share) else figure


def _by_value(values, names) -> list[Group]:
    return [Group(name, values == name) for name in names]


def _by_age(ages) -> Iterator[Group]:
    ends = [low for _, low in _AGES[1:]] + [np.inf]
    for (name, low), end in zip(_AGES, ends, strict=True):
        yield Group(name, (ages >= low) & (ages < end))


def _by_size(films) -> Iterator[Group]:
    share = films.true_extent['film']
    positive = (films.labels == 1) & films.boxes_known
    sizes = {
        f'small, below {_SMALL:.1%} of the film': share < _SMALL,
        'medium': (share >= _SMALL) & (share <= _LARGE),
        f'large, over {_LARGE:.1%}': share > _LARGE,
    }
    for name, of_size in sizes.items():
        if (positive & of_size).any():
            yield Group(name, (positive & of_size) | (films.labels == 0))
