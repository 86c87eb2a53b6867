"""What loading weights gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from pneumo_jax.models.conventions import Conventions
from pneumo_jax.pretrained.layer import Path

__all__ = ['Pretrained', 'dotted', 'with_overrides']


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Weights in our layout, and how their network is computed.

    Attributes:
        source: the file or workdir.
        name: of the backbone.
        origin: ``keras``, ``torchvision``, ``timm``, or ``pneumo_jax`` for a run of ours.
        conventions: of the origin, with what the caller overrides.
        in_channels: of the network's input.
        params: path -> float32 array; paths start with ``backbone`` or ``top``, those of a run of
            ours with any part of a ``FilmModel``.
        batch_stats: the same for the statistics of batch normalisation.
        names: name in the file -> path of the array of ours that it is in.
        notes: what a user should know, a sentence each.
    """

    source: str
    name: str
    origin: str
    conventions: Conventions
    in_channels: int
    params: Mapping[Path, np.ndarray]
    batch_stats: Mapping[Path, np.ndarray]
    names: Mapping[str, Path]
    notes: tuple[str, ...] = ()

    @property
    def report(self) -> dict[str, dict[str, str]]:
        """``loaded``: name in the file -> dotted path of our array."""
        return {'loaded': {name: dotted(path) for name, path in self.names.items()}}


def dotted(path: Path) -> str:
    """A path as ``backbone.stages.0.1.conv2.conv.kernel``."""
    return '.'.join(map(str, path))


def with_overrides(conventions: Conventions, overrides: Mapping[str, object]) -> Conventions:
    """The conventions with the fields that are given; '' and 0.0 leave a field as it is.

    Raises:
        InputError: for a value that a field cannot have.
    """
    given = {name: value for name, value in overrides.items() if value}
    return dataclasses.replace(conventions, **given)
