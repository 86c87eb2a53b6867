"""What is read of a DICOM file's elements, however they are encoded."""

import struct
import subprocess
import sys
import zlib

import numpy as np
import pydicom
import pytest
from pydicom import uid

from pneumo_jax.data.dicom import FilmError, ReadOptions, read_film
from tests.film_files import refusal, write_film

PIXELS_8 = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
# A sequence of undefined length.
ITEMS_START = b'\x08\x00\x05\x11SQ\0\0\xff\xff\xff\xff'
EMPTY_ITEM = b'\xfe\xff\x00\xe0\0\0\0\0'
SEQUENCE_END = b'\xfe\xff\xdd\xe0\0\0\0\0'


@pytest.mark.parametrize(
    ('text', 'years'),
    [('45', 45), ('045Y', 45), ('18M', 1), ('030W', 0), ('148', 148), ('', -1), ('Y', -1)],
)
def test_ages(tmp_path, text, years):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, PatientAge=text)
    assert read_film(path).age == years


def test_ages_without_unit_make_no_noise(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, PatientAge='45')
    code = f'from pneumo_jax.data.dicom import read_film; assert read_film({str(path)!r}).age == 45'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize('text', ['PA', 'pa', 'PA ', 'pa\0'])
def test_view_positions_are_read_as_they_are_written(tmp_path, text):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, ViewPosition=text)
    assert read_film(path).view_position == 'PA'


@pytest.mark.parametrize(
    ('code', 'view'),
    [('399348003', 'AP'), ('R-10206', 'AP'), ('272479007', 'PA'), ('R-40888', 'PA'), ('1', '')],
)
def test_views_without_a_name_are_told_by_their_code(tmp_path, code, view):
    item = pydicom.Dataset()
    item.CodeValue = code
    elements = {'ViewPosition': '', 'ViewCodeSequence': [item]}
    assert read_film(write_film(tmp_path / 'a.dcm', PIXELS_8, **elements)).view_position == view
    item.CodeValue = '399173006'
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, **elements)
    assert refusal(path) == 'lateral_view'
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, ViewCodeSequence=[item])
    assert read_film(path).view_position == 'PA'


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


def body_start(content) -> int:
    """Where the elements begin, behind the file meta information."""
    return 144 + struct.unpack_from('<I', content, 140)[0]


def deflated(path, added=b''):
    """Rewrites a deflated film with elements added before its own; returns it."""
    content = path.read_bytes()
    start = body_start(content)
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    body = deflater.compress(added + zlib.decompress(content[start:], -zlib.MAX_WBITS))
    path.write_bytes(content[:start] + body + deflater.flush())
    return path


def test_fault_08_deflated_is_refused_unless_allowed(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, syntax=uid.DeflatedExplicitVRLittleEndian)
    allowed = ReadOptions(allow_deflated=True)
    assert refusal(path) == 'deflated'
    np.testing.assert_array_equal(read_film(path, allowed).pixels, PIXELS_8)
    path.write_bytes(path.read_bytes()[:-50])
    assert refusal(path, allowed) == 'damaged'


@pytest.mark.parametrize('bomb', ['bytes', 'items'])
def test_fault_08_small_files_that_inflate_to_a_lot_are_refused(tmp_path, bomb):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, syntax=uid.DeflatedExplicitVRLittleEndian)
    # Of a private element, and of a sequence of empty items.
    added = {
        'bytes': b'\x09\0\x01\x10OB\0\0' + struct.pack('<I', 200 * 2**20) + bytes(200 * 2**20),
        'items': ITEMS_START + 200_000 * EMPTY_ITEM + SEQUENCE_END,
    }
    deflated(path, added[bomb])
    assert path.stat().st_size < 300_000
    assert refusal(path, ReadOptions(allow_deflated=True)) == 'too_large'


def test_nested_sequences_are_refused_at_last(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8)
    content = path.read_bytes()
    start = body_start(content)
    nested = 5000 * (ITEMS_START + b'\xfe\xff\x00\xe0\xff\xff\xff\xff')
    path.write_bytes(content[:start] + nested + content[start:])
    assert refusal(path) == 'damaged'


def test_sequences_need_no_character_set(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8)
    content = path.read_bytes()
    start = body_start(content)
    path.write_bytes(content[:start] + ITEMS_START + EMPTY_ITEM + SEQUENCE_END + content[start:])
    np.testing.assert_array_equal(read_film(path).pixels, PIXELS_8)


@pytest.mark.parametrize(
    ('declared', 'written'),
    [
        (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian),
        (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian),
    ],
)
def test_value_representations_that_are_declared_wrong_are_guessed(tmp_path, declared, written):
    meta = write_film(tmp_path / 'a.dcm', PIXELS_8, syntax=declared).read_bytes()
    body = write_film(tmp_path / 'b.dcm', PIXELS_8, syntax=written).read_bytes()
    path = tmp_path / 'c.dcm'
    path.write_bytes(meta[: body_start(meta)] + body[body_start(body) :])
    np.testing.assert_array_equal(read_film(path).pixels, PIXELS_8)


def test_a_wrong_length_of_the_meta_information_does_no_harm(tmp_path):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8)
    content = path.read_bytes()
    path.write_bytes(content[:140] + struct.pack('<I', 5) + content[144:])
    np.testing.assert_array_equal(read_film(path).pixels, PIXELS_8)


@pytest.mark.parametrize(
    'junk',
    [
        bytes(1001),
        b'\xfc\xff\xfc\xff',
        # The start of a sequence, and another number of rows, in implicit VR.
        ITEMS_START + b'\1\2\3' * 50,
        b'\x28\x00\x10\x00\x02\x00\x00\x00\x07\x00',
    ],
)
@pytest.mark.parametrize('syntax', [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_what_stands_behind_the_pixels_does_no_harm(tmp_path, syntax, junk):
    path = write_film(tmp_path / 'a.dcm', PIXELS_8, syntax=syntax)
    path.write_bytes(path.read_bytes() + junk)
    np.testing.assert_array_equal(read_film(path).pixels, PIXELS_8)
