"""Scored films that are made up, and results of them as results.json has them."""

import dataclasses
import itertools

import numpy as np

from pneumo_jax.data.example import CLASS_NAMES
from pneumo_jax.evaluation.films import EXTENT_NAMES, MASK_NAMES, ScoredFilms
from pneumo_jax.thresholds import Thresholds

THRESHOLDS = Thresholds(film=0.4, box=0.3)


def made_films(count=200, seed=0, side=1024) -> ScoredFilms:
    """Films with answers that are neither chance nor perfect."""
    rng = np.random.default_rng(seed)
    class_id = rng.choice(3, count, p=(0.34, 0.44, 0.22))
    labels = (class_id == 2).astype(np.int64)
    view = np.where(rng.random(count) < np.where(labels, 0.75, 0.35), 'AP', 'PA')
    logits = rng.normal(class_id * 1.3 - 3 + 0.5 * (view == 'AP'), 1.2)
    probs = 1 / (1 + np.exp(-logits))
    class_logits = rng.normal(0, 1, (count, 3)) + 2.5 * np.eye(3)[class_id]
    class_probs = np.exp(class_logits) / np.exp(class_logits).sum(axis=1, keepdims=True)
    truths, boxes, scores = [], [], []
    for label, prob in zip(labels, probs, strict=True):
        truth = made_boxes(rng, rng.integers(1, 4) * label, side)
        found = truth[rng.random(len(truth)) < 0.4 + 0.5 * prob]
        found = found + rng.normal(0, side * 0.03, found.shape)
        false = made_boxes(rng, rng.poisson(0.3 + 0.5 * prob), side)
        predicted = np.concatenate([found, false])
        score = np.concatenate([rng.beta(5, 3, len(found)), rng.beta(2, 4, len(false))]) * prob**0.5
        order = np.argsort(-score)
        truths.append(truth)
        boxes.append(predicted[order])
        scores.append(score[order])
    true_lungs = np.where(labels, rng.beta(2, 5, count), 0.0)
    lungs = np.clip(true_lungs * rng.normal(0.8, 0.2, count) + rng.gamma(1, 0.03, count), 0, 1)
    true_zones = np.where(labels, rng.integers(1, 64, count), 0)
    columns = {name: lungs for name in EXTENT_NAMES}
    true_columns = {name: true_lungs for name in EXTENT_NAMES}
    return ScoredFilms(
        ids=[f'secret-{i:05d}' for i in range(count)],
        persons=np.arange(count) // 2,
        persons_known=np.ones(count, bool),
        view_position=view,
        sex=rng.choice(['M', 'F'], count),
        label_domain=rng.choice(['single_read', 'multi_read'], count),
        age=rng.integers(1, 90, count),
        class_id=class_id,
        film_sizes=np.full((count, 2), side),
        labels=labels,
        probs=probs,
        class_probs=class_probs,
        truths=truths,
        boxes=boxes,
        box_scores=scores,
        extent=columns | {'zones': (true_zones & rng.integers(0, 64, count)).astype(float)},
        true_extent=true_columns | {'zones': true_zones.astype(float)},
        mask_sums={name: rng.random(count) for name in MASK_NAMES},
    )


def made_boxes(rng, count, side):
    sizes = rng.uniform(0.12, 0.35, (count, 2)) * side
    return np.concatenate([rng.uniform(0, 1, (count, 2)) * (side - sizes), sizes], axis=1)


def figure(value, half_width=0.03):
    return {'value': value, 'low': value - half_width, 'high': value + half_width}


def figures(**values):
    return {name: figure(value) for name, value in values.items()}


def undefined(reason):
    return {'value': None, 'low': None, 'high': None, 'undefined': reason}


