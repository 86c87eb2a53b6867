"""The model card, after Mitchell et al. 2019: sentences that the facts bear out, and no others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from pneumo_jax.data.example import OLDEST_AGE
from pneumo_jax.evaluation.pictures.forest import STRATUM_TITLES, difference_title
from pneumo_jax.evaluation.text import figure_text, figure_title
from pneumo_jax.pages.markdown import escaped, markdown_table
from pneumo_jax.pages.parts import number, percent
from pneumo_jax.story.card_facts import HEAD_FIGURES
from pneumo_jax.story.wording import (
    counted,
    films_text,
    init_text,
    listed,
    localizer_text,
    source_text,
)

__all__ = [
    'FIGURES_HEADER',
    'PHANTOMS',
    'CardPart',
    'card_markdown',
    'card_parts',
    'is_of_phantoms',
    'stale_texts',
]

PHANTOMS = 'Learned from drawn phantoms, of no use on patients.'

# Fewer films of a kind tell nothing of it.
_FEW = 30

FIGURES_HEADER = ('figure', 'value (95 % interval)', 'a trivial answer reaches')


@dataclasses.dataclass(frozen=True)
class CardPart:
    """A part of the card.

    Attributes:
        title: as the paper has it.
        sentences: each stands alone.
        rows: of the table of figures (``FIGURES_HEADER``); () for none.
    """

    title: str
    sentences: Sequence[str]
    rows: Sequence[Sequence[str]] = ()


def card_parts(facts: Mapping) -> list[CardPart]:
    """The card's nine parts.

    Args:
        facts: of ``card_facts.card_facts``.
    """
    evaluation = facts['evaluation']
    return [
        CardPart('Model details', list(_details(facts))),
        CardPart('Intended use', list(_use(facts))),
        CardPart('Factors', list(_factors(evaluation))),
        CardPart('Metrics', list(_metrics(evaluation))),
        CardPart('Evaluation data', list(_evaluation_data(facts))),
        CardPart('Training data', list(_training_data(facts))),
        CardPart('Quantitative analyses', list(_analyses(evaluation)), _figure_rows(evaluation)),
        CardPart('Ethical considerations', list(_ethics(facts))),
        CardPart('Caveats and recommendations', list(_caveats(facts))),
    ]


def card_markdown(facts: Mapping, parts: Sequence[CardPart]) -> str:
    """The card as Markdown; texts of the data are escaped."""
    blocks = [f'# Model card: {escaped(facts["name"])}', f'**{escaped(facts["notice"])}**']
    for part in parts:
        blocks.append(f'## {part.title}')
        if part.sentences:
            blocks.append('\n'.join(f'- {escaped(sentence)}' for sentence in part.sentences))
        if part.rows:
            blocks.append(markdown_table(FIGURES_HEADER, part.rows))
    return '\n\n'.join(blocks) + '\n'


def is_of_phantoms(facts: Mapping) -> bool:
    """Whether all that was learned from is drawn."""
    sources = {training['source'] for training in facts['trainings']}
    return sources == {'phantom'}


def stale_texts(facts: Mapping) -> Iterator[str]:
    """Where an evaluation is of other epochs than those that are the best by now."""
    members, trainings = facts['members'], facts['trainings']
    if len(members) != len(trainings):
        return
    for member, training in zip(members, trainings, strict=True):
        if training['best_epoch'] != member.get('epoch'):
            yield (
                f'The evaluation of {training["name"]} is of epoch {member.get("epoch")}, and the '
                f'best epoch by now is {training["best_epoch"]}: evaluate anew.'
            )


def _details(facts) -> Iterator[str]:
    trainings, members = facts['trainings'], facts['members']
    if facts['cross_validation']:
        yield f'{len(trainings)} models, one for each fold of a cross-validation.'
    for text in _each(trainings, _network_text):
        yield text
    for text in _each(trainings, lambda one: f'Training started from {init_text(one["init"])}.'):
        yield text
    for training in trainings:
        if training['best_epoch']:
            whose = f'{training["name"]}: the' if facts['cross_validation'] else 'The'
            yield (
                f'{whose} parameters are those after epoch {training["best_epoch"]} of '
                f'{training["epochs"]}, the best by the validation figure '
                f'{figure_title(training["chosen_by"])} ({training["chosen_value"]:.4f}).'
            )
        if training['ending'] == 'open':
            yield f'The training of {training["name"]} is not at its end.'
    if not trainings and members:
        yield f'What was evaluated: {facts["evaluation"]["model"]}.'
    for member in members:
        yield (
            f'Evaluated: {member.get("model")}, epoch {member.get("epoch")}, parameters of '
            f'SHA-256 {member.get("params_sha256", "unknown")}'
            + ('.' if trainings else f'; training started from {init_text(member.get("init"))}.')
        )
    versions = {one['software'].get('pneumo_jax') for one in trainings} - {None}
    if versions:
        yield f'Made with pneumo_jax {listed(sorted(versions))}.'


def _use(facts) -> Iterator[str]:
    if is_of_phantoms(facts):
        yield f'{PHANTOMS} It shows that the software works.'
    else:
        yield (
            'For research on finding lung opacities on frontal chest films: a probability for '
            'each film, and boxes.'
        )
    yield (
        'Out of scope: diagnosis and any other clinical decision. It is not approved for, tested '
        'for, or to be used for them.'
    )
    evaluation = facts['evaluation']
    if evaluation is None:
        yield 'It was not evaluated: nothing is known of how well it does, so it is of no use yet.'
        return
    views = {view for view, n in evaluation['views'].items() if n and view != 'unknown'}
    if views and (missing := {'AP', 'PA'} - views):
        yield f'No {listed(sorted(missing))} film was evaluated: out of scope.'
    ages = evaluation['ages']
    if ages['known'] and ages['children'] < _FEW:
        yield (
            f'Films of persons under 18 that were evaluated: {ages["children"]}, too few for '
            'children to be in scope.'
        )


def _factors(evaluation) -> Iterator[str]:
    if evaluation is None:
        return
    yield f'Films evaluated by view: {counted(evaluation["views"])}.'
    yield f'By sex: {counted(evaluation["sexes"])}.'
    ages = evaluation['ages']
    if ages['known']:
        yield (
            f'Ages from {ages["youngest"]} to {_oldest(ages["oldest"])} years, known of '
            f'{number(ages["known"])} films; {number(ages["children"])} are of persons under 18.'
        )
    else:
        yield 'Ages are not known.'
    for each in evaluation['differences']:
        yield (
            f'{STRATUM_TITLES.get(each["division"], each["division"])}: '
            f'{figure_title(each["figure"])}, {difference_title(each["between"])}, is '
            f'{figure_text(each)}, of {listed(map(number, each["num_films"]), once=False)} films; '
            'the interval excludes 0.'
        )
    if count := evaluation['num_differences']:
        yield (
            f'{number(count)} differences between groups were looked at, of which '
            f'{number(len(evaluation["differences"]))} have an interval that excludes 0; where '
            'there is none, one in twenty does by chance, and with few films a large one may not.'
        )


def _oldest(age):
    return f'{OLDEST_AGE} or more' if age >= OLDEST_AGE else age


def _metrics(evaluation) -> Iterator[str]:
    if evaluation is None:
        return
    yield (
        'AUROC, sensitivity, specificity and accuracy of films; for boxes the mean average '
        "precision of RSNA's challenge (IoU 0.40 to 0.75); calibration error (ECE)."
    )
    thresholds = evaluation['thresholds']
    for name, what in (('film', 'A film is called positive'), ('box', 'A box is drawn')):
        value = thresholds.get(name)
        if value is None:
            yield f'{what} never: no threshold was worth choosing on validation films.'
        elif thresholds.get(f'{name}_chosen', True):
            rule = "by Youden's index" if name == 'film' else 'for the highest challenge mAP'
            yield f'{what} from {value:.4f} on, chosen {rule} on validation films.'
        else:
            yield f'{what} from {value:.4f} on; validation films could not decide on a threshold.'
    intervals = evaluation['intervals'] or {}
    if intervals:
        yield (
            f'Intervals are of {percent(intervals["level"])}: {intervals["method"]}; '
            f'{number(intervals["num_units"])} {intervals["unit"]}s.'
        )


def _evaluation_data(facts) -> Iterator[str]:
    evaluation = facts['evaluation']
    if evaluation is None:
        yield 'None: the model was not evaluated.'
        return
    if evaluation['same_collection']:
        yield f'Source: {listed(source_text(one["source"]) for one in facts["trainings"])}.'
    elif evaluation['same_collection'] is False:
        yield (
            'The shards are others than those of training; whether the films come from elsewhere '
            'is not recorded.'
        )
    persons = evaluation['num_persons']
    yield (
        f'Split {evaluation["split"]}: '
        + films_text(*(evaluation[n] for n in ('num_films', 'num_positive', 'prevalence')))
        + (f', of {number(persons)} persons.' if persons else '; persons are not known.')
    )
    yield f'Protocol: {evaluation["protocol"]}.'
    if set(evaluation['label_domains'] or {}) - {'unknown'}:
        yield f'Labels: {counted(evaluation["label_domains"])}.'
    else:
        yield 'Nothing is known of who read the films.'
    overlap = evaluation['overlap']
    if overlap and overlap['unchecked']:
        yield 'Whether films or persons of it were learned from could not be checked.'
    elif overlap and not overlap['films'] and not overlap['persons']:
        yield 'None of the films was learned from, and no other film of a known person of theirs.'
    elif overlap:
        yield (
            f'{number(overlap["films"])} of the films were learned from, and '
            f'{number(overlap["persons"])} are of persons of whom other films were.'
        )
    yield f'Fingerprint of the data: {evaluation["fingerprint"]}.'


def _training_data(facts) -> Iterator[str]:
    if not facts['trainings']:
        yield 'Not recorded in this folder, but in those of the runs.'
        return
    for text in _each(facts['trainings'], lambda one: f'Source: {source_text(one["source"])}.'):
        yield text
    for training in facts['trainings']:
        films, whose = training['films'], ''
        if facts['cross_validation']:
            whose = f'{training["name"]}: '
        if films is None:
            yield f'{whose}the shards are not at hand any more, so that films are not counted here.'
            continue
        persons = films['persons']
        yield (
            whose
            + films_text(films['films'], films['positives'], films['prevalence'])
            + (f', of {number(persons)} persons' if persons else '')
            + f', with {number(films["boxes"])} boxes; by view: {counted(films["views"])}.'
        )
    # Those of the other folds say the same of other numbers.
    first = facts['trainings'][0]
    of = f' of {first["name"]}' if facts['cross_validation'] else ''
    yield f'Protocol{of}: {first["protocol"]}.'
    if any(training['weakly_labelled'] for training in facts['trainings']):
        yield 'Weakly labelled films taught the network too, through a head of their own.'
    for text in _each(
        facts['trainings'], lambda one: f'Fingerprint of the data: {one["fingerprint"]}.'
    ):
        yield text


def _analyses(evaluation) -> Iterator[str]:
    if evaluation is None:
        yield 'None: the model was not evaluated.'
        return
    yield (
        f'Of {evaluation["model"]} on the split {evaluation["split"]}. Figures mean little '
        'without their interval and what a trivial answer reaches.'
    )


def _figure_rows(evaluation):
    if evaluation is None:
        return ()
    rows = []
    for _, name, baseline in HEAD_FIGURES:
        beside = ''
        if baseline:
            told = figure_text(evaluation['baselines'].get(baseline))
            beside = f'{figure_title(baseline)}: {told}'
        rows.append((figure_title(name), figure_text(evaluation['figures'].get(name)), beside))
    return rows


def _ethics(facts) -> Iterator[str]:
    if is_of_phantoms(facts):
        yield 'No film shows a person: all are drawn.'
    elif {training['source'] for training in facts['trainings']} == {'rsna'}:
        yield 'Films are of persons; neither this card nor its page holds an id of one.'
    evaluation = facts['evaluation']
    if evaluation is None:
        return
    for what, counts in (('sex', evaluation['sexes']), ('view', evaluation['views'])):
        if set(counts) == {'unknown'}:
            yield f'The {what} is not known of any film: nothing can be said of fairness by it.'
    if not evaluation['ages']['known']:
        yield 'No age is known: nothing can be said of fairness by age.'


def _caveats(facts) -> Iterator[str]:
    evaluation = facts['evaluation']
    if is_of_phantoms(facts):
        yield PHANTOMS
    if evaluation is None:
        return
    if evaluation['same_collection']:
        yield (
            'No external evaluation: the films are of the collection that it learned from, and '
            'how it does elsewhere is not known.'
        )
    yield from stale_texts(facts)
    for warning in evaluation['warnings']:
        yield warning['message']
    yield (
        'PPV, NPV and accuracy hold at the prevalence of these films, '
        f'{percent(evaluation["prevalence"])}, and change with it.'
    )


def _network_text(training):
    parameters = training['parameters']
    size = f'{number(parameters)} parameters' if parameters else 'number of parameters unknown'
    classes = ', and probabilities of the three classes' if training['class_head'] else ''
    return (
        f'{training["model"]}, {size}, on grey pictures of {training["image_size"]} px: a '
        f'probability of a lung opacity, and {localizer_text(training["localizer"])}{classes}.'
    )


def _each(trainings, tell) -> list[str]:
    """What is told of every training, each sentence once."""
    return list(dict.fromkeys(tell(training) for training in trainings))
