"""Predicts on films: ``python -m pneumo_jax.predict --workdir=W --output_dir=P FILE_OR_FOLDER...``.

Reads DICOM, PNG and JPEG by the same code as the converter. Writes predictions.csv, submission.csv
in Kaggle's form, overlays/<id>.png with the predicted boxes in blue and, with --labels_csv, the
true ones in red, and contact_sheet.png of a dozen. Boxes are x, y, width, height in the film's own
pixels. The id of a film is its file name without suffix. A film that cannot be read is named with
the reason in rejected.csv, the others are predicted all the same, and the exit code is 1.

predictions.csv has id, probability, positive, boxes; the opacity extent of film, lungs and each
lung, and of films called positive the zones touched and whether one lung or both are; and where
pneumo_jax.evaluate has left a calibration.json in the workdir, the calibrated probability, whether
the model had better abstain, and the extent's percentile among positive validation films and its
interval.

Several --workdir answer together; their thresholds are in the calibration.json of their evaluation,
which --calibration names.

Research software, not a medical device.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
from absl import flags
from tqdm import tqdm

from data_prep.rsna_labels import read_rsna_labels
from pneumo_jax import command, overlay
from pneumo_jax.data.film import Film, FilmError
from pneumo_jax.data.isolated import read_films
from pneumo_jax.data.pipeline import prefetch
from pneumo_jax.ensemble import Ensemble, load_ensemble
from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.chosen import CHOSEN_NAME, Chosen, read_chosen
from pneumo_jax.evaluation.conclusions import CONCLUSIONS, conclusions
from pneumo_jax.extent import Extent, lung_fields, opacity_extent
from pneumo_jax.files import write_csv
from pneumo_jax.output_folder import OutputFolder
from pneumo_jax.read_flags import define_read_flags, read_options
from pneumo_jax.scoring import boxes_text
from pneumo_jax.thresholds import Thresholds
from pneumo_jax.workers import WorkerPool

__all__ = ['Prediction', 'predict_films']

_SUFFIXES = ('', '.dcm', '.dicom', '.png', '.jpg', '.jpeg')
_SHEET_FILMS = 12
_PREDICTIONS = 'predictions.csv'
_COLUMNS = (
    'id',
    'probability',
    'positive',
    'boxes',
    'extent_film',
    'extent_lungs',
    'extent_right',
    'extent_left',
    'zones',
    *CONCLUSIONS,
)

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The answer for one film.

    Attributes:
        film_id: file name without suffix.
        film: the film as read.
        prob: probability of a lung opacity.
        positive: whether ``prob`` reaches the film threshold.
        boxes: float32 [k,4] in film pixels.
        scores: float32 [k], confidences, descending.
        extent: how much of film and lungs opacities cover.
    """

    film_id: str
    film: Film
    prob: float
    positive: bool
    boxes: np.ndarray
    scores: np.ndarray
    extent: Extent


def predict_films(
    ensemble: Ensemble, thresholds: Thresholds, films: Iterable[tuple[str, Film, np.ndarray]]
) -> Iterator[Prediction]:
    """Predicts films as they come, in batches.

    Args:
        ensemble: of ``load_ensemble``.
        thresholds: for films and boxes.
        films: film ids, films, and their standard pictures, uint8 [S,S].
    """
    batches = _image_batches(films, ensemble.batch_size, ensemble.image_size)
    for chunk, images in prefetch(batches):
        answers = ensemble.answer(images, [film.pixels.shape for _, film, _ in chunk])
        for (film_id, film, picture), answer in zip(chunk, answers, strict=True):
            boxes, scores = thresholds.select(answer.boxes, answer.scores)
            fields = lung_fields(picture, film_size=film.pixels.shape)
            yield Prediction(
                film_id=film_id,
                film=film,
                prob=answer.prob,
                positive=answer.prob >= thresholds.film,
                boxes=boxes,
                scores=scores,
                extent=opacity_extent(answer.mask_probs, fields, film_size=film.pixels.shape),
            )


