import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from pneumo_jax.signals import StopSignals
from tests.conftest import ROOT

# Steps until it is asked to stop, then "saves" for as long as its input says.
LOOP = """
import sys, time
from pneumo_jax.signals import StopSignals
with StopSignals() as stop:
    print('running', flush=True)
    while not stop.requested:
        time.sleep(0.01)
    print('saving', flush=True)
    for _ in sys.stdin:
        pass
    print('saved after', stop.requested.name, flush=True)
"""


def start(code, shell=()) -> subprocess.Popen:
    process = subprocess.Popen(
        [*shell, sys.executable, '-c', code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != 'PYTHONUNBUFFERED'},
    )
    assert process.stdout.readline() == 'running\n'
    return process


@pytest.mark.parametrize('first', ['SIGTERM', 'SIGINT'])
def test_fault_52_a_storm_of_sigterm_changes_nothing_even_while_saving(first):
    process = start(LOOP)
    process.send_signal(signal.Signals[first])
    assert process.stdout.readline() == 'saving\n'
    for _ in range(200):
        process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=10)
    assert process.returncode == 0, stderr
    assert stdout == f'saved after {first}\n'
    lines = stderr.splitlines()
    assert lines[0].startswith(f'{first}: finishing the step, then saving')
    assert len(lines) == len({first, 'SIGTERM'})


def test_fault_52_a_second_ctrl_c_ends_at_once():
    process = start(LOOP)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == 'saving\n'
    process.send_signal(signal.SIGINT)
    # Its input stays open: it is still saving.
    process.wait(timeout=10)
    stdout, stderr = process.communicate()
    assert stdout == ''
    assert stderr.splitlines()[-1] == 'KeyboardInterrupt'


def test_ctrl_c_after_sigterm_is_the_first_one():
    process = start(LOOP)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == 'saving\n'
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=10)
    assert stdout == 'saved after SIGTERM\n'
    assert [line.partition(':')[0] for line in stderr.splitlines()] == ['SIGTERM', 'SIGINT']


def test_a_signal_amid_output_to_stderr_does_no_harm():
    # A handler that wrote to sys.stderr would enter its buffer again: RuntimeError.
    code = LOOP.replace('time.sleep(0.01)', "sys.stderr.buffer.write(b'.' * 65536)")
    process = start(code)
    # The pipe is full by now, and the process waits amid its output.
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=10)
    assert process.returncode == 0, stderr.strip('.')
    assert stdout.splitlines()[-1] == 'saved after SIGTERM'
    assert 'SIGTERM: finishing the step, then saving\n' in stderr


def test_without_stderr_signals_are_noted_all_the_same():
    process = start(LOOP.replace('import sys', 'import os, sys; os.close(2); import sys'))
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=10)
    assert stdout.splitlines()[-1] == 'saved after SIGTERM'


def test_what_the_process_was_started_to_ignore_stays_ignored():
    # As nohup and shells do for what runs in the background.
    process = start(LOOP, shell=['bash', '-c', 'trap "" INT; exec "$@"', 'bash'])
    for _ in range(3):
        process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=10)
    assert stdout.splitlines()[-1] == 'saved after SIGTERM'


def test_old_handlers_are_put_back(capfd):
    received = []
    before = {
        number: signal.signal(number, lambda *caught: received.append(caught[0]))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        with pytest.raises(ZeroDivisionError), StopSignals() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.requested is signal.SIGTERM
            assert received == []
            raise ZeroDivisionError
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert received == [signal.SIGTERM, signal.SIGINT]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert capfd.readouterr().err == 'SIGTERM: finishing the step, then saving\n'


def test_in_another_thread_nothing_is_installed():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with StopSignals() as stop:
            seen.extend([stop.requested, signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None, before]


def test_where_the_process_ends_so_does_nobody_else():
    code = LOOP.replace('StopSignals()', 'StopSignals(ends_process=True)')
    process = start(f"{code}print('ending', flush=True)\nsys.stdin.readline()\nsys.exit(75)")
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == 'saving\n'
    process.send_signal(signal.SIGTERM)
    process.stdin.close()
    for _ in range(50):
        process.send_signal(signal.SIGTERM)
    process.stdout.read()
    assert process.wait(timeout=10) == 75
    process.stderr.close()
    process.stdout.close()


def test_a_request_leaves_no_trace_in_a_process_that_goes_on():
    with StopSignals() as stop:
        before = signal.getsignal(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.requested is signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) != before
