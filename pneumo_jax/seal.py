"""A folder's seal: the SHA-256 of each of its files, as ``sha256sum --check`` reads them."""

from __future__ import annotations

import errno
import hashlib
import os
import pathlib

__all__ = ['SEAL', 'damage', 'read_sealed', 'seal', 'sync']

SEAL = 'SHA256SUMS'


def seal(folder: pathlib.Path) -> None:
    """Writes the seal of a folder that is complete; all of it is on the disk when this returns."""
    for path in [folder, *folder.rglob('*')]:
        sync(path)
    # A seal that was half written matches nothing.
    (folder / SEAL).write_bytes(_sums(folder))
    sync(folder / SEAL)
    sync(folder)


def damage(folder: pathlib.Path) -> list[str]:
    """What differs from the seal: names of files; [] for a folder that is as it was sealed.

    A file on a bad spot of the disk differs.

    Raises:
        OSError: if the files cannot be read for any other reason.
    """
    try:
        sealed = (folder / SEAL).read_bytes()
    except FileNotFoundError:
        return [SEAL]
    # The whole text is compared, so that no bit of the seal itself can change unnoticed.
    found = _sums(folder)
    if found == sealed:
        return []
    lines = set(found.split(b'\n')) ^ set(sealed.split(b'\n'))
    names = {line.partition(b'  ')[2].decode(errors='replace') for line in lines}
    return sorted(names - {''}) or [SEAL]


def read_sealed(folder: pathlib.Path, name: str) -> bytes | None:
    """The content of one file; None if it is not as it was sealed."""
    try:
        content = (folder / name).read_bytes()
        sealed = (folder / SEAL).read_bytes()
    except FileNotFoundError:
        return None
    line = _line(hashlib.sha256(content).hexdigest(), name)
    return content if line in sealed.splitlines(keepends=True) else None


def sync(path: pathlib.Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sums(folder):
    files = sorted(path for path in folder.rglob('*') if path.is_file() and path != folder / SEAL)
    return b''.join(_line(_sha256(path), path.relative_to(folder).as_posix()) for path in files)


def _sha256(path):
    try:
        with path.open('rb') as file:
            return hashlib.file_digest(file, 'sha256').hexdigest()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return 'unreadable'


def _line(digest, name):
    return f'{digest}  {name}\n'.encode()
