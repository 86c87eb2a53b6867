"""Workdirs of runs without a training: written by what training writes with."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from configs import smoke
from pneumo_jax.checkpoint import Checkpoints
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.data.shards import load_manifest
from pneumo_jax.evaluation.output import Evaluation, write_evaluation
from pneumo_jax.evaluation.results import Settings
from pneumo_jax.run_config import save_run
from pneumo_jax.writers import MetricsWriter
from tests.made_results import THRESHOLDS, made_films

ENVIRONMENT = {'python': '3.11.7', 'pneumo_jax': '9.8.7', 'device': 'cpu', 'num_devices': 1}
STEPS = 5

# Numbers of the parts of the model that `make_run` saves.
PARTS = {'backbone': (3 * 3 * 1 * 8 + 8, 16), 'film head': (9, 0)}


def run_config(shards, **changes):
    """The config of ``configs/smoke.py`` on shards; changes by dotted name."""
    config = smoke.get_config()
    config.data.dir = str(shards)
    for name, value in changes.items():
        config.update_from_flattened_dict({name.replace('__', '.'): value})
    return config


def make_run(workdir, shards, losses, *, init=None, **changes):
    """A run whose epochs have these validation losses; None is a figure that is undefined."""
    workdir.mkdir(parents=True)
    config = run_config(shards, **changes)
    manifest = load_manifest(shards)
    save_run(config, workdir, manifest=manifest, environment=ENVIRONMENT, init=init)
    write_epochs(workdir, losses)
    params = {
        'backbone': {'kernel': _zeros(3, 3, 1, 8), 'scale': _zeros(8)},
        'film_head': {'dense': _zeros(9)},
    }
    statistics = {'backbone': {'mean': _zeros(16)}}
    with Checkpoints(workdir) as checkpoints:
        state = {'params': params, 'batch_stats': statistics, 'step': np.int32(5)}
        checkpoints.save(STEPS * len(losses), state, {'epoch': len(losses)}, improved=True)
    return workdir


def write_epochs(workdir, losses, *, first=1):
    """Epochs of a start of the run, after those of the starts before."""
    done = first - 1
    with MetricsWriter(workdir, resume_step=STEPS * done, resume_epoch=done) as writer:
        for epoch, loss in enumerate(losses, first):
            value = math.nan if loss is None else loss
            figures = {
                'train/loss': value * 0.9,
                'train/learning_rate': 1e-3 / epoch,
                'validation/loss': value,
                'validation/auroc': 0.5 + 0.01 * epoch,
                'validation/challenge_map': math.nan if epoch == 1 else 0.1,
            }
            writer.write(STEPS * epoch, figures, epoch=epoch)


def evaluate_made(workdir, shards, *, film_ids=None, **about):
    """Makes an evaluation of made answers in a workdir; the films are those of the test split."""
    split = FilmSplit(shards, 'test')
    ids = film_ids or [film for (film,) in split.columns(['patient_id'])]
    films = dataclasses.replace(made_films(len(ids), seed=22), ids=ids)
    manifest = load_manifest(shards)
    member = {'model': 'resnet_tiny', 'epoch': 2, 'step': 10, 'params_sha256': 'c0ffee'}
    evaluation = Evaluation(
        about={
            'split': 'test',
            'protocol': manifest['protocol']['sentence'],
            'persons_apart': True,
            'data_fingerprint': manifest['fingerprint'],
            'num_rejected': 0,
            'model': 'resnet_tiny',
            'changes': [],
            'members': [member | {'init': None}],
        }
        | about,
        overlap={'films': 0, 'persons': 0, 'unchecked': 0},
        thresholds=THRESHOLDS,
        films=films,
        validation=made_films(30, seed=5),
    )
    return write_evaluation(
        workdir,
        evaluation,
        wanted_error=0.05,
        settings=Settings(num_draws=100),
        film_picture=lambda i: split[i % len(split)]['image'][:, :, 0],
    )


def _zeros(*shape):
    return np.zeros(shape, np.float32)
