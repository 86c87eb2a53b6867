"""Reads a CSV file whole: any usual dialect, every value as text, errors with file and row."""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib
from collections.abc import Sequence

from pneumo_jax.errors import InputError

__all__ = ['LabelError', 'Row', 'read_table']

_DELIMITERS = ',;\t|'


class LabelError(InputError):
    """A table cannot be used; the message names the file, the row and what to do."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        number: line in the file, the header being line 1.
        cells: column name -> text without surrounding space.
        decimal_comma: whether numbers may be written ``12,5``.
    """

    number: int
    cells: dict[str, str]
    decimal_comma: bool

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def number_in(self, column: str) -> float:
        """A cell as a number.

        Raises:
            ValueError: if it is none.
        """
        text = self.cells[column]
        return float(text.replace(',', '.') if self.decimal_comma else text)


def read_table(path, columns: Sequence[str]) -> list[Row]:
    """The rows of a CSV file, which may have a byte order mark, CRLF, and any usual delimiter.

    Args:
        path: the file, UTF-8.
        columns: those that it must have; others may be there too.

    Raises:
        LabelError: if the file is missing, not UTF-8, lacks a column, has a row of another
            length, or no rows at all.
    """
    path = pathlib.Path(path)
    lines = io.StringIO(_read_text(path), newline='').readlines()
    if not lines:
        raise LabelError(f'{path} is empty; its first line must name the columns {_list(columns)}')
    header, delimiter = _read_header(path, lines[0], columns)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    rows = []
    try:
        next(reader)
        for cells in reader:
            if not any(map(str.strip, cells)):
                continue
            if len(cells) != len(header):
                raise LabelError(
                    f'{path}, row {reader.line_num}: {len(cells)} values under {len(header)} '
                    f'columns ({delimiter.join(cells)[:80]!r}): correct the row'
                )
            values = dict(zip(header, map(str.strip, cells), strict=True))
            rows.append(Row(reader.line_num, values, delimiter != ','))
    except csv.Error as error:
        raise LabelError(f'{path}, row {reader.line_num}: {error}: correct the row') from error
    if not rows:
        raise LabelError(f'{path} has a header and no rows: it was cut, download it anew')
    return rows


def _read_text(path):
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LabelError(f'{path} cannot be read: {error.strerror}') from error
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise LabelError(
            f'{path} is not UTF-8: byte {content[error.start]:#04x} at offset {error.start}; '
            'save it as UTF-8'
        ) from error


def _read_header(path, line, columns):
    """(column names, delimiter): the first delimiter under which all columns are there."""
    found = []
    for delimiter in _DELIMITERS:
        header = [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
        if set(columns) <= set(header):
            if len(set(header)) < len(header):
                raise LabelError(f'{path} names a column twice: {_list(header)}')
            return header, delimiter
        found = max(found, header, key=len)
    missing = [name for name in columns if name not in found]
    raise LabelError(
        f'{path} lacks the columns {_list(missing)}; its first line names {_list(found)}'
    )


def _list(names):
    return ', '.join(names)
