import copy

import pytest

from pneumo_jax.evaluation.cautions import cautions

FIGURE = {'value': 0.1, 'low': 0.0, 'high': 0.2}
CONTENT = {
    'split': 'test',
    'persons_apart': True,
    'num_rejected': 0,
    'num_films': 400,
    'num_positive': 100,
    'num_persons': 300,
    'members': [{'model': 'resnet18', 'init': None}],
    'thresholds': {'film': 0.4, 'box': 0.2, 'film_chosen': True, 'box_chosen': True},
    'calibration': {'num_films': 90},
    'shortcut': {
        'within_view_auroc': FIGURE,
        'auroc_explained_by_view': FIGURE,
        'score_variance_explained_by_view': FIGURE,
    },
}
OVERLAP = {'films': 0, 'persons': 0, 'unchecked': 0}


def codes(overlap=OVERLAP, **changes):
    content = copy.deepcopy(CONTENT)
    for path, value in changes.items():
        *outer, name = path.split('__')
        part = content
        for key in outer:
            part = part[key]
        part[name] = value
    return [caution['code'] for caution in cautions(content, overlap)]


def test_clean_films_need_no_warning():
    assert codes() == []
    # Nothing is known of a folder's division, and nothing was divided.
    assert codes(persons_apart=None) == []


@pytest.mark.parametrize(
    ('code', 'changes'),
    [
        ('trained_on', {'split': 'train'}),
        ('chosen_on_these', {'split': 'validation'}),
        ('films_in_training', {'overlap': OVERLAP | {'films': 3}}),
        ('persons_on_both_sides', {'overlap': OVERLAP | {'persons': 3}}),
        ('training_films_unknown', {'overlap': OVERLAP | {'unchecked': 1}}),
        ('image_level_split', {'persons_apart': False}),
        ('persons_unknown', {'num_persons': None}),
        ('no_validation', {'calibration__num_films': 0}),
        ('film_threshold_not_chosen', {'thresholds__film_chosen': False}),
        ('box_threshold_not_chosen', {'thresholds__box_chosen': False}),
        ('view_explains_most', {'shortcut__auroc_explained_by_view': {'value': 0.5}}),
        ('view_explains_most', {'shortcut__score_variance_explained_by_view': {'value': 0.9}}),
        ('few_films_with_opacity', {'num_positive': 29}),
        ('few_films_without_opacity', {'num_positive': 371}),
        ('rejected_films', {'num_rejected': 1}),
    ],
)
def test_each_danger_has_its_warning(code, changes):
    assert codes(**changes) == [code]


def test_an_undefined_share_of_the_view_is_no_warning():
    assert codes(shortcut__auroc_explained_by_view={'value': None}) == []


def test_films_of_training_are_not_told_twice():
    assert codes(OVERLAP | {'films': 400, 'persons': 9}, split='train') == ['trained_on']


def test_weights_are_flagged_once_for_all_members_that_share_them():
    card = {'saw': ['NIH ChestX-ray14'], 'file': 'README.md'}
    member = {'model': 'vgg19', 'init': {'card': card}}
    silent = {'model': 'vgg19', 'init': {'card': {'saw': [], 'file': 'README.md'}}}
    assert codes(members=[member, member]) == ['weights_saw_films']
    assert codes(members=[silent]) == []
    assert codes(members=[{'model': 'vgg19', 'init': {'card': None}}]) == []
