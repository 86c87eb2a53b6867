"""The sections of a run's page that its training tells: from its data to its environment."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from matplotlib.figure import Figure

from configs import base
from pneumo_jax.config_rows import ConfigRow, config_rows
from pneumo_jax.data.example import CLASS_NAMES
from pneumo_jax.evaluation.pictures.forest import group_title
from pneumo_jax.evaluation.text import figure_title
from pneumo_jax.pages.parts import (
    element,
    note,
    number,
    section,
    stacked_bars,
    table,
)
from pneumo_jax.pages.pictures import picture_row, reading
from pneumo_jax.story.curves import course_text, curve_names
from pneumo_jax.story.facts import Story, TrainingRun
from pneumo_jax.story.wording import (
    counted,
    duration_text,
    init_text,
    listed,
    localizer_text,
    source_text,
)

__all__ = ['config_section', 'data', 'environment', 'learning', 'model']

Section = ElementTree.Element

_SPLIT_HEADER = ('split', 'films', 'persons', 'positive', 'prevalence', 'view', 'sex', 'boxes')

# Of these only the last part is shown: where they lay is nobody's business.
_PATHS = ('data.dir', 'data.extra_dirs', 'model.init_from')

_ENVIRONMENT_TITLES = {'pneumo_jax': 'this software', 'num_devices': 'devices'}


def data(story: Story) -> Section:
    """What was learned from, and on what was judged."""
    runs, results = story.runs, story.results or {}
    rows = [
        ('source', _each(runs, lambda run: source_text(run.data.get('source')))),
        ('pictures', _each(runs, _picture_text)),
        # Those of the other folds say the same of other numbers.
        (
            f'protocol of {runs[0].name}' if story.crossed else 'protocol',
            _each(runs[:1], lambda run: run.data['protocol']['sentence']),
        ),
        ('persons', _each(runs, _persons_text)),
        ('fingerprint', _each(runs, lambda run: run.data['fingerprint'])),
    ]
    if any(run.data.get('extra') for run in runs):
        fingerprints = listed(each for run in runs for each in run.data.get('extra', ()))
        rows.append(('weakly labelled films', f'fingerprint {fingerprints}'))
    if results:
        rows += _evaluated_rows(story, results)
    splits = [
        (f'{run.name}, {name}' if story.crossed else name, split)
        for run in runs
        if run.manifest
        for name, split in run.manifest['splits'].items()
    ]
    parts = [_classed(table(('what', 'how'), [row for row in rows if row[1]]), 'facts')]
    if splits:
        parts += [element('div', _class_bars(splits), class_='charts one'), _split_table(splits)]
    elif runs:
        parts.append(
            note(
                'The shards are not where the config names them, or are others by now: what their '
                'splits hold is not counted here.'
            )
        )
    return section(
        'data',
        'Data',
        reading(
            'The fingerprint is that of all the shards hold: with the same one a training sees the '
            'same films, to the bit.'
        ),
        *parts,
    )


def model(story: Story) -> Section:
    """What learned."""
    (run, *_) = story.runs
    config = run.config.model
    rows = [
        ('backbone', f'{config.name}, width {config.width:g}'),
        ('localizer', localizer_text(config.localizer)),
        ('input', _input_text(run)),
        ('started from', _each(story.runs, lambda run: init_text(run.data.get('init')))),
    ]
    parts = [_classed(table(('what', 'how'), rows), 'facts')]
    if run.parts:
        total = sum(part.parameters for part in run.parts.values())
        lines = [
            (name, part.parameters, part.parameters / max(total, 1), part.statistics)
            for name, part in sorted(run.parts.items())
        ]
        statistics = sum(part.statistics for part in run.parts.values())
        lines.append(('all', total, 1.0, statistics))
        parts.append(table(('part', 'parameters', 'share', 'running statistics'), lines))
        parts.append(note('Running statistics are those of batch norms; nothing learns them.'))
    else:
        parts.append(note('No checkpoint is at hand: parameters are not counted here.'))
    return section('model', 'Model', *parts)


def config_section(story: Story) -> Section:
    """What was asked for: what differs from the default first, all else folded away."""
    rows = config_rows(story.runs[0].config, base.get_config())
    changed = [row for row in rows if row.differs]
    same = [row for row in rows if not row.differs]
    texts = [(row.field, _value(row), repr(row.default)) for row in changed]
    folded = []
    for name in dict.fromkeys(map(_section_of, same)):
        folded.append(element('h3', name))
        lines = [(row.field, _value(row)) for row in same if _section_of(row) == name]
        folded.append(table(('field', 'value'), lines))
    whose = f' Shown is the config of {story.runs[0].name}.' if story.crossed else ''
    return section(
        'config',
        'Config',
        reading(
            f'Of {len(rows)} fields {len(changed)} differ from the defaults of configs/base.py, '
            'marked here; some follow from the data or the initial weights. Of folders only the '
            f'last part is shown.{whose}'
        ),
        *([_marked(table(('field', 'here', 'default'), texts))] if texts else []),
        element(
            'details',
            element('summary', f'The {len(same)} fields that are as the defaults'),
            element('div', *folded, class_='unchanged'),
        ),
    )


def learning(story: Story, pictures: Mapping[str, Figure]) -> Section:
    """How it learned, and which epoch is used."""
    runs = story.runs
    parts = []
    if story.crossed:
        rows = [
            (
                run.name,
                run.course.epochs[-1].number if run.course.epochs else 0,
                _best_text(run),
                course_text(run.course),
            )
            for run in runs
        ]
        parts.append(table(('fold', 'epochs', 'best epoch', 'how it ended'), rows))
    else:
        parts.append(element('p', course_text(runs[0].course)))
    names = [name for name in curve_names(runs) if name in pictures]
    for start in range(0, len(names), 2):
        parts += picture_row(pictures, names[start : start + 2])
    films = {
        run.manifest['splits'].get(run.config.data.validation_split, {}).get('films')
        for run in runs
        if run.manifest
    } - {None}
    of = f' They are of {listed(map(number, sorted(films)))} films.' if films else ''
    return section(
        'learning',
        'Learning curves',
        reading(
            'After each epoch the validation films are scored; the epoch with the best '
            f'{figure_title(runs[0].course.rule.metric)} is what evaluation and prediction use. '
            f'Validation figures have no intervals here, and on few films move by chance.{of}'
        ),
        *parts,
    )


def environment(story: Story) -> Section:
    """What it ran on."""
    runs = story.runs
    names = dict.fromkeys(name for run in runs for name in run.environment)
    rows = [
        (
            _ENVIRONMENT_TITLES.get(name, name.replace('_', ' ')),
            _each(runs, lambda run, name=name: str(run.environment.get(name, 'not known'))),
        )
        for name in names
    ]
    for run in runs:
        whose = f' of {run.name}' if story.crossed else ''
        rows.append((f'training time{whose}', _time_text(run)))
    return section(
        'environment',
        'Environment',
        _classed(table(('what', 'which'), rows), 'facts'),
        note('Of the last start; versions and devices alone, nothing of whose machine it was.'),
    )


def _each(runs: Sequence[TrainingRun], tell) -> str:
    """What is told of every run, each once; '' without runs."""
    return '; '.join(dict.fromkeys(tell(run) for run in runs))


def _input_text(run):
    channels, size = run.config.model.in_channels, run.data['image_size']
    return f'{size} px, {channels} channel{"s"[: channels > 1]}, {run.config.model.dtype}'


def _picture_text(run):
    decoding = run.data.get('decoding', 'exact').replace('_', ' ')
    return f'{run.data["image_size"]} x {run.data["image_size"]} px, decoding {decoding}'


def _persons_text(run):
    shared = run.data['protocol'].get('persons_in_two_splits')
    if shared is None:
        return 'not known: one may be in two splits'
    return 'apart: none is in two splits' if shared == 0 else f'{number(shared)} are in two splits'


def _evaluated_rows(story, results):
    rows = [('evaluated', f'{number(results["num_films"])} films of the split {story.split}')]
    told = dict(
        protocol=str(results.get('protocol') or 'not known'),
        fingerprint=str(results.get('data_fingerprint') or 'not known'),
    )
    if told['fingerprint'] not in {run.data['fingerprint'] for run in story.runs}:
        rows += [(f'{name} of these', text) for name, text in told.items()]
    return [*rows, ('known from training', _overlap_text(results.get('overlap')))]


def _overlap_text(overlap):
    if not overlap:
        return 'not checked'
    text = f'{number(overlap["films"])} films, and {number(overlap["persons"])} of the same persons'
    unchecked = overlap['unchecked']
    return text + (f'; not known of {number(unchecked)} models' if unchecked else '')


def _class_bars(splits):
    names = (*CLASS_NAMES, 'unknown')
    rows = [
        (
            title,
            f'{number(split["films"])} films',
            [split.get('classes', {}).get(name, 0) for name in names],
        )
        for title, split in splits
        if sum(split.get('classes', {}).values())
    ]
    return stacked_bars('Films by class', [group_title(name) for name in names], rows)


def _split_table(splits):
    rows = [
        (
            title,
            split['films'],
            split['persons'] or 'not known',
            split['positives'],
            float(split['prevalence'] or 0),
            counted(split.get('views')),
            counted(split.get('sexes')),
            split['boxes'],
        )
        for title, split in splits
    ]
    return _classed(table(_SPLIT_HEADER, rows), 'splits')


def _section_of(row: ConfigRow):
    return row.field.partition('.')[0] if '.' in row.field else 'run'


def _value(row: ConfigRow):
    if row.field not in _PATHS:
        return repr(row.value)
    if isinstance(row.value, str):
        return repr(pathlib.PurePath(row.value).name)
    return repr(tuple(pathlib.PurePath(str(each)).name for each in row.value))


def _marked(made):
    """The rows of a table, marked as what differs."""
    for line in made.iter('tr'):
        line.set('class', 'differs')
    return made


def _best_text(run):
    best, rule = run.course.best, run.course.rule
    if not best.best_epoch:
        return 'none yet'
    return f'{best.best_epoch} ({figure_title(rule.metric)} {best.best_value:.4f})'


def _time_text(run):
    starts = len(run.course.starts)
    text = duration_text(run.course.seconds)
    return f'{text} in {starts} starts' if starts > 1 else text


def _classed(made, name):
    made.set('class', f'{made.get("class")} {name}')
    return made
