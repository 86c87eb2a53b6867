import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame
from scipy import ndimage

from pneumo_jax.data.codestream import read_codestream
from pneumo_jax.data.dicom import FilmError, ReadOptions, read_film
from pneumo_jax.data.jpeg import decode_grey_jpeg
from pneumo_jax.data.picture import standard_picture
from tests.dcmtk import compress, needs_dcmtk
from tests.film_files import jpeg_bytes, write_film

LOSSLESS = [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless]
LOSSY = {uid.JPEGLSNearLossless: {'jls_error': 3}, uid.JPEG2000: {'j2k_cr': [8]}}
JPEGS = {
    uid.JPEGLosslessSV1: ['+e1'],
    uid.JPEGLossless: ['+el'],
    uid.JPEGExtended12Bit: ['+ee', '+bt'],
}


def smooth(bits, signed=False, shape=(72, 88), seed=0):
    """A picture like a film, its values over all of the stored range."""
    noise = np.random.default_rng(seed).normal(size=shape)
    blurred = ndimage.gaussian_filter(noise, 6)
    share = (blurred - blurred.min()) / np.ptp(blurred)
    values = np.round(share * (2**bits - 1)) - (2 ** (bits - 1) if signed else 0)
    width = 8 if bits <= 8 else 16
    return values.astype(f'{"i" if signed else "u"}{width // 8}')


def write_native(path, bits, signed=False, **elements):
    pixels = smooth(bits, signed)
    return write_film(path, pixels, BitsStored=bits, HighBit=bits - 1, **elements)


def recompressed(path, syntax):
    """The film in another transfer syntax, beside it."""
    film = pydicom.dcmread(path)
    film.compress(syntax, generate_instance_uid=False, **LOSSY.get(syntax, {}))
    out = path.with_suffix('.compressed.dcm')
    film.save_as(out)
    return out


def distance(path, other):
    return np.abs(read_film(path).pixels.astype(int) - read_film(other).pixels).max()


@pytest.mark.parametrize('syntax', LOSSLESS, ids=lambda s: s.name)
@pytest.mark.parametrize(('bits', 'signed'), [(8, False), (10, False), (12, True), (16, False)])
def test_lossless_syntaxes_lose_nothing(tmp_path, syntax, bits, signed):
    path = write_native(tmp_path / 'a.dcm', bits, signed)
    other = recompressed(path, syntax)
    assert read_film(other).transfer_syntax == syntax
    assert read_film(other).bits_stored == bits
    assert distance(path, other) == 0


@pytest.mark.parametrize('syntax', LOSSY, ids=lambda s: s.name)
def test_lossy_syntaxes_lose_little(tmp_path, syntax):
    path = write_native(tmp_path / 'a.dcm', 12)
    assert distance(path, recompressed(path, syntax)) <= 2


@needs_dcmtk
@pytest.mark.parametrize('syntax', JPEGS, ids=lambda s: s.name)
@pytest.mark.parametrize('bits', [8, 12])
def test_jpeg_syntaxes_as_dcmtk_writes_them(tmp_path, syntax, bits):
    path = write_native(tmp_path / 'a.dcm', bits)
    other = compress(path, *JPEGS[syntax])
    assert pydicom.dcmread(other).file_meta.TransferSyntaxUID == syntax
    assert distance(path, other) <= (0 if syntax in (uid.JPEGLosslessSV1, uid.JPEGLossless) else 2)


