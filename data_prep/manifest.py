"""The manifest of a conversion: what ``pneumo_jax.data.tfrecord.load_manifest`` reads."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Sequence

import pneumo_jax
from pneumo_jax.data.tfrecord import FORMAT, ShardInfo

__all__ = ['make_manifest']

_PACKAGES = ('numpy', 'pillow', 'pydicom', 'scipy', 'tensorflow-datasets')


def make_manifest(
    *,
    image_size: int,
    protocol: dict,
    counts: dict[str, dict],
    shards: dict[str, Sequence[ShardInfo]],
) -> dict:
    """The content of manifest.json.

    The fingerprint covers all but the versions: with it two conversions are equal to the bit.

    Args:
        image_size: side of the pictures.
        protocol: of ``SplitAssignment``.
        counts: split -> ``report.split_counts``.
        shards: split -> its shards.
    """
    splits = {
        split: counts[split] | {'shards': [dataclasses.asdict(shard) for shard in shards[split]]}
        for split in shards
    }
    content = {
        'format': FORMAT,
        'image_size': image_size,
        'encoding': 'raw',
        'protocol': protocol,
        'splits': splits,
    }
    fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    versions |= {'python': platform.python_version(), 'pneumo_jax': pneumo_jax.__version__}
    return {'fingerprint': fingerprint, **content, 'versions': versions}
