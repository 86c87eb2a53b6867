"""TFRecord shards: writing, random access, and the check against the manifest.

A TFRecord file is a row of frames: length (8 bytes, little endian), masked CRC32C of the length
(4), the data, masked CRC32C of the data (4), as in tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import itertools
import json
import mmap
import os
import pathlib
import struct
from collections.abc import Iterable

import google_crc32c

from pneumo_jax.errors import InputError

__all__ = [
    'FORMAT',
    'MANIFEST_NAME',
    'SPLITS',
    'RecordFile',
    'ShardError',
    'ShardInfo',
    'ShardedRecords',
    'load_manifest',
    'shard_name',
    'verify_sha256',
    'write_records',
]

SPLITS = ('train', 'validation', 'test')
MANIFEST_NAME = 'manifest.json'

FORMAT = 1
_PREFIX = 'rsna_pneumonia'
_HEADER = struct.Struct('<QI')
_CRC = struct.Struct('<I')


class ShardError(InputError):
    """A shard or manifest is missing, damaged, or of another conversion."""


@dataclasses.dataclass(frozen=True)
class ShardInfo:
    """What the manifest says of a shard.

    Attributes:
        name: file name.
        records: number of records.
        bytes: size of the file.
        sha256: of the file.
        index_sha256: of the lengths and checksums of its records. They can be read without the
            data, so a shard of another conversion is found at open, even one of the same size.
    """

    name: str
    records: int
    bytes: int
    sha256: str
    index_sha256: str


def shard_name(split: str, shard: int, num_shards: int) -> str:
    """``rsna_pneumonia-train.tfrecord-00000-of-00004``, the form of tensorflow-datasets."""
    return f'{_PREFIX}-{split}.tfrecord-{shard:05d}-of-{num_shards:05d}'


def write_records(path: pathlib.Path, records: Iterable[bytes]) -> ShardInfo:
    """Writes a TFRecord file record by record; its name appears only when it is whole.

    Raises:
        ValueError: if there are no records.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f'.{path.name}.partial')
    content, index, size, count = hashlib.sha256(), hashlib.sha256(), 0, 0
    with partial.open('wb') as file:
        for count, data in enumerate(records, start=1):  # noqa: B007 (used after the loop)
            length = struct.pack('<Q', len(data))
            header = length + _CRC.pack(_masked_crc(length))
            footer = _CRC.pack(_masked_crc(data))
            for part in (header, data, footer):
                file.write(part)
                content.update(part)
                size += len(part)
            index.update(header + footer)
        if count == 0:
            raise ValueError(f'no records for {path.name}')
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return ShardInfo(path.name, count, size, content.hexdigest(), index.hexdigest())


class RecordFile:
    """Random access to the records of a TFRecord file, mapped into memory.

    Opening reads the frames, not the data; the checksum of a record is checked when it is read.

    Raises:
        ShardError: if the file is missing, empty, cut, or a frame is damaged.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        try:
            with self.path.open('rb') as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise ShardError(f'{self.path} is empty: convert the films anew') from error
        except OSError as error:
            raise ShardError(
                f'{self.path} cannot be read ({error.strerror}): convert the films anew'
            ) from error
        self._spans, self.index_sha256 = self._scan()

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int) -> bytes:
        start, end = self._spans[index]
        data = self._bytes[start:end]
        if _CRC.unpack_from(self._bytes, end)[0] != _masked_crc(data):
            raise ShardError(
                f'{self.path}, record {range(len(self))[index]}: the checksum does not match its '
                'data; the file is damaged: convert the films anew'
            )
        return data

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return len(self._bytes)

    def _scan(self):
        """(start, end) of every record's data, and the SHA-256 of the frames without the data."""
        spans, index, position = [], hashlib.sha256(), 0
        while position < len(self._bytes):
            header = self._bytes[position : position + _HEADER.size]
            if len(header) < _HEADER.size:
                raise self._cut(len(spans))
            length, crc = _HEADER.unpack(header)
            if crc != _masked_crc(header[:8]):
                raise ShardError(
                    f'{self.path}, record {len(spans)}: its length is damaged: convert the films '
                    'anew'
                )
            start = position + _HEADER.size
            position = start + length + _CRC.size
            if position > len(self._bytes):
                raise self._cut(len(spans))
            spans.append((start, start + length))
            index.update(header + self._bytes[start + length : position])
        return spans, index.hexdigest()

    def _cut(self, record):
        return ShardError(
            f'{self.path} ends within record {record}, after {len(self._bytes)} bytes: it is cut; '
            'copy it anew, or convert the films anew'
        )


class ShardedRecords:
    """The records of one split over all its shards, checked against the manifest.

    Args:
        data_dir: folder written by ``data_prep/convert.py``.
        split: ``train``, ``validation`` or ``test``.

    Raises:
        ShardError: if a shard is missing, cut, extra, or of another conversion.
    """

    def __init__(self, data_dir, split: str):
        data_dir = pathlib.Path(data_dir)
        manifest = load_manifest(data_dir)
        if split not in manifest['splits']:
            raise ShardError(
                f'no split {split!r} in {data_dir}: it has {", ".join(manifest["splits"])}'
            )
        infos = [ShardInfo(**shard) for shard in manifest['splits'][split]['shards']]
        _refuse_extra_shards(data_dir, split, {info.name for info in infos})
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
    ``encoding``, ``protocol`` (``name``, ``sentence``, ...), ``splits`` (name -> counts and
    ``shards``), ``versions``.

    Raises:
        ShardError: if there is none, or of another format.
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
    return manifest


def verify_sha256(data_dir) -> None:
    """Reads every byte of every shard and compares it with the manifest.

    Raises:
        ShardError: naming the first shard that differs.
    """
    data_dir = pathlib.Path(data_dir)
    for split, content in load_manifest(data_dir)['splits'].items():
        ShardedRecords(data_dir, split)
        for shard in content['shards']:
            with (data_dir / shard['name']).open('rb') as file:
                found = hashlib.file_digest(file, 'sha256').hexdigest()
            if found != shard['sha256']:
                raise ShardError(
                    f'{data_dir / shard["name"]} has SHA-256 {found}, the manifest says '
                    f'{shard["sha256"]}: copy it anew, or convert the films anew'
                )


def _refuse_extra_shards(data_dir, split, known):
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


def _masked_crc(data: bytes) -> int:
    """The rotated CRC32C of tensorflow/core/lib/hash/crc32c.h."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
