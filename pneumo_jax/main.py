"""Trains a model: ``python -m pneumo_jax.main --config=configs/resnet.py --workdir=W``.

Any field of the config is set by a flag, ``--config.learning_rate=3e-4``; configs/base.py has all
of them, with what they mean. The same command goes on with an interrupted run. Exit codes: 0 the
run is at its end, 2 bad input or a run that diverged, 75 stopped by SIGTERM or Ctrl-C with its
state saved. With ``--dry_run`` nothing is computed or written. What is compiled is kept for the
next start, in the folder JAX_COMPILATION_CACHE_DIR, by default ~/.cache/pneumo_jax.
"""

from absl import flags
from ml_collections import config_flags

from pneumo_jax import command, dry_run, train
from pneumo_jax.compilation_cache import cache_compilations


def main(argv: list[str]) -> None:
    """Checks the flags, trains."""
    command.refuse_arguments(argv)
    options = flags.FLAGS
    command.require_data(options.config)
    if options.dry_run:
        command.say(dry_run.describe_run(options.config, options.workdir))
        return
    cache_compilations()
    train.train(
        options.config, options.workdir, force_config=options.force_config, ends_process=True
    )


if __name__ == '__main__':
    config_flags.DEFINE_config_file(
        'config', None, 'File with the run configuration, such as configs/resnet.py.'
    )
    flags.DEFINE_string('workdir', None, 'Folder for checkpoints, figures and the config.')
    flags.DEFINE_bool(
        'dry_run', False, 'Check config and data, tell sizes, memory and steps, and end.'
    )
    flags.DEFINE_bool(
        'force_config',
        False,
        'Go on with the run in workdir although its config or data were others; they are named.',
    )
    flags.mark_flags_as_required(['config', 'workdir'])
    command.run(main)
