import math
import re
import sys

import numpy as np
import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from configs import base, mobilenet, resnet, smoke, vgg19
from pneumo_jax import scoring
from pneumo_jax.config_checks import check_config
from pneumo_jax.errors import InputError

# What one config may not have, and what the message says: the field and its value, and a remedy.
REFUSED = {
    'seed-of-33-bits': ({'seed': 2**32}, 'config.seed=4294967296', '--config.seed=0'),
    'no-length': ({'num_epochs': 0}, 'config.num_epochs=0', '--config.num_epochs=25'),
    'nan': ({'learning_rate': math.nan}, 'learning_rate=nan', '--config.learning_rate=0.001'),
    'endless': ({'early_stopping.min_delta': math.inf}, 'min_delta=inf', 'min_delta=0.0'),
    'no-zoom': ({'augment.scale': 1.0}, 'augment.scale=1.0', '--config.augment.scale=0.1'),
    'no-label': ({'loss.label_smoothing': 1.0}, 'label_smoothing=1.0', 'label_smoothing=0.0'),
    'still-average': ({'optimizer.ema_decay': 1.0}, 'ema_decay=1.0', 'ema_decay=0.0'),
    'rise-of-all': ({'schedule.rise': 1.0}, 'schedule.rise=1.0', 'schedule.rise=0.3'),
    'two-channels': ({'model.in_channels': 2}, 'in_channels=2', '--config.model.in_channels=1'),
    'split': ({'data.validation_split': 'valid'}, "split='valid'", 'split=validation'),
    'backbone': ({'model.name': 'resnet80'}, "name='resnet80'", '--config.model.name=resnet'),
    'float16': ({'model.dtype': 'float16'}, "dtype='float16'", '--config.model.dtype=bfloat16'),
    'film-loss': ({'loss.film': 'hinge'}, "film='hinge'", '--config.loss.film=bce'),
    'optimizer': ({'optimizer.name': 'adamax'}, "name='adamax'", 'optimizer.name=adam'),
    'schedule': ({'schedule.name': 'cosin'}, "name='cosin'", '--config.schedule.name=cosine'),
    'metric': ({'early_stopping.metric': 'auc'}, "metric='auc'", 'metric=auroc'),
    'mode': ({'early_stopping.mode': 'maximum'}, "mode='maximum'", '--config.early_stopping.mode='),
    'padding': ({'model.conventions.padding': 'valid'}, "padding='valid'", 'of symmetric, '),
    'sampling': ({'sampling.by': ('label', 'age')}, "by=('label', 'age')", 'sampling.by=label,'),
    'parts': ({'accumulation_steps': 5}, 'batch_size=32', '--config.batch_size=30'),
    'more-parts': ({'accumulation_steps': 64}, 'batch_size=32', '--config.batch_size=64'),
    'mixup-of-one': ({'augment.mixup': 0.2, 'batch_size': 1}, 'mixup=0.2', 'augment.mixup=0'),
    'grey-torch': (
        {'model.conventions.normalisation': 'torch'},
        "normalisation='torch'",
        '--config.model.in_channels=3',
    ),
    'positive-weight': (
        {'loss.positive_weight': 3.0},
        'positive_weight=3.0',
        '--config.loss.film=weighted_bce',
    ),
    'nothing-learnt': (
        {'loss.film_weight': 0.0, 'loss.mask.bce': 0.0, 'loss.mask.soft_iou': 0.0},
        'nothing is learnt',
        '--config.loss.film_weight=1',
    ),
    'no-tversky': (
        {'loss.mask.tversky': 0.5, 'loss.tversky.alpha': 0.0, 'loss.tversky.beta': 0.0},
        'tversky.alpha=0',
        '--config.loss.tversky.beta=0.7',
    ),
    'step-never': ({'schedule.name': 'step'}, "name='step'", 'boundaries_epochs=10,20'),
    'no-step': ({'schedule.boundaries_steps': (9,)}, 'boundaries_steps=(9,)', 'schedule.name=step'),
    'both': (
        {
            'schedule.name': 'step',
            'schedule.boundaries_epochs': (9.0,),
            'schedule.boundaries_steps': (9,),
        },
        'boundaries_epochs=(9.0,) and config.schedule.boundaries_steps=(9,)',
        '--config.schedule.boundaries_epochs=()',
    ),
    'falling': (
        {'schedule.name': 'step', 'schedule.boundaries_epochs': (9, 3)},
        'boundaries_epochs=(9, 3)',
        '--config.schedule.boundaries_epochs=10,20',
    ),
    'at-words': (
        {'schedule.name': 'step', 'schedule.boundaries_epochs': ('9',)},
        "boundaries_epochs=('9',)",
        '--config.schedule.boundaries_epochs=10,20',
    ),
    'exponential': ({'schedule.name': 'exponential'}, 'end_factor=0.0', 'end_factor=0.01'),
    'rising-plateau': (
        {'schedule.name': 'plateau', 'schedule.factor': 2.0},
        'schedule.factor=2.0',
        '--config.schedule.factor=0.1',
    ),
    'impatient': (
        {'schedule.name': 'plateau', 'schedule.patience': 8},
        'schedule.patience=8',
        '--config.early_stopping.patience=24',
    ),
    'long-warmup': ({'schedule.warmup_epochs': 26.0}, 'warmup_epochs=26.0', 'warmup_epochs=0'),
    'long-warmup-steps': (
        {'schedule.warmup_steps': 50, 'num_steps': 40},
        'schedule.warmup_steps=50',
        'raise config.num_steps',
    ),
    'nothing-counts': (
        {'early_stopping.warmup_epochs': 30.0},
        'early_stopping.warmup_epochs=30.0',
        'raise config.num_epochs',
    ),
    'least-auroc': ({'early_stopping.mode': 'min'}, "mode='min'", 'early_stopping.mode=max'),
    'most-loss': ({'early_stopping.metric': 'loss'}, "mode='max'", 'early_stopping.mode=min'),
    'localizer': ({'model.localizer': 'detect'}, "localizer='detect'", 'localizer=detector'),
    'gate': ({'eval.film_gate': 'root'}, "film_gate='root'", '--config.eval.film_gate='),
    'same-size': ({'eval.scales': (1.0, 2.0)}, 'scales=(1.0, 2.0)', 'eval.scales=0.75,1.25'),
    'fused-masks': ({'eval.merge': 'fusion'}, "merge='fusion'", '--config.eval.merge=average'),
    'boxes-of-no-size': (
        {'model.localizer': 'detector', 'loss.detector.giou': 0.0},
        'loss.detector.giou=0.0',
        '--config.loss.detector.giou=1',
    ),
    'no-detector': (
        {'early_stopping.metric': 'detector_loss', 'early_stopping.mode': 'min'},
        "metric='detector_loss'",
        '--config.early_stopping.metric=loss',
    ),
    'no-room': ({'data.extra_share': 1.0}, 'extra_share=1.0', 'data.extra_share=0.25'),
    'no-class-head': (
        {'early_stopping.metric': 'class_loss', 'early_stopping.mode': 'min'},
        "metric='class_loss'",
        '--config.early_stopping.metric=loss',
    ),
    'no-film-head': (
        {
            'early_stopping.metric': 'film_loss',
            'early_stopping.mode': 'min',
            'loss.film_weight': 0.0,
        },
        "metric='film_loss'",
        '--config.early_stopping.metric=loss',
    ),
    'no-mask-head': (
        {
            'early_stopping.metric': 'challenge_map',
            'loss.mask.bce': 0.0,
            'loss.mask.soft_iou': 0.0,
        },
        "metric='challenge_map'",
        '--config.early_stopping.metric=loss',
    ),
    'transfer': ({'transfer.frozen_stages': 7}, 'frozen_stages=7', 'must be 0 to 5'),
}

