"""The sections on what tables and headers tell; each says in a sentence how it is to be read.

Each takes the exploration, the pictures by name and the films to look at, and is None where nothing
is known of its matter.
"""

from __future__ import annotations

import collections

from data_prep.exploration.balance import LARGE_DIFFERENCE, TRAITS
from data_prep.exploration.box_charts import domain_title
from data_prep.exploration.films import CLASS_TITLES, printable
from data_prep.exploration.groups import GROUPINGS
from data_prep.exploration.label_charts import person_counts
from data_prep.exploration.sections import narrow, percent_figure, wide
from pneumo_jax.evaluation.page.elements import figure_cell
from pneumo_jax.evaluation.text import figure_text
from pneumo_jax.pages.parts import element, note, number, percent, section
from pneumo_jax.pages.pictures import picture_row, reading

__all__ = [
    'boxes',
    'classes',
    'groups',
    'making',
    'persons',
    'rejected',
    'spacings',
    'splits',
]

_SHOWN_REJECTIONS = 100
_BASELINES = {
    'all_negative_accuracy': (
        'accuracy of the answer "no opacity" to every film',
        'An accuracy below this is worse than not looking at the films.',
    ),
    'view_alone_auroc': (
        'AUROC of knowing the view, AP or PA, and no film',
        'What a model gains by learning how films are taken; report AP and PA apart.',
    ),
    'all_background_pixel_accuracy': (
        'pixel accuracy of an empty mask',
        'Most of a film is in no box, so nearly every mask scores high.',
    ),
}


def classes(exploration, pictures, rows):
    """How many films are of each class, and what that means for accuracy."""
    figures = exploration.figures
    if 'classes' not in figures:
        return None
    prevalence = figures['prevalence']['value']
    baselines = [
        (title, figure_text(figures['baselines'][name]), why)
        for name, (title, why) in _BASELINES.items()
        if figures['baselines'][name]['value'] is not None
    ]
    return section(
        'classes',
        'Classes, and what they mean for accuracy',
        reading(
            f'{100 * prevalence:.1f} % of the films show an opacity. A model that never finds one '
            f'is right on the other {100 - 100 * prevalence:.1f} %: read every accuracy beside '
            'that, and AUPRC beside the prevalence, which is what chance reaches.'
        ),
        *picture_row(pictures, ('classes',)),
        wide(('class', 'share of the films', 'films'), [
            (CLASS_TITLES[name], percent_figure(row['share']), row['films'])
            for name, row in figures['classes'].items()
        ]),
        element('h3', 'Answers that need no film'),
        wide(('answer', 'reaches (95 % interval)', 'meaning'), baselines),
    )  # fmt: skip


def groups(exploration, pictures, rows):
    """Who the films are of, and how they were taken."""
    figures = exploration.figures
    if not figures.get('groups'):
        return None
    table_rows = [
        (
            GROUPINGS[name],
            printable(value),
            percent_figure(group['prevalence']),
            group['positives'],
            group['films'],
        )
        for name, values in figures['groups'].items()
        for value, group in values.items()
    ]
    header = ('by', 'value', 'with an opacity', 'films with one', 'films')
    area = figures['baselines']['view_alone_auroc']
    shortcut = []
    if area['value'] is not None:
        shortcut = [
            element('h3', 'The view as a shortcut'),
            element(
                'p',
                f'The view alone has an AUROC of {figure_text(area)}. Who is too ill to stand is '
                'filmed lying or sitting, from the front (AP); a model can learn that in place of '
                'the disease, and fails where films are taken otherwise.',
                class_='reading',
            ),
        ]
    return section(
        'groups',
        'Persons and views',
        reading(
            'On the left the classes of the films of each group, on the right how many of them '
            'show an opacity; the dotted line is that of all films. Where the squares differ, a '
            'model can guess from the group.'
        ),
        *picture_row(pictures, ('groups',), wide=True),
        *shortcut,
        *picture_row(pictures, ('ages',)),
        element('details', element('summary', 'The same as a table'), wide(header, table_rows)),
    )


