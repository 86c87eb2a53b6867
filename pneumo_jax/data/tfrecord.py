"""TFRecord files: framing, writing, random access.

A TFRecord file is a row of frames: length (8 bytes, little endian), masked CRC32C of the length
(4), the data, masked CRC32C of the data (4), as in tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import dataclasses
import hashlib
import mmap
import pathlib
import struct
from collections.abc import Iterable

import google_crc32c

from pneumo_jax.errors import InputError

__all__ = ['RecordFile', 'ShardError', 'ShardInfo', 'check_frame', 'make_frame', 'write_shard']

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
        index_sha256: SHA-256 of the lengths and checksums of its records. They can be read without
            the data, so a shard of another conversion is found at open, even one of the same size.
            With the checksums themselves it proves every byte.
    """

    name: str
    records: int
    bytes: int
    index_sha256: str


def make_frame(data: bytes) -> bytes:
    """A record as it stands in a file."""
    length = struct.pack('<Q', len(data))
    return b''.join((length, _CRC.pack(_masked_crc(length)), data, _CRC.pack(_masked_crc(data))))


def check_frame(frame: bytes) -> None:
    """Proves that a frame is whole and as it was made.

    Raises:
        ShardError: if it is not.
    """
    if len(frame) >= _HEADER.size + _CRC.size:
        length, crc = _HEADER.unpack_from(frame)
        data = frame[_HEADER.size : -_CRC.size]
        whole = length == len(data) and crc == _masked_crc(frame[:8])
        if whole and _CRC.unpack_from(frame, len(frame) - _CRC.size)[0] == _masked_crc(data):
            return
    raise ShardError(f'a frame of {len(frame)} bytes is damaged')


def write_shard(path: pathlib.Path, frames: Iterable[bytes]) -> ShardInfo:
    """Writes a TFRecord file frame by frame; its name appears only when it is whole.

    Whether it is on the disk by then is the system's affair: ``os.fsync`` makes sure.

    Args:
        path: of the file.
        frames: of ``make_frame``.

    Raises:
        ValueError: if there are none.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f'.{path.name}.partial')
    index, size, count = hashlib.sha256(), 0, 0
    with partial.open('wb') as file:
        for count, frame in enumerate(frames, start=1):  # noqa: B007 (used after the loop)
            file.write(frame)
            index.update(frame[: _HEADER.size] + frame[-_CRC.size :])
            size += len(frame)
        if count == 0:
            raise ValueError(f'no records for {path.name}')
    partial.replace(path)
    return ShardInfo(path.name, count, size, index.hexdigest())


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


def _masked_crc(data: bytes) -> int:
    """The rotated CRC32C of tensorflow/core/lib/hash/crc32c.h."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
