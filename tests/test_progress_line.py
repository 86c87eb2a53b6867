import os
import re
import subprocess
import sys
import time

import pytest

from pneumo_jax.progress_line import ProgressLine
from tests.conftest import ROOT

pty = pytest.importorskip('pty', reason='no pseudo terminals here')

RUN = """
import logging, time
from absl import app
from pneumo_jax import command
from pneumo_jax.progress_line import ProgressLine

def main(argv):
    with ProgressLine(num_steps=30, first_step=10, batch_size=8, epochs=3) as line:
        for step in range(11, 31):
            time.sleep(0.03)
            line.update(step, (step - 1) // 10 + 1, 0.125)
            if step % 10 == 0:
                logging.getLogger('pneumo_jax.x').info('epoch of step %d is over', step)
    logging.getLogger('pneumo_jax.x').info('the end')

command.run(main)
"""


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def run_on_terminal(code, columns):
    """What a program writes to a terminal as its stderr."""
    fcntl, struct, termios = (pytest.importorskip(n) for n in ('fcntl', 'struct', 'termios'))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    child = subprocess.Popen([sys.executable, '-c', code], stderr=theirs, cwd=ROOT)
    os.close(theirs)
    written = bytearray()
    try:
        while part := os.read(ours, 4096):
            written += part
    except OSError:
        # So Linux says that the other end is closed.
        pass
    os.close(ours)
    assert child.wait() == 0
    return written.decode()


def screen(written):
    """The lines that are left to see, and all that were ever drawn."""
    rows, drawn = [''], []
    for text, end in re.findall(r'([^\r\n]*)(\r|\n|$)', written):
        rows[-1] = text + rows[-1][len(text) :]
        drawn.append(text)
        if end == '\n':
            rows.append('')
    return [row.rstrip() for row in rows if row.strip()], drawn


def test_on_a_terminal_there_is_one_line_and_messages_stand_above_it():
    seen, drawn = screen(run_on_terminal(RUN, columns=100))
    assert seen == ['epoch of step 20 is over', 'epoch of step 30 is over', 'the end']
    shown = [text for text in drawn if text.startswith('epoch 2/3')]
    assert re.fullmatch(r'epoch 2/3  step 1\d/30  loss 0.1250  \|█*\S? *\|', shown[0])
    speed = r'epoch 2/3  step \d\d/30  loss 0.1250  \d+\.\d films/s  left 0:00:0\d  \|█*\S? *\|'
    assert re.fullmatch(speed, shown[-1])
    assert 'compiled' in drawn[0] or 'compiled' in drawn[1]
    assert len(shown) < 9, 'each step was drawn'
    # With the message comes the newest state.
    after = drawn[drawn.index('epoch of step 20 is over') + 1 :]
    assert ' step 20/30 ' in next(text for text in after if text.startswith('epoch'))


@pytest.mark.parametrize('columns', [0, 30])
def test_a_narrow_terminal_breaks_nothing(columns):
    seen, drawn = screen(run_on_terminal(RUN, columns))
    assert seen == ['epoch of step 20 is over', 'epoch of step 30 is over', 'the end']
    assert all(len(text) <= (columns or 120) for text in drawn)


def test_without_a_terminal_there_are_the_messages_alone():
    child = subprocess.run([sys.executable, '-c', RUN], cwd=ROOT, capture_output=True, check=True)
    lines = ['epoch of step 20 is over', 'epoch of step 30 is over', 'the end']
    assert child.stderr.decode().splitlines() == lines
    assert child.stdout == b''


def make_line(clock, **options):
    defaults = {'num_steps': 40, 'first_step': 0, 'batch_size': 8, 'epochs': 4}
    return ProgressLine(**defaults | options, clock=clock)


def test_the_compiling_step_and_the_pauses_between_epochs_are_no_speed():
    clock = Clock()
    with make_line(clock) as line:
        clock.now += 60
        line.update(1, 1, 0.5)
        assert line.films_per_second != line.films_per_second
        assert line.time_left() == '?'
        for step in range(2, 21):
            clock.now += 0.5 if step != 11 else 90
            line.update(step, 1 + (step - 1) // 10, 0.5)
        assert line.films_per_second == pytest.approx(16)


def test_the_time_left_counts_the_validations_to_come():
    clock = Clock()
    with make_line(clock) as line:
        for step in range(1, 11):
            clock.now += 2
            line.update(step, 1, 0.5)
        # Nothing is known of validations yet.
        assert line.time_left() == '0:01:00'
        # One has taken 100 s, and three are to come.
        clock.now += 100
        assert line.time_left() == '0:06:00'
        clock.now += 2
        line.update(11, 2, 0.5)
        assert line.time_left() == '0:05:58'
        for step in range(12, 41):
            clock.now += 2 if step % 10 != 1 else 42
            line.update(step, 1 + (step - 1) // 10, 0.5)
        # The newest validations took 40 s; the last one is to come, and goes by.
        assert line.time_left() == '0:00:40'
        clock.now += 10
        assert line.time_left() == '0:00:30'
        clock.now += 50
        assert line.time_left() == '0:00:00'


def test_hours_are_not_cut_into_days():
    clock = Clock()
    with make_line(clock, num_steps=100_002, epochs=1) as line:
        line.update(1, 1, 0.5)
        clock.now += 1
        line.update(2, 1, 0.5)
        assert line.time_left() == '27:46:40'


def test_the_speed_follows_a_change():
    clock = Clock()
    with make_line(clock, num_steps=2000, epochs=1) as line:
        for step in range(1, 1001):
            clock.now += 1 if step <= 500 else 4
            line.update(step, 1, 0.5)
        assert line.films_per_second == pytest.approx(2, rel=0.01)


def test_a_resumed_run_has_its_own_steps_left_only():
    clock = Clock()
    with make_line(clock, first_step=30) as line:
        for step in (31, 32):
            clock.now += 3
            line.update(step, 4, 0.5)
        assert line.time_left() == '0:00:24'
        assert line.films_per_second == pytest.approx(8 / 3)


def test_an_update_costs_microseconds():
    with make_line(time.monotonic, num_steps=20_000, epochs=1) as line:
        began = time.perf_counter()
        for step in range(1, 20_001):
            line.update(step, 1, 0.5)
        assert (time.perf_counter() - began) / 20_000 < 50e-6
