"""The contact sheet, as a command and as a picture."""

import numpy as np
import pytest
from PIL import Image

from pneumo_jax.data.augment.sheet import draw_sheet
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.overlay import TRUTH_COLOUR
from tests.conftest import run_command
from tests.made_augment import only

COMMAND = ('-m', 'pneumo_jax.data.augment', '--config=configs/resnet.py')
# As overlay.contact_sheet lays them out: 6 rows of pictures of 256 px, each with a line below it.
ROWS, COLUMNS, SIDE, LINE, HEADER = 6, 6, 256, 21, 36


def cells(sheet):
    """Pictures uint8 [6,6,256,256,3] without their captions."""
    rows = np.asarray(sheet)[HEADER:].reshape(ROWS, SIDE + LINE, COLUMNS, SIDE, 3)
    return rows[:, :SIDE].swapaxes(1, 2)


def red(pictures):
    """Where the lines of boxes are."""
    return (pictures == TRUTH_COLOUR).all(axis=-1)


def test_the_command_writes_a_sheet_of_films_with_their_boxes(phantom_shards, tmp_path):
    out = tmp_path / 'sheet.png'
    data = f'--config.data.dir={phantom_shards}'
    # It writes over an older picture.
    out.write_bytes(b'old')
    done = run_command(*COMMAND, data, f'--out={out}', '--config.augment.rotation=20')
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'wrote {out}\n'
    with Image.open(out) as sheet:
        assert sheet.size == (COLUMNS * SIDE, HEADER + ROWS * (SIDE + LINE))
        assert not sheet.info
        pictures = cells(sheet)
    assert red(pictures[:, 0]).any(axis=(1, 2)).all(), 'films with boxes come first'
    assert red(pictures).any(axis=(2, 3)).sum() > 30
    for view in range(1, COLUMNS):
        assert not np.array_equal(pictures[:, 0], pictures[:, view])


def test_without_any_change_all_views_are_the_films(phantom_shards):
    pictures = cells(draw_sheet(FilmSplit(phantom_shards, 'train'), only(), seed=0))
    for view in range(1, COLUMNS):
        np.testing.assert_array_equal(pictures[:, 0], pictures[:, view])


def test_mixed_films_show_the_boxes_of_both(phantom_shards):
    pictures = cells(draw_sheet(FilmSplit(phantom_shards, 'train'), only(mixup=0.4), seed=0))
    # Half a batch away, and nothing moved.
    films = red(pictures[:, 0])
    np.testing.assert_array_equal(red(pictures[:, 1]), films | np.roll(films, 3, axis=0))
    assert not np.array_equal(pictures[:, 0], pictures[:, 1])


def test_the_seed_decides_films_and_views(phantom_shards):
    split, config = FilmSplit(phantom_shards, 'train'), only(flip=True, shift=0.3)
    first, again, other = (np.asarray(draw_sheet(split, config, seed=s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(cells(first)[:, 0], cells(other)[:, 0])


def test_boxes_that_left_the_picture_are_not_drawn(phantom_shards):
    config = only(shift=3.0)
    pictures = cells(draw_sheet(FilmSplit(phantom_shards, 'train'), config, seed=0))
    assert not red(pictures[:, 1:]).any(axis=(2, 3)).all()


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], '--config.data.dir=FOLDER'),
        (['--config.data.dir=nowhere'], 'nowhere'),
        (['--config.data.dir=nowhere', '--out=sheet'], 'try --out=sheet.png'),
        (['--config.data.dir=nowhere', '--out=nofolder/sheet.png'], 'no folder nofolder'),
    ],
)
def test_bad_flags_are_told_in_one_line(flags, message, tmp_path):
    done = run_command(*COMMAND, f'--out={tmp_path}/sheet.png', *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count('\n') == 1
