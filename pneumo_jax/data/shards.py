"""The shards of a conversion: their names, the manifest, and proof that they are what it says."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import pathlib

from pneumo_jax.data.tfrecord import RecordFile, ShardError, ShardInfo

__all__ = [
    'FORMAT',
    'MANIFEST_NAME',
    'SPLITS',
    'ShardedRecords',
    'fingerprint',
    'load_manifest',
    'refuse_extra_shards',
    'shard_name',
]

SPLITS = ('train', 'validation', 'test')
MANIFEST_NAME = 'manifest.json'

FORMAT = 2
_PREFIX = 'rsna_pneumonia'


def shard_name(split: str, shard: int, num_shards: int) -> str:
    """``rsna_pneumonia-train.tfrecord-00000-of-00004``, the form of tensorflow-datasets."""
    return f'{_PREFIX}-{split}.tfrecord-{shard:05d}-of-{num_shards:05d}'


class ShardedRecords:
    """The records of one split over all its shards, checked against the manifest.

    Args:
        data_dir: folder written by ``data_prep/convert.py``.
        split: ``train``, ``validation`` or ``test``.

    Attributes:
        encoding: of the pictures, as in ``data.example``.
        image_size: their side in pixels.

    Raises:
        ShardError: if a shard is missing, cut, extra, or of another conversion.
    """

    def __init__(self, data_dir, split: str):
        data_dir = pathlib.Path(data_dir)
        manifest = load_manifest(data_dir)
        self.encoding = manifest['encoding']
        self.image_size = manifest['image_size']
        if split not in manifest['splits']:
            raise ShardError(
                f'no split {split!r} in {data_dir}: it has {", ".join(manifest["splits"])}'
            )
        infos = [ShardInfo(**shard) for shard in manifest['splits'][split]['shards']]
        refuse_extra_shards(data_dir, split, {info.name for info in infos})
        self._files = [_open_checked(data_dir, info) for info in infos]
        self._ends = list(itertools.accumulate(map(len, self._files)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> bytes:
        if not 0 <= index < len(self):
            raise IndexError(f'record {index} of {len(self)}')
        shard = bisect.bisect_right(self._ends, index)
        file = self._files[shard]
        return file[index - self._ends[shard] + len(file)]


def load_manifest(data_dir) -> dict:
    """The manifest of a conversion.

    Keys: ``format``, ``fingerprint`` (of all that the shards hold), ``image_size`` (pixels),
    ``encoding`` (of the pictures, as in ``data.example``), ``decoding`` (``exact``, or
    ``dct_scaled`` by ``ReadOptions.reduce_to``), ``source``, ``protocol`` (``name``, ``sentence``,
    ...), ``splits`` (name -> counts and ``shards``), ``versions``.

    Raises:
        ShardError: if there is none, or of another format, or damaged.
    """
    path = pathlib.Path(data_dir) / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ShardError(
            f'{path} cannot be read ({error.strerror}): give a folder written by '
            'data_prep/convert.py'
        ) from error
    except ValueError as error:
        raise ShardError(f'{path} is damaged ({error}): convert the films anew') from error
    if not isinstance(manifest, dict) or manifest.get('format') != FORMAT:
        raise ShardError(
            f'{path} is not of format {FORMAT}: convert the films anew with this version'
        )
    if manifest.get('fingerprint') != fingerprint(manifest):
        raise ShardError(
            f'{path} has another fingerprint than its content: it is damaged or was edited; copy '
            'it anew, or convert the films anew'
        )
    return manifest


def fingerprint(manifest: dict) -> str:
    """SHA-256 of all that a manifest says but versions: with it shards are equal to the bit."""
    content = {key: manifest[key] for key in manifest if key not in ('fingerprint', 'versions')}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def refuse_extra_shards(data_dir: pathlib.Path, split: str, known: set[str]) -> None:
    """Refuses a folder with shards that its manifest does not name.

    Raises:
        ShardError: naming the first.
    """
    found = {path.name for path in data_dir.glob(f'{_PREFIX}-{split}.tfrecord-*')}
    if extra := sorted(found - known):
        raise ShardError(
            f'{data_dir / extra[0]} is not in the manifest ({len(extra)} such shards): shards of '
            'two conversions are mixed; convert the films anew'
        )


def _open_checked(data_dir, info):
    file = RecordFile(data_dir / info.name)
    for what, found, expected in (
        ('bytes', file.num_bytes, info.bytes),
        ('records', len(file), info.records),
    ):
        if found != expected:
            raise ShardError(
                f'{file.path} has {found} {what}, the manifest says {expected}: it is cut or of '
                'another conversion; copy it anew, or convert the films anew'
            )
    if file.index_sha256 != info.index_sha256:
        raise ShardError(
            f'the fingerprint of {file.path} is not that of the manifest: it is damaged or of '
            'another conversion; copy it anew, or convert the films anew'
        )
    return file
