"""What helps when boxed films are few: ``python -m benchmarks.few_films --help``.

Cross-validates the rows of a table on a small download in the form of the challenge's (a few
hundred films), each film judged by the run that knew neither it nor its person, and writes the
table to --page. What is in --output_dir is not made again: the same command goes on after an
interruption. The network starts from ImageNet's weights in --weights; phantoms are drawn for it.
"""

from __future__ import annotations

import logging
import pathlib
import statistics
from collections.abc import Mapping

from absl import flags

from benchmarks.rows import HEAD, Row, convert_once, evaluate_once, row_lines, train_once
from configs import base, detector
from data_prep.demo_download import CLASSES, IMAGES, LABELS, PERSONS, make_demo
from pneumo_jax import command
from pneumo_jax.compilation_cache import cache_compilations
from pneumo_jax.data.shards import load_manifest
from pneumo_jax.evaluate import DEFAULT_WANTED_ERROR
from pneumo_jax.evaluation.output import read_evaluation, write_evaluation
from pneumo_jax.evaluation.pooling import pool_evaluations
from pneumo_jax.evaluation.results import Settings
from pneumo_jax.files import write_atomically

__all__ = ['ROWS', 'run_few_films']

_PLAIN_AUGMENTATION = {f'augment.{k}': v for k, v in base.get_config().augment.items()}
_WEIGHTS, _PHANTOMS = {'model.init_from': 'weights'}, {'model.init_from': 'phantoms'}

# What differs from configs/detector.py.
RUNS: Mapping[str, Mapping] = {
    'imagenet': _WEIGHTS | _PLAIN_AUGMENTATION,
    'augmented': _WEIGHTS,
    'phantoms': _PHANTOMS,
    'seed-1': _PHANTOMS | {'seed': 1},
    'seed-2': _PHANTOMS | {'seed': 2},
    'mask': _PHANTOMS | {'model.localizer': 'mask'},
    'no-ema': _PHANTOMS | {'optimizer.ema_decay': 0.0},
    'weak': _PHANTOMS | {'data.extra_dirs': ('weak',)},
    'scratch': {'model.init_from': '', 'transfer.frozen_stages': 0, 'transfer.stage_decay': 1.0}
    | {'transfer.batch_norm': 'train'},
}

_SEEDS = ('phantoms', 'seed-1', 'seed-2')
_MASK = ('localizer=mask', 'film_gate=none')


def _row(technique, changes=(), *, runs=('phantoms',), baseline='phantoms'):
    return Row(technique, runs, changes, baseline)


ROWS: Mapping[str, Row] = {
    'phantoms': _row('**`configs/detector.py`**, phantoms first', baseline=''),
    'own-mask': _row('mask of the same runs', _MASK),
    'own-mask-gate': _row('the same, gated', _MASK[:1]),
    'seed-1': _row('another seed', runs=('seed-1',)),
    'seeds': _row('three seeds together, maps averaged', runs=_SEEDS),
    'seeds-fusion': _row('three seeds together, boxes fused', ('merge=fusion',), runs=_SEEDS),
    'seeds-mask': _row(
        'masks of the three seeds; against their boxes fused',
        _MASK,
        runs=_SEEDS,
        baseline='seeds-fusion',
    ),
    'mask': _row('mask head, trained alone', ('film_gate=none',), runs=('mask',)),
    'no-ema': _row('weights as they are, not their moving average', runs=('no-ema',)),
    'augmented': _row('without phantoms', runs=('augmented',)),
    'imagenet': _row('without phantoms, usual augmentation', runs=('imagenet',)),
    'weak': _row('weakly labelled films beside the boxed ones', runs=('weak',)),
    'no-gate': _row("box scores without the film's probability", ('film_gate=none',)),
    'product': _row('box scores times that probability, not its root', ('film_gate=product',)),
    'no-flip': _row('without the mirror image', ('flip=false',)),
    'no-voting': _row("boxes as one cell tells them, no others' votes", ('voting_iou=1',)),
    'faint': _row("boxes under half of the film's surest dropped", ('faint_share=0.5',)),
    'shrink': _row('box size factor learned on validation', ('learn_shrink=true',)),
    'scratch': _row('from random weights, all of them learning', runs=('scratch',)),
}

