"""Whether pretrained weights have seen the films: what their model card says.

RSNA's films are a part of NIH ChestX-ray14's (Wang et al. 2017; Shih et al. 2019 drew the
challenge's 30,000 films from it). Weights trained on either may have seen the very films of a test
split, under labels of the same kind; figures on them are then too good, and nothing in the figures
tells. So what is known of weights is read and what they saw is said in every report.

A card is free text, and this is a search for names. When in doubt it flags: a false flag (a thanks
to the NIH, a benchmark in a README) costs a look at the card, a missed one the honesty of the
figures. Only a plain negation ("not trained on NIH or RSNA films", "nih: false") is believed. No
flag is no proof: a card may be silent, and most weights have none.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pathlib
import re
import stat
from collections.abc import Iterator, Mapping

from pneumo_jax.pretrained.card_names import FILE_NAMES, NIH, RSNA, named_collections

__all__ = ['NIH', 'RSNA', 'Card', 'card_of_run', 'read_card', 'seen_warning']

# More of a text is not read.
_TEXT_BYTES = 1 << 20
# The limit of the format itself.
_HEADER_BYTES = 100_000_000
_FOLDER_ENTRIES = 10_000

_CARD_SUFFIXES = ('.md', '.txt', '.json', '.yaml', '.yml', '.rst')
_FOLDER_CARD = re.compile(
    r'(?:readme|model[_-]?card|card)(?:\.(?:md|txt|json|ya?ml|rst))?', re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class Card:
    """What is known of the films that weights were trained on.

    Attributes:
        saw: which of ``NIH`` and ``RSNA``, in this order; empty where a card names neither.
        file: name, without its folder, of the file that says so.
    """

    saw: tuple[str, ...]
    file: str

    def to_json(self) -> dict:
        """A plain dict, of which ``from_json`` makes the card again."""
        return {'saw': list(self.saw), 'file': self.file}

    @classmethod
    def from_json(cls, content: Mapping) -> Card:
        """The card of ``to_json``."""
        return cls(saw=tuple(content['saw']), file=content['file'])


def read_card(path: str | pathlib.Path) -> Card | None:
    """The card of a weight file.

    It is looked for in the ``__metadata__`` of safetensors; in text beside the file of the same
    name (``<file>.md``, ``.txt``, ``.json``, ``.yaml``, also in place of its suffix); in
    ``README``, ``MODEL_CARD``, ``card`` of its folder; and the file's own name counts, since
    torchxrayvision's weights tell by their name what they were trained on. All that flag are put
    together. The texts are untrusted: they are searched, up to 1 MiB of each, and nothing else.

    Args:
        path: of the file, in whatever state. A workdir's card is ``card_of_run``'s.

    Returns:
        The card, of the first file that flags, or else of the first there is; None without any. A
        card that cannot be read is as none.
    """
    path = pathlib.Path(path)
    found = [(path.name, _in_order(named_collections(path.name, FILE_NAMES)))]
    # A name that does not flag is no card.
    found = [each for each in found if each[1]]
    found += [(name, _in_order(named_collections(text))) for name, text in _texts(path)]
    return _joined(found)


def card_of_run(data: Mapping) -> Card | None:
    """The card of a run of this project whose weights are another's start.

    Its own start counts, whose card was saved with it, and so does what that had started from.

    Args:
        data: ``run_config.Run.data``: of it ``source``, that of the shards, and ``init.card``. A
            run that does not say its source is older than this guard and is taken for RSNA's.

    Returns:
        The card; None for a run on other films that started from none with a card. Which films a
        ``csv`` or ``folders`` source held is not recorded.
    """
    found = []
    if data.get('source', 'rsna') == 'rsna':
        found.append(('config.json', (RSNA,)))
    if card := (data.get('init') or {}).get('card'):
        start = Card.from_json(card)
        found.append((start.file, start.saw))
    return _joined(found)


def seen_warning(card: Card | None) -> str | None:
    """One sentence for a report; None where no card flags."""
    if card is None or not card.saw:
        return None
    return (
        'The weights that training started from may have seen films of this evaluation: '
        f'{card.file} names {" and ".join(card.saw)}, and the films of the RSNA challenge are '
        'films of NIH ChestX-ray14; read the card, and take the figures for too good unless it '
        'shows that these films were left out.'
    )


def _joined(found: list[tuple[str, tuple[str, ...]]]) -> Card | None:
    """One card of what (file, collections) say."""
    if not found:
        return None
    file = next((name for name, saw in found if saw), found[0][0])
    return Card(saw=_in_order({each for _, saw in found for each in saw}), file=file)


def _in_order(collections) -> tuple[str, ...]:
    return tuple(name for name in (NIH, RSNA) if name in collections)


def _texts(path: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Names and texts of all cards, those nearest to the weights first."""
    if metadata := _safetensors_metadata(path):
        yield path.name, metadata
    for name in _card_files(path):
        if (content := _start_of(path.parent / name, _TEXT_BYTES)) is not None:
            yield name, _decoded(content)


def _card_files(path):
    """Names of the cards beside a file: its own first, then those of the folder."""
    own = {
        f'{stem}{suffix}'.lower() for stem in (path.name, path.stem) for suffix in _CARD_SUFFIXES
    }
    try:
        with os.scandir(path.parent) as entries:
            names = sorted(entry.name for entry in itertools.islice(entries, _FOLDER_ENTRIES))
    except OSError:
        return []
    names = [name for name in names if name != path.name]
    return [
        *(name for name in names if name.lower() in own),
        *(name for name in names if name.lower() not in own and _FOLDER_CARD.fullmatch(name)),
    ]


def _safetensors_metadata(path) -> str:
    """Keys and values of the metadata, a line each; '' for none, or any other file."""
    start = _start_of(path, 9)
    if start is None or start[8:] != b'{':
        return ''
    length = int.from_bytes(start[:8], 'little')
    if length > _HEADER_BYTES:
        return ''
    try:
        header = json.loads(_start_of(path, 8 + length)[8:])
    except (ValueError, RecursionError, TypeError):
        return ''
    metadata = header.get('__metadata__') if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        return ''
    return '\n'.join(f'{key}: {value}' for key, value in metadata.items())[:_TEXT_BYTES]


def _start_of(path, num_bytes) -> bytes | None:
    """The first bytes of a regular file; None for what is none or cannot be read."""
    try:
        # A pipe would be waited for.
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open('rb') as file:
            return file.read(num_bytes)
    except OSError:
        return None


def _decoded(content: bytes) -> str:
    utf16 = content.startswith((b'\xff\xfe', b'\xfe\xff'))
    return content.decode('utf-16' if utf16 else 'utf-8', errors='replace')
