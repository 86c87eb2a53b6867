"""The facts of a model card as JSON: what the workdir and the evaluation say, and nothing else."""

from __future__ import annotations

import collections
from collections.abc import Mapping

import numpy as np

from pneumo_jax.data.example import OLDEST_AGE
from pneumo_jax.evaluation.names import NOTICE
from pneumo_jax.evaluation.text import part_of
from pneumo_jax.story.facts import Story, TrainingRun

__all__ = ['HEAD_FIGURES', 'card_facts']

_SCHEMA = 1
# Below that a person is a child.
_ADULT = 18

# Of the head of a story: group and name, and what a trivial answer reaches.
HEAD_FIGURES = (
    ('film', 'auroc', 'view_alone_auroc'),
    ('film', 'sensitivity', None),
    ('film', 'specificity', None),
    ('film', 'accuracy', 'all_negative_accuracy'),
    ('boxes', 'challenge_map', 'no_box_challenge_map'),
    ('calibration', 'ece', None),
)


def card_facts(story: Story) -> dict:
    """What a model card is made of.

    Returns:
        ``notice``, ``name``; ``trainings``, a dict for each run; ``members``, of the evaluated
        models; ``evaluation``, a dict, or None without one. What is not known is None, or not
        there.
    """
    results = story.results
    return {
        'schema': _SCHEMA,
        'notice': NOTICE,
        'name': story.name,
        'cross_validation': story.crossed,
        'trainings': [_training(run) for run in story.runs],
        'members': [] if results is None else list(results['members']),
        'evaluation': None if results is None else _evaluation(story),
    }


def _training(run: TrainingRun) -> dict:
    config, data, course = run.config, run.data, run.course
    train = None if run.manifest is None else run.manifest['splits']['train']
    return {
        'name': run.name,
        'model': config.model.name,
        'localizer': config.model.localizer,
        'class_head': config.loss.class_weight > 0,
        'parameters': sum(part.parameters for part in run.parts.values()) or None,
        'image_size': data['image_size'],
        'source': data.get('source'),
        'fingerprint': data['fingerprint'],
        'protocol': data['protocol']['sentence'],
        'weakly_labelled': bool(data.get('extra')),
        'films': None if train is None else _counts(train),
        'init': data.get('init') and _init(data['init']),
        'best_epoch': course.best.best_epoch or None,
        'epochs': course.epochs[-1].number if course.epochs else 0,
        'planned_epochs': course.planned_epochs,
        'ending': course.ending,
        'chosen_by': course.rule.metric,
        'chosen_value': course.best.best_value,
        'seconds': course.seconds,
        'software': run.environment,
    }


def _counts(split: Mapping) -> dict:
    names = 'films', 'persons', 'positives', 'prevalence', 'boxes', 'views', 'sexes'
    return {name: split.get(name) for name in (*names, 'label_domains')}


def _init(init):
    return {name: init.get(name) for name in ('origin', 'sha256', 'card')}


def _evaluation(story) -> dict:
    results, films = story.results, story.evaluation.films
    known = films.age[films.age >= 0]
    trained_on = {run.data['fingerprint'] for run in story.runs}
    figures = {name: part_of(_part(results, group), name) for group, name, _ in HEAD_FIGURES}
    return {
        'model': results['model'],
        'split': results['split'],
        'protocol': results.get('protocol'),
        'persons_apart': results.get('persons_apart'),
        'fingerprint': results.get('data_fingerprint'),
        # Of a cross-validation every film is of the shards of some fold.
        'same_collection': (story.crossed or results.get('data_fingerprint') in trained_on)
        if trained_on
        else None,
        'overlap': results.get('overlap'),
        **{
            name: results.get(name)
            for name in (
                'num_films',
                'num_positive',
                'num_films_with_known_boxes',
                'num_persons',
                'prevalence',
                'label_domains',
                'class_counts',
            )
        },
        'views': _tally(films.view_position),
        'sexes': _tally(films.sex),
        'ages': {
            'known': len(known),
            'youngest': int(known.min()) if len(known) else None,
            'oldest': min(int(known.max()), OLDEST_AGE) if len(known) else None,
            'children': int(np.sum(known < _ADULT)),
        },
        'thresholds': results['thresholds'],
        'temperature': part_of(results, 'calibration').get('temperature'),
        'intervals': results.get('intervals'),
        'figures': figures,
        'baselines': part_of(results, 'baselines'),
        **_differences(results),
        'warnings': results['warnings'],
    }


def _part(results, group):
    # Of the probabilities as they are.
    return (
        part_of(part_of(results, 'calibration'), 'before')
        if group == 'calibration'
        else (part_of(results, group))
    )


def _tally(values) -> dict[str, int]:
    """Films by value, ``unknown`` for an empty one."""
    return dict(sorted(collections.Counter(str(value) or 'unknown' for value in values).items()))


def _differences(results) -> dict:
    """How many between groups there are, and those whose interval excludes 0."""
    told = [
        {
            'division': division,
            'between': list(each['between']),
            'num_films': [content['groups'][name]['num_films'] for name in each['between']],
            'figure': name,
            **figure,
        }
        for division, content in part_of(results, 'strata').items()
        for each in content.get('differences') or ()
        for name, figure in each['figures'].items()
        if figure.get('low') is not None and figure.get('high') is not None
    ]
    return {
        'num_differences': len(told),
        'differences': [each for each in told if each['low'] > 0 or each['high'] < 0],
    }
