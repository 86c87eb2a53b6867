"""Checkpoints of a run: the newest two and the best at each of them, whole or not at all.

``checkpoints/<step>`` holds ``state`` (Orbax), ``checkpoint.json`` and the seal over both. It is
written under another name and renamed when all of it is on the disk, so that a process may be
killed at any moment.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from pneumo_jax.array_store import (
    differences,
    host_arrays,
    kinds,
    place,
    read_arrays,
    write_arrays,
)
from pneumo_jax.errors import InputError, Interrupted
from pneumo_jax.seal import damage, read_sealed, seal, sync

__all__ = ['Checkpoints', 'workdir_lock']

log = logging.getLogger(__name__)

_DESCRIPTION = 'checkpoint.json'
_PARTIAL = '.saving'
_REPLACED = '.replaced_'
_DELETED = '.deleted_'
_NEWEST = 2
_NAMED_LEAVES = 8
# As the system says that there is no room: on the disk, by a quota, by a limit on a file's size.
_FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class Checkpoints:
    """The folder ``checkpoints`` of a workdir; use it in a ``with``, or the last save may be lost.

    Opened for training, it moves checkpoints that are not as they were written to the folder
    ``damaged_checkpoints``, with a warning, and goes by those that are whole.

    Args:
        workdir: folder of the run; its trainer holds the ``workdir_lock``.
        read_only: for evaluation and prediction: writes and deletes nothing.

    Raises:
        InputError: if there is nothing to read, or the folder cannot be written.
    """

    def __init__(self, workdir: str | pathlib.Path, *, read_only: bool = False):
        self._workdir = pathlib.Path(workdir).absolute()
        self._folder = self._workdir / 'checkpoints'
        self._read_only = read_only
        # Step of each whole checkpoint -> step of the best one as it was then.
        self._bests: dict[int, int | None] = {}
        self._best: int | None = None
        self._pending: Future | None = None
        self._background = ThreadPoolExecutor(1, 'checkpoint')
        if not read_only:
            self._prepare()
        elif not self._folder.is_dir():
            raise InputError(
                f'no checkpoints in {workdir}: give the --workdir of a run of pneumo_jax.main'
            )

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            self._finish()
        except InputError as error:
            # An interruption says that the state is saved; any other error tells more than this.
            if kind is None or issubclass(kind, Interrupted):
                raise
            log.error('%s', error)
        finally:
            self._background.shutdown()

    @property
    def best_is_lost(self) -> bool:
        """True where the best checkpoint was found damaged, and evaluation would have none."""
        return self._best is not None and self._best not in self._bests

    def save(self, step: int, state: Any, meta: dict, *, improved: bool) -> None:
        """Copies the state to the host's memory and saves it in the background.

        Waits for the save before. A checkpoint of the same step is replaced.

        Args:
            step: steps done.
            state: a pytree of arrays.
            meta: what else to remember, as JSON; floats come back exactly.
            improved: True if early stopping called this state the best so far.

        Raises:
            InputError: if the save before failed, as on a full disk, or if ``meta`` holds a number
                that is not finite.
        """
        self._finish()
        best = step if improved else self._best
        arrays = host_arrays(state)
        description = {'step': step, 'best_step': best, 'arrays': kinds(arrays), 'meta': meta}
        try:
            text = json.dumps(description, allow_nan=False)
        except ValueError as error:
            raise InputError(
                f'step {step} is not saved, for its figures are not finite ({error}): the run '
                'diverged; try a lower --config.learning_rate in a new --workdir'
            ) from error
        self._best = best
        self._pending = self._background.submit(self._write, step, arrays, text, best)

    def restore_latest(self, like: Any) -> tuple[Any, dict] | None:
        """(state, meta) of the newest checkpoint, or None where there is none.

        Args:
            like: a pytree of arrays or ``jax.ShapeDtypeStruct``; arrays are placed as it says.

        Raises:
            InputError: if the arrays differ from those of ``like`` in name, dtype or shape.
        """
        self._finish()
        with self._explained():
            steps = self._steps()
            return self._restore(steps[-1], like) if steps else None

    def restore_best(self, like: Any) -> tuple[Any, dict]:
        """(state, meta) of the best checkpoint.

        Args:
            like: as in ``restore_latest``.

        Raises:
            InputError: likewise, or where there is none yet, or it is damaged.
        """
        self._finish()
        while True:
            seen = self._snapshot()
            try:
                with self._explained():
                    return self._restore(self._best_step(), like)
            except ValueError:
                # A trainer may have removed it in this moment, having found a better one.
                if self._snapshot() == seen:
                    raise

    def _best_step(self):
        steps = self._steps()
        # The newest knows which one is the best.
        best = self._describe(steps[-1])['best_step'] if steps else None
        if best is None:
            raise InputError(
                f'{self._folder}: no epoch has been validated yet: let the run reach its first '
                'validation, and the end of config.early_stopping.warmup'
            )
        if best not in steps:
            raise InputError(
                f'{self._folder} lacks the best checkpoint, of step {best}: put it back from a '
                f'copy, or train in another --workdir'
            )
        return best

    def _restore(self, step, like):
        folder = self._folder / str(step)
        # A trainer has looked at them all when it began.
        if self._read_only and (files := damage(folder)):
            raise self._damaged(step, files)
        description = self._describe(step)
        _check_fit(folder, saved=description['arrays'], wanted=kinds(like))
        state = place(read_arrays(folder / 'state'), like)
        # JAX cuts arrays of 64 bits to 32 where they are not switched on.
        _check_fit(folder, saved=description['arrays'], wanted=kinds(state))
        return state, description['meta']

    def _damaged(self, step, files):
        return InputError(
            f'{self._folder / str(step)} is damaged: {_listed(files)} not as written; put back '
            'these files from a copy, or run the training command again'
        )

    def _describe(self, step):
        text = read_sealed(self._folder / str(step), _DESCRIPTION)
        if text is None:
            raise self._damaged(step, [_DESCRIPTION])
        return json.loads(text)

    def _steps(self):
        return sorted(
            int(path.name)
            for path in self._folder.iterdir()
            if path.name.isdecimal() and path.is_dir()
        )

    @contextlib.contextmanager
    def _explained(self):
        try:
            yield
        except OSError as error:
            raise InputError(f'{self._folder} cannot be used: {error}') from error

    def _snapshot(self):
        """Tells whether the checkpoints have changed since another call."""
        with os.scandir(self._folder) as entries:
            return {entry.name: entry.inode() for entry in entries if entry.name.isdecimal()}

    # Opening for training.

    def _prepare(self):
        with self._explained():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._clear_leftovers()
            for step in self._steps():
                if files := damage(self._folder / str(step)):
                    self._move_aside(step, files)
                else:
                    self._bests[step] = self._describe(step)['best_step']
        if not self._bests:
            if (self._workdir / 'damaged_checkpoints').is_dir():
                log.warning('no whole checkpoint is left in %s: the run begins anew', self._folder)
            return
        self._best = self._bests[max(self._bests)]
        if self.best_is_lost:
            log.warning(
                'the best checkpoint, of step %d, is lost: the best of the epochs to come takes '
                'its place, unless it is put back from a copy into %s',
                self._best,
                self._folder,
            )

    def _clear_leftovers(self):
        """What a process that was killed left behind."""
        for path in self._folder.glob(f'{_REPLACED}*'):
            place_of_it = self._folder / path.name.removeprefix(_REPLACED)
            if place_of_it.exists():
                _delete(path)
            else:
                path.rename(place_of_it)
        for path in [*self._folder.glob(f'{_DELETED}*'), self._folder / _PARTIAL]:
            _delete(path)

    def _move_aside(self, step, files):
        folder = self._workdir / 'damaged_checkpoints'
        folder.mkdir(exist_ok=True)
        target, n = folder / str(step), 1
        while target.exists():
            n += 1
            target = folder / f'{step}-{n}'
        (self._folder / str(step)).rename(target)
        log.warning(
            'checkpoint %d is damaged and passed over: %s not as written; it is now %s',
            step,
            _listed(files),
            target,
        )

    # Saving. All but _finish runs in the background.

    def _finish(self):
        """Waits for the save under way."""
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        try:
            pending.result()
        # Tensorstore's errors are ValueErrors.
        except (OSError, ValueError) as error:
            reason = str(error)
            if any(text in reason for text in _FULL):
                reason = f'no space is left in {self._folder}: make room'
            raise InputError(
                f'the state could not be saved: {reason}. The last whole checkpoint is kept, and '
                'the same command goes on from it'
            ) from error

    def _write(self, step, arrays, description, best):
        partial = self._folder / _PARTIAL
        try:
            partial.mkdir()
            write_arrays(partial / 'state', arrays)
            (partial / _DESCRIPTION).write_text(description, encoding='utf-8')
            seal(partial)
            self._put(partial, self._folder / str(step))
        finally:
            _delete(partial)
        self._bests[step] = best
        # With the best of the one before, a run that has to go back to that loses nothing.
        newest = sorted(self._bests)[-_NEWEST:]
        for old in self._bests.keys() - {*newest, *map(self._bests.get, newest)}:
            # Renamed, for one of which a kill left a half would look damaged.
            _delete((self._folder / str(old)).rename(self._folder / f'{_DELETED}{old}'))
            del self._bests[old]

    def _put(self, partial, folder):
        replaced = None
        if folder.exists():
            # No folder can be renamed to the name of another. Between these two renamings a kill
            # leaves the old one under a name by which the next start finds it.
            replaced = folder.rename(folder.with_name(f'{_REPLACED}{folder.name}'))
        partial.rename(folder)
        sync(self._folder)
        if replaced is not None:
            _delete(replaced)


@contextlib.contextmanager
def workdir_lock(workdir: str | pathlib.Path) -> Iterator[None]:
    """Holds the workdir for one trainer; two in one folder would remove each other's checkpoints.

    The lock is the kernel's and goes with the process, however that ends.

    Raises:
        InputError: if another process holds it, or the folder cannot be written.
    """
    path = pathlib.Path(workdir) / '.lock'
    try:
        file = path.open('w')
    except OSError as error:
        raise InputError(f'{workdir} cannot be written: {error.strerror}') from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f'another training runs in {workdir}: wait for it, or give another --workdir'
            ) from error
        yield


def _check_fit(folder, *, saved, wanted):
    if not (misfits := differences(saved, wanted)):
        return
    more = len(misfits) - _NAMED_LEAVES
    raise InputError(
        f'{folder} does not fit the model: {"; ".join(misfits[:_NAMED_LEAVES])}'
        + (f'; and {more} more' if more > 0 else '')
        + ': go on with the config that the run was begun with, or give another --workdir'
    )


def _delete(folder):
    # Network file systems keep what a reader holds open; the next start clears it away.
    shutil.rmtree(folder, ignore_errors=True)


def _listed(files):
    more = f' and {len(files) - 3} more files' if len(files) > 3 else ''
    return ', '.join(files[:3]) + more + (' is' if len(files) == 1 else ' are')
