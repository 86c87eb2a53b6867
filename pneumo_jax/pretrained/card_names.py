"""The names of the collections that hold RSNA's films, found in free text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from pneumo_jax.pretrained.card_denials import MARK, is_denied, unwrapped

__all__ = ['FILE_NAMES', 'NIH', 'RSNA', 'TEXT_NAMES', 'named_collections']

NIH = 'NIH ChestX-ray14'
RSNA = 'RSNA Pneumonia Detection Challenge'

# Between the parts of a name; hyphens of typesetting too.
_GAP = r'[\s_\-\u2010-\u2015]*'
# A name begins and ends where a letter does not go on: NIH, but not manihot; NIH_14, but not NIHSS.
_START, _END = r'(?<![^\W\d_])', r'(?![^\W\d_])'

# Collections made of films of NIH ChestX-ray14 stand with it: CheXNet's training set, ChestMNIST,
# SIIM-ACR Pneumothorax, ChestX-Det; and COVIDx with RSNA's, of which its pneumonias are.
_NIH = (
    rf'{_START}NIH(?:CC)?(?:{_END}|(?=chest|cxr))',
    # In camel case: ChestXrayNIH.
    r'(?-i:(?<=[a-z])NIH(?![A-Za-z]))',
    rf'{_START}National{_GAP}Institutes?{_GAP}of{_GAP}Health{_END}',
    rf'Chest{_GAP}X{_GAP}rays?{_GAP}14(?!\d)',
    rf'Chest[_\-\u2010-\u2015]?X{_GAP}rays?[_\-\u2010-\u2015]?8(?!\d|[\s\-]*bit)',
    rf'{_START}ChestX[_\-\u2010-\u2015]ray',
    rf'{_START}CXR[_\-]?(?:8|14)(?!\d)',
    rf'{_START}(?:CheXNet|ChestMNIST){_END}',
    rf'{_START}SIIM{_GAP}(?:ACR|pneumothorax){_END}',
    rf'{_START}ChestX{_GAP}Det(?:10|13)?{_END}',
)
_RSNA = (
    rf'{_START}RSNA{_END}',
    r'(?-i:(?<=[a-z])RSNA(?![A-Za-z]))',
    rf'{_START}Radiological{_GAP}Society{_GAP}of{_GAP}North{_GAP}America{_END}',
    rf'pneumonia{_GAP}detection{_GAP}(?:challenge|competition)',
    r'kaggle[^.;:!?\n]{0,40}pneumonia',
    r'pneumonia[^.;:!?\n]{0,40}kaggle',
    rf'{_START}COVID(?:x|[_\-]?Net){_END}',
)
# Torchxrayvision's weights "all" were trained on both.
_ALL = (
    r'res(?:224|512)[_\-]all(?![^\W_])',
    r'(?:torchxrayvision|xrv)\W(?:[^.;!?\n]{0,60}\W)?all(?!\w)',
)

TEXT_NAMES: Mapping[str, tuple[str, ...]] = {NIH: (*_NIH, *_ALL), RSNA: (*_RSNA, *_ALL)}
# Its files tell by a name each what they were trained on: pc-nih-rsna-siim-vin-resnet50...,
# kaggle-densenet121... (RSNA); SIIM's and Google's films are NIH's.
FILE_NAMES: Mapping[str, tuple[str, ...]] = {
    NIH: (*_NIH, *_ALL, r'(?<![^\W_])(?:google|siim)(?![^\W_])'),
    RSNA: (*_RSNA, *_ALL, r'(?<![^\W_])kaggle(?![^\W_])'),
}


# More mentions than this are not looked at one by one: some will not be denied.
_MAX_MENTIONS = 1000


def named_collections(
    text: str, names: Mapping[str, tuple[str, ...]] = TEXT_NAMES
) -> frozenset[str]:
    """Which of ``NIH`` and ``RSNA`` a text names, other than to deny it plainly.

    Args:
        text: of a card.
        names: ``TEXT_NAMES``, or ``FILE_NAMES`` for the name of a file.
    """
    text = unwrapped(unicodedata.normalize('NFKC', text).replace(MARK, ' '))
    found = sorted(
        (*match.span(), name)
        for name, patterns in names.items()
        for pattern in patterns
        for match in re.finditer(pattern, text, re.IGNORECASE)
    )
    if len(found) > _MAX_MENTIONS:
        return frozenset(name for *_, name in found)
    mentions = _merged(found)
    marked, places = _marked(text, mentions)
    return frozenset(
        name
        for (_, _, each), place in zip(mentions, places, strict=True)
        if not is_denied(marked, place)
        for name in each
    )


def _merged(found):
    """Mentions (start, end, names) that do not overlap, of those that may."""
    merged: list[tuple[int, int, set[str]]] = []
    for start, end, name in found:
        if merged and start < merged[-1][1]:
            before = merged.pop()
            merged.append((before[0], max(end, before[1]), before[2] | {name}))
        else:
            merged.append((start, end, {name}))
    return merged


def _marked(text, mentions):
    """The text with ``MARK`` for each mention, and where those stand."""
    pieces, places, last, length = [], [], 0, 0
    for start, end, _ in mentions:
        pieces += [text[last:start], MARK]
        length += start - last
        places.append(length)
        length += 1
        last = end
    return ''.join([*pieces, text[last:]]), places
