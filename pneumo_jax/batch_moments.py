"""True moments for batch norms whose running statistics are none, the network's answers unchanged.

Where a network's batch norms were folded into its convolutions, their statistics are mean 0 and
variance 1, which no input of theirs has. In training mode each batch would be standardised anew,
and the network would answer differently from the first step on. With the moments as they are on
the training films, and scale and bias to match, both modes answer as the file's network.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from pneumo_jax.data.pipeline import FilmSplit, prefetch, to_batch
from pneumo_jax.sharding import shard_batch
from pneumo_jax.steps import unit_range

__all__ = ['reestimate_batch_norms']

# Enough: at the deepest maps, 4x4 cells at 128 px, these are 4,000 cells.
_NUM_FILMS = 256


def reestimate_batch_norms(
    params: dict,
    batch_stats: dict,
    *,
    graph: nnx.GraphDef,
    split: FilmSplit,
    mesh: Mesh,
    batch_size: int,
) -> tuple[dict, dict]:
    """Sets the running statistics of the backbone's batch norms to the moments of their inputs.

    The moments are taken over up to 256 films, evenly spaced over the split and not augmented:
    they depend on the films alone, not on a seed, and fit the pictures that the model is validated
    on; augmentation moves them little.

    Args:
        params: of the model; scale and bias of the norms are changed so that the answers in
            evaluation mode stay as they are, up to rounding.
        batch_stats: of the model.
        graph: of the model in evaluation mode.
        split: the training films.
        mesh: of ``sharding.make_mesh``.
        batch_size: films at a time; must divide by the number of devices.

    Returns:
        (params, batch_stats) as new nested dicts.
    """
    model = nnx.merge(graph, params, batch_stats)
    moments = _measure(params, batch_stats, graph, _batches(split, batch_size), mesh)
    for path, module in nnx.iter_modules(model):
        if _is_measured(path, module):
            _set_moments(module, *moments[_name(path)])
    _, params, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    return nnx.to_pure_dict(params), nnx.to_pure_dict(batch_stats)


def _set_moments(norm: nnx.BatchNorm, mean: np.ndarray, var: np.ndarray) -> None:
    """New statistics [C] for a norm that computes the same.

    A channel that never varies needs no care: epsilon stands beside both variances.
    """
    old_mean, old_var, scale, bias = (
        np.asarray(x[...], np.float64) for x in (norm.mean, norm.var, norm.scale, norm.bias)
    )
    old_deviation = np.sqrt(old_var + norm.epsilon)
    new = {
        'mean': mean,
        'var': var,
        'scale': scale * np.sqrt(var + norm.epsilon) / old_deviation,
        'bias': bias + scale * (mean - old_mean) / old_deviation,
    }
    for name, value in new.items():
        getattr(norm, name)[...] = jnp.asarray(value, jnp.float32)


def _measure(params, batch_stats, graph, batches, mesh):
    """{name of a norm: (mean, variance) of its input, float64 [C]} over the batches' real rows."""

    @jax.jit
    def film_moments(params, batch_stats, image):
        model = nnx.merge(graph, params, batch_stats)
        model = nnx.recursive_map(
            lambda path, node: _Measuring(node) if _is_measured(path, node) else node, model
        )
        model(unit_range(image))
        return {
            _name(path): module.moments[...]
            for path, module in nnx.iter_modules(model)
            if isinstance(module, _Measuring)
        }

    films = {}
    for batch in batches:
        image = shard_batch(batch['image'], mesh)
        for name, rows in jax.device_get(film_moments(params, batch_stats, image)).items():
            films.setdefault(name, []).append(rows[batch['mask']].astype(np.float64))
    return {name: _pooled(np.concatenate(rows)) for name, rows in films.items()}


def _pooled(films):
    """Moments over all cells from those [N,2,C] over the equally many cells of each film."""
    means, variances = films[:, 0], films[:, 1]
    return means.mean(axis=0), variances.mean(axis=0) + means.var(axis=0)


def _batches(split, batch_size):
    indices = np.unique(np.linspace(0, len(split) - 1, _NUM_FILMS).round().astype(int))
    chunks = (indices[i : i + batch_size] for i in range(0, len(indices), batch_size))
    return prefetch(to_batch([split[i] for i in chunk], batch_size) for chunk in chunks)


def _is_measured(path, node):
    return path[:1] == ('backbone',) and isinstance(node, nnx.BatchNorm)


def _name(path):
    return '/'.join(map(str, path))


class _Measuring(nnx.Module):
    """A batch norm that remembers its input's mean and variance per film, float32 [B,2,C]."""

    def __init__(self, norm):
        self.norm = norm

    def __call__(self, x):
        cells = x.astype(jnp.float32)
        moments = [cells.mean(axis=(1, 2)), cells.var(axis=(1, 2))]
        self.moments = nnx.Intermediate(jnp.stack(moments, axis=1))
        return self.norm(x)
