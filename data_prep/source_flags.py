"""The flags that say where films and their labels are, of every command that takes both."""

from __future__ import annotations

from absl import flags

from data_prep.sources import SOURCES

__all__ = ['SOURCE_FLAGS', 'define_source_flags']

# They are fields of Options.
SOURCE_FLAGS = (
    'source',
    'images_dir',
    'labels_csv',
    'class_info_csv',
    'columns',
    'positive_labels',
    'person_csv',
    'id_column',
    'person_column',
    'person_pattern',
    'allow_missing',
)


def define_source_flags() -> None:
    """Defines the flags; for a command's main module."""
    # They are the command's own, which its --help lists.
    flags.disclaim_key_flags()
    flags.DEFINE_enum(
        'source',
        'rsna',
        list(SOURCES),
        "Where labels come from: rsna (the challenge's tables), phantom (those of make_demo.py), "
        'csv (any table with a path and a label), folders (a folder for each class).',
    )
    flags.DEFINE_string(
        'images_dir',
        None,
        'Folder of films, DICOM, PNG or JPEG, also in folders below. With --source=csv by default '
        'the folder of the table.',
    )
    flags.DEFINE_string(
        'labels_csv',
        None,
        "Table of labels: in the form of RSNA's stage_2_train_labels.csv; with --source=csv any "
        'with a column of paths relative to --images_dir and one of labels, and optionally x, y, '
        'width, height (a row a box), id, person, view, sex, age, class, split.',
    )
    flags.DEFINE_string(
        'class_info_csv', None, "Table in the form of RSNA's stage_2_detailed_class_info.csv."
    )
    flags.DEFINE_list(
        'columns',
        [],
        "Columns of --labels_csv by names of its own, such as 'path=Image Index,label=Finding'.",
    )
    flags.DEFINE_list(
        'positive_labels',
        [],
        'Labels, or class folders, that mean a lung opacity; without it labels are 0 and 1.',
    )
    flags.DEFINE_string(
        'person_csv',
        None,
        "Table of film ids and persons, or RSNA's mapping JSON: no person is in two splits.",
    )
    flags.DEFINE_string('id_column', None, 'Column of film ids in --person_csv.')
    flags.DEFINE_string('person_column', None, 'Column of persons in --person_csv.')
    flags.DEFINE_string(
        'person_pattern',
        None,
        'Regular expression that finds the person in the path of a film: its group, or all of it.',
    )
    flags.DEFINE_bool('allow_missing', False, 'Tolerate labelled films without file.')