def boxes(exploration, pictures, rows):
    """How many boxes there are, how large they are and where they lie."""
    figures = exploration.figures['audit']['boxes']
    if not figures['boxes']:
        return None
    notes = [
        f'Films with overlapping boxes: {number(figures["films_with_overlap"])}.',
        f'Films with an opacity and no box: {number(figures["positives_without_boxes"])}.',
    ]
    if figures['films_of_known_size']:
        notes.append(
            f'Films with boxes on both halves: {number(figures["films_on_both_halves"])} of '
            f'{number(figures["films_of_known_size"])}.'
        )
    if exploration.films.sizes_assumed:
        notes.append(
            'Films that were not read are taken to be of 1,024 x 1,024 pixels, as all of the '
            'challenge are.'
        )
    areas = exploration.figures['box_areas']
    compared = [
        (domain_title(domain), _area(row['median']), row['boxes']) for domain, row in areas.items()
    ]
    return section(
        'boxes',
        'Boxes',
        reading(
            'A box is a radiologist\'s mark of an opacity, larger than the opacity itself. Thin '
            'upright lines are medians. Readers differ: where label domains have other sizes, no '
            'one size is the truth.'
        ),
        *picture_row(pictures, ('box_counts',), narrow(
            ('label domain', 'median area, px² (95 % interval)', 'boxes'), compared
        ), note(' '.join(notes))),
        *picture_row(pictures, ('box_sizes',), wide=True),
        *([element('h3', 'Where boxes lie')] if 'box_positions' in pictures else []),
        *([reading(
            'The person\'s right lung is on the left. What differs from its mirror image is the '
            'heart\'s place, or a habit of the readers; mirrored training films blur it.'
        )] if 'box_positions' in pictures else []),
        *picture_row(pictures, ('box_positions',), wide=True),
    )  # fmt: skip


def persons(exploration, pictures, rows):
    """How many films persons have."""
    if 'persons' not in pictures:
        return None
    figures = exploration.figures['audit']['persons']
    counts = person_counts(exploration.films)
    several = sum(films for title, (_, films) in counts.items() if title != '1')
    known = sum(films for _, films in counts.values())
    return section(
        'persons',
        'Films of a person',
        reading(
            f'{percent(several / known)} of the films are of persons with several. Films of a '
            'person resemble each other: a split must keep them together, or remembering persons '
            'passes for skill.'
        ),
        *picture_row(pictures, ('persons',), wide=True),
        note(
            f'Films a person: median {figures["films_per_person_median"] or 0:g}, at most '
            f'{number(figures["films_per_person_max"] or 0)}. Labelled films without a known '
            f'person: {number(figures["films_without_person"])}.'
        ),
    )


def spacings(exploration, pictures, rows):
    """How large a pixel is."""
    if 'spacings' not in pictures:
        return None
    return section(
        'spacings',
        'Pixel spacing',
        reading(
            'How many millimetres a pixel is wide. A class with other spacings is a class of other '
            'machines, which a model may learn in place of the disease.'
        ),
        *picture_row(pictures, ('spacings',)),
    )


