"""Whether a text plainly denies what it names: ``not trained on NIH``, ``nih: false``.

Only the plainest forms are believed, since what is wrongly believed hides a leak. Between a
negation and the name there may be words of training and of data alone, and nothing may follow that
narrows it (``not trained on NIH test films``, ``not only on NIH``).
"""

from __future__ import annotations

import re

__all__ = ['MARK', 'is_denied', 'unwrapped']

# Stands for a name in the text; of the private use area.
MARK = '\ue000'

_WINDOW = 300
_WORD = re.compile(r"[^\W_][\w\-\u2010-\u2015']*|[^\S\n]*\n|\S")

_NEGATORS = frozenset(('not', 'no', 'never', 'without', 'excluding', 'excludes', 'neither'))
_NEGATORS |= frozenset(("wasn't", "isn't", "weren't", "hasn't", "haven't", "didn't", "doesn't"))
# Before a negation: it is advice, or leaves open whether.
_OPEN = frozenset(('do', 'should', 'must', 'may', 'can', 'could', 'might', 'would', 'shall'))
_OPEN |= frozenset(('will', 'cannot', 'if', 'whether', 'or', 'unless', 'not', 'no'))
_MARKUP = frozenset('*_`"\'~')
_LIST = frozenset((MARK, 'and', 'or', ',', '/', '&'))
_NOUNS = frozenset(('film', 'films', 'image', 'images', 'picture', 'pictures', 'radiograph'))
_NOUNS |= frozenset(('radiographs', 'x-ray', 'x-rays', 'xray', 'xrays', 'data', 'dataset'))
_NOUNS |= frozenset(('datasets', 'collection', 'collections', 'challenge', 'pneumonia'))
_NOUNS |= frozenset(('detection', 'chest', 'the', 'any', 'a'))
_TRAINING = frozenset(('train', 'trained', 'pretrained', 'pre-trained', 'training', 'pretraining'))
_TRAINING |= frozenset(('pre-training', 'finetuned', 'fine-tuned', 'been', 'seen', 'see', 'saw'))
_TRAINING |= frozenset(('include', 'includes', 'included', 'contain', 'contains', 'use', 'used'))
_TRAINING |= frozenset(('uses', 'using', 'exposed', 'shown', 'on', 'to', 'from', 'of', 'in'))
_TRAINING |= frozenset(('with', 'by'))
_WHEN = frozenset(('in', 'during', 'for', 'training', 'pretraining', 'pre-training'))
_WHEN |= frozenset(('at', 'all', 'time', 'either', 'whatsoever'))
_CLAUSE_ENDS = frozenset('.;!?()[]{}|\n')

_NAME_REST = r'(?:[_\- ]?(?:chest|x-?rays?|14|films?|images?|data|datasets?|pneumonia))*'
_FIELD = re.compile(
    rf'{_NAME_REST}["\'`*\s]*[:=|]\s*["\'`]?(?:false|no)["\'`]?[^\S\n]*(?:[,;.|}}\])\n]|$)',
    re.IGNORECASE,
)
_WAS_NOT = re.compile(
    r'\s*(?:(?:was|were|is|are|has|have|had)(?:n\'t|\s+not|\s+never)(?:\s+been)?\s+'
    r'(?:used|seen|included|shown)|(?:was|were|is|are)\s+(?:excluded|left\s+out))'
    r'(?:\s+(?:in|for|during|from)\s+(?:the\s+)?(?:pre-?)?training(?:\s+(?:set|data))?)?'
    r'\s*(?:[.;,)|\n]|$)',
    re.IGNORECASE,
)


def is_denied(text: str, place: int) -> bool:
    """Whether a text denies the name at a place.

    Args:
        text: ``unwrapped``, with ``MARK`` for each name.
        place: index of one.
    """
    before = _words(text[max(place - _WINDOW, 0) : place])
    after = text[place + 1 : place + 1 + _WINDOW]
    return (
        (_negated(before) and _goes_no_further(after))
        or _is_false_field(before, after)
        or _was_not(before, after)
    )


def unwrapped(text: str) -> str:
    """The text with lines of prose joined, those of lists and fields not; plain apostrophes."""
    lines = text.replace('\u2019', "'").splitlines() or ['']
    pieces = []
    for line, following in zip(lines, [*lines[1:], ''], strict=True):
        is_prose = len(line.split()) >= 5 and not re.search(r'[:=|{}\[\]]', line)
        joins = is_prose and re.match(r'\s*[^\W\d_]', following)
        pieces += [line, ' ' if joins else '\n']
    return ''.join(pieces[:-1])


def _words(text):
    """Words and signs, lower-case, without markup; a line's end is one."""
    words = (word.lower() for word in _WORD.findall(text))
    return [word if word.strip() else '\n' for word in words if word not in _MARKUP]


def _negated(before):
    """Whether the words lead back to a negation."""
    in_list = True
    for i in reversed(range(len(before))):
        word = before[i]
        if word in _NEGATORS:
            return not (i and before[i - 1] in _OPEN) and not _has_another(before[:i])
        if word == 'nor':
            in_list = True
        elif word in _TRAINING:
            in_list = False
        elif word not in _NOUNS and not (in_list and word in _LIST):
            return False
    return False


def _has_another(before):
    """Whether a second negation stands in the clause: who knows what two of them mean."""
    for word in reversed(before):
        if word in _CLAUSE_ENDS or word in (',', ':'):
            return False
        if word in _NEGATORS:
            return True
    return False


def _goes_no_further(after):
    """Whether nothing narrows the negation before its clause ends."""
    words = _words(after)
    for i, word in enumerate(words):
        ends = word in _CLAUSE_ENDS
        if ends or (word == ',' and not set(words[i + 1 : i + 2]) & {MARK, 'and', 'or', 'nor'}):
            return True
        if word not in _LIST | _NOUNS | _WHEN and word != 'nor':
            return False
    return len(after) < _WINDOW


def _is_false_field(before, after):
    """``trained_on_nih: false``, ``| NIH | no |``; but not ``without_nih: false``."""
    if not _FIELD.match(after):
        return False
    for word in reversed(before):
        if word in _CLAUSE_ENDS or word == ',':
            break
        parts = set(re.split(r'[\W_]+', word)) - {''}
        if not parts <= _NOUNS | _TRAINING:
            return False
    return True


def _was_not(before, after):
    """``NIH and RSNA films were not used``."""
    if before and before[-1] in _OPEN | _NEGATORS:
        return False
    rest = after
    while (word := _WORD.match(rest.lstrip(' \t'))) and word[0].lower() in _LIST | _NOUNS:
        rest = rest.lstrip(' \t')[word.end() :]
    return _WAS_NOT.match(rest) is not None
