"""The state dict in a checkpoint, and its names without what trainings wrap around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pneumo_jax.errors import InputError

__all__ = ['find_state_dict', 'plain_names']

_T = TypeVar('_T')

# Under which trainings put the weights; where there is a moving average of them, it is the better
# network, and the one that timm takes.
_WRAPPERS = (
    'state_dict_ema',
    'model_ema',
    'state_dict',
    'model_state_dict',
    'model',
    'net',
)
_MAX_WRAPPERS = 4
# Parts of names: of DataParallel and DistributedDataParallel, and of torch.compile.
_WRAPPER_PARTS = ('module', '_orig_mod')
# Counters of batch norm and of averaged models; no weights.
_COUNTERS = ('num_batches_tracked', 'n_averaged')
_QUOTED_KEYS = 5


def find_state_dict(content: Any, kind: type[_T]) -> dict[str, _T]:
    """The tensors in the content of a checkpoint, by their plain names.

    A dict with tensors is one; around it may be others, of which the one entry is taken that is
    called as trainings call it (a moving average first), or that alone holds tensors.

    Args:
        content: of a checkpoint.
        kind: type of a tensor.

    Raises:
        InputError: if there is no state dict, or more than one.
    """
    for _ in range(_MAX_WRAPPERS):
        if not isinstance(content, dict):
            break
        inner = [key for key, value in content.items() if _holds(value, kind)]
        named = [key for key in _WRAPPERS if key in inner]
        tensors = {key: value for key, value in content.items() if isinstance(value, kind)}
        if not inner and tensors:
            return plain_names(tensors)
        if not named and (tensors or len(inner) > 1):
            raise InputError(
                f'it holds several sets of tensors, {_quote([*tensors, *inner])}: save the state '
                'dict of the one network alone'
            )
        if not inner:
            break
        content = content[(named or inner)[0]]
    raise InputError(
        f'it holds no state dict, that is tensors by their names, but a {type(content).__name__}: '
        'save model.state_dict()'
    )


def plain_names(tensors: Mapping[str, _T]) -> dict[str, _T]:
    """The tensors without counters, and their names without the parts that wrappers added.

    Raises:
        InputError: if two are then called the same.
    """
    plain: dict[str, _T] = {}
    for name, tensor in tensors.items():
        parts = [part for part in name.split('.') if part not in _WRAPPER_PARTS]
        if not parts or parts[-1] in _COUNTERS:
            continue
        key = '.'.join(parts)
        if key in plain:
            raise InputError(f'two of its tensors are {key!r} without their wrappers')
        plain[key] = tensor
    return plain


def _holds(value, kind):
    """Whether it is a dict with tensors, or with a dict with tensors, and so on."""
    for _ in range(_MAX_WRAPPERS):
        if not isinstance(value, dict):
            return False
        if _holds_directly(value, kind):
            return True
        value = next((inner for inner in value.values() if isinstance(inner, dict)), None)
    return False


def _holds_directly(value, kind):
    return any(isinstance(inner, kind) for inner in value.values())


def _quote(keys):
    more = f' and {len(keys) - _QUOTED_KEYS} more' if len(keys) > _QUOTED_KEYS else ''
    return ', '.join(f'{key!r:.50}' for key in keys[:_QUOTED_KEYS]) + more
