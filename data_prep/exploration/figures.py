"""The figures of a set of labelled films, with intervals where they are estimates.

Intervals are those of ``metrics.intervals``: a bootstrap over persons, whose films resemble each
other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy import sparse

from data_prep.audit import audit_labels, covered_area
from data_prep.exploration.films import CLASS_TITLES, ExploredFilms
from data_prep.exploration.groups import film_groups
from pneumo_jax.boxes.known import boxes_known
from pneumo_jax.metrics.intervals import Bootstrap, Share

__all__ = ['covered_shares', 'label_figures']

_VIEWS = ('AP', 'PA')


def label_figures(films: ExploredFilms) -> dict:
    """What tables and headers tell, as numbers for JSON; what is undefined is None.

    Args:
        films: all of them; figures are of those that have a label.

    Returns:
        ``films``, ``unlabelled``, ``persons`` (an unknown one counts for each of its films);
        ``audit`` (of ``audit_labels``); and where there are labels ``prevalence``; ``classes``
        (class -> films, share); ``groups`` (grouping -> value -> films, positives, prevalence,
        classes); ``baselines`` (answers that see no film); ``box_areas`` (label domain -> boxes,
        median in square pixels). A figure is {value, low, high}.
    """
    chosen = films.labelled
    labels = films.select(chosen)
    sizes = {
        label.patient_id: tuple(size)
        for label, size in zip(films.labels, films.sizes.tolist(), strict=True)
        if min(size) > 0
    }
    figures = {
        'films': len(films),
        'unlabelled': int((~chosen).sum()),
        'persons': int(np.unique(films.persons).size),
        'audit': audit_labels(labels, sizes),
    }
    if not labels:
        return figures
    classes, positive = films.classes[chosen], films.positive[chosen]
    groups = {
        name: {value: mask[chosen] for value, mask in values.items() if mask[chosen].any()}
        for name, values in film_groups(films).items()
    }
    covered = covered_shares(films)[chosen]
    domains = _box_areas(labels)
    masks = {f'{name}/{v}': mask for name, values in groups.items() for v, mask in values.items()}
    members = sparse.csr_array(np.array([np.ones(len(labels), bool), *masks.values()], np.float32))
    ill = sparse.csr_array(members.multiply(positive))
    of_class = {name: classes == name for name in CLASS_TITLES if (classes == name).any()}
    by_class = sparse.csr_array(np.array(list(of_class.values()), np.float32))

    higher = _more_often_positive(groups.get('view', {}), positive)

    def compute(weights):
        whole, part = members @ weights, ill @ weights
        shares = by_class @ weights
        rates = {name: Share(part[i], whole[i]) for i, name in enumerate(['all', *masks])}
        return {
            **rates,
            **{f'class/{n}': Share(shares[i], whole[0]) for i, n in enumerate(of_class)},
            'all_negative_accuracy': Share(whole[0] - part[0], whole[0]),
            'view_alone_auroc': _view_auroc(rates, higher),
            'all_background_pixel_accuracy': _background(covered, weights),
            **{
                f'area/{domain}': _weighted_median(areas, rows, weights)
                for domain, (areas, rows) in domains.items()
            },
        }

    made = Bootstrap(films.persons[chosen]).figures(compute)
    made = {name: figure.to_json() for name, figure in made.items()}
    return figures | {
        'prevalence': made['all'],
        'classes': {
            name: {'films': int(mask.sum()), 'share': made[f'class/{name}']}
            for name, mask in of_class.items()
        },
        'groups': {
            name: {
                value: {
                    'films': int(mask.sum()),
                    'positives': int(positive[mask].sum()),
                    'prevalence': made[f'{name}/{value}'],
                    'classes': {c: int((mask & of).sum()) for c, of in of_class.items()},
                }
                for value, mask in values.items()
            }
            for name, values in groups.items()
        },
        'baselines': {
            name: made[name]
            for name in (
                'all_negative_accuracy',
                'view_alone_auroc',
                'all_background_pixel_accuracy',
            )
        },
        'box_areas': {
            domain: {'boxes': len(areas), 'median': made[f'area/{domain}']}
            for domain, (areas, _) in domains.items()
        },
    }


def covered_shares(films: ExploredFilms) -> np.ndarray:
    """The share of each film that boxes cover, float64 [N]; NaN where boxes or size are unknown."""
    shares = []
    for label, (height, width) in zip(films.labels, films.sizes.tolist(), strict=True):
        known = height > 0 and boxes_known(label.label, len(label.boxes))
        area = covered_area(label.boxes) if known and len(label.boxes) else 0.0
        shares.append(area / (height * width) if known else math.nan)
    return np.where(films.labelled, shares, math.nan)


def _more_often_positive(views: Mapping[str, np.ndarray], positive) -> tuple[str, ...]:
    """AP and PA, first the one whose films are more often positive; () if one has no film."""
    if not all(view in views for view in _VIEWS):
        return ()
    return tuple(sorted(_VIEWS, key=lambda view: -positive[views[view]].mean()))


def _view_auroc(rates: Mapping[str, Share], views: tuple[str, ...]) -> np.ndarray:
    """AUROC of the score 'this film is of the first view', of films of both.

    A score of two values has the AUROC (1 + sensitivity - false positive rate) / 2.
    """
    if not views:
        return np.full_like(rates['all'].value, math.nan)
    first, second = (rates[f'view/{view}'] for view in views)
    with np.errstate(invalid='ignore', divide='ignore'):
        sensitivity = first.part / (first.part + second.part)
        negatives = first.whole - first.part + second.whole - second.part
        false_rate = (first.whole - first.part) / negatives
    return 0.5 + (sensitivity - false_rate) / 2


def _background(covered, weights):
    """Mean share of a film that no box covers, of films whose boxes are known: [D]."""
    known = np.isfinite(covered)
    if not covered[known].any():
        # Nobody drew a box.
        return np.full(weights.shape[1], math.nan)
    whole = known.astype(np.float64) @ weights
    part = np.where(known, covered, 0.0) @ weights
    free = np.divide(part, whole, out=np.full_like(whole, math.nan), where=whole > 0)
    return 1 - free


def _box_areas(labels):
    """Label domain -> (areas float64 [n] ascending, index of the film of each)."""
    domains = {}
    for i, label in enumerate(labels):
        for area in (label.boxes[:, 2] * label.boxes[:, 3]).tolist():
            domains.setdefault(label.label_domain, []).append((area, i))
    return {
        name: (np.array([a for a, _ in sorted(rows)]), np.array([i for _, i in sorted(rows)]))
        for name, rows in sorted(domains.items())
    }


def _weighted_median(values, rows, weights):
    """The lowest value that has half of the weight at or below it, of each draw: [D].

    Args:
        values: ascending, [n].
        rows: the film of each value, [n].
        weights: of the films, [N,D].
    """
    below = np.cumsum(weights[rows], axis=0, dtype=np.float64)
    index = (below < below[-1] / 2).sum(axis=0)
    return np.where(below[-1] > 0, values[index.clip(0, len(values) - 1)], math.nan)
