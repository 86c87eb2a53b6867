import numpy as np
import pydicom
import pytest
from pydicom import pixels as dicom_pixels
from pydicom import uid
from pydicom.sequence import Sequence

from pneumo_jax.data import picture
from pneumo_jax.data.dicom import FilmError, ReadOptions, read_film
from tests.dcmtk import needs_dcmtk, render
from tests.film_files import refusal, write_film

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


@pytest.mark.parametrize(
    ('width', 'function'), [(0.5, 'LINEAR'), (-3, 'SIGMOID'), ('nan', 'LINEAR'), (5, 'CUBIC')]
)
def test_fault_16_windows_that_make_no_sense_are_refused(tmp_path, width, function):
    path = write_film(
        tmp_path / 'a.dcm', PIXELS_8, WindowCenter=1, WindowWidth=width, VOILUTFunction=function
    )
    with pytest.raises(FilmError) as caught:
        read_film(path)
    assert caught.value.code == 'unsupported_pixels'


@pytest.mark.parametrize(
    ('centre', 'width', 'window'),
    [
        ('0', '0', 'full range'),
        ('', '', 'full range'),
        ('100', '', 'full range'),
        ('', '80', 'full range'),
        ('\\90', '\\80', 'LINEAR 80 at 90'),
        ('0\\90', '0\\80', 'LINEAR 80 at 90'),
        ('90 \\1', ' 80\\1', 'LINEAR 80 at 90'),
    ],
)
def test_fault_16_the_first_window_that_is_filled_in_is_used(tmp_path, centre, width, window):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, WindowCenter=centre, WindowWidth=width)
    film = read_film(path)
    assert film.window == window
    assert ('window of width 0, passed over' in film.notes) == (width[:1] == '0')
    if window == 'full range':
        np.testing.assert_array_equal(film.pixels, PIXELS_8)
    else:
        path = write_film(path, PIXELS_8, WindowCenter=90, WindowWidth=80)
        np.testing.assert_array_equal(film.pixels, read_film(path).pixels)


@pytest.mark.parametrize('function', ['sigmoid', 'SIGMOID ', 'Sigmoid\0'])
def test_names_of_windows_are_read_as_they_are_written(tmp_path, function):
    window = {'WindowCenter': 100, 'WindowWidth': 50}
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, VOILUTFunction=function, **window)
    assert read_film(path).window == 'SIGMOID 50 at 100'


@pytest.mark.parametrize('photometric', ['MONOCHROME1', 'MONOCHROME2'])
def test_8_bits_of_16_are_8_bits(tmp_path, photometric):
    path = write_film(
        tmp_path / 'a.dcm',
        PIXELS_8.astype(np.uint16),
        BitsStored=8,
        HighBit=7,
        PhotometricInterpretation=photometric,
    )
    pixels = read_film(path).pixels
    assert pixels.dtype == np.uint8
    expected = PIXELS_8 if photometric == 'MONOCHROME2' else 255 - PIXELS_8
    np.testing.assert_array_equal(pixels, expected)


def test_inverse_presentation_inverts_no_second_time(tmp_path):
    path = write_film(
        tmp_path / 'a.dcm',
        PIXELS_8,
        PhotometricInterpretation='MONOCHROME1',
        PresentationLUTShape='INVERSE',
    )
    np.testing.assert_array_equal(read_film(path).pixels, 255 - PIXELS_8)


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


@pytest.mark.parametrize('big_endian', [False, True])
def test_entries_of_8_bit_may_be_packed(tmp_path, big_endian):
    entries = np.arange(255, -1, -1, dtype=np.uint8)
    table = lookup_table(entries, 0, 8)
    words = entries.view('<u2')
    table.LUTData = words.byteswap().tobytes() if big_endian else words.tobytes()
    elements = {'VOILUTSequence': Sequence([table])}
    syntax = uid.ExplicitVRLittleEndian
    if big_endian:
        syntax = uid.ExplicitVRBigEndian
        elements['PixelData'] = PIXELS_8.view('<u2').byteswap().tobytes()
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, syntax=syntax, **elements)
    np.testing.assert_array_equal(read_film(path).pixels, 255 - PIXELS_8)


@pytest.mark.parametrize('syntax', [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_a_first_value_below_0_may_be_written_unsigned(tmp_path, syntax):
    table = lookup_table(np.arange(4096) * 16, 0, 16)
    elements = {'RescaleSlope': 1, 'RescaleIntercept': -1024, **TWELVE}
    signed = lookup_table(np.arange(4096) * 16, -1000, 16)
    table.LUTDescriptor = [4096, 2**16 - 1000, 16]
    table['LUTDescriptor'].VR = 'US'
    films = [
        read_film(
            write_film(tmp_path / 'a.dcm', RAMP_12, VOILUTSequence=Sequence([item]), **elements)
        )
        for item in (signed, table)
    ]
    np.testing.assert_array_equal(films[0].pixels, films[1].pixels)
    assert np.ptp(films[0].pixels) > 200


def test_luts_of_65536_entries_and_the_first_of_several(tmp_path):
    ramp = np.linspace(0, 65535, 1600).astype(np.uint16).reshape(40, 40)
    tables = [lookup_table(np.arange(65535, -1, -1), 0, 16), lookup_table(np.zeros(9), 0, 16)]
    path = write_film(tmp_path / 'a.dcm', ramp, VOILUTSequence=Sequence(tables))
    assert np.abs(read_film(path).pixels - (65535 - ramp) / 257).max() <= 0.5


def test_a_modality_lut_of_one_value_is_refused(tmp_path):
    table = lookup_table(np.full(256, 7), 0, 8)
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, ModalityLUTSequence=Sequence([table]))
    assert refusal(path) == 'unsupported_pixels'


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


@pytest.mark.parametrize('planar', [0, 1, None])
@pytest.mark.parametrize('bits', [8, 12, 16])
def test_fault_14_colours_by_plane_and_of_many_bits(tmp_path, planar, bits):
    dtype = np.uint8 if bits == 8 else np.uint16
    colours = RNG.integers(0, 2**bits, (16, 24, 3), dtype)
    stored = np.moveaxis(colours, 2, 0) if planar else colours
    _, path = write_colours(
        tmp_path / 'a.dcm',
        Rows=16,
        Columns=24,
        BitsAllocated=8 * colours.itemsize,
        BitsStored=bits,
        HighBit=bits - 1,
        PlanarConfiguration=planar,
        PixelData=stored.tobytes(),
    )
    expected = colours @ np.array([0.299, 0.587, 0.114]) * (255 / (2**bits - 1))
    assert np.abs(read_film(path).pixels - expected).max() <= 0.51


def test_large_films_are_computed_in_bands(tmp_path, monkeypatch):
    _, path = write_colours(tmp_path / 'a.dcm')
    wide = write_film(tmp_path / 'b.dcm', RAMP_12, WindowCenter=900, WindowWidth=600, **TWELVE)
    whole = read_film(path).pixels, read_film(wide).pixels
    # Three rows at a time, and one left.
    monkeypatch.setattr(picture, '_BAND_PIXELS', 3 * 16)
    np.testing.assert_array_equal(read_film(path).pixels, whole[0])
    np.testing.assert_array_equal(read_film(wide).pixels, whole[1])


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
    palette = write_film(path, PIXELS_8, PhotometricInterpretation='PALETTE COLOR')
    assert refusal(palette, ReadOptions(reject_colour=True)) == 'colour'
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
