"""The converter on Apache Beam, in an environment that has it (constraints/beam.txt)."""

import dataclasses
import importlib
import os
import resource
import shutil
import signal
import sys

import numpy as np
import pytest

from data_prep.films import FilmTask, RecordOptions
from data_prep.labels import Rejection
from data_prep.spool import SpooledFilm, convert_chunk, make_chunks, read_chunk
from pneumo_jax.data.dicom import ReadOptions
from pneumo_jax.errors import InputError
from tests.conftest import run_command
from tests.conversions import file_hashes
from tests.film_files import write_film
from tests.made_films import make_films

pytest.importorskip('apache_beam')

from data_prep import beam_pipeline

DIRECT = '--runner=DirectRunner'
TWO_PROCESSES = f'{DIRECT},--direct_running_mode=multi_processing,--direct_num_workers=2'
SETTINGS = RecordOptions(image_size=16, encoding='raw', read=ReadOptions())


def convert(download, output_dir, *flags, **options):
    """``data_prep/convert.py`` as ``phantom_shards`` runs it."""
    return run_command(
        'data_prep/convert.py',
        f'--images_dir={download}/stage_2_train_images',
        f'--labels_csv={download}/stage_2_train_labels.csv',
        f'--class_info_csv={download}/stage_2_detailed_class_info.csv',
        f'--person_csv={download}/phantom_person_mapping.csv',
        f'--output_dir={output_dir}',
        '--image_size=64',
        '--num_shards=2',
        *flags,
        **options,
    )


def on_beam(options=DIRECT):
    return '--runner=beam', f'--beam_options={options}'


@pytest.fixture(scope='module')
def damaged_download(phantom_download, tmp_path_factory):
    """The phantom download with a film whose header is damaged."""
    folder = tmp_path_factory.mktemp('damaged') / 'download'
    shutil.copytree(phantom_download, folder)
    film = min((folder / 'stage_2_train_images').iterdir())
    content = bytearray(film.read_bytes())
    content[128:400] = bytes(272)
    film.write_bytes(content)
    return folder


@pytest.fixture
def chunks(tmp_path):
    """Two chunks of three films."""
    tasks = []
    for label in make_films(6):
        pixels = np.full((20, 20), len(tasks), np.uint8)
        path = write_film(tmp_path / f'{label.patient_id}.dcm', pixels)
        status = path.stat()
        label = dataclasses.replace(label, label=0)
        tasks.append(FilmTask(path, label, (status.st_size, status.st_mtime_ns)))
    return make_chunks(tasks, SETTINGS, 3)


@pytest.fixture
def spool_dir(tmp_path):
    folder = tmp_path / 'spool'
    folder.mkdir()
    return folder


def run_beam(chunks, spool_dir, *, beam_options=(DIRECT,), item_timeout=30):
    return beam_pipeline.convert_on_beam(
        chunks, spool_dir, SETTINGS, item_timeout=item_timeout, beam_options=beam_options
    )


def crash_at_the_second(chunk, lost, begin, **settings):
    def begin_and_crash(index):
        begin(index)
        if index == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    convert_chunk(chunk, lost, begin_and_crash, **settings)


def lose_what_is_converted(chunk, lost, begin, *, spool_dir, options):
    """Leaves nothing, as a worker does that writes to a disk of its own."""


def fail(chunk, lost, begin, **settings):
    raise InputError('of two\nlines')


def have_a_bug(chunk, lost, begin, **settings):
    raise ZeroDivisionError


@pytest.mark.parametrize('options', [DIRECT, TWO_PROCESSES])
def test_beam_changes_no_byte(phantom_download, phantom_shards, tmp_path, options):
    converted = convert(phantom_download, tmp_path / 'out', *on_beam(options))
    assert converted.returncode == 0, converted.stderr
    assert file_hashes(tmp_path / 'out') == file_hashes(phantom_shards)


def test_a_damaged_film_is_rejected_alike_and_a_later_run_goes_on(damaged_download, tmp_path):
    local, out = tmp_path / 'local', tmp_path / 'out'
    assert convert(damaged_download, local, '--max_bad=1').returncode == 0

    assert convert(damaged_download, out, *on_beam()).returncode == 1
    spool = tmp_path / '.out.partial' / 'spool'
    kept = sorted(spool.glob('*.json'))
    # Of several chunks one is lost.
    assert len(kept) > 1
    kept[0].unlink()
    again = convert(damaged_download, out, '--max_bad=1', *on_beam())
    assert again.returncode == 0, again.stderr
    assert 'films were converted by an earlier run' in again.stderr
    assert file_hashes(out) == file_hashes(local)
    assert '"rejected": 1' in (out / 'report.json').read_text()


