"""A film in memory, how to read one, and why a file may not become one."""

from __future__ import annotations

import dataclasses

import numpy as np

from pneumo_jax.errors import InputError

__all__ = [
    'ID_MISMATCH',
    'MAX_FILE_BYTES',
    'MAX_VALUES',
    'Film',
    'FilmError',
    'ReadOptions',
    'check_colour',
    'check_frames',
    'check_size',
]

# Caps before anything is decoded: the largest detectors have some 20 million pixels, and colours
# take several times the memory.
MAX_VALUES = 64_000_000
MAX_FILE_BYTES = 512 * 2**20

# A note of a film, which the report counts.
ID_MISMATCH = 'PatientID differs from the file name'


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """Which films are taken, and how they are decoded; conversion and prediction share it.

    Attributes:
        any_modality: also DICOM that is no chest radiograph (CR or DX, frontal).
        allow_deflated: also DICOM files that are deflated as a whole, under a cap.
        first_frame: of a file of several frames the first; else such a file is refused.
        reject_colour: refuses colour films, of which otherwise the luminance is taken.
        reduce_to: where not 0, a JPEG may be decoded at a half, a quarter or an eighth of its size
            by scaling its DCT (faster, at most 2 grey levels from the exact area mean), if a
            standard picture of this side is what it is for.
    """

    any_modality: bool = False
    allow_deflated: bool = False
    first_frame: bool = False
    reject_colour: bool = False
    reduce_to: int = 0


@dataclasses.dataclass(frozen=True)
class Film:
    """A film as a radiologist would see it.

    Attributes:
        pixels: uint8 [H,W], 0 black; MONOCHROME1 is inverted already. With
            ``ReadOptions.reduce_to`` it may be a whole fraction of the film's size.
        height: rows of the film in its own pixels.
        width: columns of the film in its own pixels.
        view_position: ``AP``, ``PA``, or '' unknown.
        sex: ``M``, ``F``, or '' unknown.
        age: whole years, -1 unknown.
        transfer_syntax: UID of a DICOM file's encoding; ``PNG`` or ``JPEG`` of a picture.
        photometric: photometric interpretation of a DICOM file, Pillow's mode of a picture.
        bits_stored: significant bits of a sample.
        manufacturer: of the machine, '' unknown.
        pixel_spacing: between rows and between columns in mm, calibrated where the file has that,
            else at the detector; None unknown.
        window: how stored values became grey values: ``VOI LUT``, ``LINEAR 1500 at 600`` (function,
            width, centre), or ``full range``.
        notes: what else was done to the grey values or is worth knowing, for the report.
    """

    pixels: np.ndarray
    height: int
    width: int
    view_position: str
    sex: str
    age: int
    transfer_syntax: str
    photometric: str
    bits_stored: int
    manufacturer: str
    pixel_spacing: tuple[float, float] | None
    window: str
    notes: tuple[str, ...]


class FilmError(InputError):
    """A file cannot be used as a film.

    Attributes:
        code: the reason in one word, for reports: not_dicom, not_a_file, damaged, deflated,
            no_pixel_data, bad_size, too_large, multi_frame, wrong_modality, lateral_view,
            colour, unknown_codec, unsupported_pixels, broken_pixels, decoder_crashed or
            decoder_timed_out.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code

    def __reduce__(self):
        # So that it comes whole from a worker process.
        return type(self), (self.code, str(self))


def check_size(path, rows: int, columns: int, planes: int = 1) -> None:
    """Refuses a size that no film has, before anything is decoded; planes: frames x samples."""
    if rows < 1 or columns < 1:
        raise FilmError('bad_size', f'{path} has {rows} rows and {columns} columns')
    if rows * columns * planes > MAX_VALUES:
        size = f'{rows} x {columns} pixels' + f' in {planes} planes' * (planes > 1)
        raise FilmError('too_large', f'{path} has {size}, more than {MAX_VALUES} values: no film')


def check_frames(path, frames: int, options: ReadOptions) -> tuple[str, ...]:
    """Refuses several frames unless the first is asked for; notes of it."""
    if frames == 1:
        return ()
    if not options.first_frame:
        raise FilmError(
            'multi_frame',
            f'{path} has {frames} frames, a film has one; take the first with --first_frame',
        )
    return ('first of several frames',)


def check_colour(path, colours: str, options: ReadOptions) -> None:
    """Refuses colours that are not wanted; for a file that has some."""
    if options.reject_colour:
        raise FilmError(
            'colour', f'{path} is a colour film ({colours}), refused by --reject_colour'
        )
