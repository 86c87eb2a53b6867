"""The schema of a film's record, for the writer and the reader of shards.

A record is stored as a ``tf.train.Example``, in the way that tensorflow-datasets stores its
``FeaturesDict``, so that any environment with TensorFlow can read the shards too. The message
classes are built here from the published field numbers of TensorFlow's example.proto and
feature.proto; TensorFlow itself is not needed.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Collection

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from PIL import Image

from pneumo_jax.errors import InputError

__all__ = [
    'CLASS_NAMES',
    'ENCODINGS',
    'FIELDS',
    'LABEL_NAMES',
    'MAX_BOXES',
    'OLDEST_AGE',
    'UNKNOWN_AGE',
    'UNKNOWN_CLASS',
    'Field',
    'decode_example',
    'encode_example',
    'pad_boxes',
]

# Of the picture in a record: its bytes as they are (fastest to read), or PNG (lossless, small).
ENCODINGS = ('raw', 'png')
MAX_BOXES = 8
UNKNOWN_AGE = -1
# Ages over 89 can identify a person (45 CFR 164.514(b)(2)(i)(C)): readers are told of all as one.
OLDEST_AGE = 90
UNKNOWN_CLASS = -1
LABEL_NAMES = ('no_lung_opacity', 'lung_opacity')
CLASS_NAMES = ('normal', 'no_lung_opacity_not_normal', 'lung_opacity')


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a record.

    Attributes:
        kind: ``picture`` (uint8 [S,S,1]), ``boxes`` (float32 [8,4]), ``class`` (an index into
            ``names``, -1 unknown), ``integer`` or ``text``.
        names: of the classes.
    """

    kind: str
    names: tuple[str, ...] = ()


FIELDS = {
    # The film as a square, padded and area-averaged (data.dicom.standard_picture).
    'image': Field('picture'),
    # (x, y, width, height) in film pixels; rows after the first num_boxes are zero.
    'boxes': Field('boxes'),
    'num_boxes': Field('integer'),
    # 1 where radiologists marked a lung opacity.
    'label': Field('class', LABEL_NAMES),
    # The three classes of the challenge; -1 where no table of classes was given.
    'class_id': Field('class', CLASS_NAMES),
    # The id of the film; the challenge calls it patientId.
    'patient_id': Field('text'),
    # The person, '' unknown; a person may have several films.
    'person_id': Field('text'),
    # 'AP', 'PA' or ''.
    'view_position': Field('text'),
    # 'M', 'F' or ''.
    'sex': Field('text'),
    # Years, -1 unknown.
    'age': Field('integer'),
    # 'single_read' or 'multi_read' (by several radiologists), 'unknown'.
    'label_domain': Field('text'),
    # Of the film in its own pixels.
    'film_height': Field('integer'),
    'film_width': Field('integer'),
}


def encode_example(record: dict, encoding: str = 'raw') -> bytes:
    """A record as a serialised ``tf.train.Example``; the same record gives the same bytes.

    Args:
        record: a value for every one of ``FIELDS``.
        encoding: of the picture, one of ``ENCODINGS``.

    Raises:
        ValueError: if a field is missing, unknown, or of another shape.
    """
    if record.keys() != FIELDS.keys():
        raise ValueError(f'fields {sorted(record.keys() ^ FIELDS.keys())} missing or unknown')
    example = _Example()
    for name, field in FIELDS.items():
        value = record[name]
        feature = example.features.feature.add(key=name).value
        if field.kind == 'picture':
            _check(name, value, np.uint8, (value.shape[0], value.shape[0], 1))
            feature.bytes_list.value.append(_encode_picture(value, encoding))
        elif field.kind == 'boxes':
            _check(name, value, np.float32, (MAX_BOXES, 4))
            feature.float_list.value.extend(value.ravel().tolist())
        elif field.kind == 'text':
            feature.bytes_list.value.append(value.encode('utf-8'))
        else:
            feature.int64_list.value.append(int(value))
    return example.SerializeToString()


