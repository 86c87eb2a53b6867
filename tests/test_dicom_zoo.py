"""Real files of many makers and encodings, against readers that are not ours."""

import numpy as np
import pydicom
import pytest
from pydicom import pixels as dicom_pixels
from pydicom import uid

from pneumo_jax.data.dicom import FilmError, ReadOptions, read_film
from tests.conftest import ROOT
from tests.dcmtk import decompress, needs_dcmtk, needs_gdcm, render

ALL = ReadOptions(any_modality=True, allow_deflated=True, first_frame=True)
ZOO = ROOT.parent / 'shared' / 'data' / 'dicom_zoo'
VALID = sorted(ZOO.glob('valid/*'))

# Why, whatever the options.
BROKEN = {
    'MR_truncated.dcm': 'broken_pixels',
    'badVR.dcm': 'damaged',
    'emri_small_jpeg_2k_lossless_too_short.dcm': 'damaged',
    'html_saved_as_dcm.dcm': 'not_dicom',
    'meta_missing_tsyntax.dcm': 'damaged',
    'no-pixel-data.dcm': 'no_pixel_data',
    'no_meta.dcm': 'not_dicom',
    'no_meta_group_length.dcm': 'damaged',
    'rtplan_truncated.dcm': 'no_pixel_data',
}

pytestmark = pytest.mark.skipif(not VALID, reason='the files are not beside the checkout')
of_every_valid_file = pytest.mark.parametrize('path', VALID, ids=lambda p: p.name[-50:])


def flattened(path) -> pydicom.FileDataset:
    """The file with rescale and window where they stand in files of one frame."""
    film = pydicom.dcmread(path)
    for groups in ('SharedFunctionalGroupsSequence', 'PerFrameFunctionalGroupsSequence'):
        for frame in film.get(groups, [])[:1]:
            for name in ('PixelValueTransformationSequence', 'FrameVOILUTSequence'):
                for item in frame.get(name, []):
                    film.update(item)
    return film


def shown_by_pydicom(film) -> np.ndarray:
    """Grey values as pydicom's own functions make them, float [H,W] in [0,255]."""
    stored = dicom_pixels.pixel_array(film, index=0)
    weights = np.array([0.299, 0.587, 0.114])
    if film.PhotometricInterpretation == 'PALETTE COLOR':
        colours = dicom_pixels.apply_color_lut(stored, film)
        return colours @ weights * (255 / np.iinfo(colours.dtype).max)
    if stored.ndim == 3:
        return stored @ weights * (255 / (2**film.BitsStored - 1))
    low = -(2 ** (film.BitsStored - 1)) if film.PixelRepresentation else 0
    possible = np.arange(low, low + 2**film.BitsStored)
    values = dicom_pixels.apply_modality_lut(possible, film)
    black, white = values.min(), values.max()
    if film.get('VOILUTSequence'):
        black, white = 0, 2 ** film.VOILUTSequence[0].LUTDescriptor[2] - 1
    seen = dicom_pixels.apply_voi_lut(dicom_pixels.apply_modality_lut(stored, film), film)
    grey = 255 * np.clip((seen.astype(float) - black) / (white - black), 0, 1)
    return 255 - grey if film.PhotometricInterpretation == 'MONOCHROME1' else grey


@of_every_valid_file
def test_valid_files_look_as_pydicom_shows_them(path):
    film = flattened(path)
    if film.file_meta.TransferSyntaxUID == uid.JPEGExtended12Bit and film.BitsStored == 12:
        pytest.skip('pydicom refuses JPEG of 12 bit; DCMTK is asked below')
    assert np.abs(read_film(path, ALL).pixels - shown_by_pydicom(film)).max() <= 1


@needs_dcmtk
@needs_gdcm
@of_every_valid_file
def test_valid_files_look_as_dcmtk_shows_them(path, tmp_path):
    film = flattened(decompress(path, tmp_path))
    film.save_as(tmp_path / 'flat.dcm')
    options = []
    if film.get('VOILUTSequence'):
        options = ['--use-voi-lut', '1']
    elif film.get('WindowWidth'):
        options = ['--use-window', '1']
    shown = render(tmp_path / 'flat.dcm', tmp_path, *options)
    assert np.abs(read_film(path, ALL).pixels.astype(int) - shown).max() <= 1


@pytest.mark.parametrize('name', BROKEN)
def test_broken_files_are_refused_whatever_the_options(name):
    with pytest.raises(FilmError, match=name) as caught:
        read_film(ZOO / 'broken' / name, ALL)
    assert caught.value.code == BROKEN[name]


def test_the_zoo_is_whole():
    assert len(VALID) == 31
    assert {path.name for path in ZOO.glob('broken/*')} == BROKEN.keys()


@pytest.mark.parametrize(
    ('pattern', 'code'),
    [
        ('CTImage.dcm', 'wrong_modality'),
        ('MR2_J2KR.dcm', 'wrong_modality'),
        ('*Deflated*', 'deflated'),
        ('CT0012*', 'wrong_modality'),
    ],
)
def test_what_is_no_film_is_refused_by_default(pattern, code):
    (path,) = ZOO.glob(f'valid/{pattern}')
    with pytest.raises(FilmError) as caught:
        read_film(path)
    assert caught.value.code == code


def test_several_frames_are_refused_by_default():
    (path,) = ZOO.glob('valid/CT0012*')
    with pytest.raises(FilmError) as caught:
        read_film(path, ReadOptions(any_modality=True))
    assert caught.value.code == 'multi_frame'
    assert 'first of several frames' in read_film(path, ALL).notes
