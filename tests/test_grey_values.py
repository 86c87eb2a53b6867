import numpy as np
import pydicom
import pytest
from pydicom import pixels as dicom_pixels
from pydicom.sequence import Sequence

from pneumo_jax.data.dicom import FilmError, ReadOptions, read_film
from tests.dcmtk import needs_dcmtk, render
from tests.film_files import write_film

RNG = np.random.default_rng(0)
PIXELS_8 = RNG.integers(0, 256, (40, 40), np.uint8)
RAMP_12 = np.linspace(0, 4095, 1600).astype(np.uint16).reshape(40, 40)
TWELVE = {'BitsStored': 12, 'HighBit': 11}


def lookup_table(entries, first, bits, vr='OW'):
    """A LUT's item; entries are stored as 16-bit words, or as they are in bytes."""
    table = pydicom.Dataset()
    table.LUTDescriptor = [len(entries) % 2**16, first, bits]
    table['LUTDescriptor'].VR = 'US' if first >= 0 else 'SS'
    data = np.asarray(entries)
    table.LUTData = data.astype('<u2').tobytes() if vr == 'OW' else data.tolist()
    table['LUTData'].VR = vr
    return table


@pytest.mark.parametrize('function', ['LINEAR', 'LINEAR_EXACT', 'SIGMOID', None])
@pytest.mark.parametrize('slope', [1, 0.5, -1, -2.5])
@pytest.mark.parametrize('signed', [False, True])
@pytest.mark.parametrize('photometric', ['MONOCHROME1', 'MONOCHROME2'])
def test_fault_16_windows_agree_with_pydicom(tmp_path, function, slope, signed, photometric):
    path = write_film(
        tmp_path / 'a.dcm',
        RAMP_12.astype(np.int16) - 2048 if signed else RAMP_12,
        PhotometricInterpretation=photometric,
        RescaleSlope=slope,
        RescaleIntercept=100,
        WindowCenter=[900, 1],
        WindowWidth=[600, 2],
        VOILUTFunction=function,
        **TWELVE,
    )
    film = pydicom.dcmread(path)
    # pydicom maps a window to the range of modality values, whose first end is that of black.
    ends = np.array([-2048, 2047] if signed else [0, 4095]) * slope + 100
    values = dicom_pixels.apply_modality_lut(film.pixel_array, film)
    shown = dicom_pixels.apply_windowing(values, film, index=0)
    expected = 255 * (shown - ends[0]) / (ends[1] - ends[0])
    if photometric == 'MONOCHROME1':
        expected = 255 - expected
    read = read_film(path)
    assert np.abs(read.pixels - expected).max() <= 1
    assert read.window == f'{function or "LINEAR"} 600 at 900'


def test_fault_16_without_window_the_full_stored_range_is_shown_and_recorded(tmp_path):
    film = read_film(write_film(tmp_path / 'a.dcm', RAMP_12, **TWELVE))
    assert np.abs(film.pixels - RAMP_12 * (255 / 4095)).max() <= 0.5
    assert film.window == 'full range'


@pytest.mark.parametrize(('width', 'function'), [(0, 'LINEAR'), (0, 'SIGMOID'), (5, 'CUBIC')])
def test_fault_16_windows_that_make_no_sense_are_refused(tmp_path, width, function):
    path = write_film(
        tmp_path / 'a.dcm', PIXELS_8, WindowCenter=1, WindowWidth=width, VOILUTFunction=function
    )
    with pytest.raises(FilmError) as caught:
        read_film(path)
    assert caught.value.code == 'unsupported_pixels'


def test_a_window_of_width_one_is_a_threshold(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, WindowCenter=100, WindowWidth=1)
    np.testing.assert_array_equal(read_film(path).pixels, np.where(PIXELS_8 >= 100, 255, 0))


@pytest.mark.parametrize('vr', ['OW', 'US'])
def test_fault_16_voi_lut_comes_before_a_window(tmp_path, vr):
    table = lookup_table(np.arange(255, -1, -1) * 257, 0, 16, vr)
    path = write_film(
        tmp_path / 'a.dcm',
        PIXELS_8,
        VOILUTSequence=Sequence([table]),
        WindowCenter=10,
        WindowWidth=5,
    )
    film = read_film(path)
    np.testing.assert_array_equal(film.pixels, 255 - PIXELS_8)
    assert film.window == 'VOI LUT'


@needs_dcmtk
@pytest.mark.parametrize('bits', [8, 12, 16])
@pytest.mark.parametrize(('first', 'slope'), [(0, None), (500, None), (-1000, 1)])
def test_fault_16_voi_luts_agree_with_dcmtk(tmp_path, bits, first, slope):
    entries = np.linspace(0, 1, 3000) ** 0.5 * (2**bits - 1)
    elements = {'RescaleSlope': slope, 'RescaleIntercept': -1024} if slope else {}
    path = write_film(
        tmp_path / 'a.dcm',
        RAMP_12,
        VOILUTSequence=Sequence([lookup_table(entries, first, bits)]),
        **TWELVE,
        **elements,
    )
    expected = render(path, tmp_path, '--use-voi-lut', '1').astype(int)
    assert np.abs(read_film(path).pixels - expected).max() <= 1