_PAGE = """# What helps when boxed films are few

`python -m benchmarks.few_films --data=DIR --weights=FILE{weak_flag}` wrote this page.

{head}
{rows}

## Protocol

- Films: {films}, {positives} with an opacity, {image_size} px, in {folds} folds by person,
  stratified by class and view. Every film is judged by the run that had its fold as test films;
  one fold validates (best epoch, thresholds), the others train: {train} films in the median.
- Model: `configs/detector.py`, at most {epochs} epochs, from the Keras MobileNet V2 of ImageNet;
  rows are this but for what they name. Training: processor seconds of all {folds} runs together.
- Phantoms first: {phantoms} phantoms, {phantom_epochs} epochs of the same config, batches of 32.
- The config's fields were chosen looking at figures of 199 films of the challenge (gate, moving
  average, augmentation): on these very films it looks a little better than it is. All else, best
  epochs and thresholds, is chosen without the films judged. One threshold holds for the boxes of
  all folds, chosen on all their validation films.
- In brackets are 95 % intervals, over persons. Differences are to the first row, where a row names
  no other, and paired; bold ones have no 0 in the interval. On so few films only large ones can be
  told from chance. COCO's AP50 is of the ranking of all boxes and needs no threshold.

Research software, not a medical device.
"""

_logger = logging.getLogger(__name__)


def run_few_films(
    output_dir: str | pathlib.Path,
    page: str | pathlib.Path,
    *,
    download: Mapping[str, str],
    weights: str,
    weak_dir: str = '',
    rows: Mapping[str, Row] = ROWS,
    num_folds: int = 5,
    num_phantoms: int = 2000,
    phantom_epochs: int = 10,
    image_size: int = 256,
    changes: Mapping | None = None,
) -> str:
    """Makes what is not there yet, and writes the page.

    Args:
        output_dir: for films, runs and evaluations.
        page: file to write.
        download: fields of ``data_prep.options.Options`` that say where films and tables are.
        weights: file of ImageNet's weights of the config's network.
        weak_dir: shards of weakly labelled films; '' leaves out the row that needs them.
        rows: of the table, by the names of their evaluations.
        num_folds: of the cross-validation, at least 3.
        num_phantoms: to learn from first.
        phantom_epochs: of that.
        image_size: side of the pictures in pixels.
        changes: fields of the config, for all runs.

    Returns:
        The page, Markdown.

    Raises:
        InputError: if ``output_dir`` holds the runs of other arguments.
    """
    folder = pathlib.Path(output_dir)
    rows = {name: row for name, row in rows.items() if weak_dir or row.runs != ('weak',)}
    places = {'weights': weights, 'weak': weak_dir, 'phantoms': str(folder / 'runs' / 'phantoms')}
    for fold in range(num_folds):
        convert_once(
            folder / f'fold{fold}', image_size, split=f'kfold:{num_folds}:{fold}', **download
        )
    first = {'num_epochs': phantom_epochs, 'batch_size': 32} | _WEIGHTS
    if any(RUNS[run]['model.init_from'] == 'phantoms' for row in rows.values() for run in row.runs):
        _make_phantoms(folder, num_phantoms, image_size)
        config = _config(first, folder / 'phantoms', places, changes)
        train_once(config, folder / 'runs' / 'phantoms')
    seconds = {}
    for name in dict.fromkeys(run for row in rows.values() for run in row.runs):
        seconds[name] = 0.0
        for fold in range(num_folds):
            _logger.info('== training %s, fold %d', name, fold)
            config = _config(RUNS[name], folder / f'fold{fold}', places, changes)
            seconds[name] += train_once(config, folder / 'runs' / f'{name}-{fold}')
    folders = {name: folder / 'evaluations' / name for name in rows}
    for name, row in rows.items():
        runs = [folder / 'runs' / run for run in row.runs]
        _evaluate(runs, row.changes, folders[name], num_folds)
    text = _PAGE.format(
        head=HEAD,
        rows='\n'.join(row_lines(rows, folders, seconds)),
        weak_flag=' --weak_dir=SHARDS' if weak_dir else '',
        phantoms=num_phantoms,
        phantom_epochs=phantom_epochs,
        epochs=_config({}, folder, places, changes).num_epochs,
        image_size=image_size,
        folds=num_folds,
        **_counts(folder, num_folds),
    )
    write_atomically(pathlib.Path(page), text)
    return text


