"""A run's config field by field, beside the defaults; no network is needed to read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ml_collections import ConfigDict

__all__ = ['ConfigRow', 'config_rows']


class ConfigRow(NamedTuple):
    """A field.

    Attributes:
        field: its dotted name, such as ``optimizer.name``.
        value: in the config.
        default: its default.
    """

    field: str
    value: Any
    default: Any

    @property
    def differs(self) -> bool:
        """Whether the value is another than the default."""
        value = self.value
        # JSON makes lists of a config's tuples.
        return (tuple(value) if isinstance(value, list) else value) != self.default


def config_rows(config: ConfigDict, default: ConfigDict) -> list[ConfigRow]:
    """Every field of ``default``, in its order.

    Args:
        config: to be shown; has all fields of the default.
        default: in the order to show fields in.
    """
    return [ConfigRow(field, _get(config, field), usual) for field, usual in _fields(default)]


def _fields(section, prefix='') -> Iterator[tuple[str, Any]]:
    # A ConfigDict's own iteration is by the alphabet; what it holds is in the order of the file.
    for name in getattr(section, '_fields', section):
        value = section[name]
        if isinstance(value, ConfigDict):
            yield from _fields(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


def _get(config, field):
    for name in field.split('.'):
        config = config[name]
    return config
