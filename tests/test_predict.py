import csv
import shutil
import types

import numpy as np
import pytest
from PIL import Image

from pneumo_jax.data.dicom import read_film
from pneumo_jax.extent import Extent
from pneumo_jax.overlay import PREDICTION_COLOUR, TRUTH_COLOUR, contact_sheet, draw_film
from pneumo_jax.predict import _caption
from tests.conftest import run_command


def predict(workdir, output, *arguments):
    return run_command(
        '-m', 'pneumo_jax.predict', f'--workdir={workdir}', f'--output_dir={output}', *arguments
    )


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def boxes_in(row):
    """Boxes [k,4] of a row of predictions.csv."""
    return np.array(row['boxes'].split(), float).reshape(-1, 5)[:, 1:]


@pytest.fixture
def films(phantom_download):
    return sorted((phantom_download / 'stage_2_train_images').iterdir())[:5]


def test_tables_and_overlays_of_every_film(
    trained_workdir, phantom_download, phantom_shards, films, tmp_path
):
    done = predict(
        trained_workdir,
        tmp_path / 'out',
        f'--labels_csv={phantom_download}/stage_2_train_labels.csv',
        *films,
    )
    assert done.returncode == 0, done.stderr
    ids = [film.stem for film in films]
    predictions = rows(tmp_path / 'out' / 'predictions.csv')
    assert [row['id'] for row in predictions] == ids
    assert all(0 <= float(row['probability']) <= 1 for row in predictions)
    submission = rows(tmp_path / 'out' / 'submission.csv')
    assert [row['patientId'] for row in submission] == ids
    for row in submission:
        numbers = row['PredictionString'].split()
        assert len(numbers) % 5 == 0
    assert sorted(p.stem for p in (tmp_path / 'out' / 'overlays').iterdir()) == ids
    assert (tmp_path / 'out' / 'contact_sheet.png').exists()


def test_the_same_answers_as_evaluation(trained_workdir, phantom_download, tmp_path):
    run_command('-m', 'pneumo_jax.evaluate', f'--workdir={trained_workdir}')
    evaluated = {row['id']: row for row in rows(trained_workdir / 'films-test.csv')}
    images = phantom_download / 'stage_2_train_images'
    done = predict(trained_workdir, tmp_path / 'out', *[images / f'{i}.dcm' for i in evaluated])
    assert done.returncode == 0, done.stderr
    predicted = rows(tmp_path / 'out' / 'predictions.csv')
    assert any(len(boxes_in(row)) for row in predicted)
    for row in predicted:
        same = evaluated[row['id']]
        assert float(row['probability']) == pytest.approx(float(same['probability']), abs=1e-5)
        assert row['boxes'] == same['boxes']


def test_fault_61_one_bad_film_costs_one_film(trained_workdir, films, tmp_path):
    folder = tmp_path / 'films'
    folder.mkdir()
    for film in films[:2]:
        shutil.copy(film, folder)
    (folder / 'broken.dcm').write_bytes(films[0].read_bytes()[:3000])
    done = predict(trained_workdir, tmp_path / 'out', folder)
    assert done.returncode == 1
    assert len(rows(tmp_path / 'out' / 'predictions.csv')) == 2
    (rejected,) = rows(tmp_path / 'out' / 'rejected.csv')
    assert rejected['id'] == 'broken'
    assert 'broken.dcm' in done.stderr


