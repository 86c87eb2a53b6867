"""PNG and JPEG files, and the standard picture of a film."""

from __future__ import annotations

import functools
import pathlib

import numpy as np
from PIL import Image
from scipy import sparse

from pneumo_jax.data.film import Film, FilmError, ReadOptions, check_size
from pneumo_jax.data.geometry import padding
from pneumo_jax.data.jpeg import decode_grey_jpeg

__all__ = ['luminance', 'picture_notes', 'read_picture', 'standard_picture', 'to_uint8']

# ITU-R BT.601.
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
_DEEP_MODES = ('I', 'I;16', 'I;16B', 'I;16L')
_GREY_MODES = ('1', 'L', 'LA', *_DEEP_MODES)
# A film that fills less of the 256 grey values shows next to nothing.
_LOW_CONTRAST = 32


def read_picture(path: pathlib.Path, picture_format: str, options: ReadOptions) -> Film:
    """Reads a PNG or JPEG file of 8 or 16 bit; colours become luminance, transparent pixels black.

    Raises:
        FilmError: too_large, bad_size, colour or broken_pixels.
    """
    try:
        with Image.open(path, formats=[picture_format]) as image:
            width, height = image.size
            check_size(path, height, width)
            mode = image.mode
            if mode not in _GREY_MODES and options.reject_colour:
                raise FilmError(
                    'colour', f'{path} is a colour picture ({mode}), refused by --reject_colour'
                )
            if (picture_format, mode) == ('JPEG', 'L'):
                pixels = decode_grey_jpeg(
                    path.read_bytes(), height, width, reduce_to=options.reduce_to
                )
            else:
                pixels = _picture_pixels(image)
    except FilmError:
        raise
    except Image.DecompressionBombError as error:
        raise FilmError('too_large', f'{path}: {error}') from error
    # Pillow raises whatever it likes on damaged files.
    except Exception as error:
        raise FilmError(
            'broken_pixels', f'{path} is a damaged {picture_format} file ({error}): copy it anew'
        ) from error
    return Film(
        pixels=pixels,
        height=height,
        width=width,
        view_position='',
        sex='',
        age=-1,
        transfer_syntax=picture_format,
        photometric=mode,
        bits_stored=16 if mode in _DEEP_MODES else 1 if mode == '1' else 8,
        manufacturer='',
        window='full range',
        notes=picture_notes(pixels),
    )


def standard_picture(pixels: np.ndarray, image_size: int) -> np.ndarray:
    """The picture that models see: a centred square with black margins, averaged over areas.

    Args:
        pixels: uint8 [H,W].
        image_size: side S of the square.

    Returns:
        uint8 [S,S]. A larger film is reduced by exact area means, a smaller one enlarged
        bilinearly. Where film pixels stand in it: ``data.geometry``.
    """
    square = _centred_square(pixels)
    side = len(square)
    if side % image_size == 0:
        return np.asarray(Image.fromarray(square).reduce(side // image_size))
    if side < image_size:
        size = (image_size, image_size)
        return np.asarray(Image.fromarray(square).resize(size, Image.Resampling.BILINEAR))
    weights = _area_weights(image_size, side)
    return to_uint8((weights @ (weights @ square.astype(np.float32)).T).T)


def luminance(colours: np.ndarray, bits: int) -> np.ndarray:
    """RGB [H,W,3] of so many bits as grey values, uint8 [H,W]."""
    return to_uint8(colours.astype(np.float32) @ _LUMINANCE * (255 / (2**bits - 1)))


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Rounded half up, clipped to [0, 255]."""
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def picture_notes(pixels: np.ndarray) -> tuple[str, ...]:
    """What is odd about a film's pixels, uint8 [H,W]."""
    # Few pixels tell of nearly every film that nothing is odd.
    if np.ptp(pixels[::16, ::16]) >= _LOW_CONTRAST:
        return ()
    spread = np.ptp(pixels)
    if spread == 0:
        return ('constant picture',)
    return ('low contrast',) if spread < _LOW_CONTRAST else ()


def _picture_pixels(image):
    if image.mode in _DEEP_MODES:
        return to_uint8(np.asarray(image).astype(np.float64) * (255 / 65535))
    if image.mode == 'L' and 'transparency' not in image.info:
        return np.asarray(image)
    colours = np.asarray(image.convert('RGBA'), np.float32)
    return to_uint8(colours[..., :3] @ _LUMINANCE * (colours[..., 3] / 255))


def _centred_square(pixels):
    height, width = pixels.shape
    if height == width:
        return pixels
    top, left = padding(np.array([height, width]))
    square = np.zeros((max(height, width),) * 2, np.uint8)
    square[top : top + height, left : left + width] = pixels
    return square


@functools.lru_cache(maxsize=64)
def _area_weights(count, side):
    """Sparse float32 [count,side]: the share of each of ``side`` pixels in each of ``count``."""
    # In a grid so fine that the edges of both are whole numbers.
    new, old = np.arange(count)[:, None] * side, np.arange(side) * count
    overlap = np.minimum(new + side, old + count) - np.maximum(new, old)
    return sparse.csr_array((overlap.clip(0) / side).astype(np.float32))
