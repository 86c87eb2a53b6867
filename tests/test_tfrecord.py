import pickle

import pytest

from pneumo_jax.data.tfrecord import RecordFile, ShardError, check_frame, make_frame, write_shard

RECORDS = [b'first', b'', b'\x00' * 1000, b'last']


def write_records(path, records):
    return write_shard(path, map(make_frame, records))


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


def test_fault_43_every_flipped_bit_of_a_frame_is_found():
    frame = make_frame(b'abcdefgh')
    check_frame(frame)
    for position in range(len(frame)):
        damaged = bytearray(frame)
        damaged[position] ^= 1 << (position % 8)
        with pytest.raises(ShardError):
            check_frame(bytes(damaged))
    for end in range(len(frame)):
        with pytest.raises(ShardError):
            check_frame(frame[:end])


def test_errors_travel_between_processes():
    assert str(pickle.loads(pickle.dumps(ShardError('text')))) == 'text'
