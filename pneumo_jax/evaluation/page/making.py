"""The last sections of an evaluation's page: films to look at, and how all was made."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from pneumo_jax.evaluation.page.elements import threshold_of
from pneumo_jax.evaluation.pictures.forest import group_title
from pneumo_jax.evaluation.text import part_of
from pneumo_jax.pages.films import FilmRow, film_row
from pneumo_jax.pages.parts import element, note, number, section, table

__all__ = ['film_examples', 'making']


def film_examples(grid: Sequence[FilmRow]) -> ElementTree.Element:
    """Films to look at, with what was found on them."""
    key = element(
        'p',
        'Boxes:',
        element('i', class_='truth'),
        ' what radiologists marked,',
        element('i', class_='prediction'),
        ' what the model drew. p is the probability of an opacity; the score is that of the '
        'challenge, 1 where all boxes fit.',
        class_='soft key',
    )
    rows = [film_row(row) for row in grid]
    return section('films', 'Films', key, *(rows or [note('No film was drawn.')]))


def making(results: dict) -> ElementTree.Element:
    """What one must know to make the figures again."""
    intervals, counts = part_of(results, 'intervals'), part_of(results, 'class_counts')
    rows = [
        ('split', str(results.get('split') or 'unknown')),
        ('protocol', str(results.get('protocol') or 'unknown')),
        ('fingerprint of the data', str(results.get('data_fingerprint') or 'unknown')),
        ('threshold of films', _threshold_text(results, 'film')),
        ('threshold of boxes', _threshold_text(results, 'box')),
        (
            'intervals',
            f'{intervals.get("method", "unknown")}; {number(intervals.get("draws") or 0)} draws, '
            f'{number(intervals.get("num_units") or 0)} {intervals.get("unit", "unit")}s',
        ),
    ]
    if counts:
        told = (f'{number(n)} {group_title(name)}' for name, n in counts.items() if n)
        rows.append(('films by class', '; '.join(told)))
    if overlap := results.get('overlap'):
        rows.append(('seen in training', _overlap_text(overlap)))
    for i, member in enumerate(results.get('members') or (), 1):
        rows.append((f'model {i}', _member_text(member)))
        rows.append((f'initial weights of model {i}', _init_text(member.get('init'))))
    return section('making', 'How the figures were made', table(('what', 'how'), rows))


def _threshold_text(results, name):
    chosen = part_of(results, 'thresholds').get(f'{name}_chosen')
    why = 'chosen on validation films' if chosen else 'not chosen: validation had too little'
    return f'{threshold_of(results, name)} ({why})'


def _overlap_text(overlap):
    told = f'{number(overlap["films"])} films, and {number(overlap["persons"])} of the same persons'
    unchecked = overlap['unchecked']
    return told + (f'; not known of {number(unchecked)} models' if unchecked else '')


def _member_text(member):
    return (
        f'{member.get("model", "unknown")}, epoch {member.get("epoch", "unknown")}, step '
        f'{member.get("step", "unknown")}, SHA-256 of its parameters '
        f'{member.get("params_sha256", "unknown")}'
    )


def _init_text(init):
    if not init:
        return 'from scratch'
    text = f'{init.get("origin", "unknown")}, SHA-256 {init.get("sha256", "unknown")}'
    card = init.get('card')
    if card:
        text += f'; its card ({card.get("file", "unknown")}) says it saw {", ".join(card["saw"])}'
    return text
