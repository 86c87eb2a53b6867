"""Evaluations and pictures for the tests of the viewer."""

from __future__ import annotations

import dataclasses

import numpy as np

from data_prep.conversion import convert
from data_prep.options import Options
from tests.film_files import write_download
from tests.made_evaluations import made_films, write_evaluation

HOSTILE_IDS = (
    '<img src=x onerror=alert(1)>',
    '"><script>alert(1)</script>',
    "'; window.hacked = true; //",
    '{{7*7}}${7*7}',
    '..\\..\\windows\\win.ini',
    '%2e%2e%2fsecret',
    '\u202etxt.\u202dlarge 🫁',
    'x' * 3000,
    '</style><svg onload=alert(1)>',
    '__proto__',
)
# What read_evaluation wants beside what a comparison reads.
ABOUT = {'persons_apart': None, 'num_rejected': 0, 'changes': [], 'overlap': None}


def write_shown(folder, films, **changes):
    """An evaluation that the viewer reads, in a folder, which is returned."""
    return write_evaluation(folder, films, **(ABOUT | changes))


def varied_films(num_films, **options):
    """Films with all that a list can be filtered and sorted by, some of it unknown."""
    rng = np.random.default_rng(5)
    films = made_films(num_films, **options)
    extents = {name: np.float32(rng.random(num_films)).astype(float) for name in films.extent}
    return dataclasses.replace(
        films,
        view_position=rng.choice(['AP', 'PA', ''], num_films),
        sex=rng.choice(['F', 'M', ''], num_films),
        age=rng.integers(-1, 110, num_films),
        class_id=np.where(films.labels == 1, 2, rng.integers(-1, 2, num_films)),
        extent=extents,
    )


def converted_download(folder, side=64):
    """A small download, as options of the converter, and the folder of its shards, 16 px."""
    download = write_download(folder / 'download', side=side)
    shards = folder / 'shards'
    fractions = {'split': 'image', 'split_fractions': (0.25, 0.25, 0.5)}
    convert(Options(output_dir=str(shards), image_size=16, num_workers=1, **fractions, **download))
    return download, shards


def films_of(records):
    """The table of an evaluation of records, each with a candidate where its true box is."""
    films = made_films(len(records))
    labels = np.array([record['label'] for record in records])
    truths = [record['boxes'][: record['num_boxes']].astype(float) for record in records]
    return dataclasses.replace(
        films,
        ids=[record['patient_id'] for record in records],
        labels=labels,
        class_id=np.where(labels == 1, 2, 0),
        film_sizes=np.array([[r['film_height'], r['film_width']] for r in records]),
        truths=truths,
        boxes=[truth.copy() for truth in truths],
        box_scores=[np.full(len(truth), 0.5) for truth in truths],
    )
