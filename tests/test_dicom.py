import os
import pickle
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from pneumo_jax.data.dicom import FilmError, ReadOptions, read_film
from tests.film_files import jpeg_bytes, refusal, write_film

RNG = np.random.default_rng(0)
PIXELS_8 = RNG.integers(0, 256, (40, 40), np.uint8)


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


def test_identity_is_not_kept(tmp_path):
    assert 'ecret' not in repr(read_film(write_film(tmp_path / 'a.dcm', PIXELS_8)))


def test_fault_03_files_without_pixels_are_refused(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, PixelData=None)
    assert refusal(path) == 'no_pixel_data'
    report = dict.fromkeys(('Rows', 'Columns', 'SamplesPerPixel', 'BitsAllocated', 'PixelData'))
    path = write_film(path, PIXELS_8, Modality='SR', **report)
    assert refusal(path) == 'wrong_modality'
    assert refusal(path, ReadOptions(any_modality=True)) == 'no_pixel_data'


@pytest.mark.parametrize('keyword', ['Rows', 'Columns'])
@pytest.mark.parametrize('value', [0, None])
def test_fault_04_sizes_that_are_no_sizes_are_refused(tmp_path, keyword, value):
    assert refusal(write_film(tmp_path / 'a.dcm', PIXELS_8, **{keyword: value})) == 'bad_size'


@pytest.mark.parametrize(
    'elements',
    [
        {'Rows': 40000, 'Columns': 40000},
        {'NumberOfFrames': 1_000_000},
        # Few enough pixels, but not in three colours.
        {'Rows': 8000, 'Columns': 8000, 'SamplesPerPixel': 3, 'PhotometricInterpretation': 'RGB'},
    ],
)
def test_fault_05_too_many_values_are_refused_undecoded(tmp_path, elements):
    assert refusal(write_film(tmp_path / 'a.dcm', PIXELS_8, **elements)) == 'too_large'


def test_fault_11_of_several_frames_the_first_is_taken_when_asked(tmp_path):
    frames = np.stack([PIXELS_8, 255 - PIXELS_8])
    size = {'Rows': 40, 'Columns': 40}
    path = write_film(tmp_path / 'a.dcm', frames, NumberOfFrames=2, **size)
    assert refusal(path) == 'multi_frame'
    film = read_film(path, ReadOptions(first_frame=True))
    np.testing.assert_array_equal(film.pixels, PIXELS_8)
    assert 'first of several frames' in film.notes


@pytest.mark.parametrize(
    ('code', 'elements'),
    [
        ('wrong_modality', {'Modality': 'CT'}),
        ('wrong_modality', {'Modality': None}),
        ('lateral_view', {'ViewPosition': 'LL'}),
        ('lateral_view', {'ViewPosition': 'lateral '}),
    ],
)
def test_fault_19_what_is_no_frontal_film_is_refused(tmp_path, code, elements):
    assert refusal(write_film(tmp_path / 'a.dcm', PIXELS_8, **elements)) == code


@pytest.mark.parametrize(
    'elements',
    [
        {'BitsStored': 12},
        {'BitsAllocated': 1, 'BitsStored': 1, 'HighBit': 0},
        {'BitsAllocated': 32, 'BitsStored': 32, 'HighBit': 31},
        {'BitsAllocated': None},
        {'SamplesPerPixel': 4, 'PhotometricInterpretation': 'ARGB'},
        {'SamplesPerPixel': 3, 'PhotometricInterpretation': 'HSV'},
        {'SamplesPerPixel': 3, 'PhotometricInterpretation': 'MONOCHROME2'},
        {'SamplesPerPixel': 1, 'PhotometricInterpretation': 'RGB'},
        {'PhotometricInterpretation': None},
    ],
)
def test_pixels_of_other_kinds_are_refused(tmp_path, elements):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, **elements)
    assert refusal(path) == 'unsupported_pixels'


def test_pixels_that_are_too_few_are_refused(tmp_path):
    assert refusal(write_film(tmp_path / 'a.dcm', PIXELS_8, PixelData=b'12')) == 'broken_pixels'


def test_fault_20_a_preamble_is_no_part_of_a_film(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8)
    plain = pickle.dumps(read_film(path))
    path.write_bytes(b'MZ executable'.ljust(128, b'\x90') + path.read_bytes()[128:])
    assert pickle.dumps(read_film(path)) == plain


def test_fault_22_another_patient_id_than_the_file_name_is_noted(tmp_path):
    note = 'PatientID differs from the file name'
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, PatientID='b')
    assert note in read_film(path).notes
    for patient_id in ('a', '', None):
        path = write_film(path, PIXELS_8, PatientID=patient_id)
        assert note not in read_film(path).notes


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


def test_fault_06_and_07_frame_of_another_size_is_refused_undecoded(tmp_path):
    bomb = encapsulate([jpeg_bytes(np.zeros((8000, 8000), np.uint8))])
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, syntax=uid.JPEGBaseline8Bit, PixelData=bomb)
    with pytest.raises(FilmError, match='8000 x 8000 pixels, the header says 40 x 40'):
        read_film(path)


@pytest.mark.parametrize('frames', [None, 0, 1])
@pytest.mark.parametrize('longer', [1, 700, 40 * 40, 5 * 40 * 40])
def test_pixel_data_may_be_longer_than_the_film(tmp_path, frames, longer):
    path = write_film(
        tmp_path / 'a.dcm',
        PIXELS_8,
        PixelData=PIXELS_8.tobytes() + bytes(longer),
        NumberOfFrames=frames,
    )
    np.testing.assert_array_equal(read_film(path).pixels, PIXELS_8)


def test_odd_films_are_padded_by_a_byte(tmp_path):
    odd = PIXELS_8[:7, :9]
    path = write_film(tmp_path / 'a.dcm', odd, PixelData=odd.tobytes() + b'\0')
    np.testing.assert_array_equal(read_film(path).pixels, odd)


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


def test_real_films_are_read_as_pillow_reads_them(shared_data):
    paths = sorted((shared_data / 'rsna' / 'stage_2_train_images').glob('*.dcm'))[::20]
    for path in paths:
        film = read_film(path)
        np.testing.assert_array_equal(film.pixels, pydicom.dcmread(path).pixel_array)
        assert film.view_position in ('AP', 'PA')
        assert film.sex in ('M', 'F')
        assert 0 < film.age < 120
        assert (film.notes, film.window, film.bits_stored) == ((), 'full range', 8)
