import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pydicom
import pytest
from pydicom import uid

from data_prep.conversion import convert
from tests.conftest import ROOT
from tests.conversions import (
    file_hashes,
    make_options,
    read_records,
    read_report,
    start_converter,
)
from tests.film_files import write_download, write_film


@pytest.fixture(scope='module')
def download(tmp_path_factory):
    return write_download(tmp_path_factory.mktemp('resume') / 'download', num_films=200, side=256)


def wait_for_group(group):
    """Until every process of it is gone: a killed worker still ends the renaming it is at."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.005)
    raise TimeoutError(f'processes of group {group} are still there')


@pytest.fixture(scope='module')
def straight(download, tmp_path_factory):
    """Hashes of a conversion that was left alone."""
    folder = tmp_path_factory.mktemp('straight')
    assert convert(make_options(folder, download)) == 0
    return file_hashes(folder / 'out')


def test_fault_40_killed_conversions_end_with_the_same_bytes(tmp_path, download, straight):
    rng = random.Random(0)
    kills = 0
    while not (tmp_path / 'out').exists():
        process = start_converter(tmp_path, download, '--num_workers=2')
        try:
            # From the start-up to the last shard, and longer each time so that it comes to an end.
            process.wait(timeout=rng.uniform(0.5, 1.0 + 0.2 * kills))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        # Workers hold these pipes open while they live.
        process.communicate(timeout=10)
        assert kills < 30
    assert kills >= 1
    assert file_hashes(tmp_path / 'out') == straight
    assert not (tmp_path / '.out.partial').exists()


def test_fault_40_films_that_were_converted_are_not_read_again(tmp_path, download, straight):
    process = start_converter(tmp_path, download, '--num_workers=1')
    spool = tmp_path / '.out.partial' / 'spool'
    while len(list(spool.glob('*.json'))) < 2:
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for_group(process.pid)
    assert not (tmp_path / 'out').exists()
    kept = {path.name: path.stat().st_mtime_ns for path in spool.glob('*.json')}
    # Bits that the machine lost are found, and only that chunk is done again.
    damaged = sorted(spool.glob('*.tfrecord'))[0]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    whole = sum(
        len(json.loads(path.read_text())['films'])
        for path in spool.glob('*.json')
        if path.stem != damaged.stem
    )

    process = start_converter(tmp_path, download, '--num_workers=1', '--split_fractions=0.5,0.5,x')
    process.communicate()
    assert process.returncode == 2
    again = {path.name: path.stat().st_mtime_ns for path in spool.glob('*.json')}
    assert again == kept

    process = start_converter(tmp_path, download, '--num_workers=1')
    _, stderr = process.communicate()
    assert f'{whole} films were converted by an earlier run' in stderr
    assert file_hashes(tmp_path / 'out') == straight


def test_other_options_and_changed_films_are_converted_anew(tmp_path, download):
    folder = tmp_path / 'download'
    shutil.copytree(pathlib.Path(download['images_dir']).parent, folder)
    copied = {
        name: path.replace(str(pathlib.Path(download['images_dir']).parent), str(folder))
        for name, path in download.items()
    }
    bad = pathlib.Path(copied['images_dir']) / 'film001.dcm'
    whole = bad.read_bytes()
    bad.write_text('')
    assert convert(make_options(tmp_path, copied)) == 1
    bad.write_bytes(whole)
    assert convert(make_options(tmp_path, copied, image_size=24)) == 0
    assert read_report(tmp_path)['counts']['rejected'] == 0
    assert {
        record['image'].shape
        for records in read_records(tmp_path / 'out').values()
        for record in records
    } == {(24, 24, 1)}


def test_a_refused_conversion_goes_on_when_its_bad_films_are_tolerated(tmp_path, caplog):
    caplog.set_level('INFO')
    download = write_download(tmp_path / 'download')
    (pathlib.Path(download['images_dir']) / 'film003.dcm').write_text('')
    assert convert(make_options(tmp_path, download)) == 1
    assert convert(make_options(tmp_path, download, max_bad=1)) == 0
    assert '24 films were converted by an earlier run' in caplog.text
    assert not (tmp_path / '.out.partial').exists()


def test_fault_39_a_full_disk_is_an_error_and_nothing_appears(tmp_path, download, straight):
    process = start_converter(
        tmp_path,
        download,
        '--num_workers=1',
        # A file that grows beyond 4 KiB fails as on a full disk. Compiled modules would be cut, and
        # stay so.
        shell=['bash', '-c', 'ulimit -f 4; exec "$@"', 'bash'],
        env=os.environ | {'PYTHONDONTWRITEBYTECODE': '1'},
    )
    _, stderr = process.communicate()
    assert process.returncode == 2
    error = stderr.strip().splitlines()[-1]
    assert error.startswith('ERROR: ')
    assert 'nothing was written under the final name' in error
    assert not (tmp_path / 'out').exists()
    process = start_converter(tmp_path, download, '--num_workers=1')
    process.communicate()
    assert file_hashes(tmp_path / 'out') == straight


def test_interrupted_conversions_stop_at_once_and_are_gone_on_with(tmp_path, download, straight):
    process = start_converter(tmp_path, download, '--num_workers=2')
    spool = tmp_path / '.out.partial' / 'spool'
    while not list(spool.glob('*.json')):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert 'interrupted' in stderr
    assert 'Traceback' not in stderr
    assert list(spool.glob('*.json'))
    assert convert(make_options(tmp_path, download)) == 0
    assert file_hashes(tmp_path / 'out') == straight


def test_fault_21_a_film_that_hangs_its_decoder_is_rejected_alone_and_tried_again(tmp_path):
    download = write_download(tmp_path / 'download', num_films=30)
    path = pathlib.Path(download['images_dir']) / 'film004.dcm'
    noise = np.random.default_rng(0).integers(0, 256, (2500, 2500), np.uint8)
    write_film(path, noise)
    film = pydicom.dcmread(path)
    # Seconds of JPEG 2000, where others take a thousandth.
    film.compress(uid.JPEG2000Lossless, generate_instance_uid=False)
    film.save_as(path)
    assert convert(make_options(tmp_path, download, film_timeout=0.3)) == 1
    report = json.loads((tmp_path / 'out.report.json').read_text())
    (rejection,) = report['rejected']
    assert (rejection['patient_id'], rejection['code']) == ('film004', 'decoder_timed_out')
    assert str(path) in rejection['message']
    assert report['counts']['accepted'] == 29
    assert convert(make_options(tmp_path, download)) == 0
    assert read_report(tmp_path)['counts']['accepted'] == 30


def test_memory_of_the_converter_does_not_grow_with_its_films(tmp_path):
    peaks = []
    for num_films in (40, 400):
        folder = tmp_path / str(num_films)
        films = write_download(folder / 'download', num_films=num_films, side=512)
        code = (
            'import resource, sys; from tests.conversions import make_options;'
            'from data_prep.conversion import convert; import pathlib, json;'
            f'convert(make_options(pathlib.Path({str(folder)!r}), {films!r}, image_size=512));'
            'print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)'
        )
        done = subprocess.run(
            [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    # 400 films are 100 MiB of records.
    assert peaks[1] < peaks[0] + 20, peaks


def test_fault_20_a_preamble_is_copied_nowhere(tmp_path):
    download = write_download(tmp_path / 'download')
    path = pathlib.Path(download['images_dir']) / 'film000.dcm'
    program = b'MZ' + np.random.default_rng(0).bytes(126)
    path.write_bytes(program + path.read_bytes()[128:])
    assert convert(make_options(tmp_path, download)) == 0
    assert read_report(tmp_path)['counts']['accepted'] == 24
    for written in (tmp_path / 'out').iterdir():
        assert program[2:40] not in written.read_bytes()


def test_fault_60_nothing_of_a_patient_is_in_any_output(tmp_path):
    download = write_download(tmp_path / 'download')
    images = pathlib.Path(download['images_dir'])
    secrets = {
        'PatientName': 'Zimmermann^Zoe',
        'PatientID': 'ZZ-4711',
        'PatientBirthDate': '19580713',
        'StudyDate': '20200229',
        'StudyInstanceUID': '1.2.826.0.1.3680043.8.498.99887766',
        'AccessionNumber': 'ACC998877',
        'ReferringPhysicianName': 'Quack^Quentin',
        'InstitutionName': 'St Elsewhere',
    }
    write_film(images / 'film000.dcm', np.zeros((64, 64), np.uint8), **secrets)
    write_film(images / 'film003.dcm', np.zeros((8, 8), np.uint8), **secrets)
    process = start_converter(tmp_path, download, '--max_bad=1')
    output = ''.join(process.communicate())
    assert process.returncode == 0, output
    report = read_report(tmp_path)
    assert report['counts']['rejected'] == 1
    # Nor that the id differs from the file name, which is reported, by the file's name.
    assert 'film000' in report['id_mismatches']
    written = [path.read_bytes() for path in (tmp_path / 'out').iterdir()]
    for secret in secrets.values():
        assert secret not in output
        assert not any(secret.encode() in content for content in written), secret