def main(argv: list[str]) -> int:
    """Reads, predicts, writes; 1 if a film was rejected."""
    options = flags.FLAGS
    files = _find_files(argv[1:])
    truths = _read_truths(options.labels_csv)
    with OutputFolder(
        options.output_dir, overwrite=options.overwrite, marker=_PREDICTIONS
    ) as folder:
        ensemble = load_ensemble(options.workdir)
        chosen = _read_chosen(ensemble, options.workdir, options.calibration)
        thresholds = chosen.thresholds if chosen else ensemble.members[0].thresholds
        rejected: list[tuple[str, str, str]] = []
        with WorkerPool(options.num_workers, item_timeout=options.film_timeout) as pool:
            films = _read_films(files, ensemble, rejected, pool)
            predictions = predict_films(ensemble, thresholds, films)
            num_films = _write_outputs(
                folder.path, predictions, truths, rejected, chosen, total=len(files)
            )
        folder.publish()
    log.info(
        '%d films predicted, %d rejected; tables and overlays are in %s',
        num_films,
        len(rejected),
        options.output_dir,
    )
    return 1 if rejected else 0


def _find_files(arguments: list[str]) -> list[pathlib.Path]:
    """Named files, and the films below named folders, in sorted order."""
    if not arguments:
        raise InputError('nothing to predict: name files or folders of films')
    files = []
    for argument in map(pathlib.Path, arguments):
        if argument.is_dir():
            files.extend(
                path
                for path in sorted(argument.rglob('*'))
                if path.is_file() and path.suffix.lower() in _SUFFIXES
            )
        elif argument.is_file():
            files.append(argument)
        else:
            raise InputError(f'{argument} is neither a file nor a folder')
    by_id: dict[str, pathlib.Path] = {}
    for path in files:
        if path.stem in by_id and by_id[path.stem] != path:
            raise InputError(
                f'{by_id[path.stem]} and {path} have the same id {path.stem!r}: predict them into '
                'two output folders'
            )
        by_id[path.stem] = path
    if not by_id:
        raise InputError(f'no files with suffix {", ".join(_SUFFIXES[1:])} or none in {arguments}')
    return list(by_id.values())


def _read_chosen(ensemble, workdirs, path) -> Chosen | None:
    """What evaluation chose on validation; None where a single model was not evaluated."""
    members = [member.sha256 for member in ensemble.members]
    if path is None and len(workdirs) > 1:
        raise InputError(
            'the thresholds of an ensemble are in the calibration.json that pneumo_jax.evaluate '
            'wrote for these runs: give it by --calibration'
        )
    file = pathlib.Path(path or pathlib.Path(workdirs[0]) / CHOSEN_NAME)
    chosen = read_chosen(file, members)
    if chosen is None and (path is not None or len(members) > 1):
        raise InputError(f'--calibration: {file} is not there, or of other models than --workdir')
    if chosen is None:
        log.info(
            '%s has no %s of this checkpoint: run pneumo_jax.evaluate for calibrated probabilities '
            'and for percentiles and intervals of opacity extents',
            workdirs[0],
            CHOSEN_NAME,
        )
    return chosen


def _read_truths(labels_csv) -> dict[str, np.ndarray]:
    if labels_csv is None:
        return {}
    return {film.patient_id: film.boxes for film in read_rsna_labels(labels_csv).films}


def _read_films(files, ensemble, rejected, pool) -> Iterator[tuple[str, Film, np.ndarray]]:
    size = ensemble.image_size
    options = read_options(reduce_to=size if ensemble.decoding == 'dct_scaled' else 0)
    results = read_films(files, options, image_size=size, pool=pool)
    for path, result in zip(files, results, strict=True):
        if isinstance(result, FilmError):
            rejected.append((path.stem, result.code, str(result)))
            log.warning('rejected (%s): %s', result.code, result)
        else:
            yield path.stem, *result


