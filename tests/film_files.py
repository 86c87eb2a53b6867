"""Small films and tables for the tests of the readers and the converter."""

import csv
import io
import pathlib
import re

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate

from pneumo_jax.data.dicom import FilmError, read_film


def write_film(path, pixels, *, syntax=uid.ExplicitVRLittleEndian, **elements) -> pathlib.Path:
    """Writes ``pixels`` [H,W] as DICOM with the tags of an RSNA film; ``elements`` override them.

    With JPEG Baseline the pixels are compressed, otherwise stored as they are; an element given
    as None is left out, and values may break the rules of DICOM.
    """
    with pydicom.config.disable_value_validation():
        return _write_film(pathlib.Path(path), pixels, syntax, elements)


def _write_film(path, pixels, syntax, elements):
    film = pydicom.Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = syntax
    film.file_meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    film.file_meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    bits = 8 * pixels.dtype.itemsize
    values = {
        'Modality': 'CR',
        'ViewPosition': 'PA',
        'PatientSex': 'F',
        'PatientID': 'secret',
        'PatientName': 'Secret^Name',
        'SamplesPerPixel': 1,
        'PhotometricInterpretation': 'MONOCHROME2',
        'Rows': pixels.shape[0],
        'Columns': pixels.shape[1],
        'BitsAllocated': bits,
        'BitsStored': bits,
        'HighBit': bits - 1,
        'PixelRepresentation': int(pixels.dtype.kind == 'i'),
        'PixelData': pixels.tobytes(),
    }
    if syntax == uid.JPEGBaseline8Bit and 'PixelData' not in elements:
        values['PixelData'] = encapsulate([jpeg_bytes(pixels)])
    for name, value in (values | elements).items():
        if value is not None:
            setattr(film, name, value)
    if 'PixelData' in film:
        film['PixelData'].VR = 'OB' if syntax.is_compressed else 'OW'
    film.save_as(path, enforce_file_format=True)
    return path


def refusal(path, options=None) -> str:
    """The code that the reader refuses a file with, naming it."""
    with pytest.raises(FilmError, match=re.escape(str(path))) as caught:
        read_film(path, options)
    return caught.value.code


def jpeg_bytes(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'JPEG', quality=95)
    return buffer.getvalue()


def write_rows(path, header, rows) -> pathlib.Path:
    with pathlib.Path(path).open('w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows([header, *rows])
    return pathlib.Path(path)


def write_download(folder, num_films=24, side=64) -> dict[str, str]:
    """A small download; returns the paths as options of ``data_prep.conversion.Options``.

    Every third film is positive with one box; persons have two films each.
    """
    folder = pathlib.Path(folder)
    images = folder / 'images'
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    labels, classes, persons = [], [], []
    for i in range(num_films):
        name = f'film{i:03d}'
        pixels = rng.integers(0, 256, (side, side), np.uint8)
        write_film(images / f'{name}.dcm', pixels, ViewPosition=('AP', 'PA')[i % 2])
        positive = i % 3 == 0
        labels.append([name, 10, 20, 30, 40, 1] if positive else [name, '', '', '', '', 0])
        classes.append([name, 'Lung Opacity' if positive else 'Normal'])
        persons.append([name, f'person{i // 2:03d}'])
    return {
        'images_dir': str(images),
        'labels_csv': str(write_rows(folder / 'labels.csv', LABEL_HEADER, labels)),
        'class_info_csv': str(write_rows(folder / 'classes.csv', ['patientId', 'class'], classes)),
        'person_csv': str(write_rows(folder / 'persons.csv', ['patientId', 'person_id'], persons)),
    }


LABEL_HEADER = ['patientId', 'x', 'y', 'width', 'height', 'Target']
