"""Rows of a table of techniques: their runs trained, evaluated, and compared on the same films."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence

from data_prep.conversion import convert
from data_prep.options import Options
from pneumo_jax.errors import InputError
from pneumo_jax.evaluate import evaluate
from pneumo_jax.evaluation.comparison import paired_differences
from pneumo_jax.evaluation.comparison.evaluated import load_evaluated
from pneumo_jax.files import write_json
from pneumo_jax.train import train

__all__ = ['HEAD', 'Row', 'convert_once', 'evaluate_once', 'row_lines', 'train_once']

HEAD = """| row | challenge mAP | difference | AP50 | difference | AUROC | difference | training |
| --- | --- | --- | --- | --- | --- | --- | --- |"""

_FIGURES = (('boxes', 'challenge_map'), ('boxes', 'coco_ap_50'), ('film', 'auroc'))


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        technique: in words.
        runs: names of the runs that answer together.
        changes: ``NAME=VALUE`` of ``config.eval``, for this evaluation.
        baseline: name of the row that it is compared with; '' for none.
    """

    technique: str
    runs: tuple[str, ...]
    changes: tuple[str, ...] = ()
    baseline: str = ''


def convert_once(output_dir: pathlib.Path, image_size: int, **options) -> None:
    """Converts films, unless ``output_dir`` is there already.

    Args:
        output_dir: folder for the shards.
        image_size: side of the pictures in pixels.
        options: further fields of ``data_prep.options.Options``.

    Raises:
        InputError: if a film could not be used, or an option is not right.
    """
    if output_dir.exists():
        return
    if convert(Options(output_dir=str(output_dir), image_size=image_size, **options)):
        raise InputError(f'films could not be converted: {output_dir}/report.html says why')


def train_once(config, workdir: pathlib.Path) -> float:
    """Trains to the end; returns the processor seconds that it took, over all its starts."""
    path = workdir / 'training.json'
    before, finished = time.process_time(), False
    done = json.loads(path.read_text()) if path.exists() else {'seconds': 0.0, 'finished': False}
    try:
        # Of a finished run it checks that this is the config, and no more.
        train(config, workdir)
        finished = True
    finally:
        if workdir.exists() and not done['finished']:
            done = {'seconds': done['seconds'] + time.process_time() - before, 'finished': finished}
            write_json(path, done)
    return done['seconds']


def evaluate_once(
    workdirs: Sequence[pathlib.Path], changes: Sequence[str], output_dir: pathlib.Path
) -> None:
    """Evaluates runs together on their test split, unless ``output_dir`` has it already."""
    if not (output_dir / 'results.json').exists():
        # What an interrupted evaluation left.
        shutil.rmtree(output_dir, ignore_errors=True)
        evaluate([str(path) for path in workdirs], changes=changes, output_dir=str(output_dir))


def row_lines(
    rows: Mapping[str, Row], folders: Mapping[str, pathlib.Path], seconds: Mapping[str, float]
) -> Iterator[str]:
    """The lines of the table under ``HEAD``.

    Args:
        rows: by name, each after its baseline.
        folders: of their evaluations, by the same names.
        seconds: of processors, that the runs took to train, by their names.
    """
    found = load_evaluated([folders[name] for name in rows], 'test')
    runs = dict(zip(rows, found, strict=True))
    for name, row in rows.items():
        results, cells = runs[name].results, [row.technique]
        found = row.baseline and paired_differences(runs[row.baseline], runs[name])['figures']
        for group, figure in _FIGURES:
            cells += [_shown(results[group][figure]), found and _shown(found[figure], sign='+')]
        of_itself = len(row.runs) == 1 and not row.changes
        cells.append(f'{seconds[row.runs[0]]:.0f} s' if of_itself else '')
        yield f'| {" | ".join(cells)} |'


def _shown(figure, sign=''):
    """With its interval; a difference, which has a sign, in bold where it is surely not 0."""
    value, low, high = (figure.get(name) for name in ('value', 'low', 'high'))
    if value is None:
        return 'undefined'
    if low is None or low == high:
        return f'{value:{sign}.3f}'
    text = f'{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]'
    return f'**{text}**' if sign and (low > 0 or high < 0) else text
