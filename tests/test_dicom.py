import os
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from pneumo_jax.data.dicom import FilmError, ReadOptions, read_film, standard_picture
from tests.film_files import jpeg_bytes, write_film

RNG = np.random.default_rng(0)
PIXELS_8 = RNG.integers(0, 256, (40, 40), np.uint8)
RAMP_12 = np.linspace(0, 4095, 1600).astype(np.uint16).reshape(40, 40)


def test_8_bit_values_stay_as_they_are(tmp_path):
    film = read_film(write_film(tmp_path / 'a.dcm', PIXELS_8, PatientAge='045Y'))
    np.testing.assert_array_equal(film.pixels, PIXELS_8)
    assert (film.view_position, film.sex, film.age) == ('PA', 'F', 45)


def test_fault_12_monochrome1_is_inverted(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, PhotometricInterpretation='MONOCHROME1')
    np.testing.assert_array_equal(read_film(path).pixels, 255 - PIXELS_8)


@pytest.mark.parametrize('bits', [10, 12, 16])
def test_fault_15_stored_bits_scale_to_the_full_range(tmp_path, bits):
    top = 2**bits - 1
    ramp = np.linspace(0, top, 1600).astype(np.uint16).reshape(40, 40)
    film = read_film(write_film(tmp_path / 'a.dcm', ramp, BitsStored=bits, HighBit=bits - 1))
    assert np.abs(film.pixels - ramp * (255 / top)).max() <= 0.5


def test_fault_15_signed_values_keep_their_order(tmp_path):
    ramp = np.linspace(-2048, 2047, 1600).astype(np.int16).reshape(40, 40)
    film = read_film(write_film(tmp_path / 'a.dcm', ramp, BitsStored=12, HighBit=11))
    assert np.abs(film.pixels - (ramp + 2048.0) * (255 / 4095)).max() <= 0.5


def test_fault_18_constant_picture_is_flagged(tmp_path):
    film = read_film(write_film(tmp_path / 'a.dcm', np.full((8, 8), 7, np.uint8)))
    assert 'constant picture' in film.notes


@pytest.mark.parametrize(
    ('text', 'years'),
    [('45', 45), ('045Y', 45), ('18M', 1), ('030W', 0), ('148', 148), ('', -1), ('Y', -1)],
)
def test_ages(tmp_path, text, years):
    with pydicom.config.disable_value_validation():
        path = write_film(tmp_path / 'a.dcm', PIXELS_8, PatientAge=text)
    assert read_film(path).age == years


def test_ages_without_unit_make_no_noise(tmp_path):
    with pydicom.config.disable_value_validation():
        path = write_film(tmp_path / 'a.dcm', PIXELS_8, PatientAge='45')
    code = f'from pneumo_jax.data.dicom import read_film; assert read_film({str(path)!r}).age == 45'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, '')


def test_identity_is_not_kept(tmp_path):
    assert 'ecret' not in repr(read_film(write_film(tmp_path / 'a.dcm', PIXELS_8)))


@pytest.mark.parametrize(
    ('code', 'elements'),
    [
        ('no_pixel_data', {'PixelData': None}),
        ('bad_size', {'Rows': 0}),
        ('bad_size', {'Columns': None}),
        ('too_large', {'Rows': 40000, 'Columns': 40000}),
        ('too_large', {'NumberOfFrames': 1_000_000}),
        ('multi_frame', {'NumberOfFrames': 2}),
        ('wrong_modality', {'Modality': 'CT'}),
        ('wrong_modality', {'Modality': None}),
        ('lateral_view', {'ViewPosition': 'LL'}),
        ('broken_pixels', {'PixelData': b'12'}),
        ('unsupported_pixels', {'BitsStored': 12}),
    ],
)
def test_bad_headers_are_refused_with_their_reason(tmp_path, code, elements):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, **elements)
    with pytest.raises(FilmError, match=str(path)) as caught:
        read_film(path)
    assert caught.value.code == code


def test_any_modality_takes_what_is_no_frontal_film(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, Modality='CT', ViewPosition='LL')
    film = read_film(path, ReadOptions(any_modality=True))
    assert film.view_position == ''
    assert 'view position neither AP nor PA' in film.notes


@pytest.mark.parametrize('content', [b'', b'text', b'<!DOCTYPE html>' * 20, b'\0' * 500])
def test_fault_01_other_files_are_not_dicom(tmp_path, content):
    path = tmp_path / 'a.dcm'
    path.write_bytes(content)
    with pytest.raises(FilmError) as caught:
        read_film(path)
    assert caught.value.code == 'not_dicom'


def test_pipes_and_folders_are_refused(tmp_path):
    os.mkfifo(tmp_path / 'pipe.dcm')
    for path in (tmp_path / 'pipe.dcm', tmp_path, tmp_path / 'missing.dcm'):
        with pytest.raises(FilmError) as caught:
            read_film(path)
        assert caught.value.code == 'not_a_file'


def test_fault_02_truncated_files_are_refused_wherever_they_are_cut(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, syntax=uid.JPEGBaseline8Bit)
    content = path.read_bytes()
    assert read_film(path).pixels.shape == (40, 40)
    for end in range(0, len(content) - 100, 41):
        path.write_bytes(content[:end])
        with pytest.raises(FilmError):
            read_film(path)


