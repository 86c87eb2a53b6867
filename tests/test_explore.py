"""The exploration as a user runs it: what is read, kept, written and shown."""

import csv
import dataclasses
import html.parser
import itertools
import json
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from data_prep.conversion import convert
from data_prep.exploration.gathering import draw, gather
from data_prep.exploration.loading import load_download, load_shards
from data_prep.exploration.page import exploration_page
from data_prep.explore import explore
from data_prep.options import Options
from pneumo_jax.errors import InputError
from pneumo_jax.workers import WorkerPool
from tests.conftest import run_command
from tests.film_files import LABEL_HEADER, write_download, write_film, write_rows

ALL_TABLES = ('labels_csv', 'class_info_csv', 'person_csv')
HOSTILE = '<img src=x onerror=alert(1)>&"\'${'


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its elements with attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], ''
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    @property
    def sections(self):
        return {attrs['id'] for tag, attrs in self.elements if tag == 'section'}


@pytest.fixture(scope='module')
def download(tmp_path_factory):
    return write_download(tmp_path_factory.mktemp('explore') / 'download', num_films=30)


def load(tmp_path, download, **changes):
    """The films without page and pictures."""
    options = Options(output_dir='', **(download | changes))
    with WorkerPool(1, item_timeout=60) as pool:
        return load_download(options, pool=pool, cache_dir=tmp_path / 'cache')


def run(tmp_path, download, **changes):
    options = Options(output_dir=str(tmp_path / 'out'), num_workers=1, **(download | changes))
    explored = explore(options, cache_dir=str(tmp_path / 'cache'))
    return explored, Page((tmp_path / 'out' / 'explore.html').read_text(encoding='utf-8'))


@pytest.fixture(scope='module')
def whole(tmp_path_factory, download):
    """The folder of an exploration of the download, what was found, and its page."""
    folder = tmp_path_factory.mktemp('whole')
    return folder, *run(folder, download)


def read_table(tmp_path, name):
    with (tmp_path / 'out' / 'tables' / f'{name}.csv').open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def test_a_download_as_a_whole(whole):
    tmp_path, explored, page = whole
    assert page.sections == {
        'classes', 'groups', 'boxes', 'grey-values', 'mean-films', 'persons',
        'duplicates', 'sheets', 'outliers', 'making',
    }  # fmt: skip
    assert len(explored.films) == 30
    rows = read_table(tmp_path, 'films')
    assert len(rows) == 30
    assert sum(int(row['num_boxes']) for row in rows) == len(read_table(tmp_path, 'boxes')) == 10
    told = json.loads((tmp_path / 'out' / 'exploration.json').read_text())
    assert told['prevalence']['value'] == pytest.approx(1 / 3)
    pictures = {path.stem for path in (tmp_path / 'out' / 'pictures').glob('*.png')}
    assert {
        'classes',
        'groups',
        'box_positions',
        'mean_films',
        'sheet_normal',
        'darkest',
    } <= pictures
    # Each film that is shown stands in the page itself.
    shown = [attrs for tag, attrs in page.elements if tag == 'img']
    assert len(shown) == 10 + 12 + 3 * 6
    assert all(attrs['src'].startswith('data:image/jpeg;base64,') for attrs in shown)


def test_the_page_needs_nothing_and_runs_nothing(whole):
    _, _, page = whole
    assert not {'script', 'iframe', 'object', 'embed', 'link', 'form'} & {
        t for t, _ in page.elements
    }
    for _, attrs in page.elements:
        assert not any(name.startswith('on') for name in attrs)
        for name in ('src', 'href'):
            assert attrs.get(name, '#').startswith(('#', 'data:image/'))


@pytest.mark.parametrize(
    'kept', [kept for n in range(3) for kept in itertools.combinations(ALL_TABLES, n)]
)
def test_missing_tables_shrink_the_page_and_do_not_break_it(tmp_path, download, kept):
    some = {'images_dir': download['images_dir'], **{name: download[name] for name in kept}}
    exploration = gather(load(tmp_path, some))
    assert len(exploration.films) == 30
    pictures = draw(exploration)
    page = Page(exploration_page(exploration, pictures if not kept else {}, []))
    assert {'grey_by_class', 'grey_by_view', 'mean_films'} <= pictures.keys()
    labelled = bool({'labels_csv', 'class_info_csv'} & {*kept})
    assert ('classes' in page.sections) == ('groups' in pictures) == labelled
    assert ('boxes' in page.sections) == ('box_sizes' in pictures) == ('labels_csv' in kept)
    assert ('persons' in pictures) == ('person_csv' in kept)


