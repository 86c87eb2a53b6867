"""Evaluates a trained model: ``python -m pneumo_jax.evaluate --workdir=W [--split=test]``.

Prints a table and writes into the workdir ``results.json`` and, film by film, ``films-test.csv``
(``results-<split>.json`` and ``films-<split>.csv`` for other splits). The thresholds were chosen on
validation and stand in the checkpoint; nothing is chosen here. Research software, not a medical
device.
"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping

import numpy as np
from absl import flags

from pneumo_jax import command
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.data.shards import SPLITS, load_manifest
from pneumo_jax.files import write_csv, write_json
from pneumo_jax.metrics import classification, detection, mask
from pneumo_jax.scoring import (
    FilmScore,
    Thresholds,
    boxes_text,
    films_to_locate_on,
    mask_columns,
    score_split,
)
from pneumo_jax.state import params_sha256
from pneumo_jax.steps import make_eval_step
from pneumo_jax.trained import load_trained

__all__ = ['evaluate', 'film_figures', 'location_figures', 'results']

NOTICE = 'Research software, not a medical device: no figure here supports a clinical decision.'

_FILM_COLUMNS = (
    'id',
    'person',
    'view_position',
    'label_domain',
    'class_id',
    'label',
    'probability',
    'positive',
    'true_boxes',
    'boxes',
)


def evaluate(workdir, *, split: str = 'test', data_dir=None) -> dict:
    """Evaluates the best checkpoint of a run; writes and returns the results.

    Args:
        workdir: folder of the run.
        split: ``train``, ``validation`` or ``test``.
        data_dir: folder of shards, or None for the run's own.

    Returns:
        The content of ``results.json``, described in the README.

    Raises:
        InputError: for a workdir without a trained model, or shards that are not whole.
    """
    trained = load_trained(workdir)
    data_dir = data_dir or trained.config.data.dir
    films = score_split(
        FilmSplit(data_dir, split),
        eval_step=make_eval_step(graphs=trained.graphs, config=trained.config),
        params=trained.params,
        batch_stats=trained.batch_stats,
        mesh=trained.mesh,
        config=trained.config,
    )
    content = {
        'notice': NOTICE,
        'split': split,
        'protocol': load_manifest(data_dir)['protocol']['sentence'],
        'data_fingerprint': load_manifest(data_dir)['fingerprint'],
        'model': trained.config.model.name,
        'checkpoint': {
            'epoch': trained.epoch,
            'step': trained.step,
            'params_sha256': params_sha256(trained.params),
        },
    } | results(films, trained.thresholds)
    workdir = pathlib.Path(workdir)
    name = 'results.json' if split == 'test' else f'results-{split}.json'
    write_json(workdir / name, content)
    write_csv(workdir / f'films-{split}.csv', _FILM_COLUMNS, _film_rows(films, trained.thresholds))
    return content


def results(films: list[FilmScore], thresholds: Thresholds) -> dict:
    """All figures of scored films; every figure is ``{"value": x}``, None where undefined."""
    labels = np.array([f.label for f in films])
    probs = np.array([f.prob for f in films])
    views = np.array([f.record['view_position'] for f in films])
    drawn = [len(thresholds.select(f.boxes, f.box_scores)[0]) for f in films]
    located = location_figures(films, thresholds)
    known = views != ''
    return {
        'num_films': len(films),
        'num_films_with_known_boxes': sum(f.boxes_known for f in films),
        'num_persons': len({f.record['person_id'] for f in films} - {''}) or None,
        'prevalence': float(labels.mean()),
        'label_domains': _counts(f.record['label_domain'] for f in films),
        'thresholds': {
            'film': thresholds.film,
            'film_chosen': thresholds.film_chosen,
            'box': thresholds.box,
            'box_chosen': thresholds.box_chosen,
        },
        'film': _values(film_figures(labels, probs, thresholds.film)),
        'boxes': _values(
            located['boxes']
            | {
                'films_with_boxes': np.mean([count > 0 for count in drawn]),
                'boxes_per_film': np.mean(drawn),
            }
        ),
        'mask': _values(located['mask']),
        'baselines': _values(
            {
                'all_negative_accuracy': np.mean(labels == 0),
                'view_alone_auroc': classification.auroc(labels[known], views[known] == 'AP')
                if known.any()
                else math.nan,
            }
            | located['baselines']
        ),
        'strata': {
            'view_position': {
                view: {'num_films': int(np.sum(views == view))}
                | {'prevalence': float(labels[views == view].mean())}
                | _values(
                    film_figures(labels[views == view], probs[views == view], thresholds.film)
                )
                for view in ('AP', 'PA')
                if np.any(views == view)
            }
        },
    }


def film_figures(labels: np.ndarray, probs: np.ndarray, threshold: float) -> dict[str, float]:
    """Figures of the film-level answer; NaN where undefined.

    Args:
        labels: 0 or 1 [N].
        probs: probabilities [N].
        threshold: a film is called positive from here on.
    """
    confusion = classification.confusion(labels, probs >= threshold)
    return {
        'auroc': classification.auroc(labels, probs),
        'auprc': classification.auprc(labels, probs),
        'accuracy': confusion.accuracy,
        'balanced_accuracy': confusion.balanced_accuracy,
        'sensitivity': confusion.sensitivity,
        'specificity': confusion.specificity,
        'ppv': confusion.ppv,
        'npv': confusion.npv,
        'f1': confusion.f1,
        'true_positives': confusion.tp,
        'false_positives': confusion.fp,
        'false_negatives': confusion.fn,
        'true_negatives': confusion.tn,
    }


def location_figures(films: list[FilmScore], thresholds: Thresholds) -> dict[str, dict[str, float]]:
    """Figures of boxes and masks against the truth, and their baselines; NaN where undefined.

    Only films of ``scoring.films_to_locate_on`` count; without any, all figures are undefined.
    """
    films = films_to_locate_on(films)
    truths = [f.truth for f in films]
    kept = [thresholds.select(f.boxes, f.box_scores) for f in films]
    drawn = truths, [boxes for boxes, _ in kept], [scores for _, scores in kept]
    nothing = truths, [np.zeros((0, 4))] * len(films), [np.zeros(0)] * len(films)
    sums = mask_columns(films)

    def figure(compute, *arguments):
        return compute(*arguments) if films else math.nan

    return {
        'boxes': {
            'challenge_map': figure(detection.challenge_map, *drawn),
            'mean_iou': figure(detection.mean_box_iou, *drawn),
        },
        'mask': {
            'pixel_accuracy': figure(mask.pixel_accuracy, sums),
            'mean_iou': figure(mask.mean_iou, sums),
            'dice': figure(mask.dice, sums),
        },
        'baselines': {
            'all_background_pixel_accuracy': figure(mask.background_pixel_accuracy, sums),
            'no_box_challenge_map': figure(detection.challenge_map, *nothing),
        },
    }


def table(content: dict) -> str:
    """The results as text, a figure a line with the baseline beside it."""
    baselines = {
        ('film', 'accuracy'): 'all_negative_accuracy',
        ('film', 'auroc'): 'view_alone_auroc',
        ('mask', 'pixel_accuracy'): 'all_background_pixel_accuracy',
        ('boxes', 'challenge_map'): 'no_box_challenge_map',
    }
    num_films, num_known = content['num_films'], content['num_films_with_known_boxes']
    lines = [
        f'{content["model"]}, epoch {content["checkpoint"]["epoch"]}, split {content["split"]}: '
        f'{num_films} films, prevalence {content["prevalence"]:.1%}'
        + (f', boxes known of {num_known}' if num_known < num_films else ''),
        f'protocol: {content["protocol"]}',
        f'thresholds: film {_threshold_text(content, "film")}, '
        f'box {_threshold_text(content, "box")}',
        '',
        f'{"figure":<24}{"value":>9}   trivial baseline',
    ]
    for group in ('film', 'boxes', 'mask'):
        lines.append(group)
        for name, figure in content[group].items():
            line = f'  {name:<22}{_text(figure["value"]):>9}'
            if (baseline := baselines.get((group, name))) is not None:
                value = content['baselines'][baseline]['value']
                line += f'   {_text(value)} ({baseline.replace("_", " ")})'
            lines.append(line)
    for view, stratum in content['strata']['view_position'].items():
        lines.append(
            f'{view} films: {stratum["num_films"]}, prevalence {stratum["prevalence"]:.1%}, '
            f'AUROC {_text(stratum["auroc"]["value"])}'
        )
    return '\n'.join([*lines, '', content['notice']])


def main(argv: list[str]) -> None:
    """Evaluates and prints."""
    command.refuse_arguments(argv)
    options = flags.FLAGS
    content = evaluate(options.workdir, split=options.split, data_dir=options.data_dir)
    command.say(table(content))


def _film_rows(films, thresholds):
    """A row per film; persons are numbered, since their ids are nobody's business here."""
    persons = {p: i for i, p in enumerate(sorted({f.record['person_id'] for f in films} - {''}))}
    for film in films:
        boxes, scores = thresholds.select(film.boxes, film.box_scores)
        record = film.record
        yield (
            record['patient_id'],
            persons.get(record['person_id'], ''),
            record['view_position'],
            record['label_domain'],
            record['class_id'],
            film.label,
            f'{film.prob:.6f}',
            int(film.prob >= thresholds.film),
            boxes_text(film.truth, np.ones(len(film.truth))),
            boxes_text(boxes, scores),
        )


