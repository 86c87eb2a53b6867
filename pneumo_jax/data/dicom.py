"""From a film's file to its pixels, and to the standard picture: the one place that knows pydicom.

Conversion and prediction call the same two functions, so the same film gives the same picture.
Of the header only the elements of ``_ELEMENTS`` are ever read: no name, no date, no UID.
"""

from __future__ import annotations

import io
import math
import pathlib
import re

import numpy as np
import pydicom
from PIL import Image
from pydicom import config as pydicom_config
from pydicom import pixels as dicom_pixels
from pydicom import uid
from pydicom.encaps import get_frame
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from pneumo_jax.data.film import MAX_FILE_BYTES, Film, FilmError, check_size
from pneumo_jax.data.picture import (
    luminance,
    picture_notes,
    read_picture,
    standard_picture,
    to_uint8,
)

__all__ = ['Film', 'FilmError', 'read_film', 'standard_picture']

_ELEMENTS = [
    'Modality',
    'ViewPosition',
    'PatientSex',
    'PatientAge',
    'SamplesPerPixel',
    'PhotometricInterpretation',
    'PlanarConfiguration',
    'NumberOfFrames',
    'Rows',
    'Columns',
    'BitsAllocated',
    'BitsStored',
    'HighBit',
    'PixelRepresentation',
    'SmallestImagePixelValue',
    'LargestImagePixelValue',
    'RescaleIntercept',
    'RescaleSlope',
    'RescaleType',
    'ModalityLUTSequence',
    'VOILUTSequence',
    'VOILUTFunction',
    'WindowCenter',
    'WindowWidth',
    'RedPaletteColorLookupTableDescriptor',
    'GreenPaletteColorLookupTableDescriptor',
    'BluePaletteColorLookupTableDescriptor',
    'RedPaletteColorLookupTableData',
    'GreenPaletteColorLookupTableData',
    'BluePaletteColorLookupTableData',
    'SegmentedRedPaletteColorLookupTableData',
    'SegmentedGreenPaletteColorLookupTableData',
    'SegmentedBluePaletteColorLookupTableData',
    'ExtendedOffsetTable',
    'ExtendedOffsetTableLengths',
    'PixelData',
]
_MODALITIES = ('CR', 'DX')
_FRONTAL = ('AP', 'PA')
_LATERAL = ('LATERAL', 'LAT', 'LL', 'RL', 'LLD', 'RLD', 'LLO', 'RLO')
# pydicom takes whatever decoder is installed; Pillow is the fastest for these and always there.
_PILLOW_SYNTAXES = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
_HTJ2K_SYNTAXES = (uid.HTJ2K, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL)
_PICTURE_FORMATS = {b'\x89PNG\r\n\x1a\n': 'PNG', b'\xff\xd8\xff': 'JPEG'}


def read_film(path, *, any_modality: bool = False) -> Film:
    """Reads a DICOM, PNG or JPEG file; the kind is told by the content, not by the name.

    Grey values of DICOM: Modality LUT or rescale, then the first VOI LUT or window, then polarity
    (PS3.3 C.11). Without VOI LUT and window the full range that the stored bits can hold is
    scaled to 8 bit, so that 8-bit values stay as they are. Colour becomes luminance.

    Args:
        path: the file.
        any_modality: also takes DICOM that is no chest radiograph (CR or DX, frontal).

    Raises:
        FilmError: with a code and a message that names the file and what to do.
    """
    path = pathlib.Path(path)
    start = _read_start(path)
    if start[128:] == b'DICM':
        # pydicom warns about values that break a rule, and quotes them: they may be a patient's.
        with pydicom_config.disable_value_validation():
            return _read_dicom(path, any_modality)
    for magic, picture_format in _PICTURE_FORMATS.items():
        if start.startswith(magic):
            return read_picture(path, picture_format)
    raise FilmError(
        'not_dicom', f'{path} is neither DICOM nor PNG nor JPEG: it begins with {start[:12]!r}'
    )


def _read_start(path):
    if not path.is_file():
        raise FilmError('not_a_file', f'{path} is missing or no regular file')
    try:
        size = path.stat().st_size
        with path.open('rb') as file:
            start = file.read(132)
    except OSError as error:
        raise FilmError('not_a_file', f'{path} cannot be read: {error.strerror}') from error
    if size > MAX_FILE_BYTES:
        raise FilmError(
            'too_large', f'{path} has {size} bytes, more than {MAX_FILE_BYTES}: no single film'
        )
    return start


