"""What a reader must know before believing the figures, a sentence each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from pneumo_jax.pretrained.cards import Card, seen_warning

__all__ = ['caution', 'cautions']

# Share of the score, or of the AUROC above chance, from which on the view explains most of it.
_MOST = 0.5
# Fewer films of a class: intervals are rough, whatever the method.
_FEW = 30


def caution(code: str, message: str) -> dict[str, str]:
    """An entry of ``warnings`` in results.json."""
    return {'code': code, 'message': message}


def cautions(content: Mapping, overlap: Mapping | None) -> Iterator[dict[str, str]]:
    """What the figures themselves call for, the gravest first.

    Args:
        content: of results.json, so far.
        overlap: fields of ``overlap.Overlap``; None where nothing was compared.
    """
    yield from _known_films(content, overlap)
    yield from _seen_weights(content['members'])
    yield from _divided_films(content)
    yield from _choices(content)
    yield from _view(content['shortcut'])
    yield from _numbers(content)


def _known_films(content, overlap):
    split = content['split']
    if split == 'train':
        yield caution('trained_on', 'These are the films that the model learned from.')
    elif overlap is not None and overlap['films']:
        yield caution(
            'films_in_training',
            f'{overlap["films"]} of the {content["num_films"]} films were in the training data '
            'of the model: figures are too good. Evaluate on films that no member learned from.',
        )
    if split != 'train' and overlap is not None and overlap['persons']:
        yield caution(
            'persons_on_both_sides',
            f'{overlap["persons"]} of the {content["num_films"]} films are of persons of whom the '
            'model learned from other films. Remembering persons alone reaches an AUROC of 0.73 on '
            "RSNA's data: figures are too good. Judge films of other persons, or train on shards "
            'that were converted with --person_csv.',
        )
    if overlap is not None and overlap['unchecked']:
        yield caution(
            'training_films_unknown',
            f'The training films of {overlap["unchecked"]} of {len(content["members"])} models are '
            'not at hand: whether films or persons of this evaluation were among them is unknown.',
        )
    if split == 'validation':
        yield caution(
            'chosen_on_these',
            'The best epoch and the thresholds were chosen on these films: figures are too good.',
        )


def _seen_weights(members):
    """A guard: RSNA's films are NIH ChestX-ray14's, which weights may have been trained on."""
    told = set()
    for member in members:
        card = (member['init'] or {}).get('card')
        if card and (warning := seen_warning(Card.from_json(card))) and warning not in told:
            told.add(warning)
            yield caution('weights_saw_films', f'{member["model"]}: {warning}.')


def _divided_films(content):
    if content['persons_apart'] is False:
        yield caution(
            'image_level_split',
            'Image-level split: persons were not kept apart, so that a person may be in training '
            'and here, and figures may be too good.',
        )
    if not content['num_persons']:
        yield caution(
            'persons_unknown',
            'No person is known: intervals take films as independent and are too narrow if '
            'persons have several.',
        )


def _choices(content):
    if content['calibration']['num_films'] == 0:
        yield caution(
            'no_validation',
            'No validation films are at hand: temperature, operating points, abstention and the '
            'reference of opacity extents are undefined.',
        )
    reasons = {'film': 'validation has films of one class only', 'box': 'no box hit on validation'}
    for name, reason in reasons.items():
        if not content['thresholds'][f'{name}_chosen']:
            yield caution(
                f'{name}_threshold_not_chosen',
                f'The {name} threshold could not be chosen, since {reason}; it is '
                f'{content["thresholds"][name]:g}.',
            )


def _view(shortcut):
    explained = {
        'the AUROC above chance': shortcut['auroc_explained_by_view']['value'],
        "the variance of the score's logit": shortcut['score_variance_explained_by_view']['value'],
    }
    most = [
        f'{value:.0%} of {what}'
        for what, value in explained.items()
        if value is not None and math.isfinite(value) and value >= _MOST
    ]
    if most:
        yield caution(
            'view_explains_most',
            f'The view alone (AP or PA) explains {" and ".join(most)}: the model may have learned '
            'how a film was taken rather than what is on it. Read the figures of each view.',
        )


def _numbers(content):
    if rejected := content['num_rejected']:
        yield caution(
            'rejected_films', f'{rejected} files could not be used and are in no figure here.'
        )
    positive = content['num_positive']
    for films, what in ((positive, 'with'), (content['num_films'] - positive, 'without')):
        if films < _FEW:
            yield caution(
                f'few_films_{what}_opacity',
                f'There are only {films} films {what} an opacity: figures of them are rough, and '
                'so are their intervals.',
            )
