import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate, encapsulate_extended, get_frame
from scipy import ndimage

from pneumo_jax.data.codestream import Codestream, read_codestream
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


@pytest.mark.parametrize('syntax', [*LOSSLESS[1:], *LOSSY], ids=lambda s: s.name)
@pytest.mark.parametrize('junk', [bytes(7), b'\xff' * 3, b'\0\xd3\x0c\x99\xfa'])
def test_what_stands_behind_the_end_of_a_frame_does_no_harm(tmp_path, syntax, junk):
    path = recompressed(write_native(tmp_path / 'a.dcm', 12), syntax)
    film = pydicom.dcmread(path)
    frame = get_frame(film.PixelData, 0, number_of_frames=1)
    film.PixelData = encapsulate([frame + junk])
    film.save_as(tmp_path / 'b.dcm')
    assert distance(path, tmp_path / 'b.dcm') == 0


def test_frames_beyond_those_announced_are_no_part_of_the_film(tmp_path):
    pixels = smooth(8)
    data = encapsulate([jpeg_bytes(pixels), jpeg_bytes(255 - pixels)])
    path = write_film(tmp_path / 'a.dcm', pixels, syntax=uid.JPEGBaseline8Bit)
    other = write_film(tmp_path / 'b.dcm', pixels, syntax=uid.JPEGBaseline8Bit, PixelData=data)
    assert distance(path, other) == 0


def first_frame_of(path, **elements):
    elements = {'NumberOfFrames': 3, **elements}
    path = write_film(path, smooth(8), syntax=uid.JPEGBaseline8Bit, **elements)
    return read_film(path, ReadOptions(first_frame=True)).pixels


@pytest.mark.parametrize('has_table', [True, False])
@pytest.mark.parametrize('fragments', [1, 4])
def test_the_first_of_several_frames_is_found(tmp_path, has_table, fragments):
    frames = [jpeg_bytes(smooth(8, seed=i)) for i in range(3)]
    data = encapsulate(frames, fragments_per_frame=fragments, has_bot=has_table)
    first = first_frame_of(tmp_path / 'a.dcm', PixelData=data)
    np.testing.assert_array_equal(first, decode_grey_jpeg(frames[0], 72, 88))


def test_an_extended_offset_table_tells_where_the_first_frame_is(tmp_path):
    frames = [jpeg_bytes(smooth(8, seed=i)) for i in range(3)]
    data, offsets, lengths = encapsulate_extended(frames)
    # In the order of the last frame first, which only the table tells.
    tables = {
        'ExtendedOffsetTable': np.frombuffer(offsets, '<u8')[::-1].tobytes(),
        'ExtendedOffsetTableLengths': np.frombuffer(lengths, '<u8')[::-1].tobytes(),
    }
    first = first_frame_of(tmp_path / 'a.dcm', PixelData=data, **tables)
    np.testing.assert_array_equal(first, decode_grey_jpeg(frames[2], 72, 88))


@pytest.mark.parametrize('syntax', LOSSLESS, ids=lambda s: s.name)
def test_the_first_of_several_frames_in_every_codec(tmp_path, syntax):
    frames = np.stack([smooth(12), smooth(12, seed=1)])
    elements = {'BitsStored': 12, 'HighBit': 11}
    path = write_film(tmp_path / 'a.dcm', frames, NumberOfFrames=2, Rows=72, Columns=88, **elements)
    first = read_film(recompressed(path, syntax), ReadOptions(first_frame=True)).pixels
    single = write_film(tmp_path / 'b.dcm', frames[0], **elements)
    np.testing.assert_array_equal(first, read_film(single).pixels)


def test_a_panic_of_the_rle_decoder_is_a_film_error(tmp_path):
    path = recompressed(write_native(tmp_path / 'a.dcm', 12), uid.RLELossless)
    film = pydicom.dcmread(path)
    frame = bytearray(get_frame(film.PixelData, 0, number_of_frames=1))
    # The first run of the first segment becomes one of 128 bytes, which is too many for the frame.
    frame[64] = 0x81
    film.PixelData = encapsulate([bytes(frame)])
    film.save_as(path)
    with pytest.raises(FilmError, match='PanicException') as caught:
        read_film(path)
    assert caught.value.code == 'broken_pixels'


def test_fault_07_samples_are_counted_before_decoding(tmp_path):
    path = recompressed(write_native(tmp_path / 'a.dcm', 12), uid.JPEG2000)
    content = path.read_bytes()
    # Of the SIZ segment, whose components may be 16384.
    position = content.index(b'\xff\x4f\xff\x51') + 4 + 36
    path.write_bytes(content[:position] + b'\x40\x00' + content[position + 2 :])
    with pytest.raises(FilmError, match='16384 samples of 12 bits'):
        read_film(path)


def test_codestreams_tell_their_size(tmp_path):
    assert read_codestream(jpeg_bytes(smooth(8))).whole
    with pytest.raises(ValueError, match='begins with'):
        read_codestream(b'GIF89a' + bytes(20))
    for end in (2, 10, 60):
        with pytest.raises(ValueError, match='without a frame header and a scan'):
            read_codestream(jpeg_bytes(smooth(8))[:end])
    expected = Codestream(height=72, width=88, samples=1, bits=8, whole=True)
    assert read_codestream(jpeg_bytes(smooth(8)) + b'\xff') == expected
    assert not read_codestream(jpeg_bytes(smooth(8))[:-2]).whole
    # A marker out of place, over which GDCM ends the process.
    data = jpeg_bytes(smooth(8))
    last_table = data.rindex(b'\xff\xc4')
    with pytest.raises(ValueError, match=f'no marker at byte {last_table}'):
        read_codestream(data[:last_table] + b'\xd7' + data[last_table + 1 :])


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