def _read_dicom(path, any_modality):
    header = _read_header(path)
    if not any_modality:
        _check_kind(path, header)
    if 'PixelData' not in header:
        raise FilmError('no_pixel_data', f'{path} holds no pixels (no PixelData element)')
    syntax = header.file_meta.TransferSyntaxUID
    _check_frame(path, header)
    notes: list[str] = []
    stored = _decode(path, header, syntax)
    try:
        values = _display_values(stored, header, notes)
    except Exception as error:
        raise FilmError(
            'unsupported_pixels',
            f'{path}: its grey values cannot be computed ({error!r}); its lookup table or window '
            'is not valid DICOM',
        ) from error
    view = _text(header, 'ViewPosition').upper()
    if view and view not in _FRONTAL:
        notes.append('view position neither AP nor PA')
    sex = _text(header, 'PatientSex').upper()
    return Film(
        pixels=values,
        view_position=view if view in _FRONTAL else '',
        sex=sex if sex in ('M', 'F') else '',
        age=_years(_text(header, 'PatientAge')),
        transfer_syntax=str(syntax),
        photometric=header.PhotometricInterpretation,
        notes=(*notes, *picture_notes(values)),
    )


def _read_header(path):
    try:
        meta = read_file_meta_info(path)
        syntax = meta.get('TransferSyntaxUID')
        if syntax == uid.DeflatedExplicitVRLittleEndian:
            # pydicom inflates the whole file to read any of it: kilobytes may become gigabytes.
            raise FilmError(
                'deflated',
                f"{path} is deflated as a whole, which is refused: inflate it with DCMTK's "
                '"dcmconv +te IN OUT"',
            )
        header = pydicom.dcmread(path, specific_tags=_ELEMENTS)
        if 'TransferSyntaxUID' not in header.file_meta:
            raise FilmError(
                'damaged', f'{path} does not say how it is encoded (no Transfer Syntax UID)'
            )
    except FilmError:
        raise
    except InvalidDicomError as error:
        raise FilmError('not_dicom', f'{path} is not DICOM: {error}') from error
    except Exception as error:
        raise FilmError(
            'damaged', f'{path} is damaged DICOM ({error!r}): copy or export it anew'
        ) from error
    return header


def _check_kind(path, header):
    modality = _text(header, 'Modality').upper()
    if modality not in _MODALITIES:
        raise FilmError(
            'wrong_modality',
            f'{path} has modality {modality!r}, no chest radiograph ({" or ".join(_MODALITIES)}); '
            'take it all the same with --any_modality',
        )
    view = _text(header, 'ViewPosition').upper()
    if view in _LATERAL:
        raise FilmError(
            'lateral_view',
            f'{path} is a lateral film ({view}), models are for frontal ones; take it all the '
            'same with --any_modality',
        )


def _check_frame(path, header):
    """What the header promises, before anything is decoded."""
    try:
        frames = int(header.get('NumberOfFrames') or 1)
        rows, columns = int(header.get('Rows') or 0), int(header.get('Columns') or 0)
        bits = (int(header.BitsAllocated), int(header.BitsStored))
        samples, photometric = header.SamplesPerPixel, header.PhotometricInterpretation
    except Exception as error:
        raise FilmError(
            'damaged', f'{path}: its description of the pixels is incomplete ({error}): export anew'
        ) from error
    check_size(path, rows, columns * max(frames, 1))
    if frames != 1:
        raise FilmError(
            'multi_frame', f'{path} has {frames} frames, a film has one: extract it first'
        )
    if not 1 <= bits[1] <= bits[0] <= 16 or samples not in (1, 3) or not photometric:
        raise FilmError(
            'unsupported_pixels',
            f'{path} has {samples} samples of {bits[1]} bits (allocated {bits[0]}) a pixel; '
            '1 or 3 of up to 16 are read',
        )


def _decode(path, header, syntax):
    """The stored values [H,W], or [H,W,3] as RGB."""
    _check_codec(path, header, syntax)
    try:
        if syntax.is_encapsulated and syntax != uid.RLELossless:
            _check_codestream_size(path, header)
        plugin = 'pillow' if syntax in _PILLOW_SYNTAXES else ''
        return dicom_pixels.pixel_array(header, decoding_plugin=plugin)
    except FilmError:
        raise
    # Decoders raise whatever they like, a bare StopIteration where a frame is missing.
    except Exception as error:
        raise FilmError(
            'broken_pixels',
            f'{path}: its pixels cannot be decoded ({error!r}): copy or export it anew',
        ) from error


