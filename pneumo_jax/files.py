"""Small files that appear under their name only when they are whole."""

from __future__ import annotations

import csv
import io
import json
import pathlib
from collections.abc import Iterable, Sequence

__all__ = ['write_atomically', 'write_csv', 'write_json']


def write_json(path: pathlib.Path, content) -> None:
    """Writes indented JSON, whole or not at all."""
    write_atomically(path, json.dumps(content, indent=2, allow_nan=False) + '\n')


def write_csv(path: pathlib.Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Writes a table, whole or not at all."""
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows([header, *rows])
    write_atomically(path, text.getvalue())


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a text file under its final name only when it is complete."""
    partial = path.with_name(f'.{path.name}.partial')
    partial.write_text(text, encoding='utf-8')
    partial.replace(path)
