"""The software and the devices that a run's bits depend on."""

from __future__ import annotations

import platform
from importlib import metadata

import pneumo_jax
from pneumo_jax.sharding import make_mesh

__all__ = ['changes', 'environment']

_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


def environment() -> dict:
    """Versions and devices by name, as JSON knows them; nothing that tells whose machine it is."""
    devices = make_mesh().devices
    device = devices.flat[0]
    return {
        'python': platform.python_version(),
        'pneumo_jax': pneumo_jax.__version__,
        **{name: metadata.version(name) for name in _PACKAGES},
        'system': f'{platform.system()} {platform.machine()}',
        'platform': device.platform,
        'device': device.device_kind,
        'num_devices': devices.size,
    }


def changes(old: dict, new: dict) -> list[str]:
    """What differs between two environments, such as ``jax 0.10.1 -> 0.10.2``.

    Args:
        old: of ``environment``, maybe of a version that knew other names.
        new: likewise.
    """
    return [
        f'{name} {old.get(name, "unknown")} -> {new.get(name, "unknown")}'
        for name in dict.fromkeys((*new, *old))
        if old.get(name) != new.get(name)
    ]
