"""The manifest of a conversion: what ``pneumo_jax.data.shards.load_manifest`` reads."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence

import pneumo_jax
from data_prep.films import RecordOptions
from pneumo_jax.data.shards import FORMAT, fingerprint
from pneumo_jax.data.tfrecord import ShardInfo

__all__ = ['make_manifest']

_PACKAGES = ('numpy', 'pillow', 'pydicom', 'scipy', 'simplejpeg', 'tensorflow-datasets')


def make_manifest(
    *,
    source: str,
    options: RecordOptions,
    protocol: dict,
    counts: Mapping[str, dict],
    shards: Mapping[str, Sequence[ShardInfo]],
) -> dict:
    """The content of manifest.json.

    Args:
        source: of the labels, as in the flag ``--source``.
        options: by which the records were made.
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
        'source': source,
        'image_size': options.image_size,
        'encoding': options.encoding,
        'decoding': 'dct_scaled' if options.read.reduce_to else 'exact',
        'protocol': protocol,
        'splits': splits,
    }
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    versions |= {'python': platform.python_version(), 'pneumo_jax': pneumo_jax.__version__}
    return {'fingerprint': fingerprint(content), **content, 'versions': versions}
