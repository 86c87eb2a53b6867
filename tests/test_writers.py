import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog

from pneumo_jax.data.tfrecord import RecordFile
from pneumo_jax.errors import InputError
from pneumo_jax.files import write_csv
from pneumo_jax.writers import MetricsWriter
from tests.conftest import ROOT


def lines(workdir):
    text = (workdir / 'metrics.jsonl').read_text()
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def refuse(constant):
    raise AssertionError(f'{constant} is no JSON')


def events(workdir):
    """In the order in which TensorBoard reads them."""
    for path in sorted((workdir / 'tensorboard').iterdir()):
        records = RecordFile(path)
        for i in range(len(records)):
            yield Event.FromString(records[i])


def values(workdir):
    for event in events(workdir):
        for value in event.summary.value:
            yield event, value


def curve(workdir, tag):
    """Points of a scalar as TensorBoard shows them: a start's step forgets what is at or after."""
    points = []
    for event in events(workdir):
        if event.session_log.status == SessionLog.START:
            points = [point for point in points if point[0] < event.step]
        points += [(event.step, v.simple_value) for v in event.summary.value if v.tag == tag]
    return points


def curve_by_order(workdir, tag):
    """As its fast loader shows them: a point forgets earlier ones that are at or after it."""
    points = []
    for event, value in values(workdir):
        if value.tag == tag:
            points = [point for point in points if point[0] < event.step]
            points.append((event.step, value.simple_value))
    return points


def curve_of_lines(workdir, tag):
    return [(x['step'], x[tag]) for x in lines(workdir) if tag in x]