# What a researcher may want, strange as it may be.
ALLOWED = {
    'no-learning': {'learning_rate': 0.0},
    'steps-alone': {'num_epochs': 0, 'num_steps': 100},
    'steps-over-epochs': {'num_steps': 7, 'schedule.warmup_steps': 3},
    'a-trial-of-the-warm-up': {'num_epochs': 1},
    'units-that-differ': {'num_steps': 7, 'schedule.warmup_epochs': 30.0},
    'mask-alone': {'loss.film_weight': 0.0},
    'film-alone': {'loss.mask.bce': 0.0, 'loss.mask.soft_iou': 0.0},
    'classes': {
        'loss.class_weight': 0.3,
        'early_stopping.metric': 'class_loss',
        'early_stopping.mode': 'min',
    },
    'seed-recipe': {'loss.mask.bce': 0.5, 'loss.mask.soft_iou': 0.5, 'optimizer.clip_norm': 0.0},
    'balanced-loss': {'loss.film': 'weighted_bce'},
    'weighted-loss': {'loss.film': 'weighted_bce', 'loss.positive_weight': 3.0},
    'balanced-draws': {'sampling.by': ('label', 'view_position'), 'sampling.strength': 0.5},
    'one-film': {'batch_size': 1, 'accumulation_steps': 1},
    'parts': {'accumulation_steps': 32},
    'range-test': {'schedule.name': 'exponential', 'schedule.end_factor': 1e4},
    'decay': {'schedule.name': 'exponential', 'schedule.end_factor': 0.01},
    'steps': {'schedule.name': 'step', 'schedule.boundaries_epochs': (10, 20.5)},
    'plateau': {'schedule.name': 'plateau'},
    'plateau-to-the-end': {
        'schedule.name': 'plateau',
        'schedule.patience': 5,
        'early_stopping.patience': 0,
    },
    'one-cycle': {'schedule.name': 'one_cycle', 'schedule.warmup_epochs': 0.0},
    'all-frozen': {'transfer.frozen_stages': 5},
    'foreign': {'model.init_from': 'x.pth', 'model.conventions.normalisation': 'torch'},
    'rgb': {'model.in_channels': 3, 'model.conventions.normalisation': 'caffe'},
    'can-it-learn': {'data.validation_split': 'train', 'early_stopping.patience': 0},
    'all-augmentation': {
        'augment.rotation': 180.0,
        'augment.shift': 1.0,
        'augment.brightness': 1.0,
        'augment.contrast': 1.0,
        'augment.cutout': 1.0,
        'augment.mixup': 1.0,
    },
}