def splits(exploration, pictures, rows):
    """Do train, validation and test agree?"""
    balance = exploration.balance
    if not balance:
        return None
    names = list(balance['splits'])
    first = names[0]
    header = ('', *names, *(f'{name} minus {first}, standardised' for name in names[1:]))
    traits = list(balance['splits'][first]['traits'])
    differences = balance['differences']
    counts = [
        (what, *(number(balance['splits'][name][what]) for name in names), *[''] * len(differences))
        for what in ('films', 'persons')
    ]
    compared = [
        (
            ', '.join(filter(None, TRAITS[trait])),
            *(figure_cell(balance['splits'][n]['traits'][trait], digits=1) for n in names),
            *(figure_cell(of_split[trait], digits=2) for of_split in differences.values()),
        )
        for trait in traits
    ]
    return section(
        'splits',
        'Do the splits agree?',
        reading(
            f'{_sentence(exploration.films.protocol)} The last columns are standardised '
            f'differences to {first}: from {LARGE_DIFFERENCE} on (bold) splits are usually called '
            'unlike. An interval on both sides of 0 leaves open that chance did it; all the same a '
            'threshold chosen on one may not suit the other.'
        ),
        element('p', agreement(balance), class_='reading', id='agreement'),
        *picture_row(pictures, ('split_differences',), wide=True),
        _mark_large(wide(header, counts + compared), traits, differences),
        note(
            f'Persons in two splits: {number(balance["persons_in_two_splits"])}. Films whose very '
            f'pixels are in two splits: {number(balance["equal_films_in_two_splits"])}.'
        ),
    )


def agreement(balance: dict) -> str:
    """Whether the splits agree, in a sentence."""
    large = [
        (name, trait, figure)
        for name, differences in balance['differences'].items()
        for trait, figure in differences.items()
        if _is_large(figure)
    ]
    sure = [
        f'{TRAITS[trait][0]} ({name})'
        for name, trait, figure in large
        if figure['low'] is not None and (figure['low'] > 0 or figure['high'] < 0)
    ]
    if sure:
        return f'The splits differ by more than chance explains in: {", ".join(sure)}.'
    if large:
        told = ', '.join(f'{TRAITS[trait][0]} ({name})' for name, trait, _ in large)
        return f'The splits differ no more than chance explains, yet not a little in: {told}.'
    return 'The splits agree.'


def rejected(exploration, pictures, rows):
    """What cannot be used, and why."""
    found = exploration.films.rejected
    if not found:
        return None
    counts = collections.Counter(rejection.code for rejection in found)
    listed = sorted(found, key=lambda rejection: (rejection.code, rejection.patient_id))
    shown = [(r.code, printable(r.patient_id), r.message) for r in listed[:_SHOWN_REJECTIONS]]
    left = len(listed) - len(shown)
    return section(
        'rejected',
        'Films that cannot be used',
        narrow(('reason', 'films'), counts.most_common()),
        element(
            'details',
            element('summary', 'Which, and why'),
            wide(('reason', 'film', 'in words'), shown),
            *([note(f'and {number(left)} more in tables/rejected.csv')] if left > 0 else []),
        ),
    )


def making(exploration, pictures, rows):
    """How this was made."""
    films = exploration.films
    facts = [
        f'Labelled films without a file: {number(films.missing)}.' if films.missing else '',
        f'Films without a label: {number(exploration.figures["unlabelled"])}.'
        if exploration.figures['unlabelled']
        else '',
    ]
    return section(
        'making',
        'How it was made',
        element(
            'p',
            f'{films.origin} {" ".join(filter(None, facts))} Intervals: 2,000 draws of persons '
            'with replacement, each with all its films, bias-corrected and accelerated. A film of '
            'an unknown person counts as a person. Pictures lie in pictures/, all figures as CSV '
            'in tables/ and as exploration.json.',
        ),
    )


def _sentence(text):
    text = text.strip().rstrip('.')
    return f'{text[:1].upper()}{text[1:]}.'


def _area(figure):
    if figure['low'] is None:
        return number(figure['value'])
    return f'{number(figure["value"])} ({number(figure["low"])} to {number(figure["high"])})'


def _is_large(figure):
    return figure['value'] is not None and abs(figure['value']) >= LARGE_DIFFERENCE


def _mark_large(made, traits, differences):
    """Marks the cells of large differences in the table of ``splits``."""
    lines = made.findall('table/tbody/tr')[-len(traits) :]
    for line, trait in zip(lines, traits, strict=True):
        cells = line.findall('td')[-len(differences) :]
        for cell, of_split in zip(cells, differences.values(), strict=True):
            if _is_large(of_split[trait]):
                cell.set('class', f'{cell.get("class")} large')
    return made
