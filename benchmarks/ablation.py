"""What each technique brings: ``python benchmarks/ablation.py --output_dir=build/ablation``.

Makes phantom films, trains what the rows of the table need, evaluates every row on the same test
films, and writes the table to --page. The same command goes on after an interruption: what is in
--output_dir is not made again.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Mapping

import jax
from absl import flags

from configs import smoke
from data_prep.conversion import convert
from data_prep.demo_download import CLASSES, IMAGES, LABELS, PERSONS, make_demo
from data_prep.options import Options
from pneumo_jax import command
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.data.shards import load_manifest
from pneumo_jax.errors import InputError
from pneumo_jax.evaluate import evaluate
from pneumo_jax.evaluation.comparison import paired_differences
from pneumo_jax.evaluation.comparison.evaluated import load_evaluated
from pneumo_jax.files import write_atomically, write_csv, write_json
from pneumo_jax.train import train

__all__ = ['ROWS', 'Row', 'run_ablation']


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        technique: in words.
        runs: names of ``RUNS`` that answer together.
        changes: ``NAME=VALUE`` of ``config.eval``, for this evaluation.
        baseline: name of the row that it is compared with; '' for none.
    """

    technique: str
    runs: tuple[str, ...] = ('detector',)
    changes: tuple[str, ...] = ()
    baseline: str = 'detector'


_PLAIN = {'model.localizer': 'detector', 'loss.detector.giou': 2.0}
_CHANGES = ('scale', 'shift', 'brightness', 'contrast')

# What differs from the plain detector's config; folders are those of _make_films.
RUNS: Mapping[str, Mapping] = {
    'detector': {},
    'mask': {'model.localizer': 'mask'},
    'seed-1': {'seed': 1},
    'no-augmentation': {'augment.flip': False} | {f'augment.{name}': 0.0 for name in _CHANGES},
    'classes': {'loss.class_weight': 0.1},
    'half': {'data.dir': 'half'},
    'half-weak': {'data.dir': 'half', 'data.extra_dirs': ('other-half',)},
}

_PAIR = ('detector', 'seed-1')
_VIEWS = ('flip=true', 'scales=0.75,1.25')
_WINNERS = ('film_gate=sqrt', 'learn_shrink=true', 'faint_share=0.3', *_VIEWS)

ROWS: Mapping[str, Row] = {
    'detector': Row('**plain detector**', baseline=''),
    'seed-1': Row('the same, another seed', ('seed-1',)),
    'mask': Row('mask head, trained alone', ('mask',)),
    'own-mask': Row("mask head of the plain detector's run", changes=('localizer=mask',)),
    'no-augmentation': Row('trained without augmentation', ('no-augmentation',)),
    'classes': Row('trained with a 3-class head of weight 0.1', ('classes',)),
    'gate-product': Row("box scores times the film's probability", changes=('film_gate=product',)),
    'gate-sqrt': Row('the root of that product', changes=('film_gate=sqrt',)),
    'shrink': Row('box size factor learned on validation', changes=('learn_shrink=true',)),
    'faint-3': Row("boxes under 0.3 of the film's surest dropped", changes=('faint_share=0.3',)),
    'faint-5': Row("boxes under 0.5 of the film's surest dropped", changes=('faint_share=0.5',)),
    'flip': Row('mirror image answered too', changes=('flip=true',)),
    'scales': Row('sizes 0.75 and 1.25 answered too', changes=_VIEWS[1:]),
    'average': Row('two seeds, maps averaged', _PAIR),
    'fusion': Row('two seeds, boxes fused', _PAIR, ('merge=fusion',)),
    'all-average': Row('gate (root), size, 0.3, mirror, sizes, seeds averaged', _PAIR, _WINNERS),
    'all-fusion': Row('the same, boxes fused', _PAIR, (*_WINNERS, 'merge=fusion')),
    'half': Row('trained on half of the films', ('half',)),
    'half-weak': Row('other half as weak films too; against half', ('half-weak',), (), 'half'),
}

_DOWNLOAD = dict(images_dir=IMAGES, labels_csv=LABELS, class_info_csv=CLASSES, person_csv=PERSONS)
_FRACTIONS = (0.35, 0.15, 0.5)

