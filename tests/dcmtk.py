"""DCMTK, an implementation of DICOM that shares no code with ours, as a check on it."""

import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

needs_dcmtk = pytest.mark.skipif(
    shutil.which('dcmj2pnm') is None, reason='DCMTK is not installed: apt install dcmtk'
)


def compress(path, *options) -> pathlib.Path:
    """Compresses a film as JPEG by ``dcmcjpeg``, into a file beside it."""
    out = pathlib.Path(path).with_suffix('.jpeg.dcm')
    subprocess.run(['dcmcjpeg', *options, str(path), str(out)], check=True, capture_output=True)
    return out


def render(path, folder, *options) -> np.ndarray:
    """What DCMTK shows of a film's first frame, uint8 [H,W]."""
    out = pathlib.Path(folder) / 'rendered.png'
    subprocess.run(
        ['dcmj2pnm', '--frame', '1', *options, '--write-png', str(path), str(out)],
        check=True,
        capture_output=True,
    )
    with Image.open(out) as image:
        return np.asarray(image.convert('L'))
