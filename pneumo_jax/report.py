"""Tells the story of a run on one page, or compares runs: ``python -m pneumo_jax.report W ...``.

One W is the workdir of a training (evaluated, not yet evaluated, or still at work), that of a
cross-validation, or a folder that ``python -m pneumo_jax.evaluate`` wrote into. The report prints
what the run is and what it reached, and writes into W, or into --output_dir:

  report.html       a page that needs no other file: data and split, model, config with what differs
                    from the default, learning curves with the best epoch, the evaluation of --split
                    with its pictures, error cases, environment, model card
  model_card.md     the model card alone (Mitchell et al. 2019); as data in model_card.json
  pictures-report/  the learning curves as PNG

Several W are compared in one table: of each the report reads ``results.json`` and
``films-test.csv`` (``results-<split>.json`` and ``films-<split>.csv`` for another --split). It
prints each run's figures with their 95 % intervals beside what needs no model, and how each run
differs from the first one (or from --baseline) on the films that both have: paired, by a bootstrap
over persons with the same draws for both, with two-sided p-values, adjusted by Holm's method where
there are several; the AUROC by DeLong's method too, where every person has one film. Runs on other
films, splits or data are compared with a warning; films with another truth are refused. With
--output_dir it also writes ``comparison.json``, ``comparison.csv``, ``comparison.md`` (tables to
paste), ``comparison.html``, a page that needs no other file, and its pictures as PNG.

No model is loaded and nothing is computed on a device. Research software, not a medical device.
"""

from __future__ import annotations

import logging
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
from pneumo_jax.story import CARD_JSON_NAME, PAGE_NAME, read_story, story_text, write_story
from pneumo_jax.story.facts import Story, holds_a_run

__all__ = ['report', 'tell']

_JSON_NAME = 'comparison.json'

log = logging.getLogger(__name__)


def tell(
    folder: str | pathlib.Path,
    *,
    split: str = 'test',
    output_dir: str | pathlib.Path | None = None,
    overwrite: bool = False,
) -> Story:
    """Writes the page and the model card of a run.

    Args:
        folder: workdir of a training or of a cross-validation, or folder of an evaluation.
        split: whose evaluation is told.
        output_dir: receives the files; None for the folder itself, where they replace those of an
            earlier report.
        overwrite: replace an older report in ``output_dir``.

    Returns:
        What was told.

    Raises:
        InputError: for a folder with nothing to tell, a damaged file, or an output folder that may
            not be replaced.
    """
    story = read_story(folder, split)
    if output_dir is None:
        try:
            write_story(story, pathlib.Path(folder))
        except OSError as error:
            raise InputError(
                f'the report cannot be written into {folder} ({error}): give --output_dir'
            ) from error
        return story
    if holds_a_run(output_dir):
        raise InputError(
            f'--output_dir={output_dir} holds a run or an evaluation, which a report never '
            'replaces: give another'
        )
    with OutputFolder(output_dir, overwrite=overwrite, marker=CARD_JSON_NAME) as out:
        write_story(story, out.path)
        out.publish()
    return story


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
    """Tells of one run, compares several, and prints."""
    options = flags.FLAGS
    folders = argv[1:]
    where = {'output_dir': options.output_dir, 'overwrite': options.overwrite}
    if len(folders) == 1:
        if options.baseline:
            raise InputError('--baseline is for several runs: give more, or leave it out')
        story = tell(folders[0], split=options.split, **where)
        command.say(story_text(story))
        place = pathlib.Path(options.output_dir or folders[0])
        log.info('all of it to read: %s', place / PAGE_NAME)
    else:
        comparison = report(folders, split=options.split, baseline=options.baseline, **where)
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
        'output_dir',
        None,
        'New folder for the page of one run (by default its own folder), or for a comparison as '
        'JSON, CSV, Markdown and HTML (by default it is printed alone).',
    )
    flags.DEFINE_bool('overwrite', False, 'Replace an older report in --output_dir.')
    command.run(main)
