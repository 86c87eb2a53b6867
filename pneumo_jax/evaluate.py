"""Evaluates trained models: ``python -m pneumo_jax.evaluate --workdir=W [--split=test]``.

On a split of the run's shards, of other shards (--data_dir), or on any folder of films with labels
(--images_dir, --labels_csv and what else data_prep/convert.py takes). Several --workdir answer
together, as an ensemble, and so do the folds in the workdir of a cross-validation. Prints a table,
and writes into the workdir, or into --output_dir, results.json (every figure with its 95 %
interval), films-test.csv (every film's answer),
evaluation-test.html (all of it to read) and pictures-test/. Thresholds, temperature and regions are
chosen on the validation films of the runs, never on those that are judged.

--pool=DIR, once for each fold of a cross-validation, makes one evaluation of those of its folds;
--recompute=DIR makes the figures of an evaluation anew from its tables, without model or films.

Research software, not a medical device.
"""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from absl import flags

from data_prep.source_flags import SOURCE_FLAGS, define_source_flags
from pneumo_jax import command
from pneumo_jax.answering import score_films, score_validation
from pneumo_jax.data.shards import SPLITS
from pneumo_jax.ensemble import Ensemble, load_ensemble
from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.chosen import choose_thresholds
from pneumo_jax.evaluation.names import page_name, results_name
from pneumo_jax.evaluation.output import Evaluation, read_evaluation, write_evaluation
from pneumo_jax.evaluation.pooling import pool_evaluations
from pneumo_jax.evaluation.results import Settings
from pneumo_jax.evaluation.table import table
from pneumo_jax.judged_films import JudgedFilms, films_of_folder, films_of_shards, films_of_site
from pneumo_jax.overlap import find_overlap
from pneumo_jax.read_flags import define_read_flags, read_options

__all__ = ['evaluate']

# An answer in twenty may be wrong.
DEFAULT_WANTED_ERROR = 0.05

_DEFAULTS = Settings()

log = logging.getLogger(__name__)


def evaluate(
    workdirs: Sequence[str],
    *,
    changes: Sequence[str] = (),
    split: str = 'test',
    data_dir: str | None = None,
    source: Mapping | None = None,
    recalibrate_on: str | None = None,
    output_dir: str | None = None,
    overwrite: bool = False,
    wanted_error: float = DEFAULT_WANTED_ERROR,
    settings: Settings = _DEFAULTS,
) -> dict:
    """Evaluates the best checkpoints of runs, together; writes and returns the results.

    Args:
        workdirs: folders of the runs.
        changes: of ``ensemble.load_ensemble``; thresholds are then chosen anew on validation.
        split: ``train``, ``validation`` or ``test``, of shards.
        data_dir: folder of shards, or None for the runs' own.
        source: fields of ``data_prep.options.Options`` that say where films with labels are, to
            judge all of them; None for shards.
        recalibrate_on: of ``judged_films.films_of_site``, or None.
        output_dir: folder to write, or None for the workdir of a single run on shards.
        overwrite: replace an earlier evaluation in ``output_dir``.
        wanted_error: share of answers that may be wrong where the model may abstain.
        settings: of the figures.

    Returns:
        The content of ``results.json``, described in docs/evaluation.md.

    Raises:
        InputError: for a workdir without a trained model, for films that are not right, or where
            ``output_dir`` is needed or holds something else.
    """
    ensemble = load_ensemble(workdirs, changes)
    # The workdir is for the run as it is.
    alone = len(ensemble.members) == 1 and source is None and not changes
    folder = _output_folder(workdirs, output_dir, split, alone=alone, overwrite=overwrite)
    judged = _judged_films(ensemble, split, data_dir, source, folder)
    films = score_films(ensemble, judged.films)
    rows = np.arange(len(films))
    site = None
    if recalibrate_on is not None:
        site, rows = _site(ensemble, recalibrate_on, source, folder, judged)
    validation = score_validation(ensemble)
    thresholds = ensemble.members[0].thresholds
    if len(ensemble.members) > 1 or changes:
        if validation is None:
            raise InputError(
                'thresholds of an ensemble, or under --eval, are chosen on the validation films of '
                'the runs, whose shards are not at hand: put them back to where config.data.dir '
                'names them'
            )
        thresholds = choose_thresholds(validation, learn_shrink=ensemble.config.learn_shrink)
    evaluation = Evaluation(
        about=_about(ensemble, judged, split, changes),
        overlap=dataclasses.asdict(find_overlap(ensemble.members, judged.films)),
        thresholds=thresholds,
        films=films.select(rows),
        validation=validation,
        site=site,
    )
    return write_evaluation(
        folder,
        evaluation,
        wanted_error=wanted_error,
        settings=settings,
        film_picture=lambda i: judged.films[int(rows[i])]['image'][:, :, 0],
    )


