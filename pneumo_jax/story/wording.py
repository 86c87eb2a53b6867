"""Facts in words, the same on the page, in the model card and on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pneumo_jax.evaluation.pictures.forest import group_title
from pneumo_jax.pages.parts import number, percent

__all__ = [
    'counted',
    'duration_text',
    'films_text',
    'init_text',
    'listed',
    'localizer_text',
    'source_text',
]

_SOURCES = {
    'rsna': 'RSNA Pneumonia Detection Challenge, whose films are of NIH ChestX-ray14',
    'phantom': 'phantoms, drawn by a program',
    'csv': 'films and labels of a table; of which collection is not recorded',
    'folders': 'films in folders of classes; of which collection is not recorded',
}
_LOCALIZERS = {
    'mask': 'a mask whose components become boxes',
    'detector': 'a detector of boxes, with a mask beside it',
}


def source_text(source: str | None) -> str:
    """Where films come from."""
    return _SOURCES.get(source or '', source or 'not recorded')


def localizer_text(name: str) -> str:
    """What boxes are made of."""
    return _LOCALIZERS.get(name, name)


def init_text(init: Mapping | None) -> str:
    """What the weights of a training started from."""
    if not init:
        return 'random weights'
    text = f'{init.get("origin") or "unknown"} weights, SHA-256 {init.get("sha256") or "unknown"}'
    card = init.get('card')
    if not card:
        return f'{text}; no card tells what they saw'
    if not card.get('saw'):
        return f'{text}; their card ({card.get("file")}) names neither NIH nor RSNA films'
    return f'{text}; their card ({card.get("file")}) says that they saw {" and ".join(card["saw"])}'


def counted(counts: Mapping[str, int] | None) -> str:
    """``14 AP, 16 PA``; names of groups for readers."""
    told = (f'{number(n)} {group_title(name)}' for name, n in (counts or {}).items() if n)
    return ', '.join(told) or 'not known'


def listed(texts: Iterable[str], *, once: bool = True) -> str:
    """``a, b and c``, each once where not asked otherwise."""
    *first, last = dict.fromkeys(texts) if once else texts
    return f'{", ".join(first)} and {last}' if first else last


def duration_text(seconds: float | None) -> str:
    """``2 h 5 min``, ``3 min 20 s``, ``15 s``; ``unknown``."""
    if seconds is None:
        return 'unknown'
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{number(hours)} h {minutes} min'
    return f'{minutes} min {rest} s' if minutes else f'{rest} s'


def films_text(films: int, positive: int | None, prevalence: float | None) -> str:
    """``30 films, 12 of them with an opacity (prevalence 40.0 %)``."""
    told = '' if positive is None else f', {number(positive)} of them with an opacity'
    return f'{number(films)} films{told} (prevalence {percent(prevalence)})'
