import json
import shutil

import numpy as np
import pytest

from data_prep.conversion import convert
from data_prep.verify import verify_conversion
from pneumo_jax.data.shards import MANIFEST_NAME, fingerprint
from pneumo_jax.data.tfrecord import ShardError, ShardInfo, make_frame, write_shard
from tests.conftest import run_command
from tests.conversions import make_options, read_records
from tests.film_files import write_download


@pytest.fixture(scope='module', params=['raw', 'png'])
def conversion(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp('verify')
    download = write_download(folder / 'download')
    assert convert(make_options(folder, download, num_shards=2, encoding=request.param)) == 0
    return folder / 'out'


@pytest.fixture
def copy(conversion, tmp_path):
    return shutil.copytree(conversion, tmp_path / 'copy')


def edit_manifest(folder, change):
    """Changes the manifest and its fingerprint, as somebody who knows how would."""
    path = folder / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest | {'fingerprint': fingerprint(manifest)}))


def test_whole_conversions_pass(conversion, capsys):
    verify_conversion(conversion)
    assert '24 records' in capsys.readouterr().out


def test_fault_43_every_flipped_byte_of_a_shard_is_found_and_named(copy):
    shards = sorted(copy.glob('*.tfrecord-*'))
    rng = np.random.default_rng(0)
    for trial in range(300):
        path = shards[trial % len(shards)]
        content = path.read_bytes()
        damaged = bytearray(content)
        position = int(rng.integers(len(content)))
        damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with pytest.raises(ShardError, match=f'{path.name}, record [0-9]+'):
            verify_conversion(copy)
        path.write_bytes(content)
    verify_conversion(copy)


def test_fault_43_flipped_bytes_of_the_manifest_are_found(copy):
    path = copy / MANIFEST_NAME
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    versions = content.index(b'"versions"')
    for _ in range(100):
        damaged = bytearray(content)
        damaged[int(rng.integers(versions - 100))] ^= 1 << int(rng.integers(7))
        path.write_bytes(damaged)
        try:
            verify_conversion(copy)
        except ShardError:
            continue
        # White space may change; what is said may not.
        assert json.loads(damaged) == json.loads(content)


@pytest.mark.parametrize('end', [0, 30, -1, -16])
def test_fault_44_cut_and_missing_shards_are_found(copy, end):
    path = sorted(copy.glob('*train*'))[0]
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(ShardError, match=path.name):
        verify_conversion(copy)
    path.unlink()
    with pytest.raises(ShardError, match=path.name):
        verify_conversion(copy)


def test_fault_44_a_shard_cut_at_the_end_of_a_record_is_found(copy):
    path = sorted(copy.glob('*train*'))[0]
    content = path.read_bytes()
    length = int.from_bytes(content[:8], 'little') + 16
    path.write_bytes(content[:length])
    with pytest.raises(ShardError, match=f'{path.name} has records 1, the manifest says'):
        verify_conversion(copy)


def test_fault_45_shards_that_agree_with_an_edited_manifest_are_still_checked(copy, tmp_path):
    train = sorted(copy.glob('*train*'))[0]
    test = sorted(copy.glob('*test*'))[0]
    frames = [make_frame(b'no record of ours')]
    info = write_shard(tmp_path / test.name, frames)
    shutil.copy(tmp_path / test.name, test)

    def put(manifest):
        manifest['splits']['test']['shards'][0] = vars(info)

    edit_manifest(copy, put)
    with pytest.raises(ShardError, match=f'{test.name}, record 0'):
        verify_conversion(copy)

    shutil.copy(train, test)

    def put_train(manifest):
        shard = ShardInfo(**manifest['splits']['train']['shards'][0])
        manifest['splits']['test']['shards'][0] = vars(shard) | {'name': test.name}

    edit_manifest(copy, put_train)
    with pytest.raises(ShardError, match='is here and in train'):
        verify_conversion(copy)


def test_the_command_names_the_first_bad_record(copy):
    done = run_command('data_prep/convert.py', '--verify', copy)
    assert (done.returncode, '24 records' in done.stdout) == (0, True)
    path = sorted(copy.glob('*test*'))[0]
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    done = run_command('data_prep/convert.py', f'--verify={copy}')
    assert done.returncode == 2
    assert f'{path}, record 0' in done.stderr
    assert 'Traceback' not in done.stderr


def test_png_records_hold_the_same_films_in_less_space(tmp_path):
    download = write_download(tmp_path / 'download')
    for encoding in ('raw', 'png'):
        folder = tmp_path / encoding
        folder.mkdir()
        assert convert(make_options(folder, download, encoding=encoding)) == 0
    raw, png = (read_records(tmp_path / name / 'out') for name in ('raw', 'png'))
    for split, records in raw.items():
        for record, other in zip(records, png[split], strict=True):
            assert record['patient_id'] == other['patient_id']
            np.testing.assert_array_equal(record['image'], other['image'])
