"""The table of films that a conversion leaves: what every film is and in which split."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping

from data_prep.films import FilmFacts
from data_prep.labels import FilmLabel
from pneumo_jax.files import write_csv

__all__ = ['FILM_TABLE_NAME', 'write_film_table']

FILM_TABLE_NAME = 'films.csv'

_LABEL_COLUMNS = ('label', 'class_id', 'view_position', 'sex', 'age', 'label_domain')
_FACT_COLUMNS = ('height', 'width', 'transfer_syntax', 'photometric', 'bits_stored', 'window')


def write_film_table(
    path: pathlib.Path,
    labels: Iterable[FilmLabel],
    splits: Mapping[str, str],
    facts: Mapping[str, FilmFacts],
) -> None:
    """Writes a row a film, in order of ids; ``--split_csv`` takes such a table.

    Args:
        path: to write to.
        labels: of the accepted films.
        splits: id -> split; a film that is not there has none.
        facts: id -> facts; empty where no films were read.
    """
    header = ['id', 'split', *_LABEL_COLUMNS, 'num_boxes', *_FACT_COLUMNS, 'notes']
    write_csv(
        path,
        header,
        (
            _row(label, splits.get(label.patient_id, ''), facts.get(label.patient_id))
            for label in sorted(labels, key=lambda label: label.patient_id)
        ),
    )


def _row(label, split, facts):
    row = [label.patient_id, split, *(getattr(label, name) for name in _LABEL_COLUMNS)]
    row.append(len(label.boxes))
    if facts is None:
        return row + [''] * (len(_FACT_COLUMNS) + 1)
    return [*row, *(getattr(facts, name) for name in _FACT_COLUMNS), '; '.join(facts.notes)]
