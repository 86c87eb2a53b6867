import logging

import numpy as np
import pytest

from data_prep.labels import RejectError, boxes_inside, film_ids, only_path, posix_path


def test_fault_33_boxes_are_clipped_by_a_pixel_at_most():
    def clipped(*box):
        return boxes_inside(np.array([box], np.float32), height=100, width=200)

    assert clipped(0, 0, 200, 100).tolist() == [[0, 0, 200, 100]]
    assert clipped(-1, 90, 50, 11).tolist() == [[0, 90, 49, 10]]
    assert clipped(150, 0, 51.5, 10) is None
    assert clipped(-1.5, 0, 50, 10) is None
    assert clipped(0, 90, 10, 11.5) is None
    assert clipped(-1, 0, 0.5, 10) is None
    assert boxes_inside(np.zeros((0, 4), np.float32), 100, 200).shape == (0, 4)


def test_ids_are_stems_where_these_are_different():
    assert film_ids(['a/x.png', 'b/y.tar.png', 'z', 'a/x.png']) == {
        'a/x.png': 'x',
        'b/y.tar.png': 'y.tar',
        'z': 'z',
    }


def test_ids_are_paths_where_stems_come_twice_and_the_log_says_so(caplog):
    with caplog.at_level(logging.INFO):
        ids = film_ids(['a/x.png', 'b/x.png', 'a/y.png', 'a/y.jpg', 'z.png'])
    assert list(ids.values()) == ['a__x', 'b__x', 'a__y', 'a__y', 'z']
    assert 'in several folders' in caplog.text


def test_unsafe_paths_do_not_change_the_ids_of_others():
    assert film_ids(['a/x.png', '../x.png', '.', '/x']) == {
        'a/x.png': 'x',
        '../x.png': '../x.png',
        '.': '.',
        '/x': '/x',
    }


@pytest.mark.parametrize(
    ('text', 'path'),
    [('a\\b\\c.png', 'a/b/c.png'), ('./a//b.png', 'a/b.png'), ('a.png', 'a.png')],
)
def test_paths_of_all_systems_become_one_form(text, path):
    assert posix_path(text) == path
    assert only_path([posix_path(text), path]) == path


@pytest.mark.parametrize(
    'text',
    [
        '/a.png',
        '../a.png',
        'a/../b.png',
        '..',
        '',
        'C:\\a.png',
        'C:a.png',
        '\\\\host\\a',
        'a\nb.png',
    ],
)
def test_fault_36_paths_that_may_lead_out_of_the_folder_are_rejected(text):
    with pytest.raises(RejectError, match='--images_dir') as error:
        only_path([posix_path(text)])
    assert error.value.code == 'unsafe_path'