def made_results(films: ScoredFilms) -> dict:
    """Results as results.json has them; the figures are made up, but plausible."""
    positive, called = films.labels == 1, films.probs >= THRESHOLDS.film
    sensitivity, specificity = called[positive].mean(), (~called)[~positive].mean()
    prevalence = float(positive.mean())

    def point(threshold, **projected):
        up = films.probs >= threshold
        return {
            'threshold': threshold,
            **figures(
                sensitivity=up[positive].mean(),
                specificity=(~up)[~positive].mean(),
                ppv=positive[up].mean(),
                npv=(~positive)[~up].mean(),
            ),
            **projected,
        }

    def group(chosen):
        return {
            'num_films': int(chosen.sum()),
            'num_positive': int(positive[chosen].sum()),
            'prevalence': float(positive[chosen].mean()),
            'figures': figures(
                auroc=0.8 + 0.1 * chosen.mean(),
                auprc=0.6,
                sensitivity=0.7 + 0.2 * chosen.mean(),
                specificity=0.8,
                ppv=0.5,
                npv=0.9,
                challenge_map=0.17 + 0.05 * chosen.mean(),
            )
            | {'froc_sensitivity_at_0.5': figure(0.5)},
        }

    def stratum(values, first, second):
        names = [name for name in (first, second) if np.any(values == name)]
        difference = figures(auroc=-0.02, sensitivity=0.05, specificity=0.08, challenge_map=0.01)
        return {
            'groups': {name: group(values == name) for name in names},
            'differences': [{'between': names, 'figures': difference}] if len(names) > 1 else [],
        }

    edges = np.linspace(0, 1, 11)
    bins = [
        {
            'low': low,
            'high': high,
            'films': int(inside.sum()),
            'mean_probability': float(films.probs[inside].mean()) if inside.any() else None,
            'share_positive': float(positive[inside].mean()) if inside.any() else None,
        }
        for low, high in itertools.pairwise(edges)
        for inside in [(films.probs >= low) & (films.probs < high)]
    ]
    answers = np.array(
        [[np.sum(films.class_id[called == c] == k) for c in (0, 1)] for k in range(3)]
    )
    best = films.class_probs.argmax(axis=1)
    return {
        'schema': 2,
        'notice': 'Research software, not a medical device: no figure here supports a decision.',
        'warnings': [
            {'code': 'image_level_split', 'message': 'Persons stand on both sides of the split.'}
        ],
        'split': 'test',
        'protocol': 'person-grouped split, stratified by class and view, seed 0',
        'data_fingerprint': '27dd29cb9c954e8d0fcf858c5e4bc435dc67427180685f87911499c0389fdf8b',
        'model': 'mobilenet_v2',
        'members': [
            {
                'model': 'mobilenet_v2',
                'epoch': 10,
                'step': 7500,
                'params_sha256': 'f44fab696fc704dc939ef12291b373e59c29314df2eafb82837f27753b13f9c0',
                'init': {
                    'origin': 'keras',
                    'sha256': 'a' * 64,
                    'card': {'saw': ['NIH ChestX-ray14'], 'file': 'README.md'},
                },
            },
            {'model': 'resnet18', 'epoch': 3, 'step': 75, 'params_sha256': 'b' * 64, 'init': None},
        ],
        'intervals': {
            'level': 0.95,
            'method': 'BCa bootstrap over persons',
            'draws': 2000,
            'unit': 'person',
            'num_units': len({*films.persons}),
        },
        'num_films': len(films),
        'num_positive': int(positive.sum()),
        'num_films_with_known_boxes': len(films),
        'num_persons': len({*films.persons}),
        'prevalence': prevalence,
        'label_domains': {'single_read': 150, 'multi_read': 50},
        'class_counts': dict(zip(CLASS_NAMES, (70, 90, 40), strict=True)),
        'thresholds': dataclasses.asdict(THRESHOLDS),
        'film': figures(
            auroc=0.853,
            auprc=0.66,
            accuracy=0.8,
            balanced_accuracy=0.78,
            sensitivity=sensitivity,
            specificity=specificity,
            ppv=positive[called].mean(),
            npv=0.93,
            f1=0.66,
            brier=0.12,
            log_loss=0.37,
            ece=0.031,
        )
        | {
            'true_positives': {'value': int((positive & called).sum())},
            'false_positives': {'value': int((~positive & called).sum())},
            'false_negatives': {'value': int((positive & ~called).sum())},
            'true_negatives': {'value': int((~positive & ~called).sum())},
        },
        'calibration': {
            'temperature': 1.31,
            'num_films': 180,
            'before': figures(brier=0.12, log_loss=0.37, ece=0.031),
            'after': figures(brier=0.118, log_loss=0.36, ece=0.018),
            'reliability': {
                'before': bins,
                'after': [
                    b
                    | {
                        'share_positive': None
                        if b['share_positive'] is None
                        else (b['share_positive'] + 2 * b['mean_probability']) / 3
                    }
                    for b in bins
                ],
            },
        },
        'classes': {
            'num_films': len(films),
            'by_answer': dict(zip(CLASS_NAMES, answers.tolist(), strict=True)),
            'confusion': [
                [int(np.sum((films.class_id == i) & (best == j))) for j in range(3)]
                for i in range(3)
            ],
            **figures(accuracy=0.7, balanced_accuracy=0.69),
        },
        'boxes': figures(
            challenge_map=0.187,
            coco_ap=0.11,
            coco_ap_50=0.31,
            mean_iou=0.42,
            films_with_boxes=0.43,
            boxes_per_film=0.7,
        )
        | {
            'froc_sensitivity_at_0.25': figure(0.44),
            'froc_sensitivity_at_0.5': figure(0.55),
            'froc_sensitivity_at_1': undefined('too few'),
        },
        'mask': figures(pixel_accuracy=0.95, mean_iou=0.13, dice=0.18),
        'baselines': figures(
            all_negative_accuracy=1 - prevalence,
            view_alone_auroc=0.7,
            all_background_pixel_accuracy=0.958,
            no_box_challenge_map=0.0,
        ),
        'shortcut': figures(
            within_view_auroc=0.82,
            auroc_explained_by_view=0.4,
            score_variance_explained_by_view=0.21,
        ),
        'strata': {
            'view_position': stratum(films.view_position, 'AP', 'PA'),
            'sex': stratum(films.sex, 'M', 'F'),
            'age': stratum(
                np.where(films.age < 40, '0 to 39', '40 and over'), '0 to 39', '40 and over'
            ),
            'label_domain': stratum(films.label_domain, 'single_read', 'multi_read'),
        },
        'operating_points': {
            'youden': point(0.4, projected={'prevalence': 0.05, **figures(ppv=0.2, npv=0.99)}),
            'sensitivity_0.90': point(
                0.15, projected={'prevalence': 0.05, **figures(ppv=0.1, npv=0.995)}
            ),
            'sensitivity_0.95': {'threshold': None, 'undefined': 'validation has one class'},
        },
        'abstention': {
            'wanted_error': 0.1,
            'low': 0.2,
            'high': 0.5,
            **figures(abstained=0.3, error=0.09),
        },
        'extent': {
            'num_films': int(positive.sum()),
            'interval_level': 0.9,
            **figures(
                rank_correlation=0.8,
                mean_absolute_error=0.04,
                laterality_agreement=0.7,
                interval_coverage=0.91,
            ),
        },
        'recalibration': {
            'num_films': 100,
            'intercept': -0.3,
            'slope': 0.8,
            'threshold': 0.35,
            'before': figures(brier=0.15, log_loss=0.5, ece=0.1, sensitivity=0.8, specificity=0.7),
            'after': figures(
                brier=0.13, log_loss=0.4, ece=0.03, sensitivity=0.82, specificity=0.72
            ),
        },
    }
