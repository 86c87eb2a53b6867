"""PNG and JPEG files as films, and the standard picture of a film."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from pneumo_jax.data import picture
from pneumo_jax.data.dicom import ReadOptions, read_film, standard_picture
from tests.film_files import refusal

RNG = np.random.default_rng(0)
PIXELS_8 = RNG.integers(0, 256, (40, 40), np.uint8)
# Rows that differ, and columns that do.
SLOPE = np.add.outer(2 * np.arange(40), 4 * np.arange(32)).astype(np.uint8)
COLOURS = np.stack([SLOPE, SLOPE[::-1], 255 - SLOPE], axis=2)
LUMINANCE = COLOURS @ np.array([0.299, 0.587, 0.114])


def save(image, path, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize(('mode', 'suffix'), [('L', 'png'), ('L', 'jpeg'), ('RGB', 'png')])
def test_pictures_are_read_like_films(tmp_path, mode, suffix):
    grey = np.tile(np.arange(0, 240, 6, dtype=np.uint8), (40, 1))
    path = tmp_path / 'no_suffix'
    Image.fromarray(grey).convert(mode).save(path, suffix)
    film = read_film(path)
    assert np.abs(film.pixels.astype(int) - grey).max() <= 2
    assert film.transfer_syntax == suffix.upper()


@pytest.mark.parametrize('bits', [1, 2, 4])
def test_pictures_of_few_bits_reach_from_black_to_white(tmp_path, bits):
    values = RNG.integers(0, 2**bits, (16, 24), np.uint8)
    path = tmp_path / 'a.png'
    if bits == 1:
        Image.fromarray(values.astype(bool)).save(path)
    else:
        path.write_bytes(grey_png(values, bits))
    np.testing.assert_array_equal(read_film(path).pixels, values * (255 // (2**bits - 1)))


def grey_png(values, bits) -> bytes:
    """A grey PNG of less than 8 bits, which Pillow does not write."""
    shifts = np.arange(8 - bits, -1, -bits)
    packed = (values.reshape(len(values), -1, 8 // bits) << shifts).sum(axis=2).astype(np.uint8)
    rows = b''.join(b'\0' + row.tobytes() for row in packed)
    size = struct.pack('>IIBBBBB', values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    chunks = ((b'IHDR', size), (b'IDAT', zlib.compress(rows)), (b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(png_chunk(*chunk) for chunk in chunks)


def png_chunk(name, data) -> bytes:
    checked = name + data
    return struct.pack('>I', len(data)) + checked + struct.pack('>I', zlib.crc32(checked))


def test_16_bit_pictures_are_scaled_exactly(tmp_path):
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    film = read_film(save(Image.fromarray(deep), tmp_path / 'a.png'))
    assert np.abs(film.pixels - deep / 257).max() <= 0.5
    assert (film.bits_stored, film.pixels.min(), film.pixels.max()) == (16, 0, 255)


def test_16_bit_pictures_may_have_a_transparent_value(tmp_path):
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    content = save(Image.fromarray(deep), tmp_path / 'a.png').read_bytes()
    # The palette of transparency stands before the pixels.
    place = content.index(b'IDAT') - 4
    value = png_chunk(b'tRNS', struct.pack('>H', 65535))
    (tmp_path / 'a.png').write_bytes(content[:place] + value + content[place:])
    pixels = read_film(tmp_path / 'a.png').pixels
    assert (pixels[-1, -1], pixels[-1, -2]) == (0, 254)


@pytest.mark.parametrize('mode', ['LA', 'RGBA', 'PA'])
def test_transparent_pixels_are_black_by_as_much(tmp_path, mode):
    alpha = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (40, 1))
    image = Image.merge('LA', [Image.fromarray(SLOPE), Image.fromarray(alpha)])
    path = save(image.convert('RGBA') if mode == 'PA' else image.convert(mode), tmp_path / 'a.png')
    assert np.abs(read_film(path).pixels - SLOPE * (alpha / 255)).max() <= 0.51


@pytest.mark.parametrize('mode', ['L', 'RGB', 'P'])
def test_a_transparent_colour_is_black(tmp_path, mode):
    image = Image.new('L', (8, 8), 200)
    image.paste(90, (0, 0, 4, 8))
    image = image.convert(mode)
    key = image.getpixel((7, 0))
    film = read_film(save(image, tmp_path / 'a.png', transparency=key))
    assert np.unique(film.pixels).tolist() == [0, 90]


@pytest.mark.parametrize(
    ('name', 'options'),
    [('a.png', {}), ('a.jpg', {'quality': 98}), ('a.jpg', {'quality': 98, 'progressive': True})],
)
def test_colours_become_luminance(tmp_path, name, options):
    path = save(Image.fromarray(COLOURS), tmp_path / name, **options)
    assert np.abs(read_film(path).pixels - LUMINANCE).max() <= (3 if options else 0.51)
    assert refusal(path, ReadOptions(reject_colour=True)) == 'colour'


def test_palettes_are_applied(tmp_path):
    image = Image.fromarray(COLOURS).quantize(64)
    path = save(image, tmp_path / 'a.png')
    expected = np.asarray(image.convert('RGB')) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_film(path).pixels - expected).max() <= 0.51


def test_cmyk_is_read_as_adobe_writes_it(tmp_path):
    path = save(Image.fromarray(COLOURS).convert('CMYK'), tmp_path / 'a.jpg', quality=98)
    assert np.abs(read_film(path).pixels - LUMINANCE).max() <= 4


def test_the_kind_is_told_by_the_content(tmp_path):
    path = save(Image.fromarray(SLOPE), tmp_path / 'a.jpg', format='PNG')
    film = read_film(path)
    np.testing.assert_array_equal(film.pixels, SLOPE)
    assert film.transfer_syntax == 'PNG'


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize(('mode', 'name'), [('L', 'a.jpg'), ('RGB', 'a.jpg'), ('L', 'a.png')])
def test_pictures_are_turned_as_their_exif_says(tmp_path, orientation, mode, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.fromarray(SLOPE).convert(mode), tmp_path / name, exif=exif)
    with Image.open(path) as image:
        seen = np.asarray(ImageOps.exif_transpose(image).convert('L'))
    film = read_film(path)
    assert np.abs(film.pixels.astype(int) - seen).max() <= 1
    assert (film.height, film.width) == seen.shape
    assert ('turned as its EXIF orientation says' in film.notes) == (orientation > 1)


def test_animations_are_refused_unless_the_first_frame_is_asked_for(tmp_path):
    frames = [Image.fromarray(SLOPE), Image.fromarray(255 - SLOPE)]
    path = save(frames[0], tmp_path / 'a.png', save_all=True, append_images=frames[1:])
    assert refusal(path) == 'multi_frame'
    film = read_film(path, ReadOptions(first_frame=True))
    np.testing.assert_array_equal(film.pixels, SLOPE)
    assert 'first of several frames' in film.notes


def test_large_pictures_are_computed_in_bands(tmp_path, monkeypatch):
    deep = np.linspace(0, 65535, 40 * 32).astype(np.uint16).reshape(40, 32)
    paths = [
        save(Image.fromarray(COLOURS), tmp_path / 'a.png'),
        save(Image.fromarray(COLOURS).quantize(64), tmp_path / 'b.png'),
        save(Image.fromarray(deep), tmp_path / 'c.png'),
    ]
    whole = [read_film(path).pixels for path in paths]
    # Three rows at a time, and one left.
    monkeypatch.setattr(picture, '_BAND_PIXELS', 3 * 32)
    for path, pixels in zip(paths, whole, strict=True):
        np.testing.assert_array_equal(read_film(path).pixels, pixels)


@pytest.mark.parametrize('name', ['a.png', 'a.jpg'])
@pytest.mark.parametrize('mode', ['L', 'RGB'])
def test_fault_02_cut_pictures_are_refused(tmp_path, name, mode):
    path = save(Image.fromarray(PIXELS_8).convert(mode), tmp_path / name)
    content = path.read_bytes()
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        assert refusal(path) == 'broken_pixels'


def test_fault_05_pictures_of_too_many_values_are_refused_undecoded(tmp_path):
    path = save(Image.new('L', (9000, 8000)), tmp_path / 'a.png')
    assert refusal(path) == 'too_large'
    # Few enough pixels, but not in three colours.
    path = save(Image.new('RGB', (6000, 4000)), tmp_path / 'b.png')
    assert refusal(path) == 'too_large'


@pytest.mark.parametrize('name', [b'zTXt', b'iCCP'])
def test_fault_07_chunks_that_inflate_to_a_lot_are_refused(tmp_path, name):
    content = save(Image.fromarray(PIXELS_8), tmp_path / 'a.png').read_bytes()
    place = content.index(b'IDAT') - 4
    bomb = png_chunk(name, b'x\0\0' + zlib.compress(bytes(50 * 2**20)))
    (tmp_path / 'a.png').write_bytes(content[:place] + bomb + content[place:])
    assert refusal(tmp_path / 'a.png') == 'broken_pixels'


def test_standard_picture_is_the_block_mean():
    pixels = RNG.integers(0, 256, (96, 96), np.uint8)
    means = pixels.reshape(24, 4, 24, 4).mean(axis=(1, 3))
    assert np.abs(standard_picture(pixels, 24) - means).max() <= 0.5


def test_standard_picture_is_the_exact_area_mean_at_any_factor():
    pixels = RNG.integers(0, 256, (50, 50), np.uint8)
    # Each pixel as 8x8 makes the factor whole: 400 / 40.
    means = np.kron(pixels, np.ones((8, 8))).reshape(40, 10, 40, 10).mean(axis=(1, 3))
    assert np.abs(standard_picture(pixels, 40) - means).max() <= 0.501


def test_standard_picture_pads_to_a_centred_square():
    picture = standard_picture(np.full((20, 40), 200, np.uint8), 40)
    assert picture.shape == (40, 40)
    assert (picture[10:30] == 200).all()
    assert picture[:10].max() == picture[30:].max() == 0


def test_standard_picture_enlarges():
    assert standard_picture(np.full((10, 10), 90, np.uint8), 24).tolist() == [[90] * 24] * 24
