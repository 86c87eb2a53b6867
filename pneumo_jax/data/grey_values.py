"""Stored values of a DICOM file to the grey values that a radiologist sees, PS3.3 C.11.

In order: Modality LUT or rescale, then the first VOI LUT or window, then polarity. Without VOI LUT
and window the full range of the stored bits is shown, so that plain 8-bit values stay as they are.
Written here because pydicom 3.0.2's apply_voi wraps around where a VOI LUT of 8-bit entries has
more than 256 of them.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from pydicom import pixels as dicom_pixels

from pneumo_jax.data.dicom_header import Header
from pneumo_jax.data.picture import in_bands, luminance, to_uint8

__all__ = ['grey_values']

_TRANSFORMS = (
    'ModalityLUTSequence',
    'RescaleSlope',
    'VOILUTSequence',
    'WindowCenter',
)


def grey_values(stored: np.ndarray, header: Header, notes: list[str]) -> tuple[np.ndarray, str]:
    """What is seen.

    Args:
        stored: integer [H,W] of BitsStored bits, or [H,W,3], RGB.
        header: of ``read_header``.
        notes: what was done is added to them.

    Returns:
        uint8 [H,W], and how they were windowed, as in ``Film.window``.

    Raises:
        ValueError, LookupError, TypeError and the like: if a table or window is not valid.
    """
    if header.photometric == 'PALETTE COLOR':
        notes.append('palette applied, luminance')
        return in_bands(functools.partial(_palette_luminance, header), stored), 'full range'
    if stored.ndim == 3:
        notes.append('colour, luminance')
        grey = functools.partial(luminance, bits=header.bits_stored)
        return in_bands(grey, stored), 'full range'
    inverted = header.photometric == 'MONOCHROME1'
    if inverted:
        notes.append('MONOCHROME1, inverted')
    if _is_plain(header):
        # Of 16 bit where so many are allocated.
        grey = stored.astype(np.uint8, copy=False)
        return 255 - grey if inverted else grey, 'full range'
    # Few values and many pixels: the grey value of every possible stored value, looked up.
    low, high = _stored_range(header)
    share, window = _display_share(np.arange(low, high + 1), header, notes)
    table = to_uint8(255 * share)
    if inverted:
        table = 255 - table
    # The table begins with the lowest value, which is negative where values are signed.
    return in_bands(np.roll(table, low).__getitem__, stored), window


def _palette_luminance(header, stored):
    colours = dicom_pixels.apply_color_lut(stored, header.dataset)[..., :3]
    return luminance(colours, 8 * colours.itemsize)


def _is_plain(header):
    """Whether the stored values are the grey values, as in RSNA's films."""
    return (
        header.bits_stored == 8
        and not header.signed
        and not any(keyword in header for keyword in _TRANSFORMS)
    )


def _stored_range(header):
    bits = header.bits_stored
    if header.signed:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _display_share(possible, header, notes):
    """Stored values (all that there can be) as a share of white, before polarity; the window."""
    values = _modality_values(possible, header, notes)
    if 'VOILUTSequence' in header and (items := header.dataset.VOILUTSequence):
        values, white = _look_up(values, items[0])
        return values / white, 'VOI LUT'
    for centre, width in _windows(header, notes):
        function = header.text('VOILUTFunction').upper() or 'LINEAR'
        return _WINDOWS[function](values, centre, width), f'{function} {width:g} at {centre:g}'
    if (spread := np.ptp(values)) == 0:
        raise ValueError('all values are the same behind the modality LUT')
    return (values - values.min()) / spread, 'full range'


def _windows(header, notes):
    """Centre and width of the windows, without those that some writers leave open."""
    numbers = zip(header.numbers('WindowCenter'), header.numbers('WindowWidth'), strict=False)
    for centre, width in numbers:
        if width == 0:
            notes.append('window of width 0, passed over')
        elif centre is not None and width is not None:
            yield centre, width


def _modality_values(possible, header, notes):
    if 'ModalityLUTSequence' in header and (items := header.dataset.ModalityLUTSequence):
        notes.append('modality LUT')
        return _look_up(possible, items[0])[0]
    slope, intercept = header.number('RescaleSlope'), header.number('RescaleIntercept')
    if slope is None or intercept is None:
        return possible
    if slope == 0 or not math.isfinite(slope * intercept):
        raise ValueError(f'rescale slope {slope} and intercept {intercept}')
    if slope < 0:
        notes.append('negative rescale slope')
    return possible * slope + intercept


def _look_up(values, item):
    """Values [N] through a LUT's item; with them its white, PS3.3 C.11.1.1 and C.11.2.1.1."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries = entries or 2**16
    if first >= 2**15 and values.min() < 0:
        # Written as unsigned where it is signed.
        first -= 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        # Entries of 8 bit may be packed, two in a word, and padded to an even length.
        packed = len(data) == entries + entries % 2
        words = np.frombuffer(data, '>u2' if item.original_encoding[1] is False else '<u2')
        data = words.astype('<u2').view(np.uint8) if packed else words
    table = np.asarray(data, np.int64)[:entries]
    if len(table) < entries or not 1 <= bits <= 16:
        raise ValueError(f'a lookup table has {len(table)} of {entries} entries of {bits} bits')
    index = np.clip(np.trunc(values - first), 0, entries - 1).astype(np.int64)
    return table[index].astype(np.float64), 2.0**bits - 1


def _linear(values, centre, width):
    """PS3.3 C.11.2.1.2.1."""
    if width < 1:
        raise ValueError(f'window width {width:g} is less than 1')
    if width == 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def _linear_exact(values, centre, width):
    """PS3.3 C.11.2.1.3.2."""
    if width <= 0:
        raise ValueError(f'window width {width:g} is not above 0')
    return np.clip((values - centre) / width + 0.5, 0, 1)


def _sigmoid(values, centre, width):
    """PS3.3 C.11.2.1.3.1."""
    if width <= 0:
        raise ValueError(f'window width {width:g} is not above 0')
    # Beyond +-700 the exponential of a float64 overflows, and the answer is 0 or 1 long before.
    return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))


_WINDOWS = {'LINEAR': _linear, 'LINEAR_EXACT': _linear_exact, 'SIGMOID': _sigmoid}