def main(argv: list[str]) -> None:
    """Runs, and prints the page."""
    command.refuse_arguments(argv)
    values = flags.FLAGS
    cache_compilations()
    data = pathlib.Path(values.data)
    download = _download(data, values.person_csv)
    given = {'download': download, 'weights': values.weights, 'weak_dir': values.weak_dir}
    command.say(run_few_films(values.output_dir, values.page, **given))


def _download(data, person_csv):
    paths = {'images_dir': IMAGES, 'labels_csv': LABELS, 'class_info_csv': CLASSES}
    return {name: str(data / path) for name, path in paths.items()} | {'person_csv': person_csv}


def _make_phantoms(folder, num_films, image_size):
    data = folder / 'phantom_download'
    if not data.exists():
        make_demo(data, num_films=num_films, seed=0, with_contact_sheet=False)
    convert_once(
        folder / 'phantoms',
        image_size,
        source='phantom',
        split='person',
        split_fractions=(0.9, 0.1, 0.0),
        **_download(data, str(data / PERSONS)),
    )


def _config(differences, data_dir, places, changes):
    config = detector.get_config()
    config.update_from_flattened_dict({**(changes or {}), **differences})
    config.data.dir = str(data_dir)
    config.model.init_from = places.get(config.model.init_from, config.model.init_from)
    config.data.extra_dirs = tuple(places[name] for name in config.data.extra_dirs)
    return config


def _evaluate(runs, changes, output_dir, num_folds):
    """Of each fold, and of all of them pooled, in ``output_dir`` itself."""
    folds = {}
    for fold in range(num_folds):
        part = output_dir / f'fold{fold}'
        evaluate_once([run.with_name(f'{run.name}-{fold}') for run in runs], changes, part)
        folds[str(part)] = read_evaluation(part, 'test')
    if not (output_dir / 'results.json').exists():
        pooled = pool_evaluations(folds)
        write_evaluation(output_dir, pooled, wanted_error=DEFAULT_WANTED_ERROR, settings=Settings())


def _counts(folder, num_folds):
    splits = [load_manifest(folder / f'fold{fold}')['splits'] for fold in range(num_folds)]
    return {
        'films': sum(split['test']['films'] for split in splits),
        'positives': sum(split['test']['positives'] for split in splits),
        'train': int(statistics.median(split['train']['films'] for split in splits)),
    }


if __name__ == '__main__':
    flags.DEFINE_string('data', None, "Folder of a download like the challenge's.", required=True)
    flags.DEFINE_string('person_csv', None, 'Its mapping from films to persons.', required=True)
    flags.DEFINE_string('weights', None, "ImageNet's weights of a MobileNet V2.", required=True)
    flags.DEFINE_string('weak_dir', '', 'Shards of weakly labelled films, for a row of their own.')
    flags.DEFINE_string('output_dir', 'build/few_films', 'Folder for films, runs, evaluations.')
    flags.DEFINE_string('page', 'docs/few_films.md', 'File to write the table to.')
    command.run(main)