def make_config(**fields):
    config = base.get_config()
    config.update_from_flattened_dict(fields)
    return config


def numeric_fields():
    def walk(section, prefix):
        for name, value in section.items():
            if isinstance(value, ConfigDict):
                yield from walk(value, f'{prefix}{name}.')
            elif isinstance(value, int | float) and not isinstance(value, bool):
                yield f'{prefix}{name}', type(value)

    return list(walk(base.get_config(), ''))


@pytest.mark.parametrize(('field', 'kind'), numeric_fields())
def test_no_number_is_forgotten(field, kind):
    """None of them may be negative."""
    with pytest.raises(InputError, match=rf'config\.{field}=-1'):
        check_config(make_config(**{field: kind(-1)}))


@pytest.mark.parametrize('field', ['schedule.boundaries_epochs', 'schedule.boundaries_steps'])
def test_no_list_of_numbers_is_forgotten(field):
    with pytest.raises(InputError, match=rf'config\.{field}=\(-1,\)'):
        check_config(make_config(**{'schedule.name': 'step', field: (-1,)}))


@pytest.mark.parametrize('name', REFUSED)
def test_nonsense_is_refused_with_a_remedy(name):
    fields, fault, remedy = REFUSED[name]
    with pytest.raises(InputError) as caught:
        check_config(make_config(**fields))
    head, *faults = str(caught.value).splitlines()
    assert head == 'the config makes no sense:'
    assert len(faults) == 1, 'one fault is one line'
    assert fault in faults[0]
    assert remedy in faults[0]


@pytest.mark.parametrize('name', ALLOWED)
def test_what_makes_sense_is_let_pass(name):
    check_config(make_config(**ALLOWED[name]))


@pytest.mark.parametrize(
    'config',
    [
        base.get_config(),
        resnet.get_config(),
        smoke.get_config(),
        vgg19.get_config(),
        vgg19.get_config('scratch'),
        mobilenet.get_config(),
        mobilenet.get_config('pretrained'),
    ],
)
def test_the_configs_at_hand_make_sense(config):
    check_config(config)


def test_all_faults_are_told_at_once():
    fields = {
        'batch_size': 0,
        'accumulation_steps': 0,
        'optimizer.name': 'adamax',
        'schedule.name': 'step',
        'loss.positive_weight': 2.0,
        'early_stopping.metric': 'loss',
        'transfer.stage_decay': 0.0,
    }
    with pytest.raises(InputError) as caught:
        check_config(make_config(**fields))
    faults = str(caught.value).splitlines()[1:]
    assert len(faults) == len(fields)
    for field in ('batch_size', 'accumulation_steps', 'optimizer.name', 'early_stopping.mode'):
        assert sum(f'config.{field}=' in fault.split(' ')[2] for fault in faults) == 1


def test_the_remedies_are_flags_that_exist(monkeypatch):
    for fields, *_ in REFUSED.values():
        with pytest.raises(InputError) as caught:
            check_config(make_config(**fields))
        words = [word.rstrip(';') for word in str(caught.value).split()]
        words = [word for word in words if re.match(r'--config\.\w.*=', word)]
        # A sentence's comma may follow; a tuple's must.
        words = [word if 'sampling.by' in word else word.rstrip(',') for word in words]
        assert words or 'transfer.frozen_stages' in fields
        monkeypatch.setattr(sys, 'argv', ['main', *words])
        values = flags.FlagValues()
        config_flags.DEFINE_config_dict('config', base.get_config().lock(), flag_values=values)
        values(sys.argv)
        schedule = values.config.schedule
        for value in (*schedule.boundaries_epochs, *schedule.boundaries_steps):
            assert isinstance(value, int | float)
        assert all(isinstance(name, str) and len(name) > 1 for name in values.config.sampling.by)


def test_the_watched_figures_are_those_of_validation():
    none = np.zeros((0, 4), np.float32)
    film = scoring.FilmScore(
        record={'label': 1, 'class_id': 2, 'film_height': 64, 'film_width': 64},
        truth=none,
        prob=0.5,
        boxes=none,
        box_scores=np.zeros(0, np.float32),
        sums=dict.fromkeys(('film_loss', 'class_loss', 'mask_loss', 'detector_loss'), 0.5),
    )
    figures = list(scoring.validation_figures([film], base.get_config().loss))
    for metric in figures:
        mode = 'min' if metric.endswith('loss') else 'max'
        fields = {'early_stopping.metric': metric, 'early_stopping.mode': mode}
        heads = {'loss.class_weight': 1.0, 'model.localizer': 'detector'}
        check_config(make_config(**fields, **heads))
    with pytest.raises(InputError, match=f'one of {", ".join(figures)};'):
        check_config(make_config(**{'early_stopping.metric': 'x'}))
