"""Films made up for the tests of the splits, and what a good split of them is."""

import collections
import dataclasses

import numpy as np

from data_prep.labels import FilmLabel

FRACTIONS = {'train': 0.7, 'validation': 0.15, 'test': 0.15}
# The protocols that share out; each divides what read_by_several gives.
SHARING = ('person', 'image', 'kfold:4:1', 'person_multi_read')


def make_films(num_films, films_per_person=3, seed=0):
    """Films whose classes and views are drawn unevenly; 0 films per person: persons unknown."""
    rng = np.random.default_rng(seed)
    class_ids = rng.choice(3, num_films, p=(0.3, 0.45, 0.25))
    views = rng.choice(('AP', 'PA'), num_films, p=(0.4, 0.6))
    return [
        FilmLabel(
            patient_id=f'film{i:05d}',
            label=int(class_ids[i] == 2),
            class_id=int(class_ids[i]),
            boxes=np.zeros((0, 4), np.float32),
            person_id=f'person{i // films_per_person}' if films_per_person else '',
            view_position=str(views[i]),
            sex='',
            age=-1,
            label_domain='unknown',
        )
        for i in range(num_films)
    ]


def read_by_several(films, num_films):
    """The films with known domains, every fifth of the first ones being read by several."""
    return [
        dataclasses.replace(
            film, label_domain='multi_read' if i < num_films and i % 5 == 0 else 'single_read'
        )
        for i, film in enumerate(films)
    ]


def counts_by(films, splits, key):
    counts = collections.defaultdict(collections.Counter)
    for film in films:
        counts[key(film)][splits[film.patient_id]] += 1
    return counts


def assert_persons_apart(films, splits):
    for person, counts in counts_by(films, splits, lambda film: film.person_id).items():
        assert len(counts) == 1, person


def assert_balanced(films, splits, tolerance, fractions=FRACTIONS):
    """Every split has its share of the films, of each class and of each view, in films."""
    for key in (lambda f: '', lambda f: f.class_id, lambda f: f.view_position):
        for counts in counts_by(films, splits, key).values():
            for split, fraction in fractions.items():
                assert abs(counts[split] - fraction * counts.total()) <= tolerance
