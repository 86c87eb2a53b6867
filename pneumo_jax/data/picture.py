"""PNG and JPEG files, and the standard picture of a film."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

from pneumo_jax.data.film import (
    Film,
    FilmError,
    ReadOptions,
    check_colour,
    check_frames,
    check_size,
)
from pneumo_jax.data.geometry import padding
from pneumo_jax.data.jpeg import decode_grey_jpeg

__all__ = ['in_bands', 'luminance', 'picture_notes', 'read_picture', 'standard_picture', 'to_uint8']

# ITU-R BT.601.
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
_DEEP_MODES = ('I', 'I;16', 'I;16B', 'I;16L')
_GREY_MODES = ('1', 'L', 'LA', *_DEEP_MODES)
# How a picture is shown that was taken or scanned at an angle, by its EXIF orientation.
_TURNS = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).T,
    8: np.rot90,
}
# Computed at once; the numbers in between would take gigabytes for a large film.
_BAND_PIXELS = 2**20
# A film that fills less of the 256 grey values shows next to nothing.
_LOW_CONTRAST = 32


def read_picture(path: pathlib.Path, picture_format: str, options: ReadOptions) -> Film:
    """Reads a PNG or JPEG file of up to 16 bit, turned as its EXIF orientation says.

    Colours become luminance, and transparent pixels black.

    Raises:
        FilmError: too_large, bad_size, colour, multi_frame or broken_pixels.
    """
    try:
        with Image.open(path, formats=[picture_format]) as image:
            mode = image.mode
            notes = _check_picture(path, image, options)
            pixels = _picture_pixels(path, image, options)
            height, width = image.height, image.width
            turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except FilmError:
        raise
    except Image.DecompressionBombError as error:
        raise FilmError('too_large', f'{path}: {error}') from error
    # Pillow raises whatever it likes on damaged files.
    except Exception as error:
        raise FilmError(
            'broken_pixels', f'{path} is a damaged {picture_format} file ({error}): copy it anew'
        ) from error
    if turn:
        pixels = np.ascontiguousarray(turn(pixels))
        height, width = turn(np.broadcast_to(0, (height, width))).shape
        notes = (*notes, 'turned as its EXIF orientation says')
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
        pixel_spacing=None,
        window='full range',
        notes=(*notes, *picture_notes(pixels)),
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
    if side == image_size:
        return square
    if side < image_size:
        size = (image_size, image_size)
        return np.asarray(Image.fromarray(square).resize(size, Image.Resampling.BILINEAR))
    if side == 4 * image_size:
        return _quarter(square)
    if side % image_size == 0:
        return np.asarray(Image.fromarray(square).reduce(side // image_size))
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
    if np.ptp(pixels[::64, ::64]) >= _LOW_CONTRAST:
        return ()
    spread = np.ptp(pixels)
    if spread == 0:
        return ('constant picture',)
    return ('low contrast',) if spread < _LOW_CONTRAST else ()


def in_bands(function: Callable, pixels: np.ndarray) -> np.ndarray:
    """``function(pixels)`` by some rows at a time.

    Args:
        function: of [h,W,...], gives uint8 [h,W].
        pixels: [H,W,...].

    Returns:
        uint8 [H,W].
    """
    grey = np.empty(pixels.shape[:2], np.uint8)
    for rows in _bands(*grey.shape):
        grey[rows] = function(pixels[rows])
    return grey


def _bands(height, width):
    step = max(1, _BAND_PIXELS // width)
    return [slice(top, min(top + step, height)) for top in range(0, height, step)]


def _check_picture(path, image, options):
    """Refuses what the header promises, before anything is decoded; notes of what it is."""
    check_size(path, image.height, image.width, len(image.getbands()))
    if image.mode not in _GREY_MODES:
        check_colour(path, image.mode, options)
    return check_frames(path, getattr(image, 'n_frames', 1), options)


def _picture_pixels(path, image, options):
    if (image.format, image.mode) == ('JPEG', 'L'):
        return decode_grey_jpeg(
            path.read_bytes(), image.height, image.width, reduce_to=options.reduce_to
        )
    if image.mode == 'L' and 'transparency' not in image.info:
        return np.asarray(image)
    grey = np.empty((image.height, image.width), np.uint8)
    for rows in _bands(*grey.shape):
        grey[rows] = _composed(image.crop((0, rows.start, image.width, rows.stop)))
    return grey


def _composed(image):
    """Grey values on a black ground."""
    transparent = image.info.get('transparency')
    if image.mode in _DEEP_MODES:
        values = np.asarray(image)
        grey = to_uint8(values * (255 / 65535))
        return grey if transparent is None else np.where(values == transparent, 0, grey)
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


def _quarter(square):
    """Means of 4x4 pixels, rounded half up: RSNA's at 256 px, in two thirds of Pillow's time."""
    # Two pixels in each number of 16 bit, left + 256 * right: four of them wrap around, but less
    # 255 times the right ones they are the sum of both, 8 * 255 at most.
    pairs = np.ascontiguousarray(square).view('<u2').reshape(len(square) // 4, 4, -1)
    sums = pairs[:, 0] + pairs[:, 1]
    sums += pairs[:, 2]
    sums += pairs[:, 3]
    right = pairs[:, 0] >> 8
    for row in range(1, 4):
        right += pairs[:, row] >> 8
    right *= 255
    sums -= right
    # Again two neighbours in each number, of 32 bit; of their sum the lowest byte is kept.
    sums = sums.view('<u4')
    means = sums + (sums >> 16)
    means += 8
    means >>= 4
    return means.astype(np.uint8)


@functools.lru_cache(maxsize=64)
def _area_weights(count, side):
    """Sparse float32 [count,side]: the share of each of ``side`` pixels in each of ``count``."""
    # Imported here for the start of workers: whole factors, RSNA's among them, do without.
    from scipy import sparse

    # In a grid so fine that the edges of both are whole numbers.
    new, old = np.arange(count)[:, None] * side, np.arange(side) * count
    overlap = np.minimum(new + side, old + count) - np.maximum(new, old)
    return sparse.csr_array((overlap.clip(0) / side).astype(np.float32))
