"""Converts films and tables to TFRecord shards: ``python data_prep/convert.py --help``.

Writes to --output_dir, in one step when all is done: the shards
rsna_pneumonia-{train,validation,test}.tfrecord-00000-of-0000N, manifest.json (counts, sizes,
SHA-256, a fingerprint of the whole), report.json (what became of every file), and the metadata for
``tfds.builder_from_directory``. The same input gives the same shards, on however many cores.

A film that cannot be used is listed in the report with the reason. If there are more such films
than --max_bad, no shards appear, the report is kept as <output_dir>.report.json, and the exit code
is 1; it is 2 where the input as a whole is not right.
"""

from __future__ import annotations

import dataclasses

from absl import flags

from data_prep.conversion import Options, convert
from pneumo_jax import command
from pneumo_jax.errors import InputError


def main(argv: list[str]) -> int:
    """Reads the flags and converts."""
    command.refuse_arguments(argv)
    names = [field.name for field in dataclasses.fields(Options)]
    options = Options(**{name: flags.FLAGS[name].value for name in names})
    try:
        fractions = tuple(map(float, options.split_fractions))
    except ValueError as error:
        raise InputError(f'--split_fractions={",".join(options.split_fractions)}: {error}') from (
            error
        )
    options = dataclasses.replace(options, split_fractions=fractions)
    try:
        return convert(options)
    except OSError as error:
        raise InputError(
            f'{error.filename or options.output_dir}: {error.strerror}; nothing was written under '
            'the final name'
        ) from error


if __name__ == '__main__':
    flags.DEFINE_string(
        'images_dir', None, 'Folder of films, <id>.dcm (or .png, .jpg), also in folders below.'
    )
    flags.DEFINE_string('labels_csv', None, "Table in the form of RSNA's stage_2_train_labels.csv.")
    flags.DEFINE_string(
        'class_info_csv', None, "Table in the form of RSNA's stage_2_detailed_class_info.csv."
    )
    flags.DEFINE_string(
        'person_csv',
        None,
        'Table of patientId and person_id (or nih_patient): with it no person is in two splits.',
    )
    flags.DEFINE_string('output_dir', None, 'Folder to write; must not exist yet.')
    flags.DEFINE_integer(
        'image_size',
        256,
        'Side of the square pictures in pixels.',
        lower_bound=16,
        upper_bound=4096,
    )
    flags.DEFINE_integer('num_shards', 4, 'Shards of each split.', lower_bound=1)
    flags.DEFINE_list(
        'split_fractions',
        ['0.7', '0.15', '0.15'],
        'Shares of train, validation and test; 0 leaves a split out.',
    )
    flags.DEFINE_integer('split_seed', 0, 'For another division.')
    flags.DEFINE_integer('max_bad', 0, 'How many rejected films are tolerated.', lower_bound=0)
    flags.DEFINE_bool('allow_missing', False, 'Tolerate labelled films without file.')
    flags.DEFINE_bool(
        'any_modality', False, 'Also take DICOM that is no chest radiograph (CR or DX, frontal).'
    )
    flags.DEFINE_bool('overwrite', False, 'Replace an older conversion in output_dir.')
    flags.DEFINE_integer(
        'num_workers', 0, 'Worker processes; 0 means one for each core.', lower_bound=0
    )
    flags.mark_flags_as_required(['images_dir', 'labels_csv', 'output_dir'])
    command.run(main)
