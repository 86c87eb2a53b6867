"""Makes a phantom Kaggle download: ``python data_prep/make_demo.py --help``.

The folder has the names, tables and DICOM tags of the RSNA Pneumonia Detection Challenge, so that
every later step runs as on the real films. What is learned on phantoms says nothing about people.
"""

from __future__ import annotations

from absl import flags

from data_prep.demo_download import make_demo
from pneumo_jax import command


def main(argv: list[str]) -> None:
    """Makes the download that the flags describe."""
    command.refuse_arguments(argv)
    values = flags.FLAGS
    make_demo(
        values.output_dir,
        num_films=values.num_films,
        seed=values.seed,
        num_workers=values.num_workers,
        overwrite=values.overwrite,
        with_contact_sheet=values.contact_sheet,
    )


if __name__ == '__main__':
    flags.DEFINE_string('output_dir', None, 'Folder to write; it appears when it is complete.')
    flags.DEFINE_integer('num_films', 600, 'Number of films.')
    flags.DEFINE_integer('seed', 0, 'Seed; the same seed gives the same bytes.')
    flags.DEFINE_integer('num_workers', 0, 'Processes; 0 means one per core.')
    flags.DEFINE_bool('overwrite', False, 'Replace an older phantom download.')
    flags.DEFINE_bool('contact_sheet', True, 'Also draw contact_sheet.png with 24 films.')
    flags.mark_flag_as_required('output_dir')
    command.run(main)
