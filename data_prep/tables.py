"""Reads a CSV file whole: any usual dialect, every value as text, errors with file and row.

Columns are asked for by their exact names, or found by any of their usual ones.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib
import re
from collections.abc import Mapping, Sequence

from pneumo_jax.errors import InputError

__all__ = ['LabelError', 'Row', 'find_columns', 'read_table', 'read_text']

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


def read_table(path, columns: Sequence[str] = ()) -> list[Row]:
    """The rows of a CSV file, which may have a byte order mark, CRLF, and any usual delimiter.

    Args:
        path: the file, UTF-8.
        columns: those that it must have; others may be there too.

    Raises:
        LabelError: if the file is missing, not UTF-8, lacks a column, has a row of another
            length, or no rows at all.
    """
    path = pathlib.Path(path)
    lines = io.StringIO(read_text(path), newline='').readlines()
    if not lines or not lines[0].strip():
        raise LabelError(f'{path} is empty in its first line, which must name the columns')
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


def read_text(path) -> str:
    """The text of a file.

    Raises:
        LabelError: if it is missing or not UTF-8.
    """
    path = pathlib.Path(path)
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


def find_columns(
    path,
    header: Sequence[str],
    aliases: Mapping[str, Sequence[str]],
    *,
    named: Mapping[str, str],
    required: Sequence[str],
    flags: Mapping[str, str],
) -> dict[str, str]:
    """Which column of a table holds what.

    Args:
        path: of the table, for messages.
        header: its columns.
        aliases: our name -> usual names of such a column, in lower case without spaces and
            underscores, as the columns are compared.
        named: our name -> column, where the user said so.
        required: our names that must be found.
        flags: our name -> the flag by which the user says so, where there is one.

    Returns:
        Our name -> column, of what is there.

    Raises:
        LabelError: if a named column or a required one is not there, or two may be meant.
    """
    for name, column in named.items():
        if column not in header:
            raise LabelError(
                f'{path} has no column {column!r} for {flags[name]}; it has {_list(header)}'
            )
    free = [column for column in header if column not in named.values()]
    found = dict(named)
    for name, spellings in aliases.items():
        if name in named:
            continue
        matching = [column for column in free if _plain(column) in spellings]
        if len(matching) > 1:
            remedy = f', or say which with {flags[name]}' if name in flags else ''
            raise LabelError(
                f'{path}: each of the columns {_list(matching)} may be the {name}: rename all '
                f'but one{remedy}'
            )
        if matching:
            found[name] = matching[0]
        elif name in required:
            raise LabelError(
                f'{path} has no column named {name} or alike ({_list(spellings)}); it has '
                f'{_list(header)}: say which it is with {flags[name]}'
            )
    return found


def _read_header(path, line, columns):
    """(column names, delimiter): where all columns are there, the delimiter of the most names."""
    headers = {
        delimiter: [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
        for delimiter in _DELIMITERS
    }
    complete = [d for d, header in headers.items() if set(columns) <= set(header)]
    delimiter = max(complete or headers, key=lambda d: len(headers[d]))
    header = headers[delimiter]
    if not complete:
        missing = [name for name in columns if name not in header]
        raise LabelError(
            f'{path} lacks the columns {_list(missing)}; its first line names {_list(header)}'
        )
    if len(set(header)) < len(header):
        raise LabelError(f'{path} names a column twice: {_list(header)}')
    return header, delimiter


def _plain(column):
    return re.sub(r'[\s_]', '', column).casefold()


def _list(names):
    return ', '.join(names)