def recompute(folder: pathlib.Path, *, split: str, wanted_error: float, settings: Settings) -> dict:
    """Makes the figures of an evaluation anew from its tables; pictures of films are left out.

    Args:
        folder: that ``evaluate`` wrote to.
        split: that was evaluated.
        wanted_error: as of ``evaluate``.
        settings: as of ``evaluate``.

    Returns:
        The content of ``results.json``.

    Raises:
        InputError: if the folder has no such evaluation, or a damaged one.
    """
    evaluation = read_evaluation(folder, split)
    return write_evaluation(folder, evaluation, wanted_error=wanted_error, settings=settings)


def main(argv: list[str]) -> int:
    """Evaluates and prints; 1 if a film of a folder was rejected."""
    command.refuse_arguments(argv)
    options = flags.FLAGS
    settings = Settings(prevalence=options.prevalence, inclusive=options.inclusive_iou)
    given = {'wanted_error': options.wanted_error, 'settings': settings}
    if options.recompute:
        folder = pathlib.Path(options.recompute)
        content = recompute(folder, split=options.split, **given)
    elif options.pool:
        place = {'alone': False, 'overwrite': options.overwrite}
        folder = _output_folder(options.pool, options.output_dir, options.split, **place)
        folds = {each: read_evaluation(pathlib.Path(each), options.split) for each in options.pool}
        content = write_evaluation(folder, pool_evaluations(folds), **given)
    else:
        content = evaluate(
            options.workdir,
            changes=options.eval,
            split=options.split,
            data_dir=options.data_dir,
            source=_source(),
            recalibrate_on=options.recalibrate_on,
            output_dir=options.output_dir,
            overwrite=options.overwrite,
            **given,
        )
        folder = pathlib.Path(options.output_dir or options.workdir[0])
    command.say(table(content))
    log.info('all of it to read: %s', folder / page_name(content['split']))
    if rejected := content['num_rejected']:
        log.warning('%d files could not be used: films/report.html says why', rejected)
    return 1 if rejected else 0


def _source():
    """What of the flags says where films with labels are; None for shards."""
    options = flags.FLAGS
    if not (options.images_dir or options.labels_csv):
        return None
    values = {name: options[name].value for name in SOURCE_FLAGS}
    return values | {'read': read_options(), 'film_timeout': options.film_timeout}


def _output_folder(workdirs, output_dir, split, *, alone, overwrite):
    if output_dir is None:
        if not alone:
            raise InputError(
                'the evaluation of an ensemble, of a folder of films, of pooled folds or under '
                '--eval needs --output_dir, a folder to write'
            )
        return pathlib.Path(workdirs[0])
    folder = pathlib.Path(output_dir)
    ours = (folder / results_name(split)).exists()
    if folder.exists() and any(folder.iterdir()) and not (ours and overwrite):
        remedy = 'give another, or --overwrite' if ours else 'give another'
        raise InputError(f'--output_dir={output_dir} is not empty: {remedy}')
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _judged_films(ensemble, split, data_dir, source, folder) -> JudgedFilms:
    first = ensemble.members[0]
    if source is not None:
        if data_dir or split != 'test':
            raise InputError(
                '--images_dir and --labels_csv judge all films of a folder: leave out '
                '--data_dir and --split'
            )
        return films_of_folder(source, folder / 'films', first)
    if data_dir is None:
        if len({member.data['fingerprint'] for member in ensemble.members}) > 1:
            raise InputError(
                'the runs were trained on different shards: say on which to judge them, by '
                '--data_dir or --images_dir; films that no run learned from'
            )
        data_dir = first.config.data.dir
    return films_of_shards(data_dir, split, first)


