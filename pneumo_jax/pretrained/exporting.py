"""Weights of ours as a state dict of PyTorch's names."""

from __future__ import annotations

from typing import Any

import numpy as np
from flax import traverse_util
from safetensors.numpy import save_file

from pneumo_jax.errors import InputError
from pneumo_jax.pretrained.entries import entries_of
from pneumo_jax.pretrained.layer import find_modules
from pneumo_jax.pretrained.origins import FAMILIES, NAMINGS

__all__ = ['export_safetensors', 'to_torch_names']


def to_torch_names(
    params: Any, batch_stats: Any, name: str, naming: str = 'timm'
) -> dict[str, np.ndarray]:
    """The arrays of a network in the names and layouts of PyTorch.

    Names do not tell how a network is computed: one that follows Keras' conventions needs them
    (``padding``, ``epsilon``, ``version``, ``normalisation``) wherever it is loaded.

    Args:
        params: nested dict of arrays of a ``Classifier`` or a ``FilmModel``, of which the backbone
            is taken.
        batch_stats: the same of the statistics.
        name: of the backbone.
        naming: ``timm`` or ``torchvision``.

    Returns:
        Name -> float32 array; ``load_state_dict`` takes them, counts of batches set apart.

    Raises:
        InputError: for a network that has no such names.
    """
    family = FAMILIES.get(name)
    choices = [
        key
        for key, known in NAMINGS.items()
        if known.container == 'torch' and family in known.families
    ]
    if naming not in choices:
        raise InputError(
            f'{name} has no names of {naming}: {f"choose {choices}" if choices else "none exist"}'
        )
    flat = traverse_util.flatten_dict(params) | traverse_util.flatten_dict(batch_stats)
    modules = find_modules(flat)
    state = {}
    for entry in entries_of(NAMINGS[naming].layers(family, modules), modules, 'torch'):
        if not entry.is_folded:
            array = np.asarray(flat[entry.path], np.float32)
            saved = array if entry.form is None else entry.form.save(array)
            state[entry.name] = np.ascontiguousarray(saved)
    return state


def export_safetensors(
    path,
    params: Any,
    batch_stats: Any,
    *,
    name: str,
    naming: str = 'timm',
    trained_on: str = '',
) -> None:
    """Writes ``to_torch_names`` as a safetensors file.

    Args:
        path: of the file.
        params: as ``to_torch_names`` takes it.
        batch_stats: as ``to_torch_names`` takes it.
        name: of the backbone.
        naming: ``timm`` or ``torchvision``.
        trained_on: names of the collections of films that the weights have seen, for the file's
            metadata: whoever starts from them, ``cards.read_card`` finds it there.

    Raises:
        InputError: for a network that has no such names.
    """
    metadata = {'trained_on': trained_on} if trained_on else None
    save_file(to_torch_names(params, batch_stats, name, naming), path, metadata)
