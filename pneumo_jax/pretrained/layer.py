"""A layer as a weight file names it, beside the same layer in a network of ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

__all__ = ['Layer', 'Module', 'Path', 'blocks_of', 'find_modules', 'stages_of']

# Where something stands in the nested dicts of a model: ('backbone', 'stages', 0, 1, 'conv2').
Path = tuple


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution or dense layer in a file, and the batch normalisation behind it.

    Attributes:
        path: of our module, as ``find_modules`` has it.
        weights: the name of the convolution or dense layer in the file.
        norm: the name of its batch normalisation there.
        form: how its kernel lies in the file, a name of ``layouts.FORMS``.
        also: other names that releases have for ``weights``.
    """

    path: Path
    weights: str
    norm: str = ''
    form: str = 'conv'
    also: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Module:
    """A convolution or dense layer of ours.

    Attributes:
        weights: path of the dict that holds its ``kernel``.
        norm: path of the dict of its batch normalisation, or None where it has none.
    """

    weights: Path
    norm: Path | None


def find_modules(paths: Iterable[Path]) -> dict[Path, Module]:
    """The modules that have a kernel, by path.

    Args:
        paths: of the arrays of a model.
    """
    paths = set(paths)
    modules = {}
    for path in paths:
        if path[-1] == 'kernel':
            weights = path[:-1]
            module = weights[:-1] if weights[-1] == 'conv' else weights
            norm = (*module, 'norm')
            modules[module] = Module(weights, norm if (*norm, 'mean') in paths else None)
    return modules


def stages_of(modules: Mapping[Path, Module]) -> Iterator[tuple[int, int, Path]]:
    """Stage, block and path of every block of a network in stages: ResNet, VGG."""
    prefix = ('backbone', 'stages')
    for i in range(_length(modules, prefix)):
        for j in range(_length(modules, (*prefix, i))):
            yield i, j, (*prefix, i, j)


def blocks_of(modules: Mapping[Path, Module]) -> Iterator[tuple[int, Path]]:
    """Number and path of every block of a network in a row of blocks: MobileNet."""
    prefix = ('backbone', 'blocks')
    for i in range(_length(modules, prefix)):
        yield i, (*prefix, i)


def _length(modules, prefix):
    """Of the list at a path."""
    return len({path[len(prefix)] for path in modules if path[: len(prefix)] == prefix})
