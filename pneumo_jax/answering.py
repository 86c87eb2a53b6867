"""A table of scored films, from a model and a split."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pneumo_jax.boxes.known import boxes_known
from pneumo_jax.data.pipeline import FilmSplit, eval_batches
from pneumo_jax.data.shards import load_manifest
from pneumo_jax.ensemble import Answer, Ensemble
from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.films import (
    EXTENT_NAMES,
    MASK_NAMES,
    ScoredFilms,
    concatenate,
    number_persons,
)
from pneumo_jax.extent import Extent, box_coverage, lung_fields, opacity_extent
from pneumo_jax.metrics.mask import mask_sums

__all__ = ['score_films', 'score_validation']


def score_films(ensemble: Ensemble, split: FilmSplit) -> ScoredFilms:
    """The answers for every film of a split, in order, beside what is known of it.

    Opacity extents are measured on the way, since they need picture and mask.
    """
    records, answers, measured = [], [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch, films in eval_batches(split, batch_size=ensemble.batch_size):
            sizes = [(film['film_height'], film['film_width']) for film in films]
            given = ensemble.answer(batch['image'], sizes)
            threshold = [ensemble.config.mask_threshold] * len(films)
            measured.extend(pool.map(_measure, films, given, threshold))
            answers.extend(given)
            records.extend({k: v for k, v in film.items() if k != 'image'} for film in films)
    return _table(records, answers, measured)


def score_validation(ensemble: Ensemble) -> ScoredFilms | None:
    """The answers for the validation films of the members' own runs, to choose numbers on.

    Members that were trained on the same films answer together. Where they were not, as in a
    cross-validation, each answers its own: a film on which one may be judged may have taught
    another.

    Returns:
        The films; None where the shards of a run are not at hand.
    """
    groups: dict[str, list] = {}
    for member in ensemble.members:
        groups.setdefault(member.data['fingerprint'], []).append(member)
    tables = []
    for fingerprint, members in groups.items():
        data = members[0].config.data
        try:
            if load_manifest(data.dir)['fingerprint'] != fingerprint:
                return None
            split = FilmSplit(data.dir, data.validation_split)
        except InputError:
            return None
        tables.append(score_films(Ensemble(members), split))
    return concatenate(tables)


def _measure(record: dict, answer: Answer, threshold: float) -> dict:
    """Extents of opacity, predicted and true, and the sums of the mask, of one film."""
    film_size = record['film_height'], record['film_width']
    truth = record['boxes'][: record['num_boxes']]
    covered = box_coverage(truth, film_size, len(answer.mask_probs))
    fields = lung_fields(record['image'][:, :, 0], film_size=film_size)
    extent = opacity_extent(answer.mask_probs, fields, film_size=film_size)
    known = boxes_known(record['label'], len(truth))
    true_extent = opacity_extent(covered, fields, film_size=film_size) if known else None
    cells = answer.mask_probs[None, :, :, None], covered[None, :, :, None].astype(np.float32)
    sums = mask_sums(*cells, threshold)
    return {
        'extent': _extent_values(extent),
        'true_extent': _extent_values(true_extent),
        'mask': [float(sums[name][0]) for name in MASK_NAMES],
    }


def _extent_values(extent: Extent | None) -> list[float]:
    if extent is None:
        return [np.nan] * len(EXTENT_NAMES)
    return [getattr(extent, name) for name in EXTENT_NAMES]


def _table(records, answers, measured) -> ScoredFilms:
    persons, persons_known = number_persons([record['person_id'] for record in records])
    classes = [answer.class_probs for answer in answers]
    return ScoredFilms(
        ids=[record['patient_id'] for record in records],
        persons=persons,
        persons_known=persons_known,
        **{
            name: np.array([record[name] for record in records], str)
            for name in ('view_position', 'sex', 'label_domain')
        },
        age=_integers(records, 'age'),
        class_id=_integers(records, 'class_id'),
        film_sizes=np.column_stack(
            [_integers(records, name) for name in ('film_height', 'film_width')]
        ),
        labels=_integers(records, 'label'),
        probs=_exact([answer.prob for answer in answers]),
        class_probs=None if classes[0] is None else _exact(classes),
        truths=[_exact(record['boxes'][: record['num_boxes']]) for record in records],
        boxes=[_exact(answer.boxes) for answer in answers],
        box_scores=[_exact(answer.scores) for answer in answers],
        extent=_columns(measured, 'extent', EXTENT_NAMES),
        true_extent=_columns(measured, 'true_extent', EXTENT_NAMES),
        mask_sums=_columns(measured, 'mask', MASK_NAMES),
    )


def _integers(records, name):
    return np.array([record[name] for record in records], np.int64)


def _columns(measured, key, names):
    values = _exact([row[key] for row in measured])
    return {name: values[:, i] for i, name in enumerate(names)}


def _exact(values):
    """Float64 numbers that float32 holds too, so that a table reads as it was written."""
    return np.asarray(values, np.float32).astype(np.float64)
