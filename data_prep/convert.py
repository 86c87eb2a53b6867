"""Converts films and tables to TFRecord shards: ``python data_prep/convert.py --help``.

Writes to --output_dir, in one step when all is done: the shards
rsna_pneumonia-{train,validation,test}.tfrecord-00000-of-0000N, manifest.json (counts, sizes,
checksums, a fingerprint of the whole), report.html and report.json (what became of every file),
films.csv (a row a film), and the metadata for ``tfds.builder_from_directory``. The same input gives
the same bytes, on however many cores. A run that was killed goes on with the same command.

A film that cannot be used is listed in the report with the reason. If there are more such films
than --max_bad, no shards appear, the report is kept as <output_dir>.report.html and .json, and the
exit code is 1; it is 2 where the input as a whole is not right.

``--labels_only`` splits and audits the tables without films; ``--verify DIR`` checks every record
of a finished conversion.
"""

from __future__ import annotations

import dataclasses
import logging

from absl import flags

from data_prep.conversion import convert
from data_prep.options import Options
from data_prep.source_flags import define_source_flags
from data_prep.verify import verify_conversion
from pneumo_jax import command
from pneumo_jax.data.example import ENCODINGS
from pneumo_jax.errors import InputError
from pneumo_jax.read_flags import define_read_flags, read_options

# 128 + SIGINT, as shells have it.
_EXIT_INTERRUPTED = 130

log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Reads the flags, and converts or verifies."""
    command.refuse_arguments(argv)
    if flags.FLAGS.verify:
        verify_conversion(flags.FLAGS.verify)
        return 0
    try:
        return convert(_options())
    except KeyboardInterrupt:
        log.warning('interrupted; the same command goes on from there')
        return _EXIT_INTERRUPTED
    except OSError as error:
        raise InputError(
            f'{error.filename or flags.FLAGS.output_dir}: {error.strerror}; nothing was written '
            'under the final name. What was converted is kept: the same command goes on from there'
        ) from error


def _options():
    if not flags.FLAGS.output_dir:
        raise InputError('--output_dir is needed, the folder to write')
    names = [field.name for field in dataclasses.fields(Options) if field.name != 'read']
    values = {name: flags.FLAGS[name].value for name in names}
    try:
        values['split_fractions'] = tuple(map(float, values['split_fractions']))
    except ValueError as error:
        raise InputError(
            f'--split_fractions={",".join(values["split_fractions"])}: {error}'
        ) from error
    return Options(read=read_options(), **values)


if __name__ == '__main__':
    define_source_flags()
    flags.DEFINE_string(
        'split',
        'auto',
        'Protocol: person, image, p1, p2, given, kfold:K:I, person_multi_read; auto is given where '
        'there are lists, else person where persons are known, else image.',
    )
    flags.DEFINE_string(
        'split_csv', None, 'Table of id and split (train, validation, test), for given, p1 and p2.'
    )
    flags.DEFINE_list(
        'split_fractions',
        ['0.7', '0.15', '0.15'],
        'Shares of train, validation and test; 0 leaves a split out.',
    )
    flags.DEFINE_integer('split_seed', 0, 'For another division.')
    flags.DEFINE_bool('labels_only', False, 'Split and audit the tables; no films are needed.')
    flags.DEFINE_string('output_dir', None, 'Folder to write; must not exist yet.')
    flags.DEFINE_string('verify', None, 'Folder of a conversion: check its every record, no more.')
    flags.DEFINE_integer(
        'image_size',
        256,
        'Side of the square pictures in pixels.',
        lower_bound=16,
        upper_bound=4096,
    )
    flags.DEFINE_enum(
        'encoding',
        'auto',
        ['auto', *ENCODINGS],
        'Of the pictures in records: raw (fastest to read), png (lossless, half the size); auto is '
        'raw up to 512 px.',
    )
    flags.DEFINE_bool(
        'fast',
        False,
        'Decode JPEG at a smaller size where that is large enough; at most 2 grey levels off.',
    )
    flags.DEFINE_integer('num_shards', 4, 'Shards of each split.', lower_bound=1)
    flags.DEFINE_integer('max_bad', 0, 'How many rejected films are tolerated.', lower_bound=0)
    define_read_flags()
    flags.DEFINE_bool('overwrite', False, 'Replace an older conversion in output_dir.')
    flags.DEFINE_integer(
        'num_workers', 0, 'Worker processes; 0 means one for each core.', lower_bound=0
    )
    flags.DEFINE_enum(
        'runner', 'local', ['local', 'beam'], "Where films are read; beam needs the extra 'beam'."
    )
    flags.DEFINE_list(
        'beam_options',
        [],
        'Options of Apache Beam, such as --runner=FlinkRunner,--flink_master=HOST:PORT.',
    )
    command.run(main)