_PAGE = """# What each technique brings, on phantoms

`python benchmarks/ablation.py --output_dir=build/ablation` wrote this page, with {asked}.

| row | challenge mAP | difference | AUROC | difference | training, processor s |
| --- | --- | --- | --- | --- | --- |
{rows}

## Protocol

- Films: phantoms of `data_prep/make_demo.py` (seed 0), {image_size} px; {sentence}.
- Training: {train}. Validation: {validation}. Test: {test}.
- Model: {model}, with {plain}, evaluated at its best epoch. Rows are this but for what they name.
- Nothing is chosen on the test films: box thresholds, and where it is learned the factor of the
  boxes' size, are chosen on validation for each row anew; all else was fixed beforehand.
- Half: every second person of the training films. Weak films: those of the others, by their labels
  alone; they fill {extra_share:.0%} of each batch, so an epoch of the boxed half has more steps.

## How to read it

- In brackets are 95 % intervals, over persons. Differences are to the plain detector and paired,
  the same persons drawn for both; bold ones have no 0 in the interval, one in twenty by chance.
- The intervals are about the films, the trained models being as they are. The row of another seed
  shows how far two trainings differ in which nothing was changed: a row with a training of its own
  that differs by no more shows nothing.
- AUROC is changed by training, views and ensembles alone. The root of the gated scores ranks boxes
  as the product does, and the threshold follows; with dropped faint boxes they may differ.
- Phantoms rank techniques only roughly. Their boxes fit exactly and their labels, the weak ones
  too, are never wrong: a learned size has little to find, and weak films teach more than labels
  mined from reports. Measure anew on real films: a row is some fields of the config, or
  `--eval=NAME=VALUE` of `python -m pneumo_jax.evaluate`.

Research software, not a medical device.
"""

_logger = logging.getLogger(__name__)


def run_ablation(
    output_dir: str | pathlib.Path,
    page: str | pathlib.Path,
    *,
    rows: Mapping[str, Row] = ROWS,
    num_films: int,
    num_epochs: int,
    image_size: int = 128,
    model: str = 'resnet_small',
) -> str:
    """Makes what is not there yet, and writes the page.

    Args:
        output_dir: for films, runs and evaluations.
        page: file to write.
        rows: of the table, by the names of their evaluations.
        num_films: phantoms, half of them test films.
        num_epochs: of each run, at most.
        image_size: side of the pictures in pixels.
        model: of ``config.model.name``.

    Returns:
        The page, Markdown.

    Raises:
        InputError: if ``output_dir`` holds the films or runs of other arguments.
    """
    folder = pathlib.Path(output_dir)
    _make_films(folder, num_films=num_films, image_size=image_size)
    seconds = {}
    for name in dict.fromkeys(name for row in rows.values() for name in row.runs):
        _logger.info('== training %s', name)
        config = _config(name, folder, num_epochs=num_epochs, model=model)
        seconds[name] = _train(config, folder / 'runs' / name)
    for name, row in rows.items():
        output_dir = folder / 'evaluations' / name
        if not (output_dir / 'results.json').exists():
            _logger.info('== evaluating %s', name)
            # What an interrupted evaluation left.
            shutil.rmtree(output_dir, ignore_errors=True)
            workdirs = [str(folder / 'runs' / run) for run in row.runs]
            evaluate(workdirs, changes=row.changes, output_dir=str(output_dir))
    text = _PAGE.format(
        rows='\n'.join(_lines(rows, folder, seconds)),
        asked=f'`--num_films={num_films}` and `--num_epochs={num_epochs}`',
        model=f'`configs/smoke.py` ({model}), at most {num_epochs} epochs',
        **_facts(load_manifest(folder / 'films')),
    )
    write_atomically(pathlib.Path(page), text)
    return text


def main(argv: list[str]) -> None:
    """Runs, and prints the page."""
    command.refuse_arguments(argv)
    values = flags.FLAGS
    if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
        # Many runs are of the same network.
        jax.config.update('jax_compilation_cache_dir', f'{values.output_dir}/jax')
    numbers = {name: values[name].value for name in ('num_films', 'num_epochs')}
    command.say(run_ablation(values.output_dir, values.page, **numbers))


