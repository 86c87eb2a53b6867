"""The same work on several cores."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection

from pneumo_jax.errors import InputError

__all__ = ['map_in_processes']


def map_in_processes(work: Callable, jobs: Sequence, num_workers: int) -> Iterator:
    """``map(work, jobs)`` on several cores, results in order.

    Args:
        work: a function of a module, that can be pickled.
        jobs: its arguments.
        num_workers: processes; 0 means one for each core, 1 none but this one.

    Raises:
        InputError: if a worker process dies.
    """
    num_workers = min(num_workers or _num_cores(), len(jobs))
    if num_workers <= 1:
        yield from map(work, jobs)
        return
    # Spawned, not forked: a forked worker inherits locks and open files.
    context = multiprocessing.get_context('spawn')
    with concurrent.futures.ProcessPoolExecutor(
        num_workers, mp_context=context, initializer=_die_with_parent
    ) as pool:
        try:
            yield from pool.map(work, jobs)
        except BrokenProcessPool as error:
            raise InputError(
                'a worker process died, for want of memory or in a decoder: try fewer with '
                '--num_workers, or --num_workers=1 to see where'
            ) from error


def _num_cores():
    # Not the machine's cores but those that this process may use; only Linux tells.
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _die_with_parent():
    """A worker whose parent is killed would otherwise wait for work forever."""
    parent = multiprocessing.parent_process()

    def watch():
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
