"""The runs of a cross-validation by the names of their folders."""

from __future__ import annotations

import pathlib

__all__ = ['fold_folders', 'fold_name']


def fold_name(number: int) -> str:
    """Folder of a fold's run in the workdir of a cross-validation."""
    return f'fold{number}'


def fold_folders(workdir: str | pathlib.Path) -> list[pathlib.Path]:
    """The folders of the folds in a workdir, in order; none where it is of a single run."""
    folds = [pathlib.Path(workdir) / fold_name(0)]
    while folds[-1].exists():
        folds.append(pathlib.Path(workdir) / fold_name(len(folds)))
    return folds[:-1]
