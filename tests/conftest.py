"""Fixtures shared by the tests."""

import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope='session')
def shared_data() -> pathlib.Path:
    """The folder of real films beside the checkout; a test that needs it is skipped without."""
    folder = _ROOT.parent / 'shared' / 'data'
    if not folder.is_dir():
        pytest.skip(f'the real films are not beside the checkout: no folder {folder}')
    return folder
