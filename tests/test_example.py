import numpy as np
import pytest

from pneumo_jax.data.example import FIELDS, decode_example, encode_example, pad_boxes
from pneumo_jax.errors import InputError


def make_record(**changes):
    rng = np.random.default_rng(0)
    return {
        'image': rng.integers(0, 256, (32, 32, 1), np.uint8),
        'boxes': pad_boxes(np.array([[1.5, 2, 3, 4], [5, 6, 7, 8]])),
        'num_boxes': 2,
        'label': 1,
        'class_id': 2,
        'patient_id': '00123',
        'person_id': 'p ü',
        'view_position': 'AP',
        'sex': '',
        'age': -1,
        'label_domain': 'unknown',
        'film_height': 1024,
        'film_width': 900,
    } | changes


def test_a_record_comes_back_as_it_was():
    record = make_record()
    decoded = decode_example(encode_example(record))
    assert decoded.keys() == FIELDS.keys()
    for name, value in record.items():
        np.testing.assert_array_equal(decoded[name], value)
    assert decoded['image'].dtype == np.uint8
    assert decoded['boxes'].dtype == np.float32


def test_the_same_record_gives_the_same_bytes():
    data = encode_example(make_record())
    assert data == encode_example(dict(reversed(make_record().items())))
    # Protobuf promises no order of a map, so it must not be left to its implementation.
    positions = [data.index(b'\n' + bytes([len(name)]) + name.encode()) for name in FIELDS]
    assert positions == sorted(positions)


def test_bytes_are_those_of_tensorflow():
    # features { feature { key: "age" value { int64_list { value: 5 } } } }, by the wire format of
    # TensorFlow's example.proto and feature.proto.
    data = encode_example(make_record(age=5))
    assert bytes.fromhex('0a0c 0a03 616765 1205 1a03 0a0105') in data


@pytest.mark.parametrize(
    'changes',
    [
        {'image': np.zeros((32, 32), np.uint8)},
        {'image': np.zeros((32, 31, 1), np.uint8)},
        {'image': np.zeros((32, 32, 1), np.float32)},
        {'boxes': np.zeros((2, 4), np.float32)},
        {'unknown_field': 1},
    ],
)
def test_wrong_records_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        encode_example(make_record(**changes))


@pytest.mark.parametrize('data', [b'', b'no record', encode_example(make_record())[:-9]])
def test_other_bytes_are_refused(data):
    with pytest.raises(InputError, match='convert the films anew'):
        decode_example(data)
