import io

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.filereader import data_element_generator
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from pneumo_jax.data.dicom_scan import scan_elements
from tests.film_files import write_film

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)


def by_pydicom(data, start=132):
    file = io.BytesIO(data)
    file.seek(start)
    return {element.tag: element for element in data_element_generator(file, False, True)}


def scan_all(data):
    return scan_elements(data, 132, {int(tag): tag for tag in by_pydicom(data)})


def tags_of(*numbers):
    return {int(number): BaseTag(number) for number in numbers}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for tag, element in expected.items():
        assert found[tag]._replace(value_tell=0) == element._replace(
            value_tell=0, value=element.value or b''
        )


@pytest.mark.parametrize('syntax', [uid.ExplicitVRLittleEndian, uid.JPEGBaseline8Bit])
def test_elements_are_those_of_pydicom(tmp_path, syntax):
    path = write_film(tmp_path / 'a.dcm', PIXELS, syntax=syntax, PatientAge='045Y')
    data = path.read_bytes()
    found = scan_all(data)
    assert_same(found, by_pydicom(data))
    assert pydicom.Dataset(found).PatientAge == '045Y'


def test_real_films_are_plain(shared_data):
    for path in sorted((shared_data / 'rsna' / 'stage_2_train_images').iterdir())[::10]:
        data = path.read_bytes()
        assert_same(scan_all(data), by_pydicom(data))


def test_only_wanted_elements_are_kept(tmp_path):
    data = write_film(tmp_path / 'a.dcm', PIXELS).read_bytes()
    assert list(scan_elements(data, 132, tags_of(0x00280010, 0x00280011))) == [
        0x00280010,
        0x00280011,
    ]


def test_what_is_not_plain_is_left_to_pydicom(tmp_path):
    item = pydicom.Dataset()
    item.LUTDescriptor = [2, 0, 8]
    path = write_film(tmp_path / 'a.dcm', PIXELS, VOILUTSequence=Sequence([item]))
    assert scan_all(path.read_bytes()) is None
    path = write_film(tmp_path / 'b.dcm', PIXELS, syntax=uid.ImplicitVRLittleEndian)
    assert scan_elements(path.read_bytes(), 132, tags_of(0x00280010)) is None


@pytest.mark.parametrize('syntax', [uid.ExplicitVRLittleEndian, uid.JPEGBaseline8Bit])
def test_fault_02_cut_files_are_not_plain(tmp_path, syntax):
    data = write_film(tmp_path / 'a.dcm', PIXELS, syntax=syntax).read_bytes()
    pixel_data = data.rindex(b'\xe0\x7f\x10\x00')
    for end in range(pixel_data + 1, len(data)):
        assert scan_elements(data[:end], 132, tags_of(0x7FE00010)) is None


def test_damaged_files_agree_with_pydicom_or_are_not_plain(tmp_path):
    data = write_film(tmp_path / 'a.dcm', PIXELS, syntax=uid.JPEGBaseline8Bit).read_bytes()
    plain = 0
    for trial in range(500):
        rng = np.random.default_rng(trial)
        damaged = bytearray(data)
        damaged[int(rng.integers(132, 600))] = int(rng.integers(256))
        damaged = bytes(damaged)
        expected = by_pydicom(damaged)
        found = scan_elements(damaged, 132, tags_of(*expected))
        if found is not None:
            assert_same(found, expected)
            plain += 1
    assert 100 < plain < 500
