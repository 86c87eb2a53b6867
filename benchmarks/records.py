"""Size and speed of the encodings of records: ``python benchmarks/records.py --images_dir=DIR``.

For each encoding and size: kB a record, milliseconds to encode one, and records a second read back
in random order with every checksum checked, as training does. One core; medians of rounds.
"""

from __future__ import annotations

import pathlib
import statistics
import tempfile
import time

import numpy as np
from absl import flags

from data_prep.demo_download import IMAGES, make_demo
from pneumo_jax import command
from pneumo_jax.data.dicom import read_film, standard_picture
from pneumo_jax.data.example import ENCODINGS, FIELDS, decode_example, encode_example, pad_boxes
from pneumo_jax.data.tfrecord import RecordFile, make_frame, write_shard

_SIZES = (256, 512, 1024)


def main(argv: list[str]) -> None:
    """Measures, and prints a table."""
    command.refuse_arguments(argv)
    values = flags.FLAGS
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        source = values.images_dir
        if source is None:
            source = make_demo(folder / 'phantoms', num_films=60, seed=0) / IMAGES
        paths = sorted(pathlib.Path(source).iterdir())[: values.num_films]
        films = [read_film(path).pixels for path in paths]
        for size in _SIZES:
            records = [_record(standard_picture(film, size)) for film in films]
            for encoding in ENCODINGS:
                rounds = [_measure(records, encoding, folder) for _ in range(values.rounds)]
                kilobytes, encode, read = (
                    statistics.median(row) for row in zip(*rounds, strict=True)
                )
                command.say(
                    f'{size:5} px  {encoding}  {kilobytes:7.1f} kB  encode {encode:6.3f} ms  '
                    f'read {read:8.0f} records/s'
                )


def _record(picture: np.ndarray) -> dict:
    blank = {'boxes': pad_boxes(np.zeros((0, 4))), 'image': picture[:, :, None]}
    return {
        name: blank.get(name, '' if field.kind == 'text' else 0) for name, field in FIELDS.items()
    }


def _measure(records, encoding, folder) -> tuple[float, float, float]:
    """(kB a record, milliseconds to encode one, records a second read)."""
    start = time.perf_counter()
    encoded = [encode_example(record, encoding) for record in records]
    encode = (time.perf_counter() - start) / len(records)
    info = write_shard(folder / 'shard', map(make_frame, encoded))
    file = RecordFile(folder / 'shard')
    order = np.random.default_rng(0).permutation(len(records)).tolist()
    start = time.perf_counter()
    for i in order:
        decode_example(file[i], encoding)
    read = len(order) / (time.perf_counter() - start)
    return info.bytes / len(records) / 1000, 1000 * encode, read


if __name__ == '__main__':
    flags.DEFINE_string('images_dir', None, 'Folder of films; by default phantoms are drawn.')
    flags.DEFINE_integer('num_films', 200, 'How many of them.', lower_bound=1)
    flags.DEFINE_integer('rounds', 5, 'Rounds; the medians are printed.', lower_bound=1)
    command.run(main)
