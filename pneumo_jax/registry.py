"""Networks, losses, optimizers and schedules by the names that a config says: literal dicts."""

from __future__ import annotations

from typing import Any

from pneumo_jax.errors import InputError

__all__ = ['lookup']


def lookup(table: dict[str, Any], name: str, field: str):
    """The entry of a registry.

    Args:
        table: the registry.
        name: of the entry.
        field: of the config that says the name, to be named in the error.

    Raises:
        InputError: for a name that is not in it.
    """
    if name not in table:
        raise InputError(f'{field}={name!r} is unknown; choose one of {", ".join(table)}')
    return table[name]
