"""What a compressed frame says of itself, read without decoding it.

The JPEG family (ITU-T T.81, and T.87 for JPEG-LS) tells its size in a frame header (SOF), JPEG 2000
and HTJ2K (ITU-T T.800) in the SIZ segment at the start of the codestream.
"""

from __future__ import annotations

import dataclasses
import struct

__all__ = ['Codestream', 'read_codestream']

# Start of frame: of all kinds of T.81, and of JPEG-LS. C4, C8 and CC are other markers.
_SOF = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)
# Markers without a length: TEM and the restarts.
_BARE = (0x01, *range(0xD0, 0xD8))
_J2K_START = b'\xff\x4f\xff\x51'
_SIZ = struct.Struct('>HHIIII')


@dataclasses.dataclass(frozen=True)
class Codestream:
    """The size of a compressed frame.

    Attributes:
        height: in pixels.
        width: in pixels.
        bits: of a sample, 0 where it is not told (JPEG 2000).
        whole: whether it ends with its end marker; else it is cut.
    """

    height: int
    width: int
    bits: int
    whole: bool


def read_codestream(data: bytes) -> Codestream:
    """Finds the size.

    Raises:
        ValueError: if the bytes are of neither family, or cut before they tell.
    """
    start = data.find(_J2K_START, 0, 4096)
    # Frames are padded to an even length, by some writers with 0, by others with 255.
    whole = data.rstrip(b'\0\xff').endswith(b'\xff\xd9')
    if start >= 0:
        siz = data[start + 4 : start + 4 + _SIZ.size]
        if len(siz) < _SIZ.size:
            raise ValueError('a JPEG 2000 codestream without a whole SIZ segment')
        _, _, right, bottom, left, top = _SIZ.unpack(siz)
        return Codestream(bottom - top, right - left, 0, whole)
    if data[:2] != b'\xff\xd8':
        raise ValueError(f'no JPEG and no JPEG 2000: it begins with {data[:4]!r}')
    return _read_jpeg(data, whole)


def _read_jpeg(data, whole):
    position = 2
    while position + 9 <= len(data):
        if data[position] != 0xFF:
            raise ValueError(f'no marker at byte {position} of a JPEG')
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _BARE:
            position += 2
        elif marker in _SOF:
            bits, height, width = struct.unpack_from('>BHH', data, position + 4)
            return Codestream(height, width, bits, whole)
        else:
            position += 2 + struct.unpack_from('>H', data, position + 2)[0]
    raise ValueError('a JPEG without a frame header')
