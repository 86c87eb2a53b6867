import dataclasses
import json
import pickle

import numpy as np
import pytest

from pneumo_jax.data.tfrecord import (
    FORMAT,
    MANIFEST_NAME,
    RecordFile,
    ShardedRecords,
    ShardError,
    load_manifest,
    shard_name,
    verify_sha256,
    write_records,
)

RECORDS = [b'first', b'', b'\x00' * 1000, b'last']


def write_conversion(folder, seed=0):
    """Two train shards of four random records each, with their manifest."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    shards = [
        write_records(folder / shard_name('train', i, 2), [rng.bytes(50) for _ in range(4)])
        for i in range(2)
    ]
    manifest = {
        'format': FORMAT,
        'splits': {'train': {'shards': [dataclasses.asdict(shard) for shard in shards]}},
    }
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    return folder


def test_records_come_back_by_index(tmp_path):
    info = write_records(tmp_path / 'a', iter(RECORDS))
    file = RecordFile(tmp_path / 'a')
    assert list(file) == RECORDS
    assert [file[-1], file[0]] == [b'last', b'first']
    assert (info.records, info.bytes) == (4, (tmp_path / 'a').stat().st_size)
    assert [path.name for path in tmp_path.iterdir()] == ['a']


def test_bytes_are_those_of_tensorflow(tmp_path):
    # tf.io.TFRecordWriter's output for one record b'abc'.
    write_records(tmp_path / 'a', [b'abc'])
    expected = bytes.fromhex('0300000000000000 b099490e 616263 6e57f121')
    assert (tmp_path / 'a').read_bytes() == expected


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    def records():
        yield b'one'
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_records(tmp_path / 'a', records())
    assert not (tmp_path / 'a').exists()
    with pytest.raises(ValueError, match='no records'):
        write_records(tmp_path / 'a', [])


def test_fault_43_every_flipped_bit_is_found(tmp_path):
    write_records(tmp_path / 'a', [b'abcdefgh', b'xyz'])
    content = (tmp_path / 'a').read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        (tmp_path / 'b').write_bytes(damaged)
        with pytest.raises(ShardError, match=r'b.* record [012]'):
            list(RecordFile(tmp_path / 'b'))


def test_fault_43_error_names_shard_and_record(tmp_path):
    folder = write_conversion(tmp_path / 'a')
    path = folder / shard_name('train', 1, 2)
    content = bytearray(path.read_bytes())
    content[2 * 66 + 20] ^= 4
    path.write_bytes(content)
    records = ShardedRecords(folder, 'train')
    assert len(records[5]) == 50
    with pytest.raises(ShardError, match=f'{path}, record 2'):
        records[6]
    with pytest.raises(ShardError, match=str(path)):
        verify_sha256(folder)


def test_records_of_all_shards_in_a_row(tmp_path):
    folder = write_conversion(tmp_path / 'a')
    records = ShardedRecords(folder, 'train')
    expected = [r for i in range(2) for r in RecordFile(folder / shard_name('train', i, 2))]
    assert [records[i] for i in range(len(records))] == expected
    with pytest.raises(IndexError):
        records[8]
    verify_sha256(folder)


@pytest.mark.parametrize('end', [0, 5, 66, 100, 2 * 66, 3 * 66])
def test_fault_44_cut_shards_are_found_at_open(tmp_path, end):
    folder = write_conversion(tmp_path / 'a')
    path = folder / shard_name('train', 0, 2)
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(ShardError, match=str(path)):
        ShardedRecords(folder, 'train')


def test_fault_44_missing_shards_are_found_at_open(tmp_path):
    folder = write_conversion(tmp_path / 'a')
    (folder / shard_name('train', 1, 2)).unlink()
    with pytest.raises(ShardError, match=r'00001-of-00002 .*No such file'):
        ShardedRecords(folder, 'train')


def test_fault_45_shards_of_two_conversions_are_not_mixed(tmp_path):
    folder, other = write_conversion(tmp_path / 'a'), write_conversion(tmp_path / 'b', seed=1)
    name = shard_name('train', 0, 2)
    # The same size and number of records: only their checksums tell.
    (folder / name).write_bytes((other / name).read_bytes())
    with pytest.raises(ShardError, match='fingerprint'):
        ShardedRecords(folder, 'train')


def test_fault_45_shards_that_nobody_listed_are_found(tmp_path):
    folder = write_conversion(tmp_path / 'a')
    write_records(folder / shard_name('train', 0, 3), [b'x'])
    with pytest.raises(ShardError, match='not in the manifest'):
        ShardedRecords(folder, 'train')


@pytest.mark.parametrize('content', [None, '', '{', '[]', '{"format": 0}'])
def test_bad_manifests_are_refused(tmp_path, content):
    if content is not None:
        (tmp_path / MANIFEST_NAME).write_text(content)
    with pytest.raises(ShardError, match=MANIFEST_NAME):
        load_manifest(tmp_path)


def test_unknown_splits_are_refused(tmp_path):
    with pytest.raises(ShardError, match="'tset'"):
        ShardedRecords(write_conversion(tmp_path / 'a'), 'tset')


def test_errors_travel_between_processes():
    assert str(pickle.loads(pickle.dumps(ShardError('text')))) == 'text'