def _values(figures: Mapping[str, float]) -> dict:
    """Figures as JSON objects; counts stay integers, NaN becomes None."""
    return {name: {'value': _plain(value)} for name, value in figures.items()}


def _plain(value):
    if isinstance(value, (int, np.integer)):
        return int(value)
    return float(value) if math.isfinite(value) else None


def _counts(values) -> dict[str, int]:
    names, counts = np.unique(list(values), return_counts=True)
    return {str(n): int(c) for n, c in zip(names, counts, strict=True)}


def _threshold_text(content, name) -> str:
    thresholds = content['thresholds']
    reason = 'chosen on validation'
    if not thresholds[f'{name}_chosen']:
        reason = 'not chosen: validation has ' + {'film': 'one class', 'box': 'no hit'}[name]
    return f'{thresholds[name]:.4f} ({reason})'


def _text(value) -> str:
    if value is None:
        return 'undefined'
    return str(value) if isinstance(value, int) else f'{value:.4f}'


if __name__ == '__main__':
    flags.DEFINE_string('workdir', None, 'Folder of a run of pneumo_jax.main.')
    flags.DEFINE_enum('split', 'test', SPLITS, 'Split to evaluate on.')
    flags.DEFINE_string(
        'data_dir', None, "Folder of shards; by default the run's own config.data.dir."
    )
    flags.mark_flag_as_required('workdir')
    command.run(main)
