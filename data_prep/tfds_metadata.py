"""The files with which tensorflow-datasets opens our shards: features.json, dataset_info.json.

Importing tensorflow-datasets takes seconds, so import this module only where it is used.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

from pneumo_jax.data.example import FIELDS, MAX_BOXES
from pneumo_jax.data.tfrecord import ShardInfo

__all__ = ['write_tfds_metadata']

_DESCRIPTION = (
    'Chest films as centred squares with lung opacity labels and boxes in film pixels, in the form '
    'of the RSNA Pneumonia Detection Challenge (2018), converted by pneumo_jax.'
)
_HOMEPAGE = 'https://www.kaggle.com/competitions/rsna-pneumonia-detection-challenge'


def write_tfds_metadata(
    folder: pathlib.Path,
    splits: dict[str, Sequence[ShardInfo]],
    *,
    image_size: int,
    encoding: str,
) -> None:
    """Makes ``tfds.builder_from_directory(folder)`` work, wherever TensorFlow is installed.

    Args:
        folder: of the shards.
        splits: split -> its shards.
        image_size: side of the pictures.
        encoding: of the pictures, as in ``data.example``.
    """
    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[shard.records for shard in shards],
            num_bytes=sum(shard.bytes for shard in shards),
        )
        for split, shards in splits.items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features={name: _feature(field, image_size, encoding) for name, field in FIELDS.items()},
        split_infos=infos,
        # Reading the shards back needs TensorFlow.
        check_data=False,
        description=_DESCRIPTION,
        homepage=_HOMEPAGE,
    )


def _feature(field, image_size, encoding):
    match field.kind:
        case 'picture' if encoding == 'png':
            return tfds.features.Image(
                shape=(image_size, image_size, 1), dtype=np.uint8, encoding_format='png'
            )
        case 'picture':
            return tfds.features.Tensor(
                shape=(image_size, image_size, 1), dtype=np.uint8, encoding='bytes'
            )
        case 'boxes':
            return tfds.features.Tensor(shape=(MAX_BOXES, 4), dtype=np.float32)
        case 'class':
            return tfds.features.ClassLabel(names=list(field.names))
        case 'integer':
            return tfds.features.Scalar(dtype=np.int64)
        case 'text':
            return tfds.features.Text()
    raise ValueError(f'no TFDS feature for kind {field.kind!r}')
