"""Fails if TensorFlow Datasets reads other records than we do: ``check_tensorflow.py SHARDS``.

Run in an environment with TensorFlow, which the package does not need.
"""

import sys

import numpy as np
import tensorflow_datasets as tfds

from pneumo_jax.data.example import FIELDS, decode_example
from pneumo_jax.data.shards import ShardedRecords, load_manifest

folder = sys.argv[1]
builder = tfds.builder_from_directory(folder)
for split in load_manifest(folder)['splits']:
    ours = {}
    records = ShardedRecords(folder, split)
    for i in range(len(records)):
        record = decode_example(records[i], records.encoding)
        ours[record['patient_id']] = record
    theirs = list(tfds.as_numpy(builder.as_dataset(split=split)))
    if len(theirs) != len(ours):
        sys.exit(f'{split}: TensorFlow reads {len(theirs)} films, we {len(ours)}')
    for film in theirs:
        record = ours[film['patient_id'].decode('utf-8')]
        for name, field in FIELDS.items():
            value = film[name].decode('utf-8') if field.kind == 'text' else film[name]
            if not np.array_equal(value, record[name]):
                sys.exit(f'{split}, {record["patient_id"]}: {name} differs')
    sys.stdout.write(f'{split}: TensorFlow reads the same {len(ours)} films\n')
