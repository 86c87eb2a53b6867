"""The arrays of a pytree in a folder, by Orbax. The one place that knows Orbax.

Arrays go by their names, such as ``params/head/kernel``; a None or an empty node has none. They are
read as they were written and never cast: Orbax, given a target, casts to its dtypes silently.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util

__all__ = ['differences', 'host_arrays', 'kinds', 'place', 'read_arrays', 'write_arrays']


def host_arrays(tree: Any) -> dict[str, np.ndarray]:
    """Copies of a pytree's arrays in the host's memory, by name."""
    # On a CPU device_get lends the device's own memory, and nothing promises that the next step,
    # to which the state is donated, leaves it as it is.
    return {name: np.array(leaf) for name, leaf in _named(jax.device_get(tree)).items()}


def kinds(tree: Any) -> dict[str, str]:
    """The dtype and shape of each array by its name: ``{'params/head/bias': 'float32[3]'}``.

    Args:
        tree: a pytree of arrays or of ``jax.ShapeDtypeStruct``.
    """
    return {
        name: f'{np.dtype(leaf.dtype).name}[{",".join(map(str, leaf.shape))}]'
        for name, leaf in _named(tree).items()
    }


def differences(saved: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """A sentence on each array in which two ``kinds`` differ."""
    texts = []
    for name in sorted(saved.keys() | wanted.keys()):
        if name not in wanted:
            texts.append(f'{name} is saved and not wanted')
        elif name not in saved:
            texts.append(f'{name} is wanted and not saved')
        elif saved[name] != wanted[name]:
            texts.append(f'{name} is saved as {saved[name]} and wanted as {wanted[name]}')
    return texts


def place(arrays: Mapping[str, np.ndarray], like: Any) -> Any:
    """A pytree as ``like``, its arrays on the devices that the leaves of ``like`` name, if any."""
    leaves = [
        jax.device_put(arrays[name], getattr(leaf, 'sharding', None))
        for name, leaf in _named(like).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def write_arrays(folder: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a new folder, nested as the names are.

    Raises:
        OSError: where the file system refuses.
        ValueError: likewise, from the library beneath; the text has that of the system's error.
    """
    with _silent_orbax(), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(
            folder.absolute(),
            args=ocp.args.PyTreeSave(traverse_util.unflatten_dict(dict(arrays), sep='/')),
        )


def read_arrays(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of a folder, by name."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        tree = checkpointer.restore(folder.absolute(), args=ocp.args.PyTreeRestore())
    return traverse_util.flatten_dict(tree, sep='/')


@contextlib.contextmanager
def _silent_orbax() -> Iterator[None]:
    """Its threads write tracebacks of errors that it raises as well."""
    logger, hook = logging.getLogger('absl'), sys.unraisablehook
    logger.addFilter(_is_not_of_orbax)
    sys.unraisablehook = functools.partial(_report_unraisable, hook)
    logging.getLogger('asyncio').addFilter(_is_not_of_a_lost_write)
    try:
        yield
    finally:
        logger.removeFilter(_is_not_of_orbax)
    # After an error these stay: writes that were under way end later, and find their loop closed.
    sys.unraisablehook = hook
    logging.getLogger('asyncio').removeFilter(_is_not_of_a_lost_write)


def _report_unraisable(report, unraisable):
    if str(unraisable.exc_value) != 'Event loop is closed':
        report(unraisable)


def _is_not_of_a_lost_write(record):
    return 'exception was never retrieved' not in record.getMessage()


def _is_not_of_orbax(record):
    return 'orbax' not in pathlib.PurePath(record.pathname).parts


def _named(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator='/'): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
