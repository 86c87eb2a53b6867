"""A film in memory, and why a file may not become one."""

from __future__ import annotations

import dataclasses

import numpy as np

from pneumo_jax.errors import InputError

__all__ = ['MAX_FILE_BYTES', 'MAX_PIXELS', 'Film', 'FilmError', 'check_size']

# Caps before anything is decoded: the largest detectors have some 20 million pixels.
MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 512 * 2**20


@dataclasses.dataclass(frozen=True)
class Film:
    """A film as a radiologist would see it.

    Attributes:
        pixels: uint8 [H,W], 0 black; MONOCHROME1 is inverted already.
        view_position: ``AP``, ``PA``, or '' unknown.
        sex: ``M``, ``F``, or '' unknown.
        age: whole years, -1 unknown.
        transfer_syntax: UID of a DICOM file's encoding; ``PNG`` or ``JPEG`` of a picture.
        photometric: photometric interpretation of a DICOM file, Pillow's mode of a picture.
        notes: what was done to the grey values or is worth knowing, for the report.
    """

    pixels: np.ndarray
    view_position: str
    sex: str
    age: int
    transfer_syntax: str
    photometric: str
    notes: tuple[str, ...]


class FilmError(InputError):
    """A file cannot be used as a film.

    Attributes:
        code: the reason in one word, for reports: not_dicom, not_a_file, damaged, deflated,
            no_pixel_data, bad_size, too_large, multi_frame, wrong_modality, lateral_view,
            unknown_codec, unsupported_pixels or broken_pixels.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code

    def __reduce__(self):
        # So that it comes whole from a worker process.
        return type(self), (self.code, str(self))


def check_size(path, rows: int, columns: int) -> None:
    """Refuses a size that no film has, before anything is decoded."""
    if rows < 1 or columns < 1:
        raise FilmError('bad_size', f'{path} has {rows} rows and {columns} columns')
    if rows * columns > MAX_PIXELS:
        raise FilmError(
            'too_large', f'{path} has {rows} x {columns} pixels, more than {MAX_PIXELS}: no film'
        )
