import pytest

from pneumo_jax.data.shards import load_manifest
from pneumo_jax.errors import InputError
from pneumo_jax.plan import make_plan


def test_the_weight_that_balances_the_classes_follows_from_the_films(tiny_config, tmp_path):
    films = load_manifest(tiny_config.data.dir)['splits']['train']
    balanced = (films['films'] - films['positives']) / films['positives']
    assert balanced != 1
    tiny_config.loss.film = 'weighted_bce'
    assert make_plan(tiny_config, tmp_path).config.loss.positive_weight == balanced
    # The user's config is left as it was, and a weight that is given stays.
    assert tiny_config.loss.positive_weight == 0
    tiny_config.loss.positive_weight = 3.0
    assert make_plan(tiny_config, tmp_path).config.loss.positive_weight == 3
    tiny_config.loss.update({'film': 'bce', 'positive_weight': 0.0})
    assert make_plan(tiny_config, tmp_path).config.loss.positive_weight == 0


def test_a_plan_makes_nothing(tiny_config, tmp_path):
    make_plan(tiny_config, tmp_path / 'workdir')
    assert not list(tmp_path.iterdir())


def test_durations_in_epochs_become_steps(tiny_config, tmp_path):
    tiny_config.checkpoint.every_epochs = 0.5
    plan = make_plan(tiny_config, tmp_path)
    # 42 films in batches of 8.
    assert plan.epoch_ends == [6, 11]
    assert plan.save_every == 3


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'data.validation_split': 'validate'}, "validation_split='validate' must be one of"),
        ({'accumulation_steps': 3}, r'batch_size=8 must divide by config.accumulation_steps=3'),
        ({'early_stopping.warmup_steps': 11}, 'takes 11 of the 11 steps'),
        ({'schedule.warmup_steps': 12}, 'takes 12 of the 11 steps'),
        ({'transfer.head_epochs': 2.0}, 'head_epochs=2.0 lets a stage join in'),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything(tiny_config, tmp_path, fields, message):
    tiny_config.update_from_flattened_dict(fields)
    with pytest.raises(InputError, match=message):
        make_plan(tiny_config, tmp_path)
