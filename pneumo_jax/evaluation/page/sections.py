"""The sections of an evaluation's page; each says in a sentence or two how it is to be read.

Each takes the content of results.json, of which any part may be missing or undefined, and the
pictures by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

from matplotlib.figure import Figure

from pneumo_jax.evaluation.page.elements import (
    VALUE_HEADER,
    figure_cell,
    figures_table,
    threshold_of,
    undefined_note,
)
from pneumo_jax.evaluation.text import figure_text, figure_title, part_of, percent_text, value_text
from pneumo_jax.pages.parts import element, note, number, percent, section, table
from pneumo_jax.pages.pictures import picture_row, reading

__all__ = [
    'boxes',
    'calibration',
    'classes',
    'extent',
    'film_level',
    'mask',
    'operating_points',
]

Section = ElementTree.Element
Pictures = Mapping[str, Figure]

_COUNTS = ('true_positives', 'false_positives', 'false_negatives', 'true_negatives')
_OF_FILM_BASELINES = {'auroc': 'view_alone_auroc', 'accuracy': 'all_negative_accuracy'}
_OF_BOX_BASELINES = {'challenge_map': 'no_box_challenge_map'}
_OF_MASK_BASELINES = {'pixel_accuracy': 'all_background_pixel_accuracy'}
_POINT_TITLES = {
    'youden': 'Youden',
    'sensitivity_0.90': 'sensitivity 0.90',
    'sensitivity_0.95': 'sensitivity 0.95',
}


def film_level(results: dict, pictures: Pictures) -> Section:
    """Does the film show an opacity?"""
    film = part_of(results, 'film')
    figures = {name: figure for name, figure in film.items() if name not in _COUNTS}
    prevalence = results.get('prevalence')
    baselines = {'auprc': f'prevalence: {prevalence:.3f}'} if prevalence is not None else {}
    return section(
        'film',
        'Film level: is there an opacity?',
        reading(
            'AUROC is the chance that a film with an opacity gets a higher probability than one '
            'without; 0.5 is a coin. Sensitivity is the share of films with an opacity that were '
            'called positive, specificity that of the others called negative. A film is called '
            f'positive from a probability of {threshold_of(results, "film")} on.'
        ),
        *picture_row(pictures, ('roc', 'precision_recall')),
        *picture_row(pictures, ('scores', 'confusion')),
        _table_with_baselines(results, figures, _OF_FILM_BASELINES, baselines),
        note(_counts_text(film)),
    )


def calibration(results: dict, pictures: Pictures) -> Section:
    """Can a probability be taken at its word?"""
    content = part_of(results, 'calibration')
    before, after = content.get('before') or {}, content.get('after') or {}
    parts = []
    if before:
        rows = {name: (before[name], after.get(name)) for name in before}
        parts.append(figures_table(('figure', 'before scaling', 'after scaling'), rows))
    if content.get('temperature') is None:
        parts.append(undefined_note('Temperature', content))
    else:
        parts.append(
            note(
                f'Temperature {content["temperature"]:.3f}, fitted on '
                f'{number(content.get("num_films") or 0)} validation films. Over 1: the '
                'probabilities had been too sure; under 1: too cautious.'
            )
        )
    recalibration = results.get('recalibration')
    return section(
        'calibration',
        'Calibration: can a probability be taken at its word?',
        reading(
            'Of films with a probability of 0.8, eight in ten should show an opacity: then the '
            'points lie on the dotted line. The calibration error is their mean distance from it, '
            'each point counting by its films.'
        ),
        *picture_row(pictures, ('reliability',), *parts),
        *(_recalibration(recalibration) if recalibration else ()),
    )


def operating_points(results: dict, pictures: Pictures) -> Section:
    """What does each threshold cost?"""
    points = part_of(results, 'operating_points')
    names = ('sensitivity', 'specificity', 'ppv', 'npv')
    projected = next((p['projected'] for p in points.values() if p.get('projected')), None)
    header = ['chosen by', 'threshold', *map(figure_title, names)]
    if projected:
        told = percent(projected['prevalence'])
        header += [f'PPV at {told}', f'NPV at {told}']
    rows, missing = [], []
    for name, point in points.items():
        title = _POINT_TITLES.get(name, name.replace('_', ' '))
        if point.get('threshold') is None:
            missing.append(undefined_note(title, point))
            continue
        row = [title, f'{point["threshold"]:.4f}', *(figure_cell(point.get(n)) for n in names)]
        if projected:
            there = point.get('projected') or {}
            row += [figure_cell(there.get(n)) for n in ('ppv', 'npv')]
        rows.append(row)
    return section(
        'operating-points',
        'Operating points: what does each threshold cost?',
        reading(
            'Each threshold was chosen on validation films; here is what it does on these. PPV is '
            'the share of films called positive that are, NPV that of those called negative; both '
            f'hold for the prevalence of these films, {percent(results.get("prevalence"))}, and '
            'change with it.'
            + (' The last columns tell what they would be at another.' if projected else '')
        ),
        *([table(header, rows)] if rows else []),
        *(missing if points else [undefined_note('Operating points', None)]),
        element('h3', 'Leaving films to a human reader'),
        _abstention(results.get('abstention')),
    )


def boxes(results: dict, pictures: Pictures) -> Section:
    """Does it find the place?"""
    content = part_of(results, 'boxes')
    return section(
        'boxes',
        'Boxes: does it find the place?',
        reading(
            'The challenge mAP rewards boxes that overlap the true ones and punishes false and '
            'missing ones; the best entry of 2018 reached 0.25 on other films. The FROC curve '
            'tells which share of true boxes is hit, at what price in false boxes a film. '
            f'A box is drawn from a confidence of {threshold_of(results, "box")} on.'
        ),
        *picture_row(
            pictures,
            ('froc',),
            _table_with_baselines(results, content, _OF_BOX_BASELINES, {}),
            note(
                'Films of which boxes are known: '
                f'{number(results.get("num_films_with_known_boxes") or 0)} of '
                f'{number(results["num_films"])}. An IoU equal to a threshold of the challenge is '
                f'{"a" if content.get("inclusive_iou") else "no"} hit.'
            ),
        ),
    )


def mask(results: dict, pictures: Pictures) -> Section:
    """Does the mask cover the opacity?"""
    return section(
        'mask',
        'Mask: does it cover the opacity?',
        reading(
            'Most of a film is no opacity, so an empty mask is right nearly everywhere: read the '
            'pixel accuracy beside that baseline. IoU and Dice tell how far mask and boxes agree.'
        ),
        _table_with_baselines(results, part_of(results, 'mask'), _OF_MASK_BASELINES, {}),
    )


def extent(results: dict, pictures: Pictures) -> Section:
    """How much of the lungs?"""
    content = part_of(results, 'extent')
    figures = {name: (f,) for name, f in content.items() if isinstance(f, Mapping)}
    level = content.get('interval_level')
    told = 'Coverage is the share of films whose true extent lies in the interval that was given'
    told += f'; {percent_text(level)} were aimed at.' if level else '.'
    return section(
        'extent',
        'Opacity extent: how much of the lungs?',
        reading(
            'Opacity extent is the share of the estimated lung fields that is covered. Its truth '
            'comes from boxes that radiologists drew, which are larger than the opacity in '
            'them; it is no measure of how ill a person is.'
        ),
        *picture_row(pictures, ('extent', 'zones')),
        *(
            [
                figures_table(('figure', VALUE_HEADER), figures),
                note(f'{number(content.get("num_films") or 0)} films. {told}'),
            ]
            if figures
            else [undefined_note('Opacity extent', content)]
        ),
    )


def classes(results: dict, pictures: Pictures) -> Section:
    """Normal, not normal, opacity."""
    content = part_of(results, 'classes')
    figures = {n: (content[n],) for n in ('accuracy', 'balanced_accuracy') if n in content}
    return section(
        'classes',
        'Classes: what else is on the films?',
        reading(
            'Films without an opacity are normal, or show something else; the latter are the '
            'harder ones. A row is what the films are, a column what they were taken for.'
        ),
        *picture_row(
            pictures,
            ('class_confusion',),
            *(
                [
                    figures_table(('figure', VALUE_HEADER), figures),
                    note(f'Films of a known class: {number(content.get("num_films") or 0)}.'),
                ]
                if figures
                else [undefined_note('Figures of three classes', content)]
            ),
        ),
    )


def _table_with_baselines(results, figures, baselines, others):
    """Figures, and where there is one the trivial answer's beside it."""
    figures = {name: figure for name, figure in figures.items() if isinstance(figure, Mapping)}
    if not figures:
        return undefined_note('Figures', None)
    known = part_of(results, 'baselines')
    rows = {}
    for name, figure in figures.items():
        beside = others.get(name, '')
        if name in baselines:
            beside = f'{figure_title(baselines[name])}: {figure_cell(known.get(baselines[name]))}'
        rows[name] = (figure, beside)
    return figures_table(('figure', VALUE_HEADER, 'a trivial answer reaches'), rows)