def write_run(workdir, steps, *, gain, resume_step=0, resume_epoch=0, last_epoch=9):
    """Points each fifth step and an epoch each tenth, as a run does from ``resume_step`` on."""
    with MetricsWriter(workdir, resume_step=resume_step, resume_epoch=resume_epoch) as writer:
        for step in steps:
            if step % 5 == 0 and step > resume_step:
                writer.write(step, {'step/loss': gain * step})
            if step % 10 == 0 and step // 10 <= last_epoch:
                writer.write(step, {'validation/loss': gain * step}, epoch=step // 10)


def assert_one_curve(workdir):
    for tag in ('step/loss', 'validation/loss'):
        expected = curve_of_lines(workdir, tag)
        assert len({step for step, _ in expected}) == len(expected)
        assert curve(workdir, tag) == expected
        assert curve_by_order(workdir, tag) == expected


def test_a_resumed_run_leaves_no_line_twice(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        for step in (10, 20, 30):
            writer.write(step, {'validation/auroc': step / 100}, epoch=step // 10)
    with MetricsWriter(tmp_path, resume_step=20) as writer:
        writer.write(30, {'validation/auroc': 0.9}, epoch=3)
    assert curve_of_lines(tmp_path, 'validation/auroc') == [(10, 0.1), (20, 0.2), (30, 0.9)]


def test_a_run_killed_again_and_again_is_one_curve(tmp_path):
    write_run(tmp_path, range(1, 28), gain=1)
    # From a checkpoint inside an epoch, from the end of one, and from the very start.
    write_run(tmp_path, range(18, 48), gain=2, resume_step=17, resume_epoch=1)
    write_run(tmp_path, range(41, 56), gain=4, resume_step=40, resume_epoch=4)
    assert curve_of_lines(tmp_path, 'step/loss')[:5] == [
        (5, 5),
        (10, 10),
        (15, 15),
        (20, 40),
        (25, 50),
    ]
    assert curve_of_lines(tmp_path, 'step/loss')[-4:] == [(40, 80), (45, 180), (50, 200), (55, 220)]
    assert_one_curve(tmp_path)
    write_run(tmp_path, range(1, 12), gain=8)
    assert curve_of_lines(tmp_path, 'step/loss') == [(5, 40), (10, 80)]
    assert_one_curve(tmp_path)


def test_an_epoch_to_be_validated_again_is_there_once(tmp_path):
    # Saved at the end of epoch 2 before its validation, killed between its line and its save.
    write_run(tmp_path, range(1, 21), gain=1)
    with MetricsWriter(tmp_path, resume_step=20, resume_epoch=1) as writer:
        writer.write(20, {'validation/loss': 7.0}, epoch=2)
    assert curve_of_lines(tmp_path, 'validation/loss') == [(10, 10), (20, 7)]
    assert curve_of_lines(tmp_path, 'step/loss') == [(5, 5), (10, 10), (15, 15), (20, 20)]
    assert_one_curve(tmp_path)


@pytest.mark.parametrize('rest', [b'{"step": 20, "lo', b'{"step": 20, "lo\n', b'\0' * 64, b'\0\n'])
def test_a_line_cut_short_by_a_kill_goes(tmp_path, rest):
    with MetricsWriter(tmp_path) as writer:
        writer.write(10, {'loss': 1.0})
    with (tmp_path / 'metrics.jsonl').open('ab') as file:
        file.write(rest)
    with MetricsWriter(tmp_path, resume_step=20) as writer:
        writer.write(30, {'loss': 0.5})
    assert curve_of_lines(tmp_path, 'loss') == [(10, 1.0), (30, 0.5)]


def test_what_was_written_outlives_a_kill(tmp_path):
    code = (
        'import os, sys; from pneumo_jax.writers import MetricsWriter\n'
        'writer = MetricsWriter(sys.argv[1])\n'
        'for step in range(1, 101): writer.write(step, {"loss": step / 4})\n'
        'os.kill(os.getpid(), 9)'
    )
    subprocess.run([sys.executable, '-c', code, str(tmp_path)], cwd=ROOT, check=False)
    assert curve_of_lines(tmp_path, 'loss') == [(step, step / 4) for step in range(1, 101)]
    assert curve(tmp_path, 'loss') == curve_of_lines(tmp_path, 'loss')


def test_starts_within_a_second_have_files_of_their_own(tmp_path):
    for _ in range(5):
        with MetricsWriter(tmp_path):
            pass
    assert len(list((tmp_path / 'tensorboard').iterdir())) == 5


def test_nan_is_null_in_the_lines(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        writer.write(1, {'auroc': math.nan, 'loss': np.float32(math.inf), 'ok': np.float32(0.5)})
    assert lines(tmp_path) == [{'step': 1, 'auroc': None, 'loss': None, 'ok': 0.5}]


def test_pictures_and_texts_are_in_the_events(tmp_path):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    colours = np.stack([grey, grey + 1, grey + 2], axis=-1)
    with MetricsWriter(tmp_path) as writer:
        writer.write_images(20, {'film_0': Image.fromarray(colours), 'film_1': grey})
        writer.write_text(0, 'config', 'seed  0\nbatch_size  32')
    found = {value.tag: (event.step, value) for event, value in values(tmp_path)}
    for name, pixels in (('film_0', colours), ('film_1', grey)):
        step, value = found[name]
        assert (step, value.image.height, value.image.width) == (20, 6, 8)
        picture = pathlib.Path(tmp_path / 'picture.png')
        picture.write_bytes(value.image.encoded_image_string)
        shown = np.asarray(Image.open(picture))
        assert np.array_equal(shown, colours if pixels is colours else grey[..., None] + [0, 0, 0])
    step, value = found['config/text_summary']
    assert step == 0
    assert value.metadata.plugin_data.plugin_name == 'text'
    assert value.tensor.string_val == [b'    seed  0\n    batch_size  32\n']


@pytest.mark.skipif(not pathlib.Path('/dev/full').exists(), reason='no /dev/full here')
@pytest.mark.parametrize('full', ['metrics.jsonl', 'tensorboard'])
def test_a_full_disk_is_named(tmp_path, full):
    with (
        pytest.raises(InputError, match=f'{tmp_path.name} cannot be written.*No space left'),
        MetricsWriter(tmp_path) as writer,
    ):
        writer.write(1, {'loss': 1.0})
        fill_disk_under(tmp_path, full)
        # The 1000 of them must not wait for anything either.
        for step in range(2, 1000):
            writer.write(step, {'loss': 1.0})
    assert lines(tmp_path)[0] == {'step': 1, 'loss': 1.0}


def fill_disk_under(workdir, part):
    """Puts a device that is always full in place of an open file of the folder."""
    device = os.open('/dev/full', os.O_WRONLY)
    for fd in pathlib.Path('/proc/self/fd').iterdir():
        if fd.is_symlink() and str(fd.readlink()).startswith(str(workdir / part)):
            os.dup2(device, int(fd.name))
    os.close(device)


def test_a_folder_that_is_none_is_named(tmp_path):
    (tmp_path / 'tensorboard').write_text('')
    with pytest.raises(InputError, match=f'{tmp_path.name} cannot be written to'):
        MetricsWriter(tmp_path)


def test_csv_quotes_what_needs_it(tmp_path):
    write_csv(tmp_path / 't.csv', ('id', 'message'), [('a', 'x, "y"')])
    assert (tmp_path / 't.csv').read_text() == 'id,message\na,"x, ""y"""\n'
    assert [p.name for p in tmp_path.iterdir()] == ['t.csv']
