"""A pool of worker processes in which a crash or a hang costs one item, not the run.

Decoders are native code and read files that nobody has checked: some file will crash one, and
some will make one hang where no Python signal handler gets a turn. The worker that it happens to
is lost; its chunk goes to a fresh one, with word of the item that was in hand.

Own code, because ``concurrent.futures`` gives up the whole pool when a worker dies, loky has no
time limit for an item, and pebble is LGPL. The workers are fresh interpreters and not
``multiprocessing``'s, which would import the main module again, and JAX with it, in each.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import mmap
import os
import pickle
import queue
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection

from pneumo_jax.errors import InputError

__all__ = ['Lost', 'WorkerPool', 'map_isolated']

_CHUNKS_AHEAD = 2
_QUOTED_BYTES = 2000
_SECONDS_TO_DIE = 5

# The index of the item in hand, in memory that a worker shares with its parent.
_INDEX = struct.Struct('q')
_NO_ITEM = -1


@dataclasses.dataclass(frozen=True)
class Lost:
    """Stands for the result of an item that killed its worker.

    Attributes:
        reason: ``crashed`` or ``timed_out``.
    """

    reason: str


class WorkerPool:
    """Worker processes for ``map``, inside a ``with`` statement that ends them when it is left.

    A worker is started when there is work for it. It ends with this process, however that ends:
    within a second, or at the end of the item's time where native code holds the interpreter.
    Ctrl-C does not reach it, and what it prints is dropped.
    """

    def __init__(self, num_workers: int, *, item_timeout: float):
        """Starts nothing yet.

        Args:
            num_workers: processes, also for 1; 0 means one for each core that this process may
                use.
            item_timeout: seconds that an item may take.

        Raises:
            InputError: if one of them is no such number.
        """
        if num_workers < 0:
            raise InputError(f'num_workers={num_workers} must be 1 or more, or 0 for one per core')
        if item_timeout <= 0:
            raise InputError(f'item_timeout={item_timeout} must be more than 0 seconds')
        self._num_workers = num_workers or _num_cores()
        self._item_timeout = item_timeout
        # Workers wait for the end of this pipe, which comes when nobody holds its other end: only
        # this process does.
        self._lifeline, self._held = os.pipe()
        # Each thread sees one worker through one chunk, so that results are taken from the
        # workers while the caller is busy with earlier ones.
        self._threads = concurrent.futures.ThreadPoolExecutor(self._num_workers)
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._workers: set[_Worker] = set()
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception):
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.bury()
        os.close(self._lifeline)
        os.close(self._held)

    def map(self, work: Callable, chunks: Iterable) -> Iterator:
        """Yields ``work``'s result for each chunk, in order, with about two a worker in hand.

        Args:
            work: a function of a module other than the main one, or a small ``functools.partial``
                of one (it is pickled with each chunk), called as ``work(items, lost, begin)``:
                ``items`` is a chunk; ``lost`` maps the index of an item that killed a worker
                earlier to ``crashed`` or ``timed_out``, and that item must be left alone;
                ``begin(index)`` is to be called before an item is touched, and starts its time.
            chunks: sequences of items; taken as needed, so there may be any number.

        Raises:
            InputError: if a worker cannot start, or dies while no item is in hand or over an item
                that was lost already.
            Exception: what ``work`` raises, with a note of where.
        """
        pending: collections.deque[concurrent.futures.Future] = collections.deque()
        try:
            for chunk in chunks:
                pending.append(self._threads.submit(self._run, work, chunk))
                if len(pending) > _CHUNKS_AHEAD * self._num_workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    def _run(self, work, items):
        """The result of one chunk, by as many workers as it takes."""
        lost: dict[int, str] = {}
        while True:
            task = pickle.dumps((work, items, lost), pickle.HIGHEST_PROTOCOL)
            worker = self._take_worker()
            try:
                reply = worker.ask(task)
            except (EOFError, OSError):
                index, reason = self._inquest(worker, lost)
                lost[index] = reason
                continue
            self._idle.put(worker)
            result, error = pickle.loads(reply)
            if error is not None:
                raise error
            return result

    def _take_worker(self):
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            pass
        with self._lock:
            # A worker started now would not be killed any more.
            if self._closed:
                raise concurrent.futures.CancelledError
            try:
                worker = _Worker(self._lifeline, self._item_timeout)
            except OSError as error:
                raise InputError(
                    f'a worker process cannot be started: {error}; try fewer with --num_workers'
                ) from error
            self._workers.add(worker)
            return worker

    def _inquest(self, worker, lost):
        """(index of the item that killed the worker, reason).

        Raises:
            InputError: if no item is to blame.
        """
        with self._lock:
            self._workers.discard(worker)
        index, status, last_words = worker.bury()
        if index != _NO_ITEM and index not in lost:
            return index, 'timed_out' if status == -signal.SIGALRM else 'crashed'
        end = f'signal {-status}, {signal.strsignal(-status)}' if status < 0 else f'code {status}'
        place = 'with no item in hand' if index == _NO_ITEM else 'over an item given up before'
        raise InputError(
            f'a worker process died {place} ({end}); if for want of memory, try fewer with '
            f'--num_workers. It said last: {last_words or "nothing"}'
        )


def map_isolated(
    function: Callable, items: Iterable, *, pool: WorkerPool, chunk_size: int
) -> Iterator:
    """``map(function, items)`` in the workers of a pool, in order; ``Lost`` where one died.

    Args:
        function: as ``work`` of ``WorkerPool.map``, but called with one item.
        items: any number.
        pool: an open one.
        chunk_size: items that a worker is given at once; the fewer, the less is done again when
            a worker dies.

    Raises:
        InputError, Exception: as ``WorkerPool.map``.
    """
    items = iter(items)
    chunks = iter(lambda: list(itertools.islice(items, chunk_size)), [])
    for results in pool.map(functools.partial(_call_on_each, function), chunks):
        yield from results


def _call_on_each(function, items, lost, begin):
    results = []
    for index, item in enumerate(items):
        if index in lost:
            results.append(Lost(lost[index]))
            continue
        begin(index)
        results.append(function(item))
    return results


def _num_cores():
    # Not the machine's cores but those that this process may use; only Linux tells.
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Worker:
    """A worker process as its parent sees it."""

    def __init__(self, lifeline, item_timeout):
        with contextlib.ExitStack() as stack:
            self._connection, theirs = connection.Pipe()
            stack.enter_context(self._connection)
            self._stderr = stack.enter_context(tempfile.TemporaryFile(buffering=0))
            with theirs, tempfile.TemporaryFile(buffering=0) as shared:
                shared.write(_INDEX.pack(_NO_ITEM))
                self._in_hand = stack.enter_context(mmap.mmap(shared.fileno(), _INDEX.size))
                handed = (theirs.fileno(), shared.fileno(), lifeline)
                program = (
                    f'import sys; sys.path[:] = {sys.path!a}; from pneumo_jax import workers; '
                    f'workers._serve(*{handed}, {item_timeout})'
                )
                self._process = subprocess.Popen(
                    # Warnings may quote values of a patient's header.
                    [sys.executable, '-Wignore', '-c', program],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._stderr,
                    pass_fds=handed,
                    # A group of its own: Ctrl-C is for the parent to act on, and Ctrl-Z must not
                    # stop an item while its time runs.
                    process_group=0,
                )
            self._resources = stack.pop_all()

    def ask(self, task: bytes) -> bytes:
        """The worker's reply to a task.

        Raises:
            EOFError, OSError: if it died.
        """
        self._connection.send_bytes(task)
        return self._connection.recv_bytes()

    def kill(self):
        self._process.kill()

    def bury(self) -> tuple[int, int, str]:
        """(index of the item in hand, return code, last words) of a dead or dying worker."""
        try:
            # Its pipe is closed some time before it has said why and ended.
            status = self._process.wait(_SECONDS_TO_DIE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        (index,) = _INDEX.unpack(self._in_hand)
        descriptor = self._stderr.fileno()
        start = max(0, os.fstat(descriptor).st_size - _QUOTED_BYTES)
        last_words = os.pread(descriptor, _QUOTED_BYTES, start).decode('utf-8', 'replace').strip()
        self._resources.close()
        return index, status, last_words


def _serve(pipe, shared, lifeline, item_timeout):
    """What a worker process does: answers tasks until it is killed."""
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    # An alarm that the parent ignores would be ignored here too. By default the kernel ends the
    # process, whatever native code is doing and whether or not the parent still lives.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # A core dump would hold a patient's film.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    _keep_freed_memory()
    in_hand = mmap.mmap(shared, _INDEX.size)

    def begin(index):
        # In this order, or the item would be blamed for the time of the one before it.
        signal.setitimer(signal.ITIMER_REAL, item_timeout)
        _INDEX.pack_into(in_hand, 0, index)

    def finish():
        signal.setitimer(signal.ITIMER_REAL, 0)
        _INDEX.pack_into(in_hand, 0, _NO_ITEM)

    parent = connection.Connection(pipe)
    while True:
        # An error of unpickling ends the worker: it has not what the work needs.
        parent.send_bytes(_reply(*pickle.loads(parent.recv_bytes()), begin, finish))
        _forget_last_words()


def _keep_freed_memory():
    """Films are then read in three quarters of the time, and drawn in as little.

    After a large block was freed, glibc keeps freed memory for the next arrays instead of fetching
    fresh pages hundreds of times a film: mallopt(3), M_MMAP_THRESHOLD.
    """
    bytearray(31 << 20)


def _end_with_parent(lifeline):
    os.read(lifeline, 1)
    os._exit(1)


def _forget_last_words():
    # The noise of many chunks would fill the disk.
    descriptor = sys.__stderr__.fileno()
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)


def _reply(work, items, lost, begin, finish):
    """(result, None) or (None, error), pickled."""
    try:
        try:
            result = work(items, lost, begin)
        finally:
            finish()
        return pickle.dumps((result, None), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent raises it
        error.add_note(f'In the worker process:\n{traceback.format_exc()}')
        return pickle.dumps((None, _portable(error)), pickle.HIGHEST_PROTOCOL)


def _portable(error):
    """The error, or one that says the same where it cannot be pickled and read again."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - an error's own code, that may raise anything
        portable = RuntimeError(f'{type(error).__name__}: {error}')
        portable.__notes__ = error.__notes__
        return portable
    return error