def _check_codec(path, header, syntax):
    try:
        decoder = dicom_pixels.get_decoder(syntax)
    except NotImplementedError as error:
        raise FilmError(
            'unknown_codec',
            f'{path} is encoded by {syntax.name}, which no decoder knows: export it uncompressed',
        ) from error
    # Pillow reads JPEG Extended of 8 bit only.
    needs_gdcm = syntax == uid.JPEGExtended12Bit and header.BitsStored > 8
    if needs_gdcm or not decoder.is_available:
        raise FilmError(
            'unknown_codec',
            f'{path} is encoded by {syntax.name}, and no decoder for it is installed: '
            f'pip install {_decoder_package(syntax)}, or decompress the file with DCMTK or GDCM',
        )


def _decoder_package(syntax):
    if syntax in _HTJ2K_SYNTAXES:
        return 'pylibjpeg pylibjpeg-openjpeg'
    return 'python-gdcm'


def _check_codestream_size(path, header):
    """Refuses a frame that is another size than the header says, a bomb among them, undecoded."""
    frame = get_frame(header.PixelData, 0, number_of_frames=1)
    try:
        with Image.open(io.BytesIO(frame), formats=['JPEG', 'JPEG2000']) as image:
            found = image.size
    except Image.UnidentifiedImageError:
        # Not a kind that Pillow knows; pydicom's decoder for it checks the size itself.
        return
    expected = (header.Columns, header.Rows)
    if found != expected:
        raise FilmError(
            'broken_pixels',
            f'{path}: the compressed picture is {found[0]} x {found[1]} pixels, the header says '
            f'{expected[0]} x {expected[1]}: export it anew',
        )


def _display_values(stored, header, notes):
    """Stored values to display values, uint8 [H,W]."""
    photometric = header.PhotometricInterpretation
    if photometric == 'PALETTE COLOR':
        notes.append('palette applied, luminance')
        stored = dicom_pixels.apply_color_lut(stored, header)
        return luminance(stored, 8 * stored.itemsize)
    if stored.ndim == 3:
        notes.append('colour, luminance')
        return luminance(stored, header.BitsStored)
    # Few values and many pixels: the display value of every possible stored value, looked up.
    limits = np.iinfo(stored.dtype)
    possible = np.arange(limits.min, limits.max + 1, dtype=stored.dtype)
    grey = to_uint8(255 * _display_share(possible, header, notes))
    if photometric == 'MONOCHROME1':
        notes.append('MONOCHROME1, inverted')
        grey = 255 - grey
    # Signed values count from the table's end where they are negative, as their bits do.
    grey = np.roll(grey, limits.min)
    stored = stored.view(f'u{stored.itemsize}')
    if np.array_equal(grey, np.arange(256)):
        return stored
    return grey[stored]


def _display_share(possible, header, notes):
    """Display values of stored values, as a share of white, before polarity."""
    in_bits = np.array(_stored_range(header), possible.dtype)
    if header.get('ModalityLUTSequence'):
        notes.append('modality LUT')
    elif float(header.get('RescaleSlope') or 1) < 0:
        notes.append('negative rescale slope')
    modality = dicom_pixels.apply_modality_lut(possible, header)
    if voi := header.get('VOILUTSequence'):
        notes.append('VOI LUT')
        low, high = 0, 2 ** voi[0].LUTDescriptor[2] - 1
        values = dicom_pixels.apply_voi(modality, header, index=0)
    elif header.get('WindowCenter') is not None and header.get('WindowWidth') is not None:
        notes.append(f'window {header.get("VOILUTFunction") or "LINEAR"}')
        # What lies far outside the window shows the range that pydicom maps it to; the range
        # runs downward where the rescale slope is negative.
        with np.errstate(over='ignore'):
            low, high = dicom_pixels.apply_windowing(np.array([-1e30, 1e30]), header)
            values = dicom_pixels.apply_windowing(modality, header, index=0)
    else:
        notes.append('no window, full range')
        ends = dicom_pixels.apply_modality_lut(in_bits, header)
        low, high = ends.min(), ends.max()
        values = modality
    return (values.astype(np.float64) - low) / (float(high) - float(low))


def _stored_range(header):
    bits = header.BitsStored
    if header.PixelRepresentation:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _text(header, keyword):
    """An element as text, '' absent.

    Read raw: pydicom warns about RSNA's ages ("45" is not valid DICOM), and a warning quotes the
    value.
    """
    if keyword not in header:
        return ''
    value = header.get_item(keyword).value
    if isinstance(value, bytes):
        value = value.decode('ascii', errors='replace')
    return str(value or '').split('\\')[0].strip(' \0')


def _years(age):
    """Whole years of "45", "045Y", "18M", "6W" or "9D"; -1 where it is none of these."""
    match = re.fullmatch(r'(\d{1,4})([YMWD]?)', age.upper())
    if not match:
        return -1
    per_year = {'': 1, 'Y': 1, 'M': 12, 'W': 52.18, 'D': 365.25}
    return math.floor(int(match[1]) / per_year[match[2]])
