"""From a film's file to its pixels and to the standard picture: the one way, for all commands.

Conversion and prediction call the same two functions, so the same film gives the same picture.
"""

from __future__ import annotations

import functools
import io
import math
import os
import pathlib
import re
import stat
import warnings

from pydicom import config as pydicom_config

from pneumo_jax.data.codecs import decode_frame
from pneumo_jax.data.dicom_header import read_header
from pneumo_jax.data.film import (
    ID_MISMATCH,
    MAX_FILE_BYTES,
    Film,
    FilmError,
    ReadOptions,
    check_colour,
    check_frames,
    check_size,
)
from pneumo_jax.data.grey_values import grey_values
from pneumo_jax.data.picture import picture_notes, read_picture, standard_picture

__all__ = ['Film', 'FilmError', 'ReadOptions', 'read_film', 'standard_picture']

_MODALITIES = ('CR', 'DX')
_FRONTAL = ('AP', 'PA')
_LATERAL = ('LATERAL', 'LAT', 'LL', 'RL', 'LLD', 'RLD', 'LLO', 'RLO')
_GREY = ('MONOCHROME1', 'MONOCHROME2')
# The photometric interpretations that are read, by samples per pixel.
_COLOURS = {
    1: (*_GREY, 'PALETTE COLOR'),
    3: ('RGB', 'YBR_FULL', 'YBR_FULL_422', 'YBR_ICT', 'YBR_RCT'),
}
_PICTURE_FORMATS = {b'\x89PNG\r\n\x1a\n': 'PNG', b'\xff\xd8\xff': 'JPEG'}
_MAX_MANUFACTURER = 64
_MAX_FILM_BYTES = 64 * 2**20


def read_film(path, options: ReadOptions | None = None) -> Film:
    """Reads a DICOM, PNG or JPEG file; the kind is told by the content, not by the name.

    Args:
        path: the file.
        options: which films are taken; None means ``ReadOptions()``.

    Raises:
        FilmError: with a code and a message that names the file and what to do.
    """
    path, options = pathlib.Path(path), options or ReadOptions()
    try:
        with open(path, 'rb', opener=_open_at_once) as file:
            size = _checked_size(path, os.fstat(file.fileno()))
            # Films are read as a whole; a larger file has many frames.
            source = io.BytesIO(file.read()) if size <= _MAX_FILM_BYTES else file
            start = source.read(132)
            if start[128:] == b'DICM':
                return _read_dicom(path, source, options)
    except OSError as error:
        raise FilmError('not_a_file', f'{path} cannot be read: {error.strerror}') from error
    for magic, picture_format in _PICTURE_FORMATS.items():
        if start.startswith(magic):
            return read_picture(path, picture_format, options)
    raise FilmError(
        'not_dicom', f'{path} is neither DICOM nor PNG nor JPEG: it begins with {start[:12]!r}'
    )


def _open_at_once(path, flags):
    """Opens also a pipe, which would otherwise wait for somebody to write."""
    return os.open(path, flags | os.O_NONBLOCK)


def _checked_size(path, status):
    if not stat.S_ISREG(status.st_mode):
        raise FilmError('not_a_file', f'{path} is no regular file')
    if status.st_size > MAX_FILE_BYTES:
        raise FilmError(
            'too_large',
            f'{path} has {status.st_size} bytes, more than {MAX_FILE_BYTES}: no single film',
        )
    return status.st_size


def _read_dicom(path, source, options):
    # pydicom warns about values that break a rule, and quotes them: they may be a patient's.
    with pydicom_config.disable_value_validation(), warnings.catch_warnings(action='ignore'):
        header = read_header(path, source, options)
        if not options.any_modality:
            _check_kind(path, header)
        if 'PixelData' not in header:
            raise FilmError(
                'no_pixel_data',
                f'{path} holds no pixels (no PixelData element): it is no picture, or it is cut',
            )
        notes = _check_frame(path, header, options)
        stored = decode_frame(path, header, reduce_to=options.reduce_to)
        try:
            pixels, window = grey_values(stored, header, notes)
        except Exception as error:
            raise FilmError(
                'unsupported_pixels',
                f'{path}: its grey values cannot be computed ({error!r}); its lookup table or '
                'window is not valid DICOM',
            ) from error
    view = header.view
    if view and view not in _FRONTAL:
        notes.append('view position neither AP nor PA')
    if header.text('PatientID') not in ('', path.stem):
        notes.append(ID_MISMATCH)
    sex = header.text('PatientSex').upper()
    return Film(
        pixels=pixels,
        height=header.rows,
        width=header.columns,
        view_position=view if view in _FRONTAL else '',
        sex=sex if sex in ('M', 'F') else '',
        age=_years(header.text('PatientAge')),
        transfer_syntax=str(header.syntax),
        photometric=header.photometric,
        bits_stored=header.bits_stored,
        manufacturer=header.text('Manufacturer')[:_MAX_MANUFACTURER],
        pixel_spacing=_spacing(header),
        window=window,
        notes=(*notes, *picture_notes(pixels)),
    )


def _check_kind(path, header):
    modality = header.text('Modality').upper()
    if modality not in _MODALITIES:
        raise FilmError(
            'wrong_modality',
            f'{path} has modality {modality!r}, no chest radiograph ({" or ".join(_MODALITIES)}); '
            'take it all the same with --any_modality',
        )
    if header.view in _LATERAL:
        raise FilmError(
            'lateral_view',
            f'{path} is a lateral film ({header.view}), models are for frontal ones; take it all '
            'the same with --any_modality',
        )


def _check_frame(path, header, options):
    """Refuses what the header promises, before anything is decoded; notes of what it is."""
    frames = 1 if options.first_frame else header.frames
    check_size(path, header.rows, header.columns, frames * header.samples)
    notes = check_frames(path, header.frames, options)
    if header.photometric not in _GREY:
        check_colour(path, header.photometric, options)
    if (
        header.photometric not in _COLOURS.get(header.samples, ())
        or header.bits_allocated not in (8, 16)
        or not 1 <= header.bits_stored <= header.high_bit + 1 <= header.bits_allocated
    ):
        raise FilmError(
            'unsupported_pixels',
            f'{path} has {header.samples} samples of {header.bits_stored} bits (allocated '
            f'{header.bits_allocated}) a pixel, {header.photometric!r}; 1 or 3 of up to 16 bits '
            'are read, grey, palette, RGB or YBR: export it so',
        )
    return list(notes)


def _spacing(header):
    """Pixel spacing in mm; None where nothing sensible is told, which is no reason to refuse."""
    for keyword in ('PixelSpacing', 'ImagerPixelSpacing'):
        try:
            rows, columns = header.numbers(keyword)
        except ValueError:
            continue
        if rows and columns and min(rows, columns) > 0:
            return rows, columns
    return None


@functools.lru_cache(maxsize=1024)
def _years(age):
    """Whole years of "45", "045Y", "18M", "6W" or "9D"; -1 where it is none of these."""
    match = re.fullmatch(r'(\d{1,4})([YMWD]?)', age.upper())
    if not match:
        return -1
    per_year = {'': 1, 'Y': 1, 'M': 12, 'W': 52.18, 'D': 365.25}
    return math.floor(int(match[1]) / per_year[match[2]])