def _counts_text(film):
    told = (f'{value_text(film.get(name))} {name.replace("_", " ")}' for name in _COUNTS)
    return f'Films: {", ".join(told)}.'


def _recalibration(content):
    before, after = content.get('before') or {}, content.get('after') or {}
    told = (
        f'Fitted on {number(content.get("num_films") or 0)} labelled films of the new site: '
        f'intercept {_plain(content.get("intercept"))}, slope {_plain(content.get("slope"))}, '
        f'threshold {_plain(content.get("threshold"))}.'
    )
    rows = {name: (before[name], after.get(name)) for name in before}
    return [
        element('h3', 'Recalibrated to a new site'),
        note(told),
        figures_table(('figure', 'before', 'after'), rows),
    ]


def _plain(value):
    return 'undefined' if value is None else f'{value:.3f}'


def _abstention(content):
    if not content or content.get('low') is None:
        return undefined_note('A region without an answer', content)
    error = figure_text(content.get('error'))
    if content['low'] >= content['high']:
        return element(
            'p',
            f'On validation films the wanted error of {content["wanted_error"]:.3f} was reached '
            f'without leaving any out. Here {error} of the films are called wrong.',
        )
    return element(
        'p',
        f'Where films with a probability from {content["low"]:.4f} to {content["high"]:.4f} get no '
        f'answer, {figure_text(content.get("abstained"))} of the films are left out, and of the '
        f'others {error} are called wrong. On validation films the wanted error was '
        f'{content["wanted_error"]:.3f}.',
    )