@pytest.mark.parametrize('syntax', [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
@pytest.mark.parametrize(('bits', 'signed'), [(8, False), (12, True), (16, False)])
def test_byte_orders_and_implicit_vr(tmp_path, syntax, bits, signed):
    pixels = smooth(bits, signed)
    elements = {'BitsStored': bits, 'HighBit': bits - 1}
    native = write_film(tmp_path / 'a.dcm', pixels, **elements)
    if syntax == uid.ExplicitVRBigEndian:
        # Written as 16-bit words, whose bytes change places also where a word is two pixels.
        elements['PixelData'] = pixels.view('u2').byteswap().tobytes()
    assert distance(native, write_film(tmp_path / 'b.dcm', pixels, syntax=syntax, **elements)) == 0


def test_fragmented_frames_are_put_together(tmp_path):
    pixels = smooth(8)
    data = jpeg_bytes(pixels)
    path = write_film(tmp_path / 'a.dcm', pixels, syntax=uid.JPEGBaseline8Bit)
    fragments = encapsulate([data], fragments_per_frame=5)
    assert fragments.count(b'\xfe\xff\x00\xe0') >= 6
    other = write_film(tmp_path / 'b.dcm', pixels, syntax=uid.JPEGBaseline8Bit, PixelData=fragments)
    assert distance(path, other) == 0


def test_bits_beyond_those_stored_are_no_pixels(tmp_path):
    pixels = smooth(12)
    path = write_film(tmp_path / 'a.dcm', pixels, BitsStored=12, HighBit=11)
    overlaid = pixels | 0x9000
    other = write_film(tmp_path / 'b.dcm', overlaid, BitsStored=12, HighBit=11)
    high = write_film(tmp_path / 'c.dcm', (pixels << 4) | 5, BitsStored=12, HighBit=15)
    assert distance(path, other) == distance(path, high) == 0


@pytest.mark.parametrize('syntax', [*LOSSLESS, *LOSSY], ids=lambda s: s.name)
def test_fault_02_cut_codestreams_are_refused(tmp_path, syntax):
    path = recompressed(write_native(tmp_path / 'a.dcm', 12), syntax)
    film = pydicom.dcmread(path)
    frame = get_frame(film.PixelData, 0, number_of_frames=1)
    for share in (0.1, 0.5, 0.9, 0.99):
        film.PixelData = encapsulate([frame[: int(share * len(frame)) // 2 * 2]])
        film.save_as(path)
        with pytest.raises(FilmError) as caught:
            read_film(path)
        assert caught.value.code == 'broken_pixels'


@pytest.mark.parametrize('syntax', [*LOSSLESS[1:], *LOSSY], ids=lambda s: s.name)
def test_fault_07_size_is_checked_before_decoding_in_every_codec(tmp_path, syntax):
    path = recompressed(write_native(tmp_path / 'a.dcm', 12), syntax)
    film = pydicom.dcmread(path)
    film.Rows = 40
    film.save_as(path)
    with pytest.raises(FilmError, match='88 x 72 pixels, the header says 88 x 40'):
        read_film(path)


def test_codestreams_tell_their_size(tmp_path):
    assert read_codestream(jpeg_bytes(smooth(8))).whole
    with pytest.raises(ValueError, match='begins with'):
        read_codestream(b'GIF89a' + bytes(20))
    for end in (2, 10, 60):
        with pytest.raises(ValueError, match='without a frame header'):
            read_codestream(jpeg_bytes(smooth(8))[:end])
    stream = read_codestream(jpeg_bytes(smooth(8)) + b'\xff')
    assert (stream.height, stream.width, stream.bits, stream.whole) == (72, 88, 8, True)
    assert not read_codestream(jpeg_bytes(smooth(8))[:-2]).whole


@pytest.mark.parametrize('shape', [(256, 256), (200, 256), (256, 72), (250, 256)])
@pytest.mark.parametrize('target', [16, 64, 100])
def test_dct_scaling_agrees_with_the_area_mean(shape, target):
    pixels = smooth(8, shape=shape)
    data = jpeg_bytes(pixels)
    reduced = decode_grey_jpeg(data, *shape, reduce_to=target)
    exact = decode_grey_jpeg(data, *shape)
    # 250 is no multiple of 4, and 128 less than twice 100: what is left out would show.
    assert (reduced.shape == exact.shape) == (target == 100 or shape == (250, 256))
    assert max(reduced.shape) >= target
    difference = standard_picture(reduced, target).astype(int) - standard_picture(exact, target)
    assert np.abs(difference).max() <= 2


def test_dct_scaling_leaves_windowed_films_exact(tmp_path):
    pixels = smooth(8, shape=(64, 64))
    for elements in ({'WindowCenter': 100, 'WindowWidth': 50}, {}):
        path = write_film(tmp_path / 'a.dcm', pixels, syntax=uid.JPEGBaseline8Bit, **elements)
        film = read_film(path, ReadOptions(reduce_to=16))
        assert film.pixels.shape == ((64, 64) if elements else (16, 16))
        assert (film.height, film.width) == (64, 64)
