"""What each technique brings: ``python -m benchmarks.ablation``.

Makes phantom films, trains what the rows of the table need, evaluates every row on the same test
films, and writes the table to --page. The same command goes on after an interruption: what is in
--output_dir is not made again.
"""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Mapping

from absl import flags

from benchmarks.rows import HEAD, Row, convert_once, evaluate_once, row_lines, train_once
from configs import smoke
from data_prep.demo_download import CLASSES, IMAGES, LABELS, PERSONS, make_demo
from pneumo_jax import command
from pneumo_jax.compilation_cache import cache_compilations
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.data.shards import load_manifest
from pneumo_jax.errors import InputError
from pneumo_jax.files import write_atomically, write_csv

__all__ = ['ROWS', 'run_ablation']


_PLAIN = {'model.localizer': 'detector'}
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


def _row(technique, changes=(), *, runs=('detector',), baseline='detector'):
    return Row(technique, runs, changes, baseline)


ROWS: Mapping[str, Row] = {
    'detector': _row('**plain detector**', baseline=''),
    'seed-1': _row('the same, another seed', runs=('seed-1',)),
    'mask': _row('mask head, trained alone', runs=('mask',)),
    'own-mask': _row("mask head of the plain detector's run", ('localizer=mask',)),
    'no-augmentation': _row('trained without augmentation', runs=('no-augmentation',)),
    'classes': _row('trained with a 3-class head of weight 0.1', runs=('classes',)),
    'no-voting': _row("boxes as one cell tells them, no others' votes", ('voting_iou=1',)),
    'gate-product': _row("box scores times the film's probability", ('film_gate=product',)),
    'gate-sqrt': _row('box scores times its root', ('film_gate=sqrt',)),
    'shrink': _row('box size factor learned on validation', ('learn_shrink=true',)),
    'faint-3': _row("boxes under 0.3 of the film's surest dropped", ('faint_share=0.3',)),
    'faint-5': _row("boxes under 0.5 of the film's surest dropped", ('faint_share=0.5',)),
    'flip': _row('mirror image answered too', ('flip=true',)),
    'scales': _row('sizes 0.75 and 1.25 answered too', _VIEWS[1:]),
    'average': _row('two seeds, maps averaged', runs=_PAIR),
    'fusion': _row('two seeds, boxes fused', ('merge=fusion',), runs=_PAIR),
    'all-average': _row(
        'gate (root), size, 0.3, mirror, sizes, seeds averaged', _WINNERS, runs=_PAIR
    ),
    'all-fusion': _row('the same, boxes fused', (*_WINNERS, 'merge=fusion'), runs=_PAIR),
    'half': _row('trained on half of the films', runs=('half',)),
    'half-weak': _row(
        'other half as weak films too; against half', runs=('half-weak',), baseline='half'
    ),
}

_DOWNLOAD = dict(images_dir=IMAGES, labels_csv=LABELS, class_info_csv=CLASSES, person_csv=PERSONS)
_FRACTIONS = (0.35, 0.15, 0.5)

_PAGE = """# What each technique brings, on phantoms

`python -m benchmarks.ablation` wrote this page, with {asked}.

{head}
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
- Box figures: the challenge's at the chosen threshold, and COCO's AP50, of their ranking alone.
  Training: seconds of processors.
- AUROC is changed by training, views and ensembles alone.
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
        seconds[name] = train_once(config, folder / 'runs' / name)
    folders = {name: folder / 'evaluations' / name for name in rows}
    for name, row in rows.items():
        _logger.info('== evaluating %s', name)
        evaluate_once([folder / 'runs' / run for run in row.runs], row.changes, folders[name])
    text = _PAGE.format(
        head=HEAD,
        rows='\n'.join(row_lines(rows, folders, seconds)),
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
    cache_compilations()
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
    paths = {field: str(folder / 'download' / path) for field, path in _DOWNLOAD.items()}
    convert_once(folder / name, image_size, **paths, **division)


def _config(name, folder, *, num_epochs, model):
    config = smoke.get_config()
    given = {'data.dir': 'films', 'num_epochs': num_epochs, 'model.name': model}
    config.update_from_flattened_dict(given | _PLAIN | RUNS[name])
    config.data.dir = str(folder / config.data.dir)
    config.data.extra_dirs = tuple(str(folder / extra) for extra in config.data.extra_dirs)
    return config


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
