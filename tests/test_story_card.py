"""The model card: a sentence stands there when the facts bear it out, and only then."""

import copy
import json
import re

import pytest

from pneumo_jax.story.card import card_markdown, card_parts, is_of_phantoms


def figure(value, low=None, high=None):
    return {'value': value, 'low': low, 'high': high}


TRAINING = {
    'name': 'run',
    'model': 'resnet18',
    'localizer': 'mask',
    'class_head': False,
    'parameters': 1234,
    'image_size': 256,
    'source': 'rsna',
    'fingerprint': 'f1',
    'protocol': 'person-grouped split',
    'weakly_labelled': False,
    'films': {
        'films': 700,
        'persons': 400,
        'positives': 200,
        'prevalence': 200 / 700,
        'boxes': 300,
        'views': {'AP': 300, 'PA': 400},
        'sexes': {},
        'label_domains': {},
    },
    'init': None,
    'best_epoch': 7,
    'epochs': 9,
    'planned_epochs': 20,
    'ending': 'stopped_early',
    'chosen_by': 'auroc',
    'chosen_value': 0.8123,
    'seconds': 5.0,
    'software': {'pneumo_jax': '9.8.7'},
}
EVALUATION = {
    'model': 'resnet18',
    'split': 'test',
    'protocol': 'person-grouped split',
    'persons_apart': True,
    'fingerprint': 'f1',
    'same_collection': True,
    'overlap': {'films': 0, 'persons': 0, 'unchecked': 0},
    'num_films': 150,
    'num_positive': 60,
    'num_films_with_known_boxes': 150,
    'num_persons': 90,
    'prevalence': 0.4,
    'label_domains': {'single_read': 150},
    'class_counts': {},
    'views': {'AP': 70, 'PA': 80},
    'sexes': {'F': 75, 'M': 75},
    'ages': {'known': 150, 'youngest': 4, 'oldest': 90, 'children': 40},
    'thresholds': {'film': 0.31, 'box': 0.2, 'film_chosen': True, 'box_chosen': True},
    'temperature': 1.2,
    'intervals': {'level': 0.95, 'method': 'bootstrap', 'unit': 'person', 'num_units': 90},
    'figures': {'auroc': figure(0.8, 0.7, 0.9)},
    'baselines': {'view_alone_auroc': figure(0.7, 0.6, 0.8)},
    'num_differences': 12,
    'differences': [],
    'warnings': [],
}
FACTS = {
    'schema': 1,
    'notice': 'Research software, not a medical device.',
    'name': 'run',
    'cross_validation': False,
    'trainings': [TRAINING],
    'members': [{'model': 'resnet18', 'epoch': 7, 'params_sha256': 'abc', 'init': None}],
    'evaluation': EVALUATION,
}


def changed(**changes):
    """The facts with these, by the path of their keys."""
    facts = copy.deepcopy(FACTS)
    for path, value in changes.items():
        *parents, name = path.split('__')
        place = facts
        for key in parents:
            place = place[key]
            place = place[0] if isinstance(place, list) else place
        place[name] = value
    return facts


def text_of(facts):
    return '\n'.join(sentence for part in card_parts(facts) for sentence in part.sentences)


