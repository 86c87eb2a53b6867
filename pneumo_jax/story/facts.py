"""What a folder knows of a run: its training or those of its folds, and an evaluation."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import pathlib

from ml_collections import ConfigDict

from pneumo_jax.data.shards import SPLITS, load_manifest
from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.comparison.evaluated import EvaluatedRun, load_evaluated
from pneumo_jax.evaluation.names import results_name
from pneumo_jax.folds import fold_folders
from pneumo_jax.run_config import load_run, saved_environment
from pneumo_jax.seal import read_sealed
from pneumo_jax.story.course import Course, read_course

__all__ = ['PartSize', 'Story', 'TrainingRun', 'holds_a_run', 'read_story']

_CONFIG_NAME = 'config.json'
_DESCRIPTION = 'checkpoint.json'
_REMEDY = ': give a --workdir of pneumo_jax.main, or a folder that pneumo_jax.evaluate wrote'


@dataclasses.dataclass(frozen=True)
class PartSize:
    """Numbers of a part of a model: ``parameters``, which learn, and running ``statistics``."""

    parameters: int = 0
    statistics: int = 0


@dataclasses.dataclass(frozen=True)
class TrainingRun:
    """A training, as its workdir tells it.

    Attributes:
        name: of its folder.
        config: of the run.
        data: of the shards and the initial weights, as ``run_config.Run``.
        environment: versions and devices; {} unknown.
        course: of the training.
        parts: of the model by name; empty where no checkpoint is at hand.
        manifest: of its shards; None where these are not at hand, or are others by now.
    """

    name: str
    config: ConfigDict
    data: dict
    environment: dict
    course: Course
    parts: dict[str, PartSize]
    manifest: dict | None


@dataclasses.dataclass(frozen=True)
class Story:
    """All that a page tells.

    Attributes:
        folder: that it is of.
        name: of the folder.
        split: of which the evaluation is asked for.
        runs: one training, those of the folds of a cross-validation, or none.
        crossed: whether the runs are folds.
        evaluation: of the split; None where there is none.
        other_splits: of which the folder has evaluations too.
    """

    folder: pathlib.Path
    name: str
    split: str
    runs: list[TrainingRun]
    crossed: bool
    evaluation: EvaluatedRun | None
    other_splits: list[str]

    @property
    def results(self) -> dict | None:
        """The content of results.json; None without an evaluation."""
        return None if self.evaluation is None else self.evaluation.results


def read_story(folder: str | pathlib.Path, split: str) -> Story:
    """Reads a workdir, the workdir of a cross-validation, or the folder of an evaluation.

    Neither a network nor a device is needed for it.

    Args:
        folder: to read.
        split: of which the evaluation is told.

    Raises:
        InputError: for a folder with neither a training nor an evaluation, or a damaged file.
    """
    # absolute(): a name such as "." tells nothing.
    folder = pathlib.Path(folder).absolute()
    runs = [folder] if (folder / _CONFIG_NAME).exists() else []
    folds = [] if runs else fold_folders(folder)
    # A fold whose training has not begun has no config yet.
    runs += [fold for fold in folds if (fold / _CONFIG_NAME).exists()]
    evaluated = [each for each in SPLITS if (folder / results_name(each)).exists()]
    if not runs and split not in evaluated:
        there = f'; it has {", ".join(evaluated)}: give --split' if evaluated else ''
        raise InputError(
            f'no training and no evaluation of the split {split} in {folder}{there or _REMEDY}'
        )
    return Story(
        folder=folder,
        name=folder.name,
        split=split,
        runs=[_read_run(run) for run in runs],
        crossed=bool(folds) and bool(runs),
        evaluation=load_evaluated([folder], split)[0] if split in evaluated else None,
        other_splits=[each for each in evaluated if each != split],
    )


def holds_a_run(folder: str | pathlib.Path) -> bool:
    """Whether a folder is that of a training, a cross-validation or an evaluation."""
    folder = pathlib.Path(folder)
    names = _CONFIG_NAME, *map(results_name, SPLITS)
    return bool(fold_folders(folder)) or any((folder / name).exists() for name in names)


def _read_run(folder) -> TrainingRun:
    path = folder / _CONFIG_NAME
    try:
        run, environment = load_run(folder), saved_environment(folder)
        course = read_course(folder, run.config)
        manifest = _read_manifest(run.config, run.data)
        return TrainingRun(
            name=folder.name,
            config=run.config,
            data=dict(run.data),
            environment=dict(environment),
            course=course,
            parts=_read_parts(folder / 'checkpoints'),
            manifest=manifest,
        )
    except InputError:
        raise
    except OSError as error:
        raise InputError(f'{folder} cannot be read ({error}): put it right') from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f'{path} is damaged ({error!r}): put it back from a copy, or train in another --workdir'
        ) from error


def _read_manifest(config, data):
    try:
        manifest = load_manifest(config.data.dir)
    except InputError:
        return None
    return manifest if manifest['fingerprint'] == data['fingerprint'] else None


def _read_parts(checkpoints) -> dict[str, PartSize]:
    """From the shapes that the newest whole checkpoint lists, so that no network is built."""
    steps = sorted(
        (int(path.name) for path in checkpoints.glob('*') if path.name.isdecimal()), reverse=True
    )
    for step in steps:
        # A trainer may delete it in this moment.
        text = read_sealed(checkpoints / str(step), _DESCRIPTION)
        if text is not None:
            return _part_sizes(json.loads(text)['arrays'])
    return {}


def _part_sizes(arrays) -> dict[str, PartSize]:
    counts = collections.defaultdict(collections.Counter)
    for name, kind in arrays.items():
        tree, _, path = name.partition('/')
        if tree in ('params', 'batch_stats'):
            # Such as float32[3,3,24,24].
            shape = kind.partition('[')[2].rstrip(']')
            size = math.prod(int(side) for side in shape.split(',') if side)
            counts[path.partition('/')[0].replace('_', ' ')][tree] += size
    return {part: PartSize(count['params'], count['batch_stats']) for part, count in counts.items()}
