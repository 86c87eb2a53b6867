"""Compares runs in one table: ``python -m pneumo_jax.report W1 W2 ... [--split=test]``.

W1, W2 ... are workdirs, or other folders that ``python -m pneumo_jax.evaluate`` wrote into: of each
the report reads ``results.json`` and ``films-test.csv`` (``results-<split>.json`` and
``films-<split>.csv`` for another --split). No model is loaded and nothing is computed on a device.

It prints each run's figures with their 95 % intervals beside what needs no model, and how each run
differs from the first one (or from --baseline) on the films that both have: paired, by a bootstrap
over persons with the same draws for both, with two-sided p-values, adjusted by Holm's method where
there are several; the AUROC by DeLong's method too, where every person has one film. Runs on other
films, splits or data are compared with a warning; films with another truth are refused.

With --output_dir it also writes ``comparison.json``, ``comparison.csv``, ``comparison.md`` (tables
to paste), ``comparison.html``, a page that needs no other file, and its pictures as PNG. Research
software, not a medical device.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from absl import flags

from pneumo_jax import command
from pneumo_jax.data.shards import SPLITS
from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.comparison import compare
from pneumo_jax.evaluation.comparison.evaluated import load_evaluated
from pneumo_jax.evaluation.comparison.page import comparison_page, draw_comparison
from pneumo_jax.evaluation.comparison.text import CSV_HEADER, csv_rows, markdown, text_table
from pneumo_jax.files import write_atomically, write_csv, write_json
from pneumo_jax.output_folder import OutputFolder
from pneumo_jax.pages.pictures import save_pictures

__all__ = ['report']

_JSON_NAME = 'comparison.json'


def report(
    folders: Sequence[str | pathlib.Path],
    *,
    split: str = 'test',
    baseline: str | pathlib.Path | None = None,
    output_dir: str | pathlib.Path | None = None,
    overwrite: bool = False,
) -> dict:
    """Compares evaluated runs.

    Args:
        folders: that the runs' evaluations lie in, at least one.
        split: that was evaluated.
        baseline: one of the folders; None for the first.
        output_dir: receives the comparison's files; None for none.
        overwrite: replace an older comparison there.

    Returns:
        The content of ``comparison.json``.

    Raises:
        InputError: for folders without such an evaluation, runs that share no film or differ in
            the truth of one, a baseline that is none of the folders, or an output folder that may
            not be replaced.
    """
    if not folders:
        raise InputError('no runs: give their workdirs, python -m pneumo_jax.report W1 W2 ...')
    index = _index_of(baseline, folders)
    if output_dir is None:
        return _compare(folders, split, index)
    with OutputFolder(output_dir, overwrite=overwrite, marker=_JSON_NAME) as folder:
        comparison = _compare(folders, split, index)
        write_json(folder.path / _JSON_NAME, comparison)
        write_csv(folder.path / 'comparison.csv', CSV_HEADER, csv_rows(comparison))
        write_atomically(folder.path / 'comparison.md', markdown(comparison))
        pictures = draw_comparison(comparison)
        save_pictures(pictures, folder.path)
        write_atomically(folder.path / 'comparison.html', comparison_page(comparison, pictures))
        folder.publish()
    return comparison


def main(argv: list[str]) -> None:
    """Compares and prints."""
    options = flags.FLAGS
    comparison = report(
        argv[1:],
        split=options.split,
        baseline=options.baseline,
        output_dir=options.output_dir,
        overwrite=options.overwrite,
    )
    command.say(text_table(comparison))


def _compare(folders, split, index):
    runs = load_evaluated(folders, split)
    return compare(runs, runs[index].name)


def _index_of(baseline, folders):
    """The place of the baseline; its folder may be written in another way."""
    if baseline is None:
        return 0
    paths = [pathlib.Path(folder).resolve() for folder in folders]
    wanted = pathlib.Path(baseline).resolve()
    if wanted not in paths:
        raise InputError(
            f'--baseline={baseline} is none of the runs: give one of {", ".join(map(str, folders))}'
        )
    return paths.index(wanted)


if __name__ == '__main__':
    flags.DEFINE_enum('split', 'test', SPLITS, 'Split that the runs were evaluated on.')
    flags.DEFINE_string(
        'baseline', None, 'The run that the others are compared with; by default the first.'
    )
    flags.DEFINE_string(
        'output_dir', None, 'Folder for the comparison as JSON, CSV, Markdown and HTML; new.'
    )
    flags.DEFINE_bool('overwrite', False, 'Replace an older comparison in --output_dir.')
    command.run(main)