def test_a_full_disk_is_told_in_one_line(phantom_download, tmp_path):
    def allow_small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    converted = convert(
        phantom_download,
        tmp_path / 'out',
        *on_beam(),
        preexec_fn=allow_small_files,
        # Python would leave compiled modules cut off at that size.
        env=os.environ | {'PYTHONDONTWRITEBYTECODE': '1'},
    )
    assert converted.returncode == 2
    assert f'{tmp_path}/.out.partial/spool: File too large; what was con' in converted.stderr
    assert 'Traceback' not in converted.stderr
    assert not (tmp_path / 'out').exists()


def test_a_crash_costs_one_film(chunks, spool_dir, monkeypatch):
    monkeypatch.setattr(beam_pipeline, 'convert_chunk', crash_at_the_second)
    assert run_beam(chunks, spool_dir) == [None, None]
    for chunk in chunks:
        first, second, third = read_chunk(spool_dir, chunk.key)
        assert isinstance(first, SpooledFilm)
        assert isinstance(second, Rejection)
        assert second.code == 'decoder_crashed'
        assert isinstance(third, SpooledFilm)


def test_no_chunks_are_no_work(spool_dir):
    assert run_beam([], spool_dir) == []


def test_a_lost_chunk_is_missed(chunks, spool_dir, monkeypatch):
    run_beam(chunks[:1], spool_dir)
    monkeypatch.setattr(beam_pipeline, 'convert_chunk', lose_what_is_converted)
    with pytest.raises(InputError, match=rf'{chunks[1].key} .*film00003.* every worker mounts'):
        run_beam(chunks, spool_dir)


def test_a_worker_without_the_output_folder_ends_the_run(chunks, tmp_path):
    with pytest.raises(InputError, match=r'does not see .*/elsewhere: .* every worker mounts'):
        run_beam(chunks, tmp_path / 'elsewhere')


def test_a_worker_without_the_films_ends_the_run_and_rejects_none(chunks, spool_dir):
    for task in chunks[0].tasks:
        task.path.unlink()
    with pytest.raises(InputError, match=r'does not see .*film00000\.dcm: .* every worker mounts'):
        run_beam(chunks[:1], spool_dir)
    assert not list(spool_dir.iterdir())


def test_a_film_that_vanished_costs_itself(chunks, spool_dir):
    chunks[0].tasks[0].path.unlink()
    run_beam(chunks, spool_dir)
    results = [result for chunk in chunks for result in read_chunk(spool_dir, chunk.key)]
    assert [isinstance(result, Rejection) for result in results] == [True, *[False] * 5]


def test_a_worker_with_other_decoders_ends_the_run(chunks, spool_dir):
    # The name of a chunk depends on the versions.
    chunk = dataclasses.replace(chunks[0], key='0' * 32)
    with pytest.raises(InputError, match='other versions'):
        run_beam([chunk], spool_dir)
    assert not list(spool_dir.iterdir())


def test_errors_of_the_work_come_out(chunks, spool_dir, monkeypatch, caplog):
    monkeypatch.setattr(beam_pipeline, 'convert_chunk', fail)
    with pytest.raises(InputError, match=r'^of two\nlines; what was converted is kept'):
        run_beam(chunks, spool_dir)
    assert 'Traceback' not in caplog.text


def test_a_bug_is_shown_with_its_place(chunks, spool_dir, monkeypatch, caplog):
    monkeypatch.setattr(beam_pipeline, 'convert_chunk', have_a_bug)
    with pytest.raises(RuntimeError, match='while running'):
        run_beam(chunks, spool_dir)
    assert 'in have_a_bug\n    raise ZeroDivisionError' in caplog.text


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ((), 'names no runner'),
        (('--runer=DirectRunner',), '--runer=DirectRunner names no runner'),
        (('--runner=Nonsense',), '--runner=Nonsense: Unexpected pipeline runner'),
        (('--runner=DataflowRunner',), '--runner=DataflowRunner: '),
    ],
)
def test_wrong_options_are_told(chunks, spool_dir, options, message):
    with pytest.raises(InputError, match=f'--beam_options=.*{message}'):
        run_beam(chunks, spool_dir, beam_options=options)


def test_without_beam_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, 'apache_beam', None)
    monkeypatch.delitem(sys.modules, 'data_prep.beam_pipeline')
    with pytest.raises(InputError, match=r"pip install 'pneumo_jax\[beam\]'"):
        importlib.import_module('data_prep.beam_pipeline')
