"""Groups of films: by view, sex, age, label domain, manufacturer and split."""

from __future__ import annotations

import collections

import numpy as np

from data_prep.audit import age_bin
from data_prep.exploration.films import ExploredFilms, printable
from pneumo_jax.data.shards import SPLITS

__all__ = ['GROUPINGS', 'UNKNOWN', 'film_groups']

UNKNOWN = 'unknown'
# What films are divided by: key -> title.
GROUPINGS = {
    'view': 'View',
    'sex': 'Sex',
    'age': 'Age, years',
    'label_domain': 'Label domain',
    'manufacturer': 'Manufacturer',
    'split': 'Split',
}
_FIRST = ('AP', 'PA', 'F', 'M', 'single_read', 'multi_read', *SPLITS)
_OTHERS = 'others'
# Of manufacturers, those of most films; the others are told together.
_SHOWN_VALUES = 6
_FEWEST_FILMS = 5


def film_groups(films: ExploredFilms) -> dict[str, dict[str, np.ndarray]]:
    """The groups of all films: grouping -> value -> bool [N].

    Values stand in the order of charts, unknown ones last; a grouping of which nothing is known
    is left out.
    """
    columns = {
        'view': films.column('view_position').tolist(),
        'sex': films.column('sex').tolist(),
        'age': [age_bin(age).replace(UNKNOWN, '') for age in films.column('age').tolist()],
        'label_domain': [d.replace(UNKNOWN, '') for d in films.column('label_domain').tolist()],
        'manufacturer': _frequent([printable(name) for name in films.manufacturers]),
        'split': films.splits,
    }
    groups = {}
    for name, values in columns.items():
        if any(values):
            column = np.array([value or UNKNOWN for value in values], str)
            groups[name] = {value: column == value for value in sorted(set(column), key=_order)}
    return groups


def _frequent(values):
    """The values with all but the most frequent ones called others."""
    counts = collections.Counter(filter(None, values))
    frequent = counts.most_common(_SHOWN_VALUES)
    kept = {'', *(value for value, count in frequent if count >= _FEWEST_FILMS)}
    return [value if value in kept else _OTHERS for value in values]


def _order(value):
    start = value.split('-')[0].split(' ')[0]
    return (
        value in (UNKNOWN, _OTHERS),
        value == UNKNOWN,
        _FIRST.index(value) if value in _FIRST else len(_FIRST),
        int(start) if start.isdecimal() else 0,
        value,
    )
