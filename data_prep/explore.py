"""The data in pictures, before anything learns from them: ``python data_prep/explore.py --help``.

Of a download, DICOM and tables (--download DIR, the unpacked Kaggle files; or the flags that
convert.py takes), of tables alone, of films alone, or of finished shards (--shards DIR). What is
not there shrinks the page; nothing of it is needed.

Writes to --output_dir: explore.html, a page that needs no other file; pictures/ (every chart and
sheet of films as PNG); tables/ (every figure as CSV, and a row for each film); exploration.json.

Classes and what they mean for accuracy; who the films are of and how they were taken, and what the
view alone gives away; boxes and where they lie; grey values by class, view and manufacturer; mean
films; films of a person; pixel spacing; equal films; whether the splits agree; films of each class
to look at, and those unlike the others. Estimates have 95 % intervals.

Films are read once, on all cores; thumbnails and grey values are kept in --cache_dir for the next
time. Delete that folder when you are done: it holds small pictures of your films.

Research software, not a medical device.
"""

from __future__ import annotations

import logging
import pathlib

from absl import flags

from data_prep.exploration.film_rows import SHEET_COLUMNS, choose_films, film_rows
from data_prep.exploration.gathering import draw, gather
from data_prep.exploration.loading import load_download, load_shards
from data_prep.exploration.page import exploration_page
from data_prep.exploration.sections import Exploration
from data_prep.exploration.tables import write_tables
from data_prep.options import Options
from data_prep.source_flags import SOURCE_FLAGS, define_source_flags
from pneumo_jax import command
from pneumo_jax.errors import InputError
from pneumo_jax.files import write_atomically, write_json
from pneumo_jax.output_folder import OutputFolder
from pneumo_jax.pages.films import film_sheet
from pneumo_jax.pages.pictures import save_pictures
from pneumo_jax.read_flags import define_read_flags, read_options
from pneumo_jax.workers import WorkerPool

__all__ = ['explore']

_JSON_NAME = 'exploration.json'
_PAGE_NAME = 'explore.html'
_TABLES = {
    'labels_csv': 'stage_2_train_labels.csv',
    'class_info_csv': 'stage_2_detailed_class_info.csv',
}
_FILMS = 'stage_2_train_images'

log = logging.getLogger(__name__)


def explore(
    options: Options, *, shards_dir: str | None = None, cache_dir: str | None = None
) -> Exploration:
    """Explores, and writes the page, its pictures and tables to ``options.output_dir``.

    Args:
        options: where films and labels are, and where to write.
        shards_dir: a finished conversion to explore in place of them.
        cache_dir: folder for what is kept of each film; None is ``<output_dir>.cache``.

    Returns:
        What was found.

    Raises:
        InputError: if a folder, a table or an option is not right, or there is nothing to explore.
    """
    cache = pathlib.Path(cache_dir or f'{options.output_dir.rstrip("/")}.cache')
    with (
        OutputFolder(options.output_dir, overwrite=options.overwrite, marker=_JSON_NAME) as folder,
        WorkerPool(options.num_workers, item_timeout=options.film_timeout) as pool,
    ):
        if shards_dir:
            films = load_shards(shards_dir)
        else:
            films = load_download(options, pool=pool, cache_dir=cache)
        exploration = gather(films)
        _write(folder.path, exploration)
        folder.publish()
    return exploration


def main(argv: list[str]) -> int:
    """Explores, and says where it is to be read; 1 if a film cannot be used."""
    command.refuse_arguments(argv)
    values = flags.FLAGS
    if not values.output_dir:
        raise InputError('--output_dir is needed, the folder to write')
    given = {name: values[name].value for name in SOURCE_FLAGS}
    if values.shards and (values.download or values.images_dir or values.labels_csv):
        raise InputError('--shards are explored as they are: leave out the flags of a download')
    if values.download:
        found = _find(values.download, persons=not given['person_csv'])
        given |= {name: path for name, path in found.items() if not given[name]}
    options = Options(
        output_dir=values.output_dir,
        read=read_options(),
        film_timeout=values.film_timeout,
        num_workers=values.num_workers,
        overwrite=values.overwrite,
        **given,
    )
    explored = explore(options, shards_dir=values.shards, cache_dir=values.cache_dir)
    for sentence in explored.warnings:
        log.warning('%s', sentence)
    command.say(
        f'{len(explored.films):,} films; all of it to read: {values.output_dir}/{_PAGE_NAME}'
    )
    return 1 if explored.films.rejected else 0


def _write(folder: pathlib.Path, exploration: Exploration) -> None:
    films, figures = exploration.films, exploration.figures
    pictures_dir, tables_dir = folder / 'pictures', folder / 'tables'
    pictures_dir.mkdir()
    tables_dir.mkdir()
    pictures = draw(exploration)
    save_pictures(pictures, pictures_dir)
    rows = film_rows(films, choose_films(films, exploration.duplicates))
    for row in rows:
        if row.films:
            film_sheet([row], columns=SHEET_COLUMNS).save(pictures_dir / f'{row.name}.png')
    write_tables(
        tables_dir,
        films,
        figures,
        grey=exploration.grey,
        balance=exploration.balance,
        duplicates=exploration.duplicates,
        maps=exploration.maps,
    )
    write_atomically(folder / _PAGE_NAME, exploration_page(exploration, pictures, rows))
    content = figures | {'splits': exploration.balance, 'warnings': exploration.warnings}
    write_json(folder / _JSON_NAME, content)


def _find(download: str, *, persons: bool) -> dict[str, str]:
    """The parts of an unpacked Kaggle download that are there; a plain folder of films is one too.

    Args:
        download: the folder.
        persons: whether to look for the table that maps persons.

    Raises:
        InputError: if there is no such folder, or it is not clear which table maps persons.
    """
    folder = pathlib.Path(download)
    if not folder.is_dir():
        raise InputError(f'--download={download} is no folder')
    found = {name: folder / file for name, file in _TABLES.items() if (folder / file).is_file()}
    tables = folder.glob('*mapping*') if persons else ()
    mappings = [path for path in tables if path.suffix in ('.csv', '.json')]
    if len(mappings) > 1:
        raise InputError(f'several mapping tables in {download}: name one by --person_csv')
    if mappings:
        found['person_csv'] = mappings[0]
    if (folder / _FILMS).is_dir():
        found['images_dir'] = folder / _FILMS
    elif not found:
        found['images_dir'] = folder
    return {name: str(path) for name, path in found.items()}


if __name__ == '__main__':
    flags.DEFINE_string(
        'download', None, 'Folder of the unpacked Kaggle download, or of what there is of it.'
    )
    flags.DEFINE_string('shards', None, 'Folder that convert.py wrote, to explore in its place.')
    flags.DEFINE_string('output_dir', None, 'Folder to write; must not exist yet.')
    flags.DEFINE_bool('overwrite', False, 'Replace an older exploration in output_dir.')
    flags.DEFINE_string(
        'cache_dir',
        None,
        'Folder for thumbnails and grey values of the films; by default OUTPUT_DIR.cache.',
    )
    flags.DEFINE_integer(
        'num_workers', 0, 'Worker processes; 0 means one for each core.', lower_bound=0
    )
    define_source_flags()
    define_read_flags()
    command.run(main)
