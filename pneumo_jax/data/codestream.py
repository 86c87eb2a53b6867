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
_SOS = 0xDA
# Markers without a length: TEM and the restarts.
_BARE = (0x01, *range(0xD0, 0xD8))
_J2K_START = b'\xff\x4f\xff\x51'
# Lsiz, Rsiz, the ends of the grid, its origin, size and origin of a tile, Csiz, Ssiz of the first.
_SIZ = struct.Struct('>HHIIIIIIIIHB')
# Of a JPEG: length, bits, height, width, components.
_FRAME_HEADER = struct.Struct('>HBHHB')
_END = b'\xff\xd9'


@dataclasses.dataclass(frozen=True)
class Codestream:
    """The size of a compressed frame.

    Attributes:
        height: in pixels.
        width: in pixels.
        samples: a pixel.
        bits: of a sample.
        whole: whether it has its end marker, whatever stands behind it; else it is cut.
    """

    height: int
    width: int
    samples: int
    bits: int
    whole: bool


def read_codestream(data: bytes) -> Codestream:
    """Finds the size.

    Raises:
        ValueError: if the bytes are of neither family, or cut before they tell.
    """
    start = data.find(_J2K_START, 0, 4096)
    if start >= 0:
        return _read_jpeg_2000(data, start + len(_J2K_START))
    if data[:2] != b'\xff\xd8':
        raise ValueError(f'no JPEG and no JPEG 2000: it begins with {data[:4]!r}')
    return _read_jpeg(data)


def _read_jpeg_2000(data, position):
    if len(data) < position + _SIZ.size:
        raise ValueError('a JPEG 2000 codestream without a whole SIZ segment')
    _, _, right, bottom, left, top, *_, samples, bits = _SIZ.unpack_from(data, position)
    # The highest bit tells of a sign, and the others one less than their number.
    return Codestream(
        bottom - top, right - left, samples, (bits & 127) + 1, _has_end(data, position)
    )


def _read_jpeg(data):
    """Walks down to the first scan: some decoders end the process over a marker out of place."""
    position, frame = 2, None
    while position + 2 + _FRAME_HEADER.size <= len(data):
        if data[position] != 0xFF:
            raise ValueError(f'no marker at byte {position} of a JPEG')
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _BARE:
            position += 2
        elif marker == _SOS and frame:
            _, bits, height, width, samples = frame
            return Codestream(height, width, samples, bits, _has_end(data, position))
        else:
            if marker in _SOF:
                frame = _FRAME_HEADER.unpack_from(data, position + 2)
            position += 2 + struct.unpack_from('>H', data, position + 2)[0]
    raise ValueError('a JPEG without a frame header and a scan')


def _has_end(data, position):
    """Whether the end marker comes after a position, which is behind thumbnails and their ends."""
    return data.rfind(_END, position) >= 0
