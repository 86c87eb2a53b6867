"""Folders of made evaluations, as ``pneumo_jax.evaluate`` leaves them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from pneumo_jax.evaluation.film_table import write_films
from pneumo_jax.evaluation.films import EXTENT_NAMES, MASK_NAMES, ScoredFilms
from pneumo_jax.files import write_json
from pneumo_jax.metrics import classification
from pneumo_jax.thresholds import Thresholds

THRESHOLDS = Thresholds(film=0.5, box=0.3)


def made_films(num_films, *, skill=1.0, seed=0, films_per_person=1, truth_seed=0) -> ScoredFilms:
    """Films whose truth depends on ``truth_seed`` alone, with answers of some skill."""
    truth_rng, rng = np.random.default_rng(truth_seed), np.random.default_rng(seed)
    labels = (truth_rng.random(num_films) < 0.4).astype(int)
    labels[:2] = 0, 1
    truths, boxes, scores = [], [], []
    for label in labels:
        truth = truth_rng.integers(50, 400, (int(label * truth_rng.integers(1, 3)), 4))
        truths.append(truth.astype(float))
        found = truth + rng.normal(0, 30 / skill, truth.shape).round()
        extra = rng.integers(50, 400, (int(rng.random() < 0.2), 4))
        boxes.append(np.maximum(np.concatenate([found, extra]), 1).astype(np.float32).astype(float))
        drawn = np.sort(rng.random(len(boxes[-1])))[::-1]
        scores.append(drawn.astype(np.float32).astype(float))
    logits = rng.normal(0, 1, num_films) + skill * (2 * labels - 1)
    probs = (1 / (1 + np.exp(-logits))).astype(np.float32).astype(float)
    unknown = np.full(num_films, np.nan)
    return ScoredFilms(
        ids=[f'film{i:05d}' for i in range(num_films)],
        persons=np.arange(num_films) // films_per_person,
        persons_known=np.ones(num_films, bool),
        view_position=np.where(np.arange(num_films) % 2, 'AP', 'PA'),
        sex=np.full(num_films, 'F'),
        label_domain=np.full(num_films, 'single_read'),
        age=np.full(num_films, 50),
        class_id=np.where(labels == 1, 2, 0),
        film_sizes=np.full((num_films, 2), 1024),
        labels=labels,
        probs=probs,
        class_probs=None,
        truths=truths,
        boxes=boxes,
        box_scores=scores,
        extent={name: unknown for name in EXTENT_NAMES},
        true_extent={name: unknown for name in EXTENT_NAMES},
        mask_sums={name: unknown for name in MASK_NAMES},
    )


def made_results(films: ScoredFilms, thresholds: Thresholds = THRESHOLDS, **changes) -> dict:
    """What a comparison reads of results.json; figures it does not check have made values."""
    called = classification.confusion(films.labels, films.probs >= thresholds.film)
    auroc = classification.auroc(films.labels, films.probs)

    def figure(value):
        if math.isnan(value):
            return {'value': None, 'undefined': 'films of one class only'}
        return {'value': value, 'low': value - 0.05, 'high': value + 0.05}

    return {
        'schema': 2,
        'notice': 'Research software, not a medical device.',
        'warnings': [],
        'split': 'test',
        'protocol': 'grouped by person',
        'data_fingerprint': '0123456789abcdef',
        'model': 'resnet18',
        'members': [{'model': 'resnet18', 'epoch': 7, 'step': 70, 'init': None}],
        'num_films': len(films),
        'num_positive': int(films.labels.sum()),
        'num_persons': len(np.unique(films.persons)),
        'prevalence': float(films.labels.mean()),
        'label_domains': {'single_read': len(films)},
        'thresholds': dataclasses.asdict(thresholds),
        'film': {
            'auroc': figure(auroc),
            'auprc': figure(0.7),
            'accuracy': figure(called.accuracy),
            'sensitivity': figure(called.sensitivity),
            'specificity': figure(called.specificity),
            'brier': figure(0.2),
            'ece': figure(0.1),
            'true_positives': {'value': called.tp},
            'false_positives': {'value': called.fp},
        },
        'boxes': {
            'inclusive_iou': False,
            'challenge_map': figure(0.15),
            'coco_ap_50': figure(0.25),
            'froc_sensitivity_at_0.5': figure(0.5),
        },
        'baselines': {
            'all_negative_accuracy': figure(float(np.mean(films.labels == 0))),
            'view_alone_auroc': {'value': None, 'undefined': 'the view is not known'},
            'no_box_challenge_map': {'value': 0.0},
        },
    } | changes


def write_evaluation(folder, films, *, split='test', thresholds=THRESHOLDS, **changes):
    """Writes the folder and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = 'results.json' if split == 'test' else f'results-{split}.json'
    write_json(folder / name, made_results(films, thresholds, split=split, **changes))
    write_films(folder / f'films-{split}.csv', films, thresholds)
    return folder
