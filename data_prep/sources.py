"""Where labels come from: the flag ``--source``."""

from __future__ import annotations

import pathlib

from data_prep.films import FoundFiles
from data_prep.folder_labels import read_folder_labels
from data_prep.labels import LabelTable
from data_prep.options import Options
from data_prep.rsna_labels import read_rsna_labels
from data_prep.table_labels import read_table_labels
from pneumo_jax.errors import InputError

__all__ = ['SOURCES', 'films_folder', 'read_labels']


def read_labels(options: Options, found: FoundFiles | None) -> LabelTable:
    """The labels of the films that are to be converted.

    Args:
        options: of the conversion.
        found: the files, which the source ``folders`` needs.

    Raises:
        InputError: if an option is missing, or a table is not right.
    """
    for name in ('id_column', 'person_column'):
        if getattr(options, name) and not options.person_csv:
            raise InputError(f'--{name} names a column of --person_csv, which is not given')
    return SOURCES[options.source](options, found)


def films_folder(options: Options) -> str:
    """The folder of films; for tables with paths by default the folder of the table.

    Raises:
        InputError: if it is not told.
    """
    if options.images_dir:
        return options.images_dir
    if options.source == 'csv' and options.labels_csv:
        return str(pathlib.Path(options.labels_csv).parent)
    raise InputError(f'--source={options.source} needs --images_dir, the folder of films')


def _rsna(options, found):
    del found
    return read_rsna_labels(
        _labels_csv(options),
        options.class_info_csv,
        options.person_csv,
        id_column=options.id_column,
        person_column=options.person_column,
    )


def _csv(options, found):
    del found
    return read_table_labels(
        _labels_csv(options),
        columns=_columns(options.columns),
        positive_labels=options.positive_labels,
        person_pattern=options.person_pattern,
        person_csv=options.person_csv,
        id_column=options.id_column,
        person_column=options.person_column,
    )


def _folders(options, found):
    if not options.positive_labels:
        raise InputError(
            '--source=folders needs --positive_labels, the folders whose films are positive'
        )
    return read_folder_labels(
        found.films,
        positive_labels=options.positive_labels,
        person_pattern=options.person_pattern,
        person_csv=options.person_csv,
        id_column=options.id_column,
        person_column=options.person_column,
    )


def _labels_csv(options):
    if not options.labels_csv:
        raise InputError(f'--source={options.source} needs --labels_csv, the table of labels')
    return options.labels_csv


def _columns(pairs):
    """``['path=Image Index', ...]`` as a dict."""
    columns = {}
    for pair in pairs:
        name, equals, column = pair.partition('=')
        if not (name and equals and column):
            raise InputError(f'--columns={pair}: give NAME=COLUMN, such as path=Image Index')
        columns[name.strip()] = column.strip()
    return columns


# Phantoms have the challenge's tables. Their name in the manifest tells that a network that learned
# from them has seen no film of the challenge (pneumo_jax.pretrained.cards).
SOURCES = {'rsna': _rsna, 'phantom': _rsna, 'csv': _csv, 'folders': _folders}
