import contextlib
import ctypes
import fcntl
import functools
import itertools
import os
import pathlib
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings

import pytest

from pneumo_jax import workers
from pneumo_jax.errors import InputError
from pneumo_jax.workers import Lost, WorkerPool, map_isolated

ROOT = pathlib.Path(__file__).parent.parent

# Seconds: for items that are not to run out of time, and for those that are.
AMPLE = 30
SHORT = 0.4


def segfault():
    ctypes.string_at(0)


def exit_at_once():
    os._exit(0)


def be_killed():
    # As the kernel does for want of memory.
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_forever():
    time.sleep(10 * AMPLE)


def hang_with_the_interpreter_held():
    # Native code in which no other Python thread and no signal handler gets a turn.
    re.match('(a+)+$', 'a' * 40 + 'b')


CRASHES = [segfault, os.abort, exit_at_once, be_killed]
HANGS = [sleep_forever, hang_with_the_interpreter_held]


def double(item):
    """Twice the item; one that can be called is called."""
    return item() if callable(item) else 2 * item


def double_chunk(items, lost, begin):
    """[double(item)] of items that are not lost; (index, reason) for the others."""
    results = []
    for index, item in enumerate(items):
        if index in lost:
            results.append((index, lost[index]))
        else:
            begin(index)
            results.append(double(item))
    return results


def call(items, lost, begin):
    """Calls the only item without beginning it."""
    return lost or items[0]()


def defy(items, lost, begin):
    begin(0)
    os._exit(7)


def names_of_modules():
    return set(sys.modules)


def double_later(seconds):
    time.sleep(seconds)
    return 2 * seconds


def make_noise():
    for descriptor in (1, 2):
        os.write(descriptor, b'noise of native code\n')
    ctypes.CDLL(None).puts(b'noise of the C library')
    ctypes.CDLL(None).fflush(None)
    warnings.warn('PATIENT^NAME', stacklevel=1)


def make_noise_and_die():
    make_noise()
    os.write(2, b'the last words\n')
    os._exit(3)


def lock_and_hang(path_and_hang):
    """Holds a lock on the file for as long as the process lives."""
    path, hang = path_and_hang
    file = pathlib.Path(path).open('w')  # noqa: SIM115 - held until the end
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write('locked')
    file.flush()
    hang()


def close_everything_and_sleep():
    os.closerange(3, 100)
    sleep_forever()


class NotPortableError(Exception):
    def __init__(self, one, two):
        super().__init__(f'{one} and {two}')


def raise_value_error():
    raise ValueError('no such film')


def raise_not_portable():
    raise NotPortableError('film', 'plate')


def return_what_cannot_be_pickled():
    return lambda: None


def run_chunks(chunks, *, num_workers=2, item_timeout=AMPLE):
    with WorkerPool(num_workers, item_timeout=item_timeout) as pool:
        return list(pool.map(double_chunk, chunks))


def descriptors():
    return len(os.listdir('/dev/fd'))  # noqa: PTH208 - names of what is closed again


def is_locked(path):
    with pathlib.Path(path).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f'not within {seconds} s'
        time.sleep(0.01)


@contextlib.contextmanager
def parent_of_two_hanging_workers(folder, hang=sleep_forever, item_timeout=AMPLE):
    """(process, files that its workers hold locked) once both are in the midst of an item."""
    paths = [folder / 'a', folder / 'b']
    for path in paths:
        path.touch()
    program = (
        'from tests.test_workers import *\n'
        f'items = [("{paths[0]}", {hang.__name__}), ("{paths[1]}", {hang.__name__})]\n'
        f'with WorkerPool(2, item_timeout={item_timeout}) as pool:\n'
        '    list(map_isolated(lock_and_hang, items, pool=pool, chunk_size=1))'
    )
    options = {'cwd': ROOT, 'stderr': subprocess.PIPE, 'text': True, 'process_group': 0}
    with subprocess.Popen([sys.executable, '-c', program], **options) as parent:
        try:
            wait_until(lambda: all(path.read_text() for path in paths), 10)
            yield parent, paths
        finally:
            parent.kill()


@pytest.mark.parametrize('num_workers', [0, 1, 3])
def test_results_come_in_order_of_chunks(num_workers):
    chunks = [[i, i + 1] for i in range(20)]
    assert run_chunks(chunks, num_workers=num_workers) == [[2 * i, 2 * i + 2] for i in range(20)]


