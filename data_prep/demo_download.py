"""A phantom Kaggle download: names, tables and DICOM tags of the challenge's.

Every later step runs on it as on the real films. What is learned on phantoms says nothing about
people.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import logging
import pathlib
import uuid

import numpy as np
import pydicom
from PIL import Image
from pydicom import config as pydicom_config
from pydicom.dataelem import DataElement
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage
from tqdm import tqdm

from data_prep import phantom
from pneumo_jax.data.dicom import read_film
from pneumo_jax.errors import InputError
from pneumo_jax.output_folder import OutputFolder
from pneumo_jax.overlay import contact_sheet, draw_film
from pneumo_jax.workers import Lost, WorkerPool, map_isolated

__all__ = ['DemoFilm', 'make_demo', 'plan_demo', 'write_film']

IMAGES = 'stage_2_train_images'
LABELS = 'stage_2_train_labels.csv'
CLASSES = 'stage_2_detailed_class_info.csv'
PERSONS = 'phantom_person_mapping.csv'
CONTACT_SHEET = 'contact_sheet.png'

# RSNA's own films have these quantisation tables.
_JPEG_QUALITY = 92
_PIXEL_SPACINGS = ('0.168', '0.143', '0.171', '0.139')
_PIXEL_SPACING_SHARES = (0.6, 0.23, 0.13, 0.04)
_MAX_FILMS_PER_PERSON = 6
# A film is drawn in a tenth of a second.
_FILM_TIMEOUT = 600
_CHUNK_FILMS = 4
# The first word of every random state, so that a film's never meets a person's.
_OF_PLAN, _OF_PERSON, _OF_FILM = range(3)

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class DemoFilm:
    """Which film of which person: enough to draw it anywhere, in any order."""

    seed: int
    index: int
    patient_id: str
    person: int

    @property
    def person_id(self) -> str:
        """Text with leading zeros, as NIH's patient numbers are."""
        return f'{self.person:08d}'


def make_demo(
    output_dir,
    *,
    num_films: int,
    seed: int,
    num_workers: int = 0,
    overwrite: bool = False,
    with_contact_sheet: bool = True,
) -> pathlib.Path:
    """Writes a phantom download; the same seed gives the same bytes, whatever the workers.

    Args:
        output_dir: folder to make; it appears only when it is complete.
        num_films: number of films.
        seed: seed of everything.
        num_workers: processes, 0 means one per core.
        overwrite: replace an older phantom download.
        with_contact_sheet: also draw ``contact_sheet.png``.

    Returns:
        The folder.

    Raises:
        InputError: if the folder is there and not to be replaced, cannot be written, or a
            number is out of its range.
    """
    _check_numbers(num_films=num_films, seed=seed, num_workers=num_workers)
    output_dir = pathlib.Path(output_dir)
    films = plan_demo(num_films, seed)
    with (
        OutputFolder(output_dir, overwrite=overwrite, marker=PERSONS) as folder,
        WorkerPool(num_workers, item_timeout=_FILM_TIMEOUT) as pool,
    ):
        images = folder.path / IMAGES
        images.mkdir()
        write = functools.partial(write_film, folder=images)
        drawn = list(
            tqdm(
                map_isolated(write, films, pool=pool, chunk_size=_CHUNK_FILMS),
                desc='phantom films',
                unit='film',
                total=len(films),
            )
        )
        if lost := [
            film.patient_id for film, d in zip(films, drawn, strict=True) if isinstance(d, Lost)
        ]:
            raise InputError(f'drawing {lost[0]} was killed or hung: try fewer --num_workers')
        _write_tables(folder.path, films, drawn)
        if with_contact_sheet:
            _draw_contact_sheet(folder.path, films, drawn)
        folder.publish()
    counts = np.bincount([d.class_id for d in drawn], minlength=3)
    _logger.info(
        '%s: %d phantom films of %d persons in %s (%s); tables %s, %s, %s%s',
        output_dir,
        num_films,
        len({f.person for f in films}),
        IMAGES,
        ', '.join(f'{n} {name}' for n, name in zip(counts, phantom.CLASS_NAMES, strict=True)),
        LABELS,
        CLASSES,
        PERSONS,
        f'; pictures in {CONTACT_SHEET}' if with_contact_sheet else '',
    )
    return output_dir


def plan_demo(num_films: int, seed: int) -> list[DemoFilm]:
    """Names and persons of all films, sorted by id; a person has one to six films."""
    rng = np.random.default_rng([_OF_PLAN, seed])
    persons = []
    person = 0
    while len(persons) < num_films:
        person += int(rng.integers(1, 40))
        persons += [person] * int(rng.integers(1, _MAX_FILMS_PER_PERSON + 1))
    films = [
        DemoFilm(seed, index, str(uuid.UUID(bytes=rng.bytes(16), version=4)), persons[index])
        for index in range(num_films)
    ]
    return sorted(films, key=lambda film: film.patient_id)


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """What the tables say of a film."""

    class_id: int
    boxes: list[list[float]]
    view: str
    sex: str
    age: int