def test_tables_alone(tmp_path, download):
    exploration = gather(load(tmp_path, download, images_dir=None))
    pictures = draw(exploration)
    assert {'classes', 'box_positions', 'persons'} <= pictures.keys()
    assert not any(name.startswith(('grey', 'mean')) for name in pictures)
    page = Page(exploration_page(exploration, {}, []))
    assert not {'grey-values', 'mean-films', 'sheets', 'duplicates'} & page.sections
    assert exploration.films.sizes_assumed
    assert '1,024 x 1,024' in page.text


def test_nothing_at_all_is_refused_with_what_to_give(tmp_path):
    with pytest.raises(InputError, match='--download'):
        run(tmp_path, {})
    assert not (tmp_path / 'out').exists()


def test_films_are_read_once_and_again_when_they_change(tmp_path, download):
    films = pathlib.Path(shutil.copytree(download['images_dir'], tmp_path / 'films'))
    ours = download | {'images_dir': str(films)}
    first = load(tmp_path, ours)
    # Of the same size and time: only who reads it again could tell.
    changed, broken = sorted(films.glob('*.dcm'))[:2]
    for path in (changed, broken):
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = load(tmp_path, ours)
    assert not second.rejected
    assert second.pixels.digests == first.pixels.digests
    os.utime(broken)
    # The whole chunk is read again.
    assert {r.code for r in load(tmp_path, ours).rejected} == {'not_dicom'}