def _image_batches(films, batch_size, image_size):
    """Chunks of (id, film, picture) with their pictures, uint8 [batch_size,S,S,1]."""
    films = iter(films)
    while chunk := list(itertools.islice(films, batch_size)):
        images = np.zeros((batch_size, image_size, image_size, 1), np.uint8)
        for i, (_, _, picture) in enumerate(chunk):
            images[i, :, :, 0] = picture
        yield chunk, images


def _write_outputs(folder, predictions, truths, rejected, chosen, *, total) -> int:
    (folder / 'overlays').mkdir()
    rows, submission = [], []
    with_boxes, without = [], []
    for p in tqdm(predictions, desc='films', total=total, unit='film'):
        boxes = boxes_text(p.boxes, p.scores)
        row = (p.film_id, f'{p.prob:.6f}', int(p.positive), boxes)
        concluded = conclusions(p.prob, p.positive, p.extent.lungs, p.extent.zones, chosen)
        rows.append((*row, *_extent_cells(p), *concluded))
        submission.append((p.film_id, boxes))
        picture = overlay.draw_film(
            p.film.pixels, truth=truths.get(p.film_id), boxes=p.boxes, scores=p.scores
        )
        picture.save(folder / 'overlays' / f'{p.film_id}.png', compress_level=1)
        has_boxes = len(p.boxes) or len(truths.get(p.film_id, ()))
        group = with_boxes if has_boxes else without
        if len(group) < _SHEET_FILMS:
            group.append((picture, _caption(p, truths)))
    write_csv(folder / _PREDICTIONS, _COLUMNS, rows)
    write_csv(folder / 'submission.csv', ('patientId', 'PredictionString'), submission)
    if rejected:
        write_csv(folder / 'rejected.csv', ('id', 'reason', 'message'), rejected)
    # Films with boxes have more to show: two thirds of the sheet, where there are as many.
    shown = with_boxes[: max(_SHEET_FILMS * 2 // 3, _SHEET_FILMS - len(without))]
    shown += without[: _SHEET_FILMS - len(shown)]
    if shown:
        overlay.contact_sheet(*zip(*shown, strict=True), columns=4, side=384).save(
            folder / 'contact_sheet.png'
        )
    return len(rows)


def _extent_cells(prediction: Prediction) -> tuple[str, ...]:
    extent = prediction.extent
    shares = (extent.film, extent.lungs, extent.right, extent.left)
    zones = ' '.join(extent.zone_names) if prediction.positive else ''
    return (*(f'{x:.4f}' for x in shares), zones)


def _caption(prediction, truths):
    caption = f'p {prediction.prob:.2f}'
    if prediction.positive:
        caption += f', extent {prediction.extent.lungs:.0%}'
    if prediction.film_id in truths:
        caption += ', truth: ' + ('opacity' if len(truths[prediction.film_id]) else 'none')
    return caption


if __name__ == '__main__':
    flags.DEFINE_multi_string(
        'workdir', [], 'Folder of a run of pneumo_jax.main; several for an ensemble.'
    )
    flags.DEFINE_string(
        'calibration',
        None,
        'calibration.json of an evaluation of the same models; by default that in the workdir.',
    )
    flags.DEFINE_string('output_dir', None, 'Folder to write; must not exist yet.')
    flags.DEFINE_string(
        'labels_csv',
        None,
        "Table in the form of RSNA's stage_2_train_labels.csv: true boxes are drawn in red.",
    )
    define_read_flags()
    flags.DEFINE_integer(
        'num_workers', 0, 'Processes that read films; 0 means one for each core.', lower_bound=0
    )
    flags.DEFINE_bool('overwrite', False, 'Replace an existing output_dir.')
    flags.mark_flag_as_required('output_dir')
    command.run(main)