def _make_films(folder, *, num_films, image_size):
    """Three conversions of one download: all films, and training on one half or on the other."""
    if not (folder / 'download').exists():
        make_demo(folder / 'download', num_films=num_films, seed=0, with_contact_sheet=False)
    _convert(folder, 'films', image_size, split='person', split_fractions=_FRACTIONS)
    found = load_manifest(folder / 'films')
    films = sum(split['films'] for split in found['splits'].values())
    if (films, found['image_size']) != (num_films, image_size):
        held, wanted = f'{films} films of {found["image_size"]}', f'{num_films} of {image_size} px'
        raise InputError(f'{folder} holds {held}, not {wanted}: give another --output_dir')
    training = FilmSplit(folder / 'films', 'train').columns(['patient_id', 'person_id'])
    chosen = set(sorted({person for _, person in training})[::2])
    listed = {'half': [], 'other-half': []}
    for film, person in training:
        listed['half' if person in chosen else 'other-half'].append((film, 'train'))
    for split in ('validation', 'test'):
        films = FilmSplit(folder / 'films', split).columns(['patient_id'])
        listed['half'] += [(film, split) for (film,) in films]
    for name, films in listed.items():
        write_csv(folder / f'{name}.csv', ['id', 'split'], films)
        _convert(folder, name, image_size, split='given', split_csv=str(folder / f'{name}.csv'))


def _convert(folder, name, image_size, **division):
    if (folder / name).exists():
        return
    paths = {field: str(folder / 'download' / path) for field, path in _DOWNLOAD.items()}
    options = Options(output_dir=str(folder / name), image_size=image_size, **paths, **division)
    if convert(options):
        raise InputError(f'the films could not be converted: delete {folder} and begin anew')


def _config(name, folder, *, num_epochs, model):
    config = smoke.get_config()
    given = {'data.dir': 'films', 'num_epochs': num_epochs, 'model.name': model}
    config.update_from_flattened_dict(given | _PLAIN | RUNS[name])
    config.data.dir = str(folder / config.data.dir)
    config.data.extra_dirs = tuple(str(folder / extra) for extra in config.data.extra_dirs)
    return config


def _train(config, workdir) -> float:
    """Trains to the end; returns the processor seconds that it took, over all its starts."""
    path = workdir / 'training.json'
    before, finished = time.process_time(), False
    done = json.loads(path.read_text()) if path.exists() else {'seconds': 0.0, 'finished': False}
    try:
        # Of a finished run it checks that this is the config, and no more.
        train(config, workdir)
        finished = True
    finally:
        if workdir.exists() and not done['finished']:
            done = {'seconds': done['seconds'] + time.process_time() - before, 'finished': finished}
            write_json(path, done)
    return done['seconds']


def _lines(rows, folder, seconds):
    """The table's, one for each row."""
    folders = [folder / 'evaluations' / name for name in rows]
    runs = dict(zip(rows, load_evaluated(folders, 'test'), strict=True))
    for name, row in rows.items():
        results, cells = runs[name].results, [row.technique]
        found = row.baseline and paired_differences(runs[row.baseline], runs[name])['figures']
        for group, figure in (('boxes', 'challenge_map'), ('film', 'auroc')):
            cells += [_shown(results[group][figure]), found and _shown(found[figure], sign='+')]
        of_itself = len(row.runs) == 1 and not row.changes
        cells.append(f'{seconds[row.runs[0]]:.0f}' if of_itself else '')
        yield f'| {" | ".join(cells)} |'


def _shown(figure, sign=''):
    """With its interval; a difference, which has a sign, in bold where it is surely not 0."""
    value, low, high = (figure.get(name) for name in ('value', 'low', 'high'))
    if value is None:
        return 'undefined'
    if low is None or low == high:
        return f'{value:{sign}.3f}'
    text = f'{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]'
    return f'**{text}**' if sign and (low > 0 or high < 0) else text


def _facts(manifest):
    return {
        name: f'{split["films"]} films of {split["persons"]} persons, {split["positives"]} with an '
        f'opacity ({split["prevalence"]:.0%})'
        for name, split in manifest['splits'].items()
    } | {
        'image_size': manifest['image_size'],
        'sentence': manifest['protocol']['sentence'],
        'plain': ' '.join(f'`--config.{name}={value}`' for name, value in _PLAIN.items()),
        'extra_share': smoke.get_config().data.extra_share,
    }


if __name__ == '__main__':
    flags.DEFINE_string('output_dir', 'build/ablation', 'Folder for films, runs and evaluations.')
    flags.DEFINE_string('page', 'docs/ablation.md', 'File to write the table to.')
    flags.DEFINE_integer('num_films', 1200, 'Phantoms; half are test films.', lower_bound=60)
    flags.DEFINE_integer('num_epochs', 40, 'Of each run, at most.', lower_bound=1)
    command.run(main)