def test_fault_62_boxes_are_in_the_films_own_pixels(trained_workdir, films, tmp_path):
    """Films of other sizes and shapes that give one picture: the same boxes in their pixels."""
    cut = 128
    shapes = {
        # A wide film gets black margins above and below; here they are on the film.
        'square': lambda pixels: np.pad(pixels[cut:-cut], ((cut, cut), (0, 0))),
        'wide': lambda pixels: pixels[cut:-cut],
        'double': lambda pixels: np.kron(pixels[cut:-cut], np.ones((2, 2), np.uint8)),
    }
    boxes = {}
    for shape, change in shapes.items():
        folder = tmp_path / shape
        folder.mkdir()
        for film in films:
            picture = Image.fromarray(change(read_film(film).pixels))
            picture.save(folder / f'{film.stem}.png', compress_level=1)
        done = predict(trained_workdir, tmp_path / f'{shape}-out', folder)
        assert done.returncode == 0, done.stderr
        table = rows(tmp_path / f'{shape}-out' / 'predictions.csv')
        boxes[shape] = np.concatenate([boxes_in(row) for row in table])
    # In the square film a box may lie in the margins, of which the others know nothing.
    start, end = boxes['square'][:, :2], boxes['square'].reshape(-1, 2, 2).sum(axis=1)
    start, end = (np.clip(corner - (0, cut), 0, (1024, 1024 - 2 * cut)) for corner in (start, end))
    expected = np.concatenate([start, end - start], axis=1)
    expected = expected[(expected[:, 2:] > 0).all(axis=1)]
    assert len(expected) > 0
    # The tables have one decimal.
    np.testing.assert_allclose(boxes['wide'], expected, atol=0.21)
    np.testing.assert_allclose(boxes['double'], 2 * boxes['wide'], atol=0.16)
    with Image.open(tmp_path / 'wide-out' / 'overlays' / f'{films[0].stem}.png') as overlay:
        assert overlay.size == (1024, 1024 - 2 * cut)


def test_fault_63_existing_output_is_kept_without_overwrite(trained_workdir, films, tmp_path):
    output = tmp_path / 'out'
    output.mkdir()
    (output / 'mine.txt').write_text('mine')
    done = predict(trained_workdir, output, films[0])
    assert done.returncode == 2
    assert '--overwrite' in done.stderr
    assert (output / 'mine.txt').exists()
    done = predict(trained_workdir, output, '--overwrite', films[0])
    assert done.returncode == 2
    assert 'was not written by this command' in done.stderr
    (output / 'mine.txt').unlink()
    assert predict(trained_workdir, output, films[0], '--overwrite').returncode == 0
    assert predict(trained_workdir, output, films[1], '--overwrite').returncode == 0
    assert [row['id'] for row in rows(output / 'predictions.csv')] == [films[1].stem]


def test_captions_of_the_sheet_fit_under_their_films():
    everywhere = Extent(film=1.0, lungs=1.0, right=1.0, left=1.0, zones=63)
    film = types.SimpleNamespace(film_id='film', prob=1.0, positive=True, extent=everywhere)
    caption = _caption(film, {'film': np.ones((1, 4))})
    assert caption == 'p 1.00, extent 100%, truth: opacity'
    black = [Image.new('RGB', (8, 8))]
    sheet = np.asarray(contact_sheet(black * 2, [caption, ''], columns=2, side=384))
    written = (sheet[384:] > 100).any(axis=(0, 2))
    assert written[:384].any()
    assert not written[380:].any()


def test_files_of_the_same_id_are_refused(trained_workdir, films, tmp_path):
    shutil.copy(films[0], tmp_path / films[0].name)
    done = predict(trained_workdir, tmp_path / 'out', films[0], tmp_path)
    assert done.returncode == 2
    assert 'same id' in done.stderr


def test_truth_is_red_and_prediction_blue_where_the_boxes_are():
    truth, boxes = np.array([[10, 20, 50, 40.0]]), np.array([[100, 20, 50, 40.0]])
    picture = np.asarray(
        draw_film(np.zeros((200, 300), np.uint8), truth=truth, boxes=boxes, scores=None)
    )
    for colour, (x, y, w, h) in ((TRUTH_COLOUR, truth[0]), (PREDICTION_COLOUR, boxes[0])):
        ys, xs = np.nonzero((picture == colour).all(axis=-1))
        assert (xs.min(), ys.min(), xs.max(), ys.max()) == (x, y, x + w, y + h)
