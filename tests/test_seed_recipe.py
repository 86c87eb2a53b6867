"""The student project's recipe, from configs/resnet.py by flags alone, against a plain loop."""

import json
import math
import re
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from pneumo_jax.boxes.targets import box_mask
from pneumo_jax.data.pipeline import FilmSplit, train_batches
from pneumo_jax.data.sampling import EpochOrder
from pneumo_jax.models import build_model
from pneumo_jax.run_config import load_run
from pneumo_jax.trained import load_trained
from tests.conftest import ROOT, run_command

STEPS = 4


@pytest.fixture(scope='module')
def seed_run(phantom_shards, tmp_path_factory):
    """Four steps of the documented command, without flips, small."""
    page = (ROOT / 'docs' / 'training.md').read_text(encoding='utf-8')
    blocks = re.findall(r'```bash\n(.*?)```', page, flags=re.DOTALL)
    (block,) = [block for block in blocks if 'resnet_seed' in block]
    workdir = tmp_path_factory.mktemp('seed') / 'workdir'
    command = [
        part.replace('=shards', f'={phantom_shards}').replace('=runs/seed', f'={workdir}')
        for part in shlex.split(block.replace('\\\n', ' '))
    ]
    assert command[:4] == ['python', '-m', 'pneumo_jax.main', '--config=configs/resnet.py']
    small = ('--config.batch_size=8', '--config.model.width=0.25', f'--config.num_steps={STEPS}')
    done = run_command(
        *command[1:], *small, '--noconfig.augment.flip', '--config.logging.every_steps=1'
    )
    assert done.returncode == 0, done.stderr
    return workdir


def test_the_documented_command_is_the_project_s_recipe(seed_run):
    config = load_run(seed_run).config
    assert config.model.name == 'resnet_seed'
    assert config.model.init_from == ''
    assert (config.loss.film_weight, config.loss.class_weight) == (0, 0)
    weights = {name: weight for name, weight in config.loss.mask.items() if weight}
    assert weights == {'bce': 0.5, 'soft_iou': 0.5}
    assert (config.learning_rate, config.num_epochs) == (1e-3, 25)
    changed = {name: value for name, value in config.augment.items() if value}
    assert not changed, 'the project flips only, and the test took flips away'


@pytest.mark.slow
def test_a_plain_loop_ends_with_the_same_parameters(seed_run, phantom_shards):
    config = load_run(seed_run).config
    split = FilmSplit(phantom_shards, 'train')
    rate = lambda step: 1e-3 / 2 * (math.cos(math.pi * step / STEPS) + 1)  # noqa: E731
    model = build_model(config.model, rngs=nnx.Rngs(params=jax.random.key(config.seed)))
    graph, params, stats = nnx.split(
        nnx.view(model, use_running_average=False, deterministic=False), nnx.Param, nnx.BatchStat
    )

    @jax.jit
    def loss_of(params, stats, images, target):
        model = nnx.merge(graph, params, stats)
        probs = jax.nn.sigmoid(model(images, rngs=nnx.Rngs(dropout=0))['mask_logits'])
        cells = -(target * jnp.log(probs) + (1 - target) * jnp.log1p(-probs))
        inter = (probs * target).sum((1, 2, 3))
        union = probs.sum((1, 2, 3)) + target.sum((1, 2, 3)) - inter
        iou = jnp.where(target.sum((1, 2, 3)) > 0, 1 - (inter + 1) / (union + 1), 0)
        return 0.5 * cells.mean() + 0.5 * iou.mean(), nnx.state(model, nnx.BatchStat)

    begin = nnx.to_pure_dict(params)
    adam = optax.scale_by_adam()
    moments, losses, rates = adam.init(params), [], []
    batches = train_batches(
        split, epoch_order=EpochOrder(split, config), batch_size=8, steps=range(STEPS)
    )
    for step, (batch, _) in enumerate(batches):
        images = batch['image'] / np.float32(255)
        boxes = batch['boxes'] * 64 / batch['film_size'].max(axis=1)[:, None, None]
        target = box_mask(boxes, batch['num_boxes'], image_size=64, mask_size=16)
        (loss, stats), grads = jax.value_and_grad(loss_of, has_aux=True)(
            params, stats, images, target
        )
        direction, moments = adam.update(grads, moments)
        losses.append(float(loss))
        rates.append(rate(step))
        params = jax.tree.map(lambda p, d: p - rates[-1] * d, params, direction)

    lines = [json.loads(line) for line in (seed_run / 'metrics.jsonl').open()]
    steps = [line for line in lines if 'step/loss' in line]
    assert steps[0]['step/loss'] == pytest.approx(losses[0], rel=1e-5)
    np.testing.assert_allclose([line['step/loss'] for line in steps], losses, rtol=1e-3)
    np.testing.assert_allclose([line['step/learning_rate'] for line in steps], rates, rtol=1e-5)
    got = load_trained(seed_run).params
    expected = nnx.to_pure_dict(params)
    # Adam's first steps are of one size whatever the gradient, so rounding shows where it is tiny.
    moves = [jax.tree.map(lambda a, b: np.asarray(a - b), end, begin) for end in (got, expected)]
    first, second = (np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(m)]) for m in moves)
    assert np.linalg.norm(first - second) < 0.2 * np.linalg.norm(second)


def test_the_mask_answers_for_the_films(seed_run):
    done = run_command('-m', 'pneumo_jax.evaluate', f'--workdir={seed_run}', '--split=test')
    assert done.returncode == 0, done.stderr
    rows = (seed_run / 'films-test.csv').read_text().splitlines()
    column = rows[0].split(',').index('probability')
    probs = {row.split(',')[column] for row in rows[1:]}
    assert len(probs) > len(rows) // 2, 'the film head was never trained and says one half'
