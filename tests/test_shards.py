import dataclasses
import json

import numpy as np
import pytest

from pneumo_jax.data.shards import (
    FORMAT,
    MANIFEST_NAME,
    ShardedRecords,
    fingerprint,
    load_manifest,
    shard_name,
)
from pneumo_jax.data.tfrecord import RecordFile, ShardError
from tests.test_tfrecord import write_records


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
        'encoding': 'raw',
        'image_size': 64,
        'splits': {'train': {'shards': [dataclasses.asdict(shard) for shard in shards]}},
    }
    manifest['fingerprint'] = fingerprint(manifest)
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    return folder


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


def test_records_of_all_shards_in_a_row(tmp_path):
    folder = write_conversion(tmp_path / 'a')
    records = ShardedRecords(folder, 'train')
    expected = [r for i in range(2) for r in RecordFile(folder / shard_name('train', i, 2))]
    assert [records[i] for i in range(len(records))] == expected
    with pytest.raises(IndexError):
        records[8]


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


def test_fault_43_edited_manifests_are_refused(tmp_path):
    folder = write_conversion(tmp_path / 'a')
    path = folder / MANIFEST_NAME
    text = path.read_text()
    path.write_text(text.replace('"records": 4', '"records": 5', 1))
    with pytest.raises(ShardError, match='another fingerprint'):
        load_manifest(folder)
    path.write_text(text)
    load_manifest(folder)
