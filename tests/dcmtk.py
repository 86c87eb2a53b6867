"""DCMTK, an implementation of DICOM that shares no code with ours, as a check on it."""

import pathlib
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid

needs_dcmtk = pytest.mark.skipif(
    shutil.which('dcmj2pnm') is None, reason='DCMTK is not installed: apt install dcmtk'
)
needs_gdcm = pytest.mark.skipif(
    shutil.which('gdcmconv') is None, reason='GDCM is not installed: pip install python-gdcm'
)

# DCMTK has no decoder of JPEG 2000: GDCM's is another one than ours too.
_DECOMPRESSORS = {
    **dict.fromkeys(uid.JPEGTransferSyntaxes, ('dcmdjpeg',)),
    **dict.fromkeys(uid.JPEGLSTransferSyntaxes, ('dcmdjpls',)),
    **dict.fromkeys((uid.JPEG2000Lossless, uid.JPEG2000), ('gdcmconv', '--raw')),
    uid.RLELossless: ('dcmdrle',),
}


def compress(path, *options) -> pathlib.Path:
    """Compresses a film as JPEG by ``dcmcjpeg``, into a file beside it."""
    out = pathlib.Path(path).with_suffix('.jpeg.dcm')
    subprocess.run(['dcmcjpeg', *options, str(path), str(out)], check=True, capture_output=True)
    return out


def decompress(path, folder) -> pathlib.Path:
    """The film without compression, in a file of the folder; itself where it has none."""
    syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return pathlib.Path(path)
    if syntax not in _DECOMPRESSORS:
        pytest.skip(f'neither DCMTK nor GDCM reads {syntax.name}')
    out = pathlib.Path(folder) / 'decompressed.dcm'
    subprocess.run([*_DECOMPRESSORS[syntax], str(path), str(out)], check=True, capture_output=True)
    return out


def render(path, folder, *options) -> np.ndarray:
    """What DCMTK shows of a film's first frame without its overlays, uint8 [H,W]."""
    out = pathlib.Path(folder) / 'rendered.png'
    subprocess.run(
        ['dcmj2pnm', '--frame', '1', '--no-overlays', *options, '--write-png', path, out],
        check=True,
        capture_output=True,
    )
    with Image.open(out) as image:
        return np.asarray(image.convert('L'))
