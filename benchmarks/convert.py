"""How fast the converter is: ``python benchmarks/convert.py``.

In one run, on the same films and the same core, in turn:

(a) the bare decoding of the films' JPEG frames from memory by libjpeg-turbo (simplejpeg);
(b) a plain loop of pydicom's ``pixel_array`` and Pillow's LANCZOS to 256 px, without any output;
(c) the converter, from films on disk to finished shards, exact and with ``--fast``, all its
    processes on that one core; and on two cores.

Of (c) also the rate without start-up, which is what remains of it in a large archive: from the
difference between all films and a quarter of them.

The films are those of --images_dir (by default phantoms drawn for it), each turned and brightened
in other ways until there are --num_films different ones. Every figure is the median over rounds of
a round's ratio. With --memory_films it also converts so many small films, and tells the memory.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import os
import pathlib
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator

import numpy as np
import pydicom
import simplejpeg
from absl import flags
from PIL import Image
from pydicom import pixels as dicom_pixels
from pydicom.encaps import encapsulate, get_frame
from tqdm import tqdm

from data_prep.conversion import convert
from data_prep.demo_download import IMAGES, make_demo
from data_prep.options import Options
from pneumo_jax import command
from pneumo_jax.errors import InputError

_DECODE = '(a) bare libjpeg-turbo decode'
_PLAIN = '(b) pixel_array + LANCZOS'
_CONVERTER = '(c) converter'
_PLAIN_FILMS = 300
_SMALL_SIDE = 64
_JPEG_QUALITY = 92


@dataclasses.dataclass(frozen=True)
class _Films:
    """A download made for the benchmark."""

    images_dir: pathlib.Path
    labels_csv: pathlib.Path
    num_films: int

    def options(self, output_dir: pathlib.Path, **changes) -> Options:
        """Of a conversion of them."""
        return Options(
            output_dir=str(output_dir),
            images_dir=str(self.images_dir),
            labels_csv=str(self.labels_csv),
            overwrite=True,
            **changes,
        )

    def first(self, num_films: int) -> _Films:
        """Labels of some of them; the other files have none."""
        lines = self.labels_csv.read_text(encoding='utf-8').splitlines(keepends=True)
        labels_csv = self.labels_csv.with_name(f'first-{num_films}.csv')
        labels_csv.write_text(''.join(lines[: num_films + 1]), encoding='utf-8')
        return _Films(self.images_dir, labels_csv, num_films)


def main(argv: list[str]) -> None:
    """Measures, and prints a table."""
    command.refuse_arguments(argv)
    values = flags.FLAGS
    with tempfile.TemporaryDirectory(dir=values.scratch_dir) as scratch:
        folder = pathlib.Path(scratch)
        source = values.images_dir
        if source is None:
            source = make_demo(folder / 'phantoms', num_films=60, seed=0) / IMAGES
        films = _make_films(folder / 'films', source, values.num_films)
        _report_speed(films, folder, values.rounds)
        if values.memory_films:
            shutil.rmtree(films.images_dir)
            small = _make_films(folder / 'small', source, values.memory_films, side=_SMALL_SIDE)
            _report_memory(small, folder)


def _report_speed(films: _Films, folder: pathlib.Path, rounds: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    rows = []
    for _ in range(rounds):
        with _on_cores(cores[:1]):
            row = {
                _DECODE: _time_decode(films),
                _PLAIN: _time_plain(films),
                **_time_converter(_CONVERTER, films, folder, num_workers=1),
                **_time_converter(f'{_CONVERTER} --fast', films, folder, num_workers=1, fast=True),
            }
        if len(cores) > 1:
            with _on_cores(cores[:2]):
                row |= _time_converter(f'{_CONVERTER}, 2 cores', films, folder, num_workers=2)
        rows.append(row)
    command.say(f'{films.num_films} films of 1024 px to 256 px; medians of {rounds} rounds')
    for name in rows[0]:
        ms = statistics.median(1000 * row[name] for row in rows)
        ratios = [
            f'{statistics.median(row[base] / row[name] for row in rows):5.2f} x {base[:3]}'
            for base in (_DECODE, _PLAIN, _CONVERTER)
        ]
        command.say(f'{name:38} {ms:6.2f} ms a film, rate {", ".join(ratios)}')


def _report_memory(films: _Films, folder: pathlib.Path) -> None:
    with _peak_memory() as peak:
        _convert(films, folder, num_workers=0)
    command.say(
        f'{films.num_films} films of {_SMALL_SIDE} px: peak {peak[0] / 2**20:.0f} MiB, this '
        'process and its workers together'
    )


def _time_decode(films) -> float:
    """Seconds a film; all frames are read before."""
    frames = []
    for path in sorted(films.images_dir.iterdir()):
        frames.append(get_frame(pydicom.dcmread(path).PixelData, 0, number_of_frames=1))
    start = time.perf_counter()
    for frame in frames:
        simplejpeg.decode_jpeg(frame, 'GRAY')
    return (time.perf_counter() - start) / len(frames)


def _time_plain(films) -> float:
    """Seconds a film, of some of them."""
    paths = sorted(films.images_dir.iterdir())[:_PLAIN_FILMS]
    start = time.perf_counter()
    for path in paths:
        # Pillow decodes; left to itself pydicom may take a slower decoder that is installed.
        pixels = dicom_pixels.pixel_array(pydicom.dcmread(path), decoding_plugin='pillow')
        np.asarray(Image.fromarray(pixels).resize((256, 256), Image.Resampling.LANCZOS))
    return (time.perf_counter() - start) / len(paths)


def _time_converter(name, films, folder, **changes) -> dict[str, float]:
    """Seconds a film, of the whole conversion and without start-up."""
    few = films.first(films.num_films // 4)
    whole, quarter = _convert(films, folder, **changes), _convert(few, folder, **changes)
    marginal = (whole - quarter) / (films.num_films - few.num_films)
    return {name: whole / films.num_films, f'{name}, without start-up': marginal}


def _convert(films, folder, **changes) -> float:
    """Seconds of a conversion in this process and its workers."""
    options = films.options(folder / 'shards', **changes)
    start = time.perf_counter()
    # What it says is not of interest here.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if convert(options) != 0:
            raise InputError('the films could not be converted: see the report')
    return time.perf_counter() - start


def _make_films(folder: pathlib.Path, source, num_films: int, side: int = 0) -> _Films:
    """So many different films, and a table that calls them all negative."""
    folder.mkdir()
    images = folder / 'images'
    images.mkdir()
    originals = sorted(pathlib.Path(source).glob('*.dcm'))
    if not originals:
        raise InputError(f'no .dcm files in {source}')
    ids = []
    for i, pixels in enumerate(tqdm(_variants(originals, num_films, side), total=num_films)):
        film = pydicom.dcmread(originals[i % len(originals)])
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, 'JPEG', quality=_JPEG_QUALITY)
        film.Rows, film.Columns = pixels.shape
        film.PixelData = encapsulate([buffer.getvalue()])
        ids.append(f'film{i:06d}')
        film.save_as(images / f'{ids[-1]}.dcm')
    labels = folder / 'labels.csv'
    with labels.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['patientId', 'x', 'y', 'width', 'height', 'Target'])
        writer.writerows([id_, '', '', '', '', 0] for id_ in ids)
    return _Films(images, labels, num_films)


def _variants(originals, num_films, side) -> Iterator[np.ndarray]:
    """Films turned, mirrored and brightened; each is another picture."""
    for i in range(num_films):
        copy, original = divmod(i, len(originals))
        pixels = pydicom.dcmread(originals[original]).pixel_array
        if side:
            pixels = np.asarray(Image.fromarray(pixels).resize((side, side)))
        pixels = np.rot90(pixels, copy % 4)
        if copy % 8 >= 4:
            pixels = pixels[:, ::-1]
        yield np.clip(pixels.astype(np.int16) + copy // 8, 0, 255).astype(np.uint8)


@contextlib.contextmanager
def _on_cores(cores):
    """Keeps this process, and workers started meanwhile, on some cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _peak_memory() -> Iterator[list[int]]:
    """The most bytes that this process and its children hold at a time, read ten times a second."""
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.1):
            peak[0] = max(peak[0], sum(map(_resident_bytes, _family(os.getpid()))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _family(pid: int) -> list[int]:
    children = pathlib.Path(f'/proc/{pid}/task').glob('*/children')
    pids = [int(child) for path in children for child in _text(path).split()]
    return [pid, *(member for child in pids for member in _family(child))]


def _resident_bytes(pid: int) -> int:
    fields = _text(pathlib.Path(f'/proc/{pid}/statm')).split()
    return int(fields[1]) * os.sysconf('SC_PAGE_SIZE') if fields else 0


def _text(path: pathlib.Path) -> str:
    """Of a file that may be gone with its process."""
    try:
        return path.read_text()
    except OSError:
        return ''


if __name__ == '__main__':
    flags.DEFINE_string(
        'images_dir', None, 'Folder of DICOM films, JPEG Baseline; by default phantoms are drawn.'
    )
    flags.DEFINE_integer(
        'num_films', 12_000, 'Films of a conversion; RSNA has 26,684.', lower_bound=1
    )
    flags.DEFINE_integer('rounds', 3, 'Rounds; the medians are printed.', lower_bound=1)
    flags.DEFINE_integer(
        'memory_films', 0, 'Measure the memory of converting so many small films, too.'
    )
    flags.DEFINE_string('scratch_dir', None, 'Where films and shards are written meanwhile.')
    command.run(main)