def write_film(film: DemoFilm, folder: pathlib.Path) -> _Drawn:
    """Draws a film and writes ``<folder>/<patient_id>.dcm``."""
    person = phantom.make_person(np.random.default_rng([_OF_PERSON, film.seed, film.person]))
    rng = np.random.default_rng([_OF_FILM, film.seed, film.index])
    drawn = phantom.make_film(rng, person)
    dataset = _dataset(film, person, drawn, rng)
    dataset.save_as(folder / f'{film.patient_id}.dcm', enforce_file_format=True)
    return _Drawn(drawn.class_id, drawn.boxes.tolist(), drawn.view, person.sex, person.age)


def _check_numbers(*, num_films, seed, num_workers):
    if num_films < 1:
        raise InputError(f'num_films={num_films} must be 1 or more')
    if seed < 0:
        raise InputError(f'seed={seed} must be 0 or more')
    if num_workers < 0:
        raise InputError(f'num_workers={num_workers} must be 1 or more, or 0 for one per core')


def _dataset(film, person, drawn, rng):
    """The film as RSNA wrote theirs: the same tags, no window, an age without unit."""
    uid = f'2.25.{rng.integers(2**63)}'
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.SpecificCharacterSet = 'ISO_IR 100'
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = uid
    dataset.StudyDate = '19010101'
    dataset.StudyTime = '000000.00'
    dataset.AccessionNumber = ''
    dataset.Modality = 'CR'
    dataset.ConversionType = 'WSD'
    dataset.ReferringPhysicianName = ''
    dataset.SeriesDescription = f'view: {drawn.view}'
    dataset.PatientName = film.patient_id
    dataset.PatientID = film.patient_id
    dataset.PatientBirthDate = ''
    dataset.PatientSex = person.sex
    # Not a valid age, which would be 045Y: readers have to cope with RSNA's.
    dataset.add(
        DataElement('PatientAge', 'AS', str(person.age), validation_mode=pydicom_config.IGNORE)
    )
    dataset.BodyPartExamined = 'CHEST'
    dataset.ViewPosition = drawn.view
    dataset.StudyInstanceUID = f'{uid}1'
    dataset.SeriesInstanceUID = f'{uid}2'
    dataset.StudyID = ''
    dataset.SeriesNumber = '1'
    dataset.InstanceNumber = '1'
    dataset.PatientOrientation = ''
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = 'MONOCHROME2'
    dataset.Rows, dataset.Columns = drawn.pixels.shape
    dataset.PixelSpacing = [str(rng.choice(_PIXEL_SPACINGS, p=_PIXEL_SPACING_SHARES))] * 2
    dataset.BitsAllocated = 8
    dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = '01'
    dataset.LossyImageCompressionMethod = 'ISO_10918_1'
    jpeg = io.BytesIO()
    Image.fromarray(drawn.pixels, 'L').save(jpeg, 'JPEG', quality=_JPEG_QUALITY)
    dataset.PixelData = encapsulate([jpeg.getvalue()])
    dataset['PixelData'].VR = 'OB'
    return dataset


def _write_tables(folder, films, drawn):
    """The three tables; labels and classes have a row per box, as Kaggle's do."""
    labels, classes, persons = [], [], []
    for film, film_drawn in zip(films, drawn, strict=True):
        target = int(film_drawn.class_id == 2)
        for box in film_drawn.boxes or [['', '', '', '']]:
            labels.append((film.patient_id, *box, target))
            classes.append((film.patient_id, phantom.CLASS_NAMES[film_drawn.class_id]))
        persons.append(
            (film.patient_id, film.person_id, film_drawn.view, film_drawn.sex, film_drawn.age)
        )
    columns = ('patientId', 'x', 'y', 'width', 'height', 'Target')
    _write_csv(folder / LABELS, columns, labels)
    _write_csv(folder / CLASSES, ('patientId', 'class'), classes)
    _write_csv(folder / PERSONS, ('patientId', 'person_id', 'view', 'sex', 'age'), persons)


def _write_csv(path, columns, rows):
    with path.open('w', encoding='utf-8', newline='') as file:
        csv.writer(file, lineterminator='\n').writerows([columns, *rows])


def _draw_contact_sheet(folder, films, drawn):
    """Eight films of each class, as far as there are: truth boxes red, the class below."""
    pictures, captions = [], []
    for class_id, name in enumerate(phantom.CLASS_NAMES):
        of_class = [pair for pair in zip(films, drawn, strict=True) if pair[1].class_id == class_id]
        for film, film_drawn in of_class[:8]:
            pixels = read_film(folder / IMAGES / f'{film.patient_id}.dcm').pixels
            pictures.append(draw_film(pixels, truth=np.array(film_drawn.boxes).reshape(-1, 4)))
            captions.append(f'{film_drawn.view}  {name}')
    contact_sheet(pictures, captions, columns=8).save(folder / CONTACT_SHEET)
