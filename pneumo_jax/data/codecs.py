"""From a DICOM file's pixel data to stored values.

Which decoder reads which transfer syntax is written down here: pydicom would take whatever is
installed, for example python-gdcm for JPEG, four times slower than the others. All have permissive
licences. What RSNA's films need comes with the package, the rarer ones with the extra ``codecs``.
"""

from __future__ import annotations

import numpy as np
from pydicom import pixels as dicom_pixels
from pydicom import uid
from pydicom.encaps import get_frame

from pneumo_jax.data.codestream import read_codestream
from pneumo_jax.data.dicom_header import Header
from pneumo_jax.data.dicom_scan import ITEM
from pneumo_jax.data.film import FilmError
from pneumo_jax.data.jpeg import decode_grey_jpeg

__all__ = ['decode_frame']

# In order of preference.
_PLUGINS = {
    uid.RLELossless: ('pylibjpeg', 'pydicom'),
    uid.JPEGBaseline8Bit: ('pillow',),
    uid.JPEGExtended12Bit: ('gdcm', 'pillow'),
    uid.JPEGLossless: ('gdcm',),
    uid.JPEGLosslessSV1: ('gdcm',),
    uid.JPEGLSLossless: ('pyjpegls', 'gdcm'),
    uid.JPEGLSNearLossless: ('pyjpegls', 'gdcm'),
    uid.JPEG2000Lossless: ('pylibjpeg', 'pillow'),
    uid.JPEG2000: ('pylibjpeg', 'pillow'),
    uid.HTJ2KLossless: ('pylibjpeg',),
    uid.HTJ2KLosslessRPCL: ('pylibjpeg',),
    uid.HTJ2K: ('pylibjpeg',),
}


def decode_frame(path, header: Header, *, reduce_to: int = 0) -> np.ndarray:
    """The stored values of the first frame.

    Args:
        path: for error messages.
        header: of ``read_header``, with sizes already checked.
        reduce_to: as in ``ReadOptions``.

    Returns:
        Integer [H,W], of BitsStored bits; or RGB, [H,W,3]. Smaller by a whole factor where
        ``reduce_to`` allows it and the grey values are the stored ones.

    Raises:
        FilmError: unknown_codec or broken_pixels.
    """
    syntax = header.syntax
    try:
        if _is_grey_jpeg(header):
            frame, _ = _checked_frame(path, header)
            # Means of grey values are those of stored values where these are shown linearly.
            reduce_to = reduce_to if _shows_stored_values(header) else 0
            return decode_grey_jpeg(frame, header.rows, header.columns, reduce_to=reduce_to)
        plugin = _plugin(path, syntax, _PLUGINS.get(syntax)) if syntax.is_compressed else ''
        if syntax.is_compressed and syntax != uid.RLELossless:
            frame, stream = _checked_frame(path, header)
            if stream.bits > 8 and syntax == uid.JPEGExtended12Bit:
                # Pillow reads JPEG Extended of 8 bit only.
                _plugin(path, syntax, ('gdcm',))
                return _significant_bits(_decode_extended_jpeg(frame, header), header)
        # By its index, or what stands behind the pixels would be taken for further frames.
        values = dicom_pixels.pixel_array(header.dataset, index=0, decoding_plugin=plugin)
    except (FilmError, KeyboardInterrupt, SystemExit):
        raise
    # Decoders raise whatever they like: a bare StopIteration where a frame is missing, and in Rust
    # (pylibjpeg-rle) they panic, which is no Exception.
    except BaseException as error:
        raise FilmError(
            'broken_pixels',
            f'{path}: its pixels cannot be decoded ({error!r}): copy or export it anew',
        ) from error
    return _significant_bits(values, header)


def _plugin(path, syntax, wanted):
    """Name of the decoder to use, the first of those wanted that is installed."""
    if wanted is None:
        raise FilmError(
            'unknown_codec',
            f'{path} is encoded by {syntax.name}, which is not read: export it uncompressed',
        )
    installed = dicom_pixels.get_decoder(syntax).available_plugins
    for plugin in wanted:
        if plugin in installed:
            return plugin
    raise FilmError(
        'unknown_codec',
        f'{path} is encoded by {syntax.name}, and no decoder for it is installed: '
        "pip install 'pneumo_jax[codecs]', or decompress the file with DCMTK or GDCM",
    )


def _checked_frame(path, header):
    """The first frame and what it says of itself, if it is of the header's size and whole."""
    pixel_data = header.bytes_of('PixelData')
    only = _only_fragment(pixel_data) if header.frames == 1 else None
    frame = only or get_frame(
        pixel_data,
        0,
        number_of_frames=header.frames,
        extended_offsets=_extended_offsets(header),
    )
    stream = read_codestream(frame)
    expected = (header.rows, header.columns)
    if (stream.height, stream.width) != expected:
        raise FilmError(
            'broken_pixels',
            f'{path}: the compressed picture is {stream.width} x {stream.height} pixels, the '
            f'header says {expected[1]} x {expected[0]}: export it anew',
        )
    if stream.bits > header.bits_allocated or stream.samples != header.samples:
        raise FilmError(
            'broken_pixels',
            f'{path}: the compressed picture has {stream.samples} samples of {stream.bits} bits a '
            f'pixel, the header says {header.samples} and allocates {header.bits_allocated}: '
            'export it anew',
        )
    if not stream.whole:
        raise FilmError(
            'broken_pixels',
            f'{path}: the compressed picture has no end, it is cut: copy or export it anew',
        )
    return frame, stream


def _only_fragment(pixel_data):
    """The one fragment behind the offset table, PS3.5 A.4; None where there are more, or none.

    Nearly all films are such, and pydicom takes ten times as long to find it.
    """
    position = 0
    for _ in range(2):
        if pixel_data[position : position + 4] != ITEM:
            return None
        start = position + 8
        position = start + int.from_bytes(pixel_data[start - 4 : start], 'little')
    return pixel_data[start:position] if position == len(pixel_data) else None


def _extended_offsets(header):
    if 'ExtendedOffsetTable' not in header or 'ExtendedOffsetTableLengths' not in header:
        return None
    return header.bytes_of('ExtendedOffsetTable'), header.bytes_of('ExtendedOffsetTableLengths')


def _is_grey_jpeg(header):
    return (
        header.syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
        and header.samples == 1
        and (header.bits_allocated, header.bits_stored, header.signed) == (8, 8, False)
    )


def _decode_extended_jpeg(frame, header):
    """Grey JPEG of 12 bit by GDCM itself, since pydicom 3.0.2 refuses to call it for these."""
    # Imported here because it comes with the extra only.
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((header.columns, header.rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, int(header.signed)))
    decoded = image.GetBuffer().encode('utf-8', 'surrogateescape')
    values = np.frombuffer(decoded, np.int16 if header.signed else np.uint16)
    return values.reshape(header.rows, header.columns)


def _shows_stored_values(header):
    return not any(
        name in header for name in ('ModalityLUTSequence', 'VOILUTSequence', 'WindowCenter')
    )


def _significant_bits(values, header):
    """Drops what some writers put into the bits that are not stored, such as overlays."""
    above = header.bits_allocated - 1 - header.high_bit
    below = header.high_bit + 1 - header.bits_stored
    if (above, below) == (0, 0) or values.ndim == 3:
        return values
    # To the top and back: what stands above is lost, and a sign fills its place.
    return (values << above) >> (above + below)
