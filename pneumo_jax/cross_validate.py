"""Cross-validates: ``python -m pneumo_jax.cross_validate --config=C --workdir=W --data_dir=...``.

Trains a run on the shards of each fold (--data_dir for each of data_prep/convert.py's
--split=kfold:K:I), evaluates it on its test films and pools the evaluations: every film is
answered by a run that knew neither it nor its person. Runs are W/fold0, W/fold1 and so on, and the
figures of all lie in W. The same command goes on after an interruption.

W then is an ensemble: pneumo_jax.evaluate and pneumo_jax.predict take it as --workdir, and its runs
answer other films together.

Research software, not a medical device.
"""

from __future__ import annotations

import copy
import logging
import pathlib
from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from pneumo_jax import command
from pneumo_jax.compilation_cache import cache_compilations
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.errors import InputError
from pneumo_jax.evaluate import DEFAULT_WANTED_ERROR, evaluate
from pneumo_jax.evaluation.names import page_name
from pneumo_jax.evaluation.output import read_evaluation, write_evaluation
from pneumo_jax.evaluation.pooling import pool_evaluations, refuse_shared_films
from pneumo_jax.evaluation.results import Settings
from pneumo_jax.evaluation.table import table
from pneumo_jax.folds import fold_name
from pneumo_jax.train import train

__all__ = ['cross_validate']

_DEFAULTS = Settings()

log = logging.getLogger(__name__)


def cross_validate(
    config: ConfigDict,
    workdir: str | pathlib.Path,
    data_dirs: Sequence[str],
    *,
    settings: Settings = _DEFAULTS,
) -> dict:
    """Trains and evaluates a run for each fold; writes and returns the results of all together.

    Args:
        config: of the runs; its ``data.dir`` is each of ``data_dirs`` in turn.
        workdir: receives the runs and the pooled evaluation.
        data_dirs: folders of shards, one for each fold.
        settings: of the figures.

    Returns:
        The content of ``workdir/results.json``.

    Raises:
        InputError: for folds that share test films, and whatever a run or an evaluation refuses.
    """
    workdir = pathlib.Path(workdir)
    _check_folds(data_dirs)
    folds = {}
    for number, data_dir in enumerate(data_dirs):
        folder = workdir / fold_name(number)
        log.info('== fold %d of %d: %s', number, len(data_dirs), folder)
        of_fold = copy.deepcopy(config)
        of_fold.data.dir = data_dir
        train(of_fold, folder)
        evaluate([str(folder)], settings=settings)
        folds[str(folder)] = read_evaluation(folder, 'test')
    return write_evaluation(
        workdir, pool_evaluations(folds), wanted_error=DEFAULT_WANTED_ERROR, settings=settings
    )


def main(argv: list[str]) -> None:
    """Runs and prints the figures."""
    command.refuse_arguments(argv)
    options = flags.FLAGS
    if options.config.data.dir:
        raise InputError('leave out --config.data.dir: --data_dir names the shards of each fold')
    cache_compilations()
    command.say(table(cross_validate(options.config, options.workdir, options.data_dir)))
    log.info('all of it to read: %s', pathlib.Path(options.workdir) / page_name('test'))


def _check_folds(data_dirs):
    """Before hours of training, what pooling would refuse after them."""
    if len(data_dirs) < 2:
        raise InputError('give --data_dir once for each fold, at least twice')
    if len(set(data_dirs)) < len(data_dirs):
        raise InputError(f'a fold is named twice among {", ".join(data_dirs)}: name each once')
    splits = {data_dir: FilmSplit(data_dir, 'test') for data_dir in data_dirs}
    refuse_shared_films(
        {
            name: [film for (film,) in split.columns(['patient_id'])]
            for name, split in splits.items()
        }
    )


if __name__ == '__main__':
    config_flags.DEFINE_config_file(
        'config', None, 'File with the run configuration, such as configs/resnet.py.'
    )
    flags.DEFINE_string('workdir', None, 'Folder for the runs and the figures of all of them.')
    flags.DEFINE_multi_string('data_dir', None, 'Folder of shards of a fold; once for each.')
    flags.mark_flags_as_required(['config', 'workdir', 'data_dir'])
    command.run(main)
