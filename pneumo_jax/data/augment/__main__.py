"""A look at the augmentation: films of a split and views of them as training would see them.

``python -m pneumo_jax.data.augment --config=configs/resnet.py --config.data.dir=SHARDS
--out=sheet.png``. Strengths are set by flags: ``--config.augment.rotation=10``. The picture shows
films; it is as confidential as they are.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from pneumo_jax import command
from pneumo_jax.data.augment.sheet import draw_sheet
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.errors import InputError


def main(argv: list[str]) -> None:
    """Checks the flags, draws and saves the sheet."""
    command.refuse_arguments(argv)
    options = flags.FLAGS
    config, out = options.config, pathlib.Path(options.out)
    command.require_data(config)
    if out.suffix != '.png':
        raise InputError(f'--out={out} must end in .png; try --out={out.with_suffix(".png")}')
    if not out.parent.is_dir():
        raise InputError(f'--out={out}: no folder {out.parent}; make it first')
    sheet = draw_sheet(FilmSplit(config.data.dir, options.split), config.augment, seed=options.seed)
    try:
        sheet.save(out)
    except OSError as error:
        raise InputError(
            f'--out={out} cannot be written ({error.strerror}): give another'
        ) from error
    command.say(f'wrote {out}')


if __name__ == '__main__':
    config_flags.DEFINE_config_file(
        'config', None, 'File with the run configuration, such as configs/resnet.py.'
    )
    flags.DEFINE_string('out', None, 'The picture to write, PNG; an older one is replaced.')
    flags.DEFINE_integer('seed', 0, 'Of the films that are shown, and of their views.')
    flags.DEFINE_string('split', 'train', 'Whose films: train, validation or test.')
    flags.mark_flags_as_required(['config', 'out'])
    command.run(main)
