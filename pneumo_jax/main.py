"""Trains a model: ``python -m pneumo_jax.main --config=configs/resnet.py --workdir=W``.

Any field of the config is set by a flag: ``--config.learning_rate=3e-4``. The same command goes on
with an interrupted run.
"""

from absl import flags
from ml_collections import config_flags

from pneumo_jax import command, train
from pneumo_jax.errors import InputError


def main(argv: list[str]) -> None:
    """Checks the flags, trains."""
    command.refuse_arguments(argv)
    config = flags.FLAGS.config
    if not config.data.dir:
        raise InputError(
            'no data: give --config.data.dir=FOLDER, a folder that data_prep/convert.py wrote'
        )
    train.train(config, flags.FLAGS.workdir)


if __name__ == '__main__':
    config_flags.DEFINE_config_file(
        'config', None, 'File with the run configuration, such as configs/resnet.py.'
    )
    flags.DEFINE_string('workdir', None, 'Folder for checkpoints, figures and the config.')
    flags.mark_flags_as_required(['config', 'workdir'])
    command.run(main)
