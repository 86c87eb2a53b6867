"""Grey JPEG pictures of 8 bit, decoded straight by libjpeg-turbo: most films are such."""

from __future__ import annotations

import numpy as np
import simplejpeg

from pneumo_jax.data.geometry import padding

__all__ = ['decode_grey_jpeg']

_DCT_FACTORS = (8, 4, 2)


def decode_grey_jpeg(data: bytes, height: int, width: int, *, reduce_to: int = 0) -> np.ndarray:
    """Decodes a JPEG of known size.

    Args:
        data: the codestream.
        height: in pixels, as its header tells.
        width: in pixels.
        reduce_to: as in ``ReadOptions``.

    Returns:
        uint8 [height/f,width/f], f = 1 unless ``reduce_to`` allows 2, 4 or 8.

    Raises:
        ValueError: if it is damaged or cut.
    """
    factor = _dct_factor(height, width, reduce_to) if reduce_to else 1
    pixels = simplejpeg.decode_jpeg(
        data,
        'GRAY',
        min_height=height // factor,
        min_width=width // factor,
        min_factor=factor,
        # So that damaged data are an error and not grey bars.
        strict=True,
    )
    return pixels[:, :, 0]


def _dct_factor(height, width, reduce_to):
    """The largest by which sides and margins stay whole, and the area means nearly the same.

    They do where each takes in whole pixels of the smaller picture, or more than two a side.
    """
    size = np.array([height, width])
    for factor in _DCT_FACTORS:
        whole = not (size % factor).any() and not (padding(size) % factor).any()
        side = size.max() // factor
        if whole and side >= reduce_to and (side % reduce_to == 0 or side >= 2 * reduce_to):
            return factor
    return 1
