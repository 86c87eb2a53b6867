"""A folder that appears under its name only when it is whole."""

from __future__ import annotations

import fcntl
import os
import pathlib
import shutil

from pneumo_jax.errors import InputError

__all__ = ['OutputFolder']


class OutputFolder:
    """Builds ``DIR`` in its hidden sibling ``.NAME.partial``; use it in a ``with``.

    What is not published when the ``with`` ends is removed. The lock is the kernel's and goes
    with the process, however that ends; what a killed process left is cleared by the next. Only
    the folder ``kept`` in it outlives a failure and a kill, for the next attempt to go on from.

    Args:
        output_dir: the final folder.
        overwrite: replace an older folder of the same kind.
        marker: name of a file that every folder of this kind has: what has none is somebody's
            own folder, and is never replaced.
        kept: name of a folder that outlives a failure; '' none.

    Raises:
        InputError: if the folder holds anything (without ``overwrite``, or without the marker),
            cannot be written, or another process is building it.
    """

    def __init__(self, output_dir, *, overwrite: bool, marker: str, kept: str = ''):
        # absolute(): a name such as "." has no sibling.
        self._final = pathlib.Path(output_dir).absolute()
        self._overwrite = overwrite
        self._marker = marker
        self._kept = kept
        self.path = self._final.with_name(f'.{self._final.name}.partial')

    def __enter__(self) -> OutputFolder:
        self._check_final()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise InputError(
                f'{self.path} cannot be made ({error.strerror}): give another --output_dir'
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between opening and locking the other process may have published the folder.
            locked = os.fstat(self._lock).st_ino == self.path.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            locked = False
        if not locked:
            os.close(self._lock)
            raise InputError(
                f'another process is writing {self._final}: wait for it, or give another '
                '--output_dir'
            )
        self._clear()
        return self

    def __exit__(self, *exception) -> None:
        if self.path.exists():
            self._clear()
            if not any(self.path.iterdir()):
                self.path.rmdir()
        os.close(self._lock)

    def publish(self) -> None:
        """Gives the folder its final name."""
        self._check_final()
        old = self._final.with_name(f'.{self._final.name}.old')
        if old.exists():
            shutil.rmtree(old)
        if self._final.exists():
            self._final.replace(old)
        self.path.replace(self._final)
        if old.exists():
            shutil.rmtree(old)

    def _check_final(self):
        final = self._final
        if not final.exists() and not final.is_symlink():
            return
        if final.is_dir() and not final.is_symlink() and not any(final.iterdir()):
            return
        if not self._overwrite:
            raise InputError(f'{final} exists: give another --output_dir, or --overwrite')
        if final.is_symlink() or not (final / self._marker).is_file():
            raise InputError(
                f'{final} was not written by this command (it has no {self._marker}), so '
                '--overwrite does not replace it: give another --output_dir'
            )

    def _clear(self):
        for path in self.path.iterdir():
            if path.name == self._kept and path.is_dir() and any(path.iterdir()):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