def test_items_run_in_other_processes_without_jax():
    with WorkerPool(1, item_timeout=AMPLE) as pool:
        pid, group, modules = pool.map(call, [[os.getpid], [os.getpgrp], [names_of_modules]])
    assert pid != os.getpid()
    # Ctrl-C and Ctrl-Z reach the parent only.
    assert group != os.getpgrp()
    assert not {'jax', 'tensorflow'} & modules


@pytest.mark.parametrize('crash', CRASHES)
def test_fault_21_native_crash_costs_one_item(crash):
    # The last chunk is done before the one that is done twice.
    results = run_chunks([[1, 2], [3, crash, 4], [5]])
    assert results == [[2, 4], [6, (1, 'crashed'), 8], [10]]


@pytest.mark.parametrize('hang', HANGS)
def test_fault_21_native_hang_costs_one_item(hang):
    start = time.monotonic()
    results = run_chunks([[1, 2], [3, hang, 4], [5]], item_timeout=SHORT)
    assert results == [[2, 4], [6, (1, 'timed_out'), 8], [10]]
    assert time.monotonic() - start < SHORT + 5


@pytest.mark.parametrize('bad', [{0, 3}, {1, 2}])
def test_every_bad_item_of_a_chunk_costs_itself(bad):
    chunk = [exit_at_once if i in bad else i for i in range(4)]
    (results,) = run_chunks([chunk])
    assert results == [(i, 'crashed') if i in bad else 2 * i for i in range(4)]


def test_map_isolated_puts_lost_in_the_place_of_lost_items():
    items = [0, 1, segfault, 3, 4, sleep_forever, exit_at_once]
    with WorkerPool(2, item_timeout=SHORT) as pool:
        results = list(map_isolated(double, items, pool=pool, chunk_size=2))
    crashed, timed_out = Lost('crashed'), Lost('timed_out')
    assert results == [0, 2, crashed, 6, 8, timed_out, crashed]


def test_time_is_counted_for_each_item_and_not_between_chunks():
    with WorkerPool(1, item_timeout=SHORT) as pool:
        slow = [SHORT / 4] * 8
        assert list(map_isolated(double_later, slow, pool=pool, chunk_size=8)) == [SHORT / 2] * 8
        time.sleep(2 * SHORT)
        assert list(map_isolated(double_later, [0], pool=pool, chunk_size=1)) == [0]


def test_an_alarm_that_the_parent_ignores_ends_a_hang_too():
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    try:
        assert run_chunks([[sleep_forever]], item_timeout=SHORT) == [[(0, 'timed_out')]]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_item_that_kills_again_after_it_was_given_up_is_an_error():
    with (
        WorkerPool(1, item_timeout=AMPLE) as pool,
        pytest.raises(InputError, match=r'over an item given up before \(code 7\)'),
    ):
        list(pool.map(defy, [[0]]))


def test_a_death_with_no_item_in_hand_is_an_error_with_the_last_words():
    with WorkerPool(1, item_timeout=AMPLE) as pool:
        # What an earlier chunk said or had in hand does not belong to it.
        list(
            pool.map(double_chunk, [[functools.partial(os.write, 2, b'long forgotten words' * 9)]])
        )
        with pytest.raises(InputError, match=r'no item in hand \(code 3\)') as caught:
            list(pool.map(call, [[make_noise_and_die]]))
    said = str(caught.value).partition('It said last: ')[2]
    assert said == 'noise of native code\nthe last words'


def test_work_is_imported_by_the_parents_path_and_else_it_is_an_error(tmp_path, monkeypatch):
    (tmp_path / 'echo.py').write_text('def work(items, lost, begin): return items')
    monkeypatch.syspath_prepend(tmp_path)
    import echo

    with WorkerPool(1, item_timeout=AMPLE) as pool:
        assert list(pool.map(echo.work, [[1]])) == [[1]]
    (tmp_path / 'echo.py').unlink()
    with (
        WorkerPool(1, item_timeout=AMPLE) as pool,
        pytest.raises(InputError, match=r"\(code 1\)(?s:.)*No module named 'echo'"),
    ):
        list(pool.map(echo.work, [[1]]))


@pytest.mark.parametrize(
    ('executable', 'message'),
    [('/no/such/python', 'No such file'), (shutil.which('false'), r'no item in hand \(code 1\)')],
)
def test_a_worker_that_cannot_start_is_an_error(executable, message, monkeypatch):
    monkeypatch.setattr(sys, 'executable', executable)
    before = descriptors()
    with pytest.raises(InputError, match=message):
        run_chunks([[0]] * 3)
    assert descriptors() == before


@pytest.mark.parametrize('bad', [{'num_workers': -1}, {'item_timeout': 0}])
def test_bad_numbers_are_refused(bad):
    with pytest.raises(InputError, match=f'{next(iter(bad))}='):
        WorkerPool(**{'num_workers': 1, 'item_timeout': 1, **bad})