@needs_dcmtk
@pytest.mark.parametrize('slope', [1, 2])
def test_fault_16_windows_agree_with_dcmtk(tmp_path, slope):
    path = write_film(
        tmp_path / 'a.dcm',
        RAMP_12,
        RescaleSlope=slope,
        RescaleIntercept=-50,
        WindowCenter=[900, 1],
        WindowWidth=[600, 2],
        **TWELVE,
    )
    expected = render(path, tmp_path, '--use-window', '1').astype(int)
    assert np.abs(read_film(path).pixels - expected).max() <= 1


def test_modality_lut_is_applied_before_the_window(tmp_path):
    table = lookup_table(np.arange(256) ** 2 // 16, 0, 12)
    path = write_film(
        tmp_path / 'a.dcm',
        PIXELS_8,
        ModalityLUTSequence=Sequence([table]),
        WindowCenter=2048,
        WindowWidth=4096,
        VOILUTFunction='LINEAR_EXACT',
    )
    film = read_film(path)
    expected = (PIXELS_8.astype(int) ** 2 // 16) * (255 / 4096)
    assert np.abs(film.pixels - expected).max() <= 0.5
    assert 'modality LUT' in film.notes


def test_fault_17_negative_slope_turns_the_polarity(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, RescaleSlope=-1, RescaleIntercept=255)
    film = read_film(path)
    np.testing.assert_array_equal(film.pixels, 255 - PIXELS_8)
    assert 'negative rescale slope' in film.notes


@pytest.mark.parametrize('bits', [8, 16])
def test_fault_13_palettes_are_applied(tmp_path, bits):
    ramps = RNG.integers(0, 2**bits, (3, 256)).astype('<u2')
    names = ('Red', 'Green', 'Blue')
    elements = {
        f'{name}PaletteColorLookupTable{part}': value
        for name, ramp in zip(names, ramps, strict=True)
        for part, value in (('Descriptor', [256, 0, 16]), ('Data', (ramp).tobytes()))
    }
    path = write_film(
        tmp_path / 'a.dcm', PIXELS_8, PhotometricInterpretation='PALETTE COLOR', **elements
    )
    colours = np.moveaxis(ramps[:, PIXELS_8], 0, 2)
    expected = colours @ np.array([0.299, 0.587, 0.114]) * (255 / 65535)
    assert np.abs(read_film(path).pixels - expected).max() <= 0.51


def test_fault_13_a_palette_that_is_missing_is_refused(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, PhotometricInterpretation='PALETTE COLOR')
    with pytest.raises(FilmError) as caught:
        read_film(path)
    assert caught.value.code == 'unsupported_pixels'


def write_colours(path, **elements):
    colours = RNG.integers(0, 256, (16, 16, 3), np.uint8)
    values = {'SamplesPerPixel': 3, 'PhotometricInterpretation': 'RGB', 'PlanarConfiguration': 0}
    return colours, write_film(path, colours, **(values | elements))


def test_fault_14_colour_becomes_luminance(tmp_path):
    colours, path = write_colours(tmp_path / 'a.dcm')
    expected = colours @ np.array([0.299, 0.587, 0.114])
    film = read_film(path)
    assert np.abs(film.pixels - expected).max() <= 0.51
    assert 'colour, luminance' in film.notes


def test_fault_14_luminance_of_ybr_is_its_first_component(tmp_path):
    colours, path = write_colours(tmp_path / 'a.dcm', PhotometricInterpretation='YBR_FULL')
    # Where no component of RGB is clipped.
    colours[..., 1:] = 128
    path = write_film(
        path,
        colours,
        SamplesPerPixel=3,
        PhotometricInterpretation='YBR_FULL',
        PlanarConfiguration=0,
    )
    assert np.abs(read_film(path).pixels.astype(int) - colours[..., 0]).max() <= 1


def test_fault_14_colour_is_refused_by_flag(tmp_path):
    _, path = write_colours(tmp_path / 'a.dcm')
    with pytest.raises(FilmError) as caught:
        read_film(path, ReadOptions(reject_colour=True))
    assert caught.value.code == 'colour'
    grey = write_film(tmp_path / 'b.dcm', PIXELS_8)
    assert read_film(grey, ReadOptions(reject_colour=True)).notes == read_film(grey).notes


def test_grey_values_of_an_enhanced_file_s_first_frame(tmp_path):
    transformation = pydicom.Dataset()
    transformation.RescaleSlope, transformation.RescaleIntercept = -1, 255
    window = pydicom.Dataset()
    window.WindowCenter, window.WindowWidth, window.VOILUTFunction = 128, 256, 'LINEAR_EXACT'
    shared, frame = pydicom.Dataset(), pydicom.Dataset()
    shared.PixelValueTransformationSequence = Sequence([transformation])
    frame.FrameVOILUTSequence = Sequence([window])
    path = write_film(
        tmp_path / 'a.dcm',
        np.stack([PIXELS_8, 255 - PIXELS_8]),
        NumberOfFrames=2,
        Rows=40,
        Columns=40,
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence([frame, pydicom.Dataset()]),
    )
    film = read_film(path, ReadOptions(first_frame=True))
    assert np.abs(film.pixels.astype(int) - (255 - PIXELS_8)).max() <= 1
    assert film.window == 'LINEAR_EXACT 256 at 128'
