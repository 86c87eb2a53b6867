"""The flags by which conversion and prediction are told which films to take."""

from __future__ import annotations

from absl import flags

from pneumo_jax.data.film import ReadOptions

__all__ = ['define_read_flags', 'read_options']


def define_read_flags() -> None:
    """Defines the flags; for a command's main module."""
    # They are the command's own, which its --help lists.
    flags.disclaim_key_flags()
    flags.DEFINE_bool(
        'any_modality', False, 'Also take DICOM that is no chest radiograph (CR or DX, frontal).'
    )
    flags.DEFINE_bool('allow_deflated', False, 'Also take deflated DICOM, under a cap.')
    flags.DEFINE_bool('first_frame', False, 'Of a file of several frames take the first.')
    flags.DEFINE_bool('reject_colour', False, 'Reject colour films; else their luminance is taken.')
    flags.DEFINE_float(
        'film_timeout', 60, 'Seconds after which a film is given up.', lower_bound=0.1
    )


def read_options(*, reduce_to: int = 0) -> ReadOptions:
    """What the flags say.

    Args:
        reduce_to: as in ``ReadOptions``.
    """
    values = flags.FLAGS
    return ReadOptions(
        any_modality=values.any_modality,
        allow_deflated=values.allow_deflated,
        first_frame=values.first_frame,
        reject_colour=values.reject_colour,
        reduce_to=reduce_to,
    )