DIFFERENCE = {
    'division': 'sex',
    'between': ['F', 'M'],
    'num_films': [75, 75],
    'figure': 'sensitivity',
    **figure(0.2, 0.1, 0.3),
}
CARD = {'saw': ['NIH ChestX-ray14'], 'file': 'README.md'}


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'trainings__source': 'phantom'}, 'Learned from drawn phantoms, of no use on patients.'),
        ({'trainings__source': 'phantom'}, 'No film shows a person: all are drawn.'),
        ({'trainings__source': 'csv'}, 'of which collection is not recorded'),
        ({'trainings__weakly_labelled': True}, 'Weakly labelled films taught the network'),
        ({'trainings__ending': 'open'}, 'is not at its end'),
        ({'trainings__films': None}, 'not at hand any more'),
        ({'trainings__parameters': None}, 'number of parameters unknown'),
        ({'trainings__class_head': True}, 'probabilities of the three classes'),
        (
            {'trainings__init': {'origin': 'keras', 'sha256': 'b1', 'card': CARD}},
            'keras weights, SHA-256 b1; their card (README.md) says that they saw NIH ChestX-ray14',
        ),
        (
            {'trainings__init': {'origin': 'keras', 'sha256': 'b1', 'card': None}},
            'no card tells what they saw',
        ),
        ({'trainings__best_epoch': 8}, 'the best epoch by now is 8: evaluate anew'),
        ({'evaluation': None}, 'It was not evaluated'),
        ({'evaluation__views': {'AP': 150}}, 'No PA film was evaluated: out of scope.'),
        ({'evaluation__views': {'unknown': 150}}, 'The view is not known of any film'),
        ({'evaluation__sexes': {'unknown': 150}}, 'The sex is not known of any film'),
        (
            {
                'evaluation__ages': {
                    'known': 0, 'youngest': None, 'oldest': None, 'children': 0
                }
            },
            'No age is known',
        ),
        (
            {
                'evaluation__ages': {
                    'known': 9, 'youngest': 20, 'oldest': 80, 'children': 0
                }
            },
            'under 18 that were evaluated: 0, too few',
        ),
        (
            {'evaluation__differences': [DIFFERENCE]},
            'Sex: sensitivity, female minus male, is 0.200 (0.10 to 0.30), of 75 and 75 films',
        ),
        ({'evaluation__same_collection': False}, 'The shards are others than those of training'),
        ({'evaluation__overlap': None}, 'Split test: 150 films'),
        (
            {'evaluation__overlap': {'films': 3, 'persons': 2, 'unchecked': 0}},
            '3 of the films were learned from, and 2 are of persons',
        ),
        (
            {'evaluation__overlap': {'films': 0, 'persons': 0, 'unchecked': 1}},
            'could not be checked',
        ),
        ({'evaluation__label_domains': {'unknown': 150}}, 'Nothing is known of who read the films'),
        ({'evaluation__warnings': [{'code': 'x', 'message': 'Beware!'}]}, 'Beware!'),
        (
            {'evaluation__thresholds__box_chosen': False},
            'A box is drawn from 0.2000 on; validation films could not decide',
        ),
        ({'evaluation__thresholds__box': None}, 'A box is drawn never'),
    ],
)  # fmt: skip
def test_a_sentence_appears_with_its_fact_and_not_without(changes, sentence):
    with_it = text_of(changed(**changes))
    assert sentence in with_it
    if sentence != 'Split test: 150 films':
        assert sentence not in text_of(FACTS)


@pytest.mark.parametrize(
    ('sentence', 'changes'),
    [
        ('No external evaluation', {'evaluation__same_collection': False}),
        ('No external evaluation', {'evaluation__same_collection': None}),
        ('None of the films was learned from', {'evaluation__overlap': None}),
        ('Films are of persons', {'trainings__source': 'csv'}),
        ('For research on finding lung opacities', {'trainings__source': 'phantom'}),
        ('of 90 persons', {'evaluation__num_persons': None}),
        ('12 differences between groups', {'evaluation__num_differences': 0}),
        ("chosen by Youden's index", {'evaluation__thresholds__film_chosen': False}),
        ('the best by the validation figure AUROC (0.8123)', {'trainings__best_epoch': None}),
    ],
)
def test_a_sentence_goes_with_its_fact(sentence, changes):
    assert sentence in text_of(FACTS)
    assert sentence not in text_of(changed(**changes))


def test_the_card_has_the_parts_of_the_paper_and_the_figures_beside_what_is_trivial():
    parts = card_parts(FACTS)
    assert [part.title for part in parts] == [
        'Model details',
        'Intended use',
        'Factors',
        'Metrics',
        'Evaluation data',
        'Training data',
        'Quantitative analyses',
        'Ethical considerations',
        'Caveats and recommendations',
    ]
    rows = {row[0]: row[1:] for row in parts[6].rows}
    assert rows['AUROC'] == ('0.800 (0.70 to 0.90)', 'view alone: 0.700 (0.60 to 0.80)')
    assert '| AUROC | 0.800 (0.70 to 0.90) |' in card_markdown(FACTS, parts)


def test_a_card_without_any_training_says_so():
    facts = changed(trainings=[], evaluation__same_collection=None)
    assert 'Not recorded in this folder' in text_of(facts)
    assert 'Evaluated: resnet18, epoch 7' in text_of(facts)
    # Nothing is known, so nothing is claimed.
    assert not is_of_phantoms(facts)


def test_no_text_of_the_data_is_markdown_or_html():
    evil = '<script>x</script> | $a$ `b` [c](http://d) \n# e'
    facts = json.loads(json.dumps(FACTS).replace('resnet18', json.dumps(evil)[1:-1]))
    text = card_markdown(facts, card_parts(facts))
    assert '<' not in text and '\n# e' not in text and not re.search(r'(?<!\\)[]$`]', text)
    assert '&lt;script&gt;x&lt;/script&gt; \\| \\$a\\$ \\`b\\` \\[c\\](http://d) \\# e' in text