def _site(ensemble, place, source, folder, judged):
    """Scored films of a site, and the judged films that are not of the same persons."""
    site = films_of_site(place, source or {}, folder / 'recalibration_films', ensemble.members[0])
    names = ['patient_id', 'person_id']
    known = site.films.columns(names)
    ids, persons = {film for film, _ in known}, {person for _, person in known} - {''}
    rows = np.array(
        [
            i
            for i, (film, person) in enumerate(judged.films.columns(names))
            if film not in ids and person not in persons
        ],
        int,
    )
    if not len(rows):
        raise InputError(
            f'--recalibrate_on={place} has the films that are to be judged, or films of their '
            'persons: no other is left to judge'
        )
    if left_out := len(judged.films) - len(rows):
        log.info('%d films are not judged: they are recalibrated on, or of such persons', left_out)
    return score_films(ensemble, site.films), rows


def _about(ensemble: Ensemble, judged: JudgedFilms, split: str, changes: Sequence[str]) -> dict:
    return {
        'split': split,
        'protocol': judged.protocol,
        'persons_apart': judged.persons_apart,
        'data_fingerprint': judged.fingerprint,
        'num_rejected': judged.num_rejected,
        'model': ensemble.name + (f' ({", ".join(changes)})' if changes else ''),
        'changes': sorted(changes),
        'members': [
            {
                'model': member.config.model.name,
                'epoch': member.epoch,
                'step': member.step,
                'params_sha256': member.sha256,
                'init': _init(member.data.get('init')),
            }
            for member in ensemble.members
        ],
    }


def _init(init):
    """Of the weights that a run started from; None for random ones."""
    if init is None:
        return None
    return {name: init.get(name) for name in ('origin', 'sha256', 'card')}


if __name__ == '__main__':
    flags.DEFINE_multi_string(
        'workdir', [], 'Folder of a run of pneumo_jax.main; several for an ensemble.'
    )
    flags.DEFINE_multi_string(
        'eval',
        [],
        'NAME=VALUE of a field of config.eval (configs/base.py), such as flip=true, or '
        'localizer=mask, for this evaluation alone; thresholds are chosen anew on validation.',
    )
    flags.DEFINE_enum('split', 'test', SPLITS, 'Split to evaluate on.')
    flags.DEFINE_string(
        'data_dir', None, "Folder of shards; by default the runs' own config.data.dir."
    )
    define_source_flags()
    define_read_flags()
    flags.DEFINE_string(
        'recalibrate_on',
        None,
        'Some 100 labelled films of a new site: a folder of shards (DIR or DIR:SPLIT), or a table '
        'of labels, or a folder of class folders, read as the films that are judged. Films of the '
        'same persons are not judged.',
    )
    flags.DEFINE_float(
        'prevalence',
        None,
        'Share of films with an opacity where the model is to be used: PPV and NPV there.',
        lower_bound=0,
        upper_bound=1,
    )
    flags.DEFINE_float(
        'wanted_error',
        DEFAULT_WANTED_ERROR,
        'Share of answers that may be wrong where the model may abstain.',
        lower_bound=0,
        upper_bound=0.99,
    )
    flags.DEFINE_bool(
        'inclusive_iou',
        False,
        "An IoU equal to the challenge's threshold is a hit, as in some public code.",
    )
    flags.DEFINE_string(
        'output_dir',
        None,
        'Folder to write, for ensembles and folders of films; by default the workdir.',
    )
    flags.DEFINE_bool('overwrite', False, 'Replace an earlier evaluation in --output_dir.')
    flags.DEFINE_multi_string(
        'pool',
        [],
        'Folder of an evaluation of one fold; several for the figures of a cross-validation, from '
        'their tables: every film answered by the run of its fold.',
    )
    flags.DEFINE_string(
        'recompute',
        None,
        'Folder of an evaluation: make its figures anew from its tables, without a model.',
    )
    command.run(main)
