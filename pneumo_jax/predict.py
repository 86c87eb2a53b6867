"""Predicts on films: ``python -m pneumo_jax.predict --workdir=W --output_dir=P FILE_OR_FOLDER...``.

Reads DICOM, PNG and JPEG by the same code as the converter. Writes predictions.csv (id,
probability, positive, boxes), submission.csv in Kaggle's form, overlays/<id>.png with the
predicted boxes in blue and, with --labels_csv, the true ones in red, and contact_sheet.png of a
dozen. Boxes are x, y, width, height in the film's own pixels. The id of a film is its file
name without suffix. A film that cannot be read is named with the reason in rejected.csv, the
others are predicted all the same, and the exit code is 1.

Research software, not a medical device.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import pathlib
from collections.abc import Iterable, Iterator

import jax
import numpy as np
from absl import flags
from tqdm import tqdm

from data_prep.rsna_labels import read_rsna_labels
from pneumo_jax import command, overlay
from pneumo_jax.boxes.decode import mask_to_boxes
from pneumo_jax.data.film import Film, FilmError
from pneumo_jax.data.isolated import read_films
from pneumo_jax.data.pipeline import prefetch
from pneumo_jax.errors import InputError
from pneumo_jax.files import write_csv
from pneumo_jax.output_folder import OutputFolder
from pneumo_jax.read_flags import define_read_flags, read_options
from pneumo_jax.scoring import boxes_text
from pneumo_jax.sharding import shard_batch
from pneumo_jax.steps import make_predict_step
from pneumo_jax.trained import TrainedModel, load_trained
from pneumo_jax.workers import WorkerPool

__all__ = ['Prediction', 'predict_films']

_SUFFIXES = ('', '.dcm', '.dicom', '.png', '.jpg', '.jpeg')
_SHEET_FILMS = 12
_PREDICTIONS = 'predictions.csv'

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
    """

    film_id: str
    film: Film
    prob: float
    positive: bool
    boxes: np.ndarray
    scores: np.ndarray


def predict_films(
    trained: TrainedModel, films: Iterable[tuple[str, Film, np.ndarray]]
) -> Iterator[Prediction]:
    """Predicts films as they come, in batches of ``config.eval.batch_size``.

    Args:
        trained: of ``load_trained``.
        films: film ids, films, and their standard pictures, uint8 [S,S].
    """
    predict_step = make_predict_step(graphs=trained.graphs, config=trained.config)
    config = trained.config.eval
    for chunk, images in prefetch(_image_batches(films, config.batch_size, trained.image_size)):
        outputs = predict_step(
            trained.params, trained.batch_stats, shard_batch(images, trained.mesh)
        )
        outputs = jax.device_get(outputs)
        for i, (film_id, film, _) in enumerate(chunk):
            boxes, scores = mask_to_boxes(
                outputs['mask_probs'][i, :, :, 0],
                film_size=film.pixels.shape,
                image_size=trained.image_size,
                threshold=config.mask_threshold,
                min_area=config.min_box_area,
            )
            boxes, scores = trained.thresholds.select(boxes, scores)
            prob = float(outputs['film_prob'][i])
            yield Prediction(
                film_id=film_id,
                film=film,
                prob=prob,
                positive=prob >= trained.thresholds.film,
                boxes=boxes,
                scores=scores,
            )


def main(argv: list[str]) -> int:
    """Reads, predicts, writes; 1 if a film was rejected."""
    options = flags.FLAGS
    files = _find_files(argv[1:])
    truths = _read_truths(options.labels_csv)
    with OutputFolder(
        options.output_dir, overwrite=options.overwrite, marker=_PREDICTIONS
    ) as folder:
        trained = load_trained(options.workdir)
        rejected: list[tuple[str, str, str]] = []
        with WorkerPool(options.num_workers, item_timeout=options.film_timeout) as pool:
            predictions = predict_films(trained, _read_films(files, trained, rejected, pool))
            num_films = _write_outputs(folder.path, predictions, truths, rejected, total=len(files))
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


def _read_truths(labels_csv) -> dict[str, np.ndarray]:
    if labels_csv is None:
        return {}
    return {film.patient_id: film.boxes for film in read_rsna_labels(labels_csv).films}


def _read_films(files, trained, rejected, pool) -> Iterator[tuple[str, Film, np.ndarray]]:
    options = read_options(reduce_to=trained.image_size if trained.decoding == 'dct_scaled' else 0)
    results = read_films(files, options, image_size=trained.image_size, pool=pool)
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


def _write_outputs(folder, predictions, truths, rejected, *, total) -> int:
    (folder / 'overlays').mkdir()
    rows, submission = [], []
    with_boxes, without = [], []
    for p in tqdm(predictions, desc='films', total=total, unit='film'):
        boxes = boxes_text(p.boxes, p.scores)
        rows.append((p.film_id, f'{p.prob:.6f}', int(p.positive), boxes))
        submission.append((p.film_id, boxes))
        picture = overlay.draw_film(
            p.film.pixels, truth=truths.get(p.film_id), boxes=p.boxes, scores=p.scores
        )
        picture.save(folder / 'overlays' / f'{p.film_id}.png', compress_level=1)
        has_boxes = len(p.boxes) or len(truths.get(p.film_id, ()))
        group = with_boxes if has_boxes else without
        if len(group) < _SHEET_FILMS:
            group.append((picture, _caption(p, truths)))
    write_csv(folder / _PREDICTIONS, ('id', 'probability', 'positive', 'boxes'), rows)
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


def _caption(prediction, truths):
    caption = f'predicted {prediction.prob:.2f}'
    if prediction.film_id in truths:
        caption += ', truth: ' + ('opacity' if len(truths[prediction.film_id]) else 'none')
    return caption


if __name__ == '__main__':
    flags.DEFINE_string('workdir', None, 'Folder of a run of pneumo_jax.main.')
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
    flags.mark_flags_as_required(['workdir', 'output_dir'])
    command.run(main)
