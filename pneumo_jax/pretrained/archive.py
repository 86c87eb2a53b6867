"""Members of zip archives that nobody has checked: whole, of a size said before, never by name."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from pneumo_jax.errors import InputError
from pneumo_jax.hdf5 import MAX_BYTES

__all__ = ['copy_member', 'open_archive', 'read_member']

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
# What zipfile raises on damaged archives, a checksum that differs included.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    OverflowError,
)


@contextlib.contextmanager
def open_archive(path: pathlib.Path) -> Iterator[zipfile.ZipFile]:
    """An archive, open for the members to be read.

    Raises:
        InputError: if it is cut or damaged, or two members share a name.
    """
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
        except _DAMAGE as error:
            raise _damaged(error) from error
        if len(set(archive.namelist())) < len(archive.namelist()):
            raise InputError('two members of this zip archive share a name: it is damaged')
        yield archive


def read_member(archive: zipfile.ZipFile, name: str, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a member, proven by its checksum.

    Args:
        archive: of ``open_archive``.
        name: of the member.
        max_bytes: that it may have when unpacked.

    Raises:
        InputError: if it is not there, larger, or damaged.
    """
    with _open_member(archive, name, max_bytes) as member:
        # Without a number it would unpack 2 GiB at once, whatever size is declared.
        return member.read(max(1, archive.getinfo(name).file_size))


def copy_member(
    archive: zipfile.ZipFile, name: str, path: pathlib.Path, max_bytes: int = MAX_BYTES
) -> None:
    """Writes a member to a file of the caller's choice.

    Args:
        archive: of ``open_archive``.
        name: of the member.
        path: of the file.
        max_bytes: that it may have when unpacked.

    Raises:
        InputError: as ``read_member``.
    """
    with _open_member(archive, name, max_bytes) as member, path.open('wb') as file:
        shutil.copyfileobj(member, file, 1 << 20)


@contextlib.contextmanager
def _open_member(archive, name, max_bytes) -> Iterator[BinaryIO]:
    if name not in archive.NameToInfo:
        raise InputError(f'this zip archive lacks {name!r}: it is damaged, get it anew')
    info = archive.getinfo(name)
    if info.file_size > max_bytes:
        raise InputError(f'{name!r} in it would take {info.file_size} bytes, over {max_bytes}')
    if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
        raise InputError(f'{name!r} in it is encrypted, or packed in an unusual way: save it anew')
    try:
        with archive.open(info) as member:
            yield member
    except _DAMAGE as error:
        raise _damaged(error) from error


def _damaged(error):
    return InputError(
        f'this zip archive is cut or damaged: {error!s:.200}; get it anew (a checksum that differs '
        'may also mean that torch.save was told to compute none)'
    )