def test_flipped_bytes_raise_nothing_but_film_errors(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, syntax=uid.JPEGBaseline8Bit)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    for trial in range(150):
        damaged = content.copy()
        rng = np.random.default_rng(trial)
        damaged[rng.integers(128, len(content), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            read_film(path)
        except FilmError as error:
            assert error.code


def test_fault_60_warnings_quote_no_value_of_the_header(tmp_path, recwarn):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8)
    # The transfer syntax with a length that takes in the elements behind it.
    syntax = b'\x02\x00\x10\x00UI\x14\x00'
    content = path.read_bytes()
    assert content.count(syntax) == 1
    path.write_bytes(content.replace(syntax, syntax[:-2] + b'\x4f\x00'))
    recwarn.clear()
    with pytest.raises(FilmError):
        read_film(path)
    assert not [w for w in recwarn if 'PYDICOM' in str(w.message)]


def test_fault_06_and_07_frame_of_another_size_is_refused_undecoded(tmp_path):
    bomb = encapsulate([jpeg_bytes(np.zeros((8000, 8000), np.uint8))])
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, syntax=uid.JPEGBaseline8Bit, PixelData=bomb)
    with pytest.raises(FilmError, match='8000 x 8000 pixels, the header says 40 x 40'):
        read_film(path)


def test_fault_08_deflated_is_refused(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, syntax=uid.DeflatedExplicitVRLittleEndian)
    with pytest.raises(FilmError) as caught:
        read_film(path)
    assert caught.value.code == 'deflated'


@pytest.mark.parametrize(
    ('syntax', 'remedy'),
    [
        (uid.MPEG2MPML, 'export it uncompressed'),
        (uid.UID('1.2.3.4.5'), "'1.2.3.4.5', which is no known transfer syntax"),
        (uid.JPEG2000, 'begins with'),
    ],
)
def test_fault_09_unknown_and_garbage_codecs_are_refused(tmp_path, syntax, remedy):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, syntax=uid.JPEGBaseline8Bit)
    film = pydicom.dcmread(path)
    film.PixelData = encapsulate([b'1234'])
    film.file_meta.TransferSyntaxUID = syntax
    film.save_as(path, implicit_vr=False, little_endian=True)
    with pytest.raises(FilmError, match=remedy) as caught:
        read_film(path)
    assert caught.value.code == ('broken_pixels' if syntax == uid.JPEG2000 else 'unknown_codec')


@pytest.mark.parametrize(
    'syntax',
    [uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.HTJ2K],
    ids=lambda s: s.name,
)
def test_fault_09_a_missing_decoder_names_the_extra_to_install(tmp_path, syntax):
    frames = encapsulate([b'1234'])
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, syntax=syntax, PixelData=frames)
    code = f"""
import sys
for name in ('gdcm', 'jpeg_ls', 'openjpeg', 'rle', 'pylibjpeg'):
    sys.modules[name] = None
from pneumo_jax.data.dicom import FilmError, read_film
try:
    read_film({str(path)!r})
except FilmError as error:
    print(error.code, error)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith('unknown_codec'), done.stderr
    assert syntax.name in done.stdout
    assert "pip install 'pneumo_jax[codecs]'" in done.stdout


def test_fault_10_missing_frame_is_no_stop_iteration(tmp_path):
    # An empty offset table, and the end: no fragment at all.
    no_frames = bytes.fromhex('feff00e0 00000000 feffdde0 00000000')
    path = write_film(
        tmp_path / 'a.dcm', PIXELS_8, syntax=uid.JPEGBaseline8Bit, PixelData=no_frames
    )
    with pytest.raises(FilmError) as caught:
        list(map(read_film, [path]))
    assert caught.value.code == 'broken_pixels'


@pytest.mark.parametrize(('mode', 'suffix'), [('L', 'png'), ('L', 'jpeg'), ('RGB', 'png')])
def test_pictures_are_read_like_films(tmp_path, mode, suffix):
    grey = np.tile(np.arange(0, 240, 6, dtype=np.uint8), (40, 1))
    path = tmp_path / 'no_suffix'
    Image.fromarray(grey).convert(mode).save(path, suffix)
    film = read_film(path)
    assert np.abs(film.pixels.astype(int) - grey).max() <= 2
    assert film.transfer_syntax == suffix.upper()


def test_16_bit_and_transparent_pictures(tmp_path):
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(deep).save(tmp_path / 'deep.png')
    assert np.abs(read_film(tmp_path / 'deep.png').pixels - deep / 257).max() <= 0.5
    Image.new('LA', (4, 4), (200, 0)).save(tmp_path / 'clear.png')
    assert read_film(tmp_path / 'clear.png').pixels.max() == 0


def test_damaged_pictures_are_refused(tmp_path):
    path = tmp_path / 'a.png'
    Image.fromarray(PIXELS_8).save(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(FilmError) as caught:
        read_film(path)
    assert caught.value.code == 'broken_pixels'


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


def test_real_films_are_read_as_pillow_reads_them(shared_data):
    paths = sorted((shared_data / 'rsna' / 'stage_2_train_images').glob('*.dcm'))[::20]
    for path in paths:
        film = read_film(path)
        np.testing.assert_array_equal(film.pixels, pydicom.dcmread(path).pixel_array)
        assert film.view_position in ('AP', 'PA')
        assert film.sex in ('M', 'F')
        assert 0 < film.age < 120
        assert (film.notes, film.window, film.bits_stored) == ((), 'full range', 8)