def test_a_damaged_cache_is_read_again(tmp_path, download):
    first = load(tmp_path, download)
    (cached,) = (tmp_path / 'cache').glob('*.npz')
    content = bytearray(cached.read_bytes())
    content[len(content) // 2] ^= 255
    cached.write_bytes(content)
    second = load(tmp_path, download)
    assert np.array_equal(second.pixels.histograms, first.pixels.histograms)
    cached.write_bytes(content[:1000])
    assert load(tmp_path, download).pixels.digests == first.pixels.digests


def test_what_is_kept_of_a_film_is_what_is_in_it(tmp_path, download):
    films = load(tmp_path, download)
    assert (films.pixels.histograms.sum(axis=1) == 64 * 64).all()
    assert {label.sex for label in films.labels} == {'F'}
    pixels = np.zeros((40, 80), np.uint8)
    pixels[:, 40:] = 200
    other = tmp_path / 'other'
    other.mkdir()
    write_film(
        other / 'one.dcm',
        pixels,
        PixelSpacing=['0.2', '0.4'],
        Manufacturer='Maker',
        PatientAge='093Y',
    )
    explored, _ = run(tmp_path, {'images_dir': str(other)}, overwrite=True)
    films = explored.films
    assert films.pixels.histograms[0, [0, 200]].tolist() == [1600, 1600]
    assert films.spacings[0] == pytest.approx(0.3)
    assert films.manufacturers == ['Maker']
    assert read_table(tmp_path, 'films')[0]['age'] == '90'


def test_bad_films_cost_themselves_alone(tmp_path, download):
    films = pathlib.Path(shutil.copytree(download['images_dir'], tmp_path / 'films'))
    (films / 'film003.dcm').write_bytes(b'no film')
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(films / 'film006.png')
    (films / 'film007.dcm').unlink()
    write_film(films / 'new.dcm', np.full((20, 20), 7, np.uint8))
    explored = gather(load(tmp_path, download | {'images_dir': str(films)}))
    codes = {r.patient_id: r.code for r in explored.films.rejected}
    page = Page(exploration_page(explored, {}, []))
    assert codes == {'film003': 'not_dicom', 'film006': 'several_files'}
    assert explored.films.missing == 1
    assert explored.figures['unlabelled'] == 1
    assert len(explored.films) == 30 - 2 + 1
    assert 'Labelled films without a file: 1' in page.text
    assert 'rejected' in page.sections


def test_names_with_markup_stay_text(tmp_path):
    films = tmp_path / 'films'
    films.mkdir()
    rng = np.random.default_rng(0)
    ids = [f'{i}{HOSTILE}' for i in range(4)]
    for film_id in ids:
        pixels = rng.integers(0, 256, (32, 32), np.uint8)
        write_film(films / f'{film_id}.dcm', pixels, Manufacturer='<b>$\\frac{1}$</b>')
        write_film(films / f'copy {film_id}.dcm', pixels, Manufacturer='<b>$\\frac{1}$</b>')
    (films / f'bad{HOSTILE}.dcm').write_bytes(b'')
    # Bytes that are no text in any encoding that is used today, and what steers a terminal.
    write_film(os.fsdecode(bytes(films) + b'/\xff\xfe\x1b[31m.dcm'), np.eye(32, dtype=np.uint8))
    labels = [[film_id, 1, 1, 9, 9, 1] for film_id in [*ids, f'bad{HOSTILE}']]
    persons = [[film_id, HOSTILE] for film_id in ids]
    tables = {
        'labels_csv': str(write_rows(tmp_path / 'labels.csv', LABEL_HEADER, labels)),
        'person_csv': str(write_rows(tmp_path / 'p.csv', ['patientId', 'person_id'], persons)),
    }
    _, page = run(tmp_path, {'images_dir': str(films), **tables})
    assert ids[0] in page.text
    assert f'bad{HOSTILE}' in page.text
    assert {tag for tag, _ in page.elements} <= {
        'html', 'head', 'meta', 'title', 'style', 'body', 'main', 'footer', 'h1', 'h2', 'h3', 'p',
        'section', 'nav', 'a', 'div', 'span', 'b', 'i', 'br', 'ul', 'li', 'table', 'thead', 'tbody',
        'tr', 'th', 'td', 'details', 'summary', 'figure', 'figcaption', 'img',
        'svg', 'g', 'path', 'text', 'tspan', 'defs', 'use', 'clippath', 'rect', 'image',
        'lineargradient', 'stop',
    }  # fmt: skip
    for tag, attrs in page.elements:
        assert not any(name.startswith('on') for name in attrs)
        assert tag != 'img' or attrs['src'].startswith('data:')
    # No person is named anywhere.
    assert f'>{HOSTILE}<' not in page.text


def test_no_person_and_nothing_of_the_header_reaches_the_output(whole):
    folder, _, _ = whole
    written = [path for path in (folder / 'out').rglob('*.*') if path.suffix != '.png']
    assert len(written) > 8
    for path in written:
        assert not re.search(r'person\d{3}|[Ss]ecret', path.read_text(encoding='utf-8')), path


def test_shards_tell_what_their_films_told(tmp_path, download):
    convert(Options(output_dir=str(tmp_path / 'shards'), image_size=64, num_workers=1, **download))
    of_shards = gather(load_shards(tmp_path / 'shards'))
    pictures = draw(of_shards)
    assert {'split_differences', 'grey_by_split'} <= pictures.keys()
    assert 'splits' in Page(exploration_page(of_shards, {}, [])).sections
    plain = load(tmp_path, download)
    films = of_shards.films
    order = np.argsort([label.patient_id for label in films.labels])
    # The pictures of 64 px are the films of 64 px.
    assert np.array_equal(films.pixels.histograms[order], plain.pixels.histograms)
    assert np.array_equal(films.pixels.thumbnails[order], plain.pixels.thumbnails)
    for i, label in zip(order, plain.labels, strict=True):
        mine = dataclasses.asdict(films.labels[i])
        theirs = dataclasses.asdict(label)
        assert np.array_equal(mine.pop('boxes'), theirs.pop('boxes'))
        assert mine == theirs
    assert of_shards.balance['persons_in_two_splits'] == 0


def test_margins_of_narrow_films_are_no_pixels_of_theirs(tmp_path):
    films = tmp_path / 'films'
    films.mkdir()
    for i in range(8):
        shape = (60, 30) if i % 2 else (30, 60)
        write_film(films / f'film{i}.dcm', np.full(shape, 100 + i, np.uint8))
    labels = [[f'film{i}', '', '', '', '', 0] for i in range(8)]
    table = write_rows(tmp_path / 'labels.csv', LABEL_HEADER, labels)
    made = Options(
        output_dir=str(tmp_path / 'shards'), images_dir=str(films), labels_csv=str(table),
        image_size=60, num_workers=1,
    )  # fmt: skip
    convert(made)
    histograms = load_shards(tmp_path / 'shards').pixels.histograms
    assert histograms[:, 0].sum() == 0
    assert (histograms.sum(axis=1) == 60 * 30).all()


def test_the_command_finds_the_parts_of_a_download(tmp_path, phantom_download):
    made = run_command(
        'data_prep/explore.py', f'--download={phantom_download}', f'--output_dir={tmp_path / "out"}'
    )
    assert made.returncode == 0, made.stderr
    assert '60 films' in made.stdout
    page = Page((tmp_path / 'out' / 'explore.html').read_text())
    assert {'classes', 'boxes', 'persons', 'mean-films'} <= page.sections
    assert (tmp_path / 'out.cache').is_dir()
