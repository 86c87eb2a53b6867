"""Do the splits agree? What each is like, and how far it is from the training films."""

from __future__ import annotations

import math

import numpy as np

from data_prep.audit import class_name
from data_prep.exploration.figures import covered_shares
from data_prep.exploration.films import ExploredFilms
from data_prep.exploration.grey import mean_greys
from pneumo_jax.data.shards import SPLITS
from pneumo_jax.metrics.intervals import Bootstrap

__all__ = ['LARGE_DIFFERENCE', 'TRAITS', 'split_balance']

# Standardised differences from here on are usually called imbalance (Austin 2009, Statistics in
# Medicine 28:3083-3107).
LARGE_DIFFERENCE = 0.1
# Traits of films: key -> (title, unit).
TRAITS = {
    'positive': ('with an opacity', '%'),
    'normal': ('normal', '%'),
    'ap': ('AP', '%'),
    'female': ('female', '%'),
    'age': ('mean age', 'years'),
    'multi_read': ('read by several', '%'),
    'boxes': ('boxes of a positive film', ''),
    'covered': ('covered by boxes, of a positive film', '%'),
    'grey': ('mean grey value', ''),
}


def split_balance(films: ExploredFilms) -> dict:
    """How the splits compare.

    Returns:
        {} where there are fewer than two splits; else ``splits`` (split -> films, persons, traits:
        trait -> {value, low, high}), ``differences`` (split -> trait -> standardised difference to
        the first split, {value, low, high}), ``persons_in_two_splits``,
        ``equal_films_in_two_splits`` (films whose very pixels are in another split too). Shares
        are in percent. The standardised difference is that of the means by the root of the mean
        of both variances.
    """
    names = [name for name in SPLITS if name in films.splits]
    if len(names) < 2:
        return {}
    splits = np.array(films.splits)
    traits = _traits(films)
    masks = {name: splits == name for name in names}

    def compute(weights):
        made = {}
        for trait, values in traits.items():
            known = np.isfinite(values)
            plain = np.where(known, values, 0.0)
            moments = {}
            for name, mask in masks.items():
                counted = weights[known & mask]
                of = plain[known & mask]
                moments[name] = _moments(of, counted)
                made[name, trait] = moments[name][0]
            first_mean, first_variance = moments[names[0]]
            for name in names[1:]:
                mean, variance = moments[name]
                spread = np.sqrt((first_variance + variance) / 2)
                with np.errstate(invalid='ignore', divide='ignore'):
                    made[name, trait, 'difference'] = np.where(
                        spread > 0, (mean - first_mean) / spread, math.nan
                    )
        return made

    figures = Bootstrap(films.persons).figures(compute)
    known = np.array([bool(label.person_id) for label in films.labels])
    return {
        'splits': {
            name: {
                'films': int(mask.sum()),
                'persons': int(np.unique(films.persons[mask]).size),
                'traits': {trait: figures[name, trait].to_json() for trait in traits},
            }
            for name, mask in masks.items()
        },
        'differences': {
            name: {trait: figures[name, trait, 'difference'].to_json() for trait in traits}
            for name in names[1:]
        },
        'persons_in_two_splits': _in_two_splits(films.persons[known], splits[known]),
        'equal_films_in_two_splits': _in_two_splits(
            np.array(films.pixels.digests), splits[films.rows_with_pixels]
        ),
    }


def _traits(films):
    """Trait -> its value for each film, float64 [N]; NaN unknown. A trait nobody knows is left."""
    positive, labelled = films.positive, films.labelled
    classes = np.array([class_name(label.class_id) for label in films.labels], str)
    view, sex, age = (films.column(name) for name in ('view_position', 'sex', 'age'))
    domain = films.column('label_domain')
    counts = np.array([len(label.boxes) for label in films.labels])
    boxed = positive & (counts > 0)
    grey = np.full(len(films), math.nan)
    if len(films.rows_with_pixels):
        grey[films.rows_with_pixels] = mean_greys(films.pixels.histograms)
    traits = {
        'positive': _share(positive, labelled),
        'normal': _share(classes == 'normal', labelled & (classes != 'unknown')),
        'ap': _share(view == 'AP', view != ''),
        'female': _share(sex == 'F', sex != ''),
        'age': np.where(age >= 0, age, math.nan),
        'multi_read': _share(domain == 'multi_read', domain != 'unknown'),
        'boxes': np.where(boxed, counts, math.nan),
        'covered': np.where(boxed, 100 * covered_shares(films), math.nan),
        'grey': grey,
    }
    if not films.class_known:
        del traits['normal']
    return {name: values for name, values in traits.items() if np.isfinite(values).any()}


def _share(holds, known):
    return np.where(known, 100.0 * holds, math.nan)


def _moments(values, weights):
    """Weighted mean and variance, [D] each; NaN of nothing."""
    whole = weights.sum(axis=0, dtype=np.float64)
    with np.errstate(invalid='ignore', divide='ignore'):
        mean = values @ weights.astype(np.float64) / whole
        square = values**2 @ weights.astype(np.float64) / whole
    return mean, np.maximum(square - mean**2, 0.0)


def _in_two_splits(keys, splits):
    """How many keys stand in more than one split."""
    found: dict = {}
    for key, split in zip(keys.tolist(), splits.tolist(), strict=True):
        found.setdefault(key, set()).add(split)
    return sum(len(of) > 1 for of in found.values())
