"""Tables and texts of Markdown; what comes from data stays text, whatever signs it holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ['escaped', 'markdown_table']


def escaped(text: str) -> str:
    """A text on one line in which no sign means anything to Markdown, HTML or a formula."""
    indent = len(text) - len(text.lstrip(' '))
    # The name of a file may be no valid text.
    text = ' '.join(text.encode('utf-8', 'backslashreplace').decode('utf-8').split())
    for sign in '\\`*_{}[]#|$~':
        text = text.replace(sign, f'\\{sign}')
    # Not every reader of Markdown knows that a backslash disarms these.
    for sign, name in (('&', '&amp;'), ('<', '&lt;'), ('>', '&gt;')):
        text = text.replace(sign, name)
    return '&nbsp;' * indent + text


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts, which are escaped."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(escaped(cell) for cell in line)} |' for line in lines)