def test_exceptions_are_raised_with_where_and_the_pool_goes_on():
    with WorkerPool(1, item_timeout=SHORT) as pool:
        with pytest.raises(ValueError, match='no such film') as caught:
            list(pool.map(double_chunk, [[1], [raise_value_error], [2]]))
        assert 'in raise_value_error' in caught.value.__notes__[0]
        # The time of the item that raised runs no more.
        time.sleep(2 * SHORT)
        assert list(pool.map(double_chunk, [[3]])) == [[6]]


def test_what_cannot_be_pickled_is_an_exception_too():
    with WorkerPool(1, item_timeout=AMPLE) as pool:
        with pytest.raises(RuntimeError, match='NotPortableError: film and plate') as caught:
            list(pool.map(double_chunk, [[raise_not_portable]]))
        assert 'in raise_not_portable' in caught.value.__notes__[0]
        with pytest.raises((AttributeError, pickle.PicklingError), match='lambda'):
            list(pool.map(double_chunk, [[return_what_cannot_be_pickled]]))
        with pytest.raises((AttributeError, pickle.PicklingError), match='lambda'):
            list(pool.map(lambda items, lost, begin: None, [[0]]))
        assert list(pool.map(double_chunk, [[3]])) == [[6]]


def test_an_endless_number_of_chunks_is_taken_as_needed():
    taken = itertools.count()
    chunks = ([next(taken)] for _ in itertools.count())
    with WorkerPool(2, item_timeout=AMPLE) as pool:
        results = pool.map(double_chunk, chunks)
        assert list(itertools.islice(results, 10)) == [[2 * i] for i in range(10)]
        assert next(taken) <= 10 + 2 * 2 + 1


def test_what_is_larger_than_pipes_hold_passes_both_ways():
    # With more chunks in hand than are taken: who writes first must not wait for ever.
    pixels = [bytes([i]) * (1 << 22) for i in range(4)]
    assert run_chunks([[p] for p in pixels], num_workers=1) == [[2 * p] for p in pixels]


def test_noise_of_workers_is_not_heard(capfd):
    run_chunks([[make_noise, make_noise], [make_noise, segfault]])
    assert capfd.readouterr() == ('', '')


def test_a_closed_pool_leaves_no_process_and_no_descriptor():
    before = descriptors()
    with WorkerPool(1, item_timeout=AMPLE) as pool:
        (crashed,), (_, closed) = pool.map(double_chunk, [[os.getpid], [exit_at_once, os.getpid]])
    assert crashed != closed
    assert descriptors() == before
    for pid in (crashed, closed):
        # A zombie could still be signalled.
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_exception_ends_workers_in_the_midst_of_items():
    before = descriptors()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), WorkerPool(2, item_timeout=AMPLE) as pool:
        for _ in pool.map(double_chunk, [[1], *[[sleep_forever]] * 9]):
            raise KeyboardInterrupt
    assert time.monotonic() - start < 5
    assert descriptors() == before


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    with parent_of_two_hanging_workers(tmp_path) as (parent, paths):
        assert all(map(is_locked, paths))
        parent.kill()
        wait_until(lambda: not any(map(is_locked, paths)), 2)


def test_workers_with_the_interpreter_held_end_with_their_time(tmp_path):
    hanging = parent_of_two_hanging_workers(tmp_path, hang_with_the_interpreter_held, 1)
    with hanging as (parent, paths):
        parent.kill()
        assert all(map(is_locked, paths))
        wait_until(lambda: not any(map(is_locked, paths)), 3)


def test_ctrl_c_is_one_keyboard_interrupt_and_no_orphan(tmp_path):
    with parent_of_two_hanging_workers(tmp_path) as (parent, paths):
        os.killpg(parent.pid, signal.SIGINT)
        _, stderr = parent.communicate(timeout=5)
        assert not any(map(is_locked, paths))
    assert stderr.count('Traceback') == 1
    assert stderr.endswith('KeyboardInterrupt\n')


def test_a_crash_writes_no_core_dump():
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    limit = functools.partial(resource.getrlimit, resource.RLIMIT_CORE)
    try:
        with WorkerPool(1, item_timeout=AMPLE) as pool:
            assert list(pool.map(call, [[limit]])) == [(0, before[1])]
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


def test_a_worker_that_only_closes_its_pipe_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(workers, '_SECONDS_TO_DIE', 0.1)
    assert run_chunks([[close_everything_and_sleep, 1]]) == [[(0, 'crashed'), 2]]
