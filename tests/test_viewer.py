"""``python -m pneumo_jax.view``: what its server hands out, to whom, and what it refuses."""

import concurrent.futures
import contextlib
import dataclasses
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from pneumo_jax.data.dicom import read_film
from pneumo_jax.data.shards import load_manifest
from pneumo_jax.errors import InputError
from pneumo_jax.files import write_json
from pneumo_jax.view import viewer
from pneumo_jax.viewer.server import listening
from tests.conftest import ROOT
from tests.conversions import read_records
from tests.made_evaluations import THRESHOLDS
from tests.made_viewer import HOSTILE_IDS, converted_download, films_of, varied_films, write_shown


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A download, its shards and their records by split."""
    folder = tmp_path_factory.mktemp('viewer')
    download, shards = converted_download(folder)
    return download, shards, read_records(shards)


@pytest.fixture
def workdir(made, tmp_path):
    """An evaluation of the test films in the workdir of a run on the shards."""
    _, shards, records = made
    fingerprint = load_manifest(shards)['fingerprint']
    run = {'config': {'data': {'dir': str(shards)}}, 'data': {}}
    folder = write_shown(tmp_path / 'run', films_of(records['test']), data_fingerprint=fingerprint)
    write_json(folder / 'config.json', run)
    return folder


@contextlib.contextmanager
def client_of(*arguments, **options):
    with viewer(*arguments, **options) as app:
        yield app.test_client()


def pixels_of(answer):
    assert answer.status_code == 200, answer.data
    return np.asarray(Image.open(io.BytesIO(answer.data)))


def test_pictures_are_those_of_the_shards_to_the_bit(made, workdir):
    records = made[2]['test']
    with client_of(workdir) as client:
        data = client.get('/data.json').json
        assert data['notices'] == [] and data['square'] is True
        for i, record in enumerate(records):
            answer = client.get(f'/pictures/{i}.png')
            assert answer.mimetype == 'image/png'
            np.testing.assert_array_equal(pixels_of(answer), record['image'][:, :, 0])
            assert data['films']['id'][i] == record['patient_id']


def test_files_are_shown_in_their_own_pixels_or_say_why_not(made, tmp_path):
    download, _, records = made
    films = films_of(records['test'][:7])
    same, other, size, broken, twice, *_ = films.ids
    images = tmp_path / 'images'
    for folder in ('a', 'b'):
        (images / folder).mkdir(parents=True)
        Image.new('L', (64, 64)).save(images / folder / f'{twice}.png')
    original = pathlib.Path(download['images_dir']) / f'{same}.dcm'
    shutil.copy(original, images)
    Image.new('L', (64, 64), 7).save(images / 'b' / f'{other}.png')
    Image.new('L', (32, 64)).save(images / f'{size}.png')
    (images / f'{broken}.png').write_bytes(b'\x89PNG\r\n\x1a\n<script>')
    # As the converter names films whose file names come in several folders.
    films.ids[5] = f'b__{twice}'
    with client_of(write_shown(tmp_path / 'run', films), data=str(images)) as client:
        data = client.get('/data.json').json
        assert data['square'] is False
        assert [notice.partition('. ')[0] for notice in data['notices']] == [
            '2 of 7 films have no picture'
        ]
        shown = pixels_of(client.get('/pictures/0.png'))
        np.testing.assert_array_equal(shown, read_film(original).pixels)
        # The shards' picture has less.
        assert shown.shape == (64, 64) and records['test'][0]['image'].shape == (16, 16, 1)
        assert (pixels_of(client.get('/pictures/1.png')) == 7).all()
        for i, reason in ((2, '32 x 64 pixels'), (3, broken), (4, '2 files'), (6, 'no file in')):
            answer = client.get(f'/pictures/{i}.png')
            assert answer.status_code == 404 and answer.mimetype == 'application/json'
            assert reason in answer.json['reason'] and 'Traceback' not in answer.json['reason']
        assert client.get('/pictures/5.png').status_code == 200


def test_shards_of_another_conversion_show_only_the_same_films(made, tmp_path):
    _, shards, records = made
    # Films of several splits, as pooled folds have; one of them with another truth.
    films = films_of([*records['test'][:3], *records['train'][:3]])
    films.truths[1] = np.array([[1.0, 2.0, 3.0, 4.0]])
    films.ids[2] = 'not there'
    with client_of(write_shown(tmp_path / 'run', films), data=str(shards)) as client:
        notices = client.get('/data.json').json['notices']
        assert 'another fingerprint' in notices[0] and '2 of 6' in notices[1]
        codes = [client.get(f'/pictures/{i}.png').status_code for i in range(6)]
        assert codes == [200, 404, 404, 200, 200, 200]
        assert 'another film with this id' in client.get('/pictures/1.png').json['reason']


def test_without_shards_films_are_listed_and_the_remedy_is_told(tmp_path, workdir):
    lonely = write_shown(tmp_path / 'pooled', varied_films(5))
    config = json.loads((workdir / 'config.json').read_text())
    config['config']['data']['dir'] = str(tmp_path / 'moved')
    write_json(workdir / 'config.json', config)
    for folder in (lonely, workdir):
        with client_of(folder) as client:
            data = client.get('/data.json').json
            assert '--data=DIR' in data['notices'][0]
            assert '--data=DIR' in client.get('/pictures/0.png').json['reason']


def test_a_folder_of_films_has_its_shards_beside_the_figures(made, workdir):
    _, shards, _ = made
    (workdir / 'config.json').unlink()
    (workdir / 'films').symlink_to(shards)
    with client_of(workdir) as client:
        assert client.get('/pictures/0.png').status_code == 200


def test_the_data_are_those_of_the_table(tmp_path):
    films = varied_films(40)
    films.age[:2] = 104, -1
    films.boxes[0] = np.array([[0.1, 1 / 3, 100.7, 5.0]], np.float32).astype(float)
    films.box_scores[0] = np.array([0.3])
    with client_of(write_shown(tmp_path / 'run', films)) as client:
        data = client.get('/data.json').json
    columns = data['films']
    assert columns['id'] == films.ids
    np.testing.assert_array_equal(columns['probability'], films.probs)
    assert columns['boxes'] == [boxes.tolist() for boxes in films.boxes]
    assert columns['truths'] == [boxes.tolist() for boxes in films.truths]
    assert data['thresholds'] == {'film': 0.5, 'box': 0.3, 'film_chosen': True, 'box_chosen': True}
    # Nobody is older than 90 here, and persons have no number.
    assert columns['age'][:2] == [90, -1] and max(columns['age']) == 90
    assert not [name for name in columns if 'person' in name]


def test_boxes_have_the_size_in_which_they_are_drawn(tmp_path):
    films = varied_films(10)
    thresholds = dataclasses.replace(THRESHOLDS, shrink=0.8)
    folder = write_shown(tmp_path / 'run', films, thresholds=thresholds)
    with client_of(folder) as client:
        shown = client.get('/data.json').json['films']['boxes']
    for i, boxes in enumerate(films.boxes):
        np.testing.assert_array_equal(np.reshape(shown[i], (-1, 4)), thresholds.resized(boxes))


def test_every_answer_is_for_this_page_alone(workdir):
    with client_of(workdir) as client:
        places = ('/', '/data.json', '/static/main.js', '/pictures/0.png', '/pictures/99.png', '/x')
        for place in places:
            headers = client.get(place).headers
            policy = headers['Content-Security-Policy'].split('; ')
            assert policy[0] == "default-src 'none'" and 'unsafe' not in ''.join(policy)
            assert "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
            assert headers['X-Content-Type-Options'] == 'nosniff'
            assert headers['Referrer-Policy'] == 'no-referrer'
            assert headers['Cache-Control'] == 'no-store'
            assert headers['Cross-Origin-Resource-Policy'] == 'same-origin'
            assert not [name for name, _ in headers if name.startswith('Access-Control')]


@pytest.mark.parametrize('host', ['evil.example', '127.0.0.1.evil.example', '', '10.0.0.1:80'])
@pytest.mark.parametrize('place', ['/', '/data.json', '/pictures/0.png', '/static/main.js'])
def test_other_hosts_are_refused(workdir, host, place):
    with client_of(workdir) as client:
        answer = client.get(place, headers={'Host': host})
        assert answer.status_code == 400
        assert answer.data == b'400 Bad Request\n'
        for known in ('127.0.0.1:8000', 'localhost:8000'):
            assert client.get(place, headers={'Host': known}).status_code == 200


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE'])
def test_it_can_only_be_read(workdir, method):
    with client_of(workdir) as client:
        for place in ('/', '/data.json', '/pictures/0.png', '/static/main.js'):
            assert client.open(place, method=method).status_code == 405
        assert client.head('/').status_code == 200


@pytest.mark.parametrize(
    'place',
    [
        '/pictures/12.png',
        '/pictures/-1.png',
        '/pictures/99999999999999999999999.png',
        '/pictures/0.dcm',
        '/pictures/film000.png',
        '/pictures/..%2f..%2fconfig.json',
        '/static/../server.py',
        '/static/..%2fserver.py',
        '/static/%2e%2e/server.py',
        '/static//etc/passwd',
        '/config.json',
        '/results.json',
        '/films-test.csv',
    ],
)
def test_nothing_is_reached_by_a_path(workdir, place):
    with client_of(workdir) as client:
        answer = client.get(place, follow_redirects=True)
        assert answer.status_code in (400, 404)
        assert answer.data in (b'404 Not Found\n', b'400 Bad Request\n')


def test_hostile_ids_are_data_and_name_no_file(tmp_path):
    films = varied_films(len(HOSTILE_IDS))
    films.ids[:] = HOSTILE_IDS
    with client_of(write_shown(tmp_path / '<b>run&', films)) as client:
        answer = client.get('/data.json')
        assert answer.mimetype == 'application/json'
        assert answer.json['films']['id'] == list(HOSTILE_IDS)
        assert answer.json['name'] == '<b>run&'
        assert client.get('/').data == (ROOT / 'pneumo_jax/viewer/static/index.html').read_bytes()


def test_the_page_refers_to_its_own_files_only_and_no_text_becomes_markup():
    folder = ROOT / 'pneumo_jax' / 'viewer' / 'static'
    files = {path.name: path.read_text(encoding='utf-8') for path in folder.iterdir()}
    page = files['index.html']
    for place in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert place.startswith('static/') and place.removeprefix('static/') in files
    assert not re.search(r'<script(?![^>]*src=)|<style|\son\w+=|style=', page)
    for name, text in files.items():
        if name.endswith('.js'):
            forbidden = r'innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function'
            assert not re.search(forbidden, text), name
            assert not re.search(r'https?:', text), name
            # Every module that is imported is there.
            for other in re.findall(r"from '\./([^']+)'", text):
                assert other in files, f'{name} imports {other}'
        if name.endswith('.css'):
            assert 'url(' not in text and '@import' not in text


@pytest.mark.parametrize('change', ['missing', 'nan', 'other_version', 'no_messages'])
def test_what_is_no_evaluation_is_refused_with_a_remedy(tmp_path, change):
    films = varied_films(5)
    folder = write_shown(tmp_path / 'run', films)
    if change == 'missing':
        (folder / 'results.json').unlink()
    elif change == 'nan':
        table = (folder / 'films-test.csv').read_text()
        (folder / 'films-test.csv').write_text(table.replace(f'{films.probs[0]:.9g}', 'nan'))
    else:
        changes = {'schema': 1} if change == 'other_version' else {'warnings': ['text']}
        write_shown(folder, films, **changes)
    with pytest.raises(InputError, match=r'pneumo_jax\.evaluate'), viewer(folder):
        pass
    if change == 'missing':
        with (
            pytest.raises(InputError, match=r'results-train\.json.*--split=train first'),
            viewer(folder, split='train'),
        ):
            pass


@pytest.mark.parametrize('data', ['none', 'empty', 'run/results.json'])
def test_a_place_of_pictures_that_is_none_is_refused(tmp_path, data):
    (tmp_path / 'empty').mkdir()
    folder = write_shown(tmp_path / 'run', varied_films(5))
    with pytest.raises(InputError, match=data), viewer(folder, data=str(tmp_path / data)):
        pass


def test_it_listens_on_this_machine_alone(workdir):
    with viewer(workdir) as app, listening(app, 0) as server:
        assert server.socket.getsockname() == ('127.0.0.1', server.port)
        with pytest.raises(InputError, match=f'--port={server.port} is in use'):
            listening(app, server.port).__enter__()


def test_films_that_are_read_when_the_viewer_ends_are_refused(made, workdir):
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        with client_of(workdir, data=made[0]['images_dir']) as client:
            # More than are read at once.
            answers = [threads.submit(client.get, f'/pictures/{i}.png') for i in range(4)]
            time.sleep(0.1)
        assert [answer.result().status_code for answer in answers] == [404] * 4


def test_the_command_says_where_and_ends_with_ctrl_c(made, workdir, tmp_path):
    browser = tmp_path / 'browser'
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, '-m', 'pneumo_jax.view', workdir, f'--data={made[0]["images_dir"]}'],
        cwd=ROOT,
        env=os.environ | {'BROWSER': f'{browser} %s'},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        address, port = re.match(r'(http://127\.0\.0\.1:(\d+)/)', line).groups()
        with socket.create_connection(('127.0.0.1', int(port))) as waiting:
            # A film that is still being read when Ctrl-C comes: its worker takes a second to start.
            waiting.send(b'GET /pictures/0.png HTTP/1.1\r\nHost: localhost\r\n\r\n')
            with urllib.request.urlopen(f'{address}data.json') as answer:
                assert b'film' in answer.read()
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    # No line for a request, and no traceback.
    assert said == ('', '')
    assert (tmp_path / 'opened').read_text() == f'{address}\n'