def decode_example(
    data: bytes, encoding: str = 'raw', names: Collection[str] = tuple(FIELDS)
) -> dict:
    """The record of a serialised Example; its image is read-only and shares memory with no other.

    Args:
        data: of ``encode_example``.
        encoding: of the picture, as it was encoded.
        names: of the fields wanted.

    Raises:
        InputError: if the bytes are no record of this schema.
    """
    try:
        entries = _Example.FromString(data).features.feature
        features = {entry.key: entry.value for entry in entries}
        decoders = _DECODERS | {'picture': _PICTURE_DECODERS[encoding]}
        return {name: decoders[FIELDS[name].kind](features[name]) for name in names}
    except (message.DecodeError, LookupError, ValueError, OSError) as error:
        raise InputError(
            f'{len(data)} bytes are not a record of this version ({error}): convert the films anew'
        ) from error


def pad_boxes(boxes: np.ndarray) -> np.ndarray:
    """Boxes float32 [n,4], n up to 8, with rows of zeros added to [8,4]."""
    padded = np.zeros((MAX_BOXES, 4), np.float32)
    padded[: len(boxes)] = boxes
    return padded


def _encode_picture(picture, encoding):
    if encoding == 'raw':
        return picture.tobytes()
    buffer = io.BytesIO()
    # Level 1: others take several times as long for a few per cent.
    Image.fromarray(picture[:, :, 0]).save(buffer, 'PNG', compress_level=1)
    return buffer.getvalue()


def _decode_raw(feature):
    pixels = np.frombuffer(feature.bytes_list.value[0], np.uint8)
    side = round(pixels.size**0.5)
    return pixels.reshape(side, side, 1)


def _decode_png(feature):
    with Image.open(io.BytesIO(feature.bytes_list.value[0]), formats=['PNG']) as image:
        return np.asarray(image)[:, :, None]


def _decode_boxes(feature):
    return np.array(feature.float_list.value, np.float32).reshape(MAX_BOXES, 4)


def _decode_text(feature):
    return feature.bytes_list.value[0].decode('utf-8')


def _decode_integer(feature):
    return feature.int64_list.value[0]


_PICTURE_DECODERS = {'raw': _decode_raw, 'png': _decode_png}
_DECODERS = {
    'boxes': _decode_boxes,
    'text': _decode_text,
    'class': _decode_integer,
    'integer': _decode_integer,
}


def _check(name, value, dtype, shape):
    if value.dtype != dtype or value.shape != shape:
        raise ValueError(
            f'{name} is {value.dtype} {list(value.shape)}, must be {dtype.__name__} {list(shape)}'
        )


def _example_class():
    """The class of tensorflow/core/example/example.proto, in a pool of its own.

    In protobuf's default pool it would clash with TensorFlow's where both are imported.
    """
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name='pneumo_jax/example.proto', package='tensorflow', syntax='proto3'
    )

    def add(parent, name, fields):
        """Adds a message; ``fields``: name, number, label, scalar type or name of a message."""
        added = parent.add(name=name)
        for field_name, number, label, field_type in fields:
            field = added.field.add(name=field_name, number=number, label=label)
            if isinstance(field_type, str):
                field.type, field.type_name = kind.TYPE_MESSAGE, field_type
            else:
                field.type = field_type
        return added

    one, many = kind.LABEL_OPTIONAL, kind.LABEL_REPEATED
    messages = file.message_type
    add(messages, 'BytesList', [('value', 1, many, kind.TYPE_BYTES)])
    add(messages, 'FloatList', [('value', 1, many, kind.TYPE_FLOAT)])
    add(messages, 'Int64List', [('value', 1, many, kind.TYPE_INT64)])
    feature = add(
        messages,
        'Feature',
        [
            ('bytes_list', 1, one, '.tensorflow.BytesList'),
            ('float_list', 2, one, '.tensorflow.FloatList'),
            ('int64_list', 3, one, '.tensorflow.Int64List'),
        ],
    )
    feature.oneof_decl.add(name='kind')
    for field in feature.field:
        field.oneof_index = 0
    features = add(
        messages, 'Features', [('feature', 1, many, '.tensorflow.Features.FeatureEntry')]
    )
    # On the wire a map is a list of entries; as a list it keeps the order in which we write it,
    # while the order of a map differs between implementations of protobuf.
    add(
        features.nested_type,
        'FeatureEntry',
        [('key', 1, one, kind.TYPE_STRING), ('value', 2, one, '.tensorflow.Feature')],
    )
    add(messages, 'Example', [('features', 1, one, '.tensorflow.Features')])

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName('tensorflow.Example'))


_Example = _example_class()
