"""One mesh axis, ``data``: batches are split over all devices, all else stands on each."""

from __future__ import annotations

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from pneumo_jax.errors import InputError

__all__ = ['abstract_replicated', 'check_batch_size', 'make_mesh', 'replicate', 'shard_batch']


def make_mesh() -> Mesh:
    """A mesh of all devices there are, of whatever kind."""
    # Explicit axes, the default of jax.make_mesh, break BatchNorm and Dropout of Flax 0.12.
    return jax.make_mesh((jax.device_count(),), ('data',), axis_types=(AxisType.Auto,))


def check_batch_size(batch_size: int, mesh: Mesh, field: str) -> None:
    """Raises an InputError that names a size that fits if ``batch_size`` does not."""
    devices = mesh.devices.size
    if batch_size < 1 or batch_size % devices:
        lower = batch_size // devices * devices
        fits = f'{lower} or {lower + devices}' if lower > 0 else str(devices)
        raise InputError(f'{field}={batch_size} must divide by {devices} devices; try {fits}')


def replicate(tree, mesh: Mesh):
    """The arrays of a pytree on every device."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def abstract_replicated(tree, mesh: Mesh):
    """Shapes, dtypes and the placement of ``replicate`` for what ``jax.eval_shape`` gave."""
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def shard_batch(batch: dict, mesh: Mesh) -> dict:
    """The rows of a batch of host arrays, split over the devices."""
    return jax.device_put(batch, NamedSharding(mesh, PartitionSpec('data')))
