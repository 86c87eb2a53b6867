"""What the labels of a set of films look like, and what a person should know before using them."""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from data_prep.labels import FilmLabel
from pneumo_jax.data.example import CLASS_NAMES, OLDEST_AGE, UNKNOWN_AGE, UNKNOWN_CLASS
from pneumo_jax.metrics.classification import auroc

__all__ = ['age_bin', 'audit_labels', 'class_name', 'count_values', 'covered_area']

_AGE_BINS = (
    *(f'{start}-{start + 9}' for start in range(0, OLDEST_AGE, 10)),
    f'{OLDEST_AGE} and over',
)
_OLDEST = 120
# From here on a shortcut deserves a warning; by chance a few hundred films stay below.
_SHORTCUT_AUROC = 0.6
# A difference in prevalence that moves accuracy, PPV and any threshold.
_PREVALENCE_GAP = 0.05


def audit_labels(
    films: Sequence[FilmLabel], film_sizes: Mapping[str, tuple[int, int]] | None = None
) -> dict:
    """Statistics of labelled films, as plain numbers for JSON; what is undefined is None.

    ``view_alone_auroc`` is what a predictor reaches that sees no pixel, only whether a film is AP
    or PA: the baseline that a model has to beat. Quartiles are ``p25``, ``p50`` and ``p75``, by
    linear interpolation. A box stands on the half of the film where its centre is.

    Args:
        films: each once; there may be none.
        film_sizes: id of a film -> (height, width) in pixels, as far as known; without it nothing
            is told of the share of a film that boxes cover, and of its halves.

    Returns:
        films, positives, prevalence, classes, views, sexes, ages, label_domains, by_view and
        by_label_domain (value -> films, positives, prevalence, classes), view_alone_auroc,
        persons, boxes, and warnings: sentences that a person should read.
    """
    figures = {
        **_group_figures(films),
        'views': count_values(film.view_position or 'unknown' for film in films),
        'sexes': count_values(film.sex or 'unknown' for film in films),
        'ages': _ages(films),
        'label_domains': count_values(film.label_domain for film in films),
        'by_view': _by(films, lambda film: film.view_position or 'unknown'),
        'by_label_domain': _by(films, lambda film: film.label_domain),
        'view_alone_auroc': _view_alone_auroc(films),
        'persons': _person_figures(films),
        'boxes': _box_figures(films, film_sizes or {}),
    }
    impossible = sum(film.age > _OLDEST for film in films)
    return {**figures, 'warnings': list(_warnings(figures, impossible))}


def age_bin(age: int) -> str:
    """The decade of an age in years: ``40-49``, ``90 and over``, ``unknown`` for -1."""
    return 'unknown' if age == UNKNOWN_AGE else _AGE_BINS[min(age // 10, len(_AGE_BINS) - 1)]


def class_name(class_id: int) -> str:
    """Name of a class, ``unknown`` for -1."""
    return 'unknown' if class_id == UNKNOWN_CLASS else CLASS_NAMES[class_id]


def count_values(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, in order of the values; numbers in texts count as numbers."""
    counts = collections.Counter(values)
    return {value: counts[value] for value in sorted(counts, key=_natural_key)}


def covered_area(boxes: np.ndarray) -> float:
    """Area that boxes float [n,4] cover together: what lies in several of them counts once."""
    # Of the cells between their edges, those in any box.
    boxes = boxes.astype(np.float64)
    start, end = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    edges = np.sort(np.concatenate([start, end]), axis=0)
    inside = (start[:, None] <= edges[:-1]) & (edges[:-1] < end[:, None])
    cells = (inside[:, :, None, 0] & inside[:, None, :, 1]).any(axis=0)
    widths, heights = np.diff(edges, axis=0).T
    return float(widths @ cells @ heights)


def _natural_key(text):
    return [part.zfill(20) if part.isdigit() else part for part in re.split(r'(\d+)', text)]


def _group_figures(films):
    positives = sum(film.label for film in films)
    return {
        'films': len(films),
        'positives': positives,
        'prevalence': positives / len(films) if films else None,
        'classes': count_values(class_name(film.class_id) for film in films),
    }


def _by(films, key):
    groups = collections.defaultdict(list)
    for film in films:
        groups[key(film)].append(film)
    return {value: _group_figures(groups[value]) for value in sorted(groups)}


def _ages(films):
    """Films of each decade, empty ones too, so that the bins can be read as an axis."""
    counts = collections.Counter(age_bin(film.age) for film in films)
    unknown = {'unknown': counts['unknown']} if counts['unknown'] else {}
    return {name: counts[name] for name in _AGE_BINS} | unknown


def _view_alone_auroc(films):
    """AUROC of the score 'prevalence of the film's view', over films of known view."""
    films = [film for film in films if film.view_position]
    views = np.array([film.view_position for film in films])
    labels = np.array([film.label for film in films])
    if len(set(views)) < 2:
        return None
    rates = {view: labels[views == view].mean() for view in set(views)}
    area = auroc(labels, np.array([rates[view] for view in views]))
    return None if math.isnan(area) else area


def _person_figures(films):
    counts = collections.Counter(film.person_id for film in films if film.person_id)
    numbers = np.array(list(counts.values()))
    return {
        'persons': len(counts),
        'films_per_person_median': float(np.median(numbers)) if counts else None,
        'films_per_person_max': int(numbers.max()) if counts else None,
        'persons_with_one_film': int((numbers == 1).sum()),
        'films_without_person': len(films) - counts.total(),
    }


def _box_figures(films, film_sizes):
    """Of boxes in film pixels; the share of a film counts what lies in several boxes once."""
    boxed = [film for film in films if len(film.boxes)]
    boxes = np.concatenate([np.zeros((0, 4)), *(film.boxes for film in boxed)])
    covered = {film.patient_id: covered_area(film.boxes) for film in boxed}
    sized = [film for film in boxed if film.patient_id in film_sizes]
    shares = [covered[film.patient_id] / math.prod(film_sizes[film.patient_id]) for film in sized]
    both = sum(_on_both_halves(film.boxes, film_sizes[film.patient_id][1]) for film in sized)
    return {
        'boxes': len(boxes),
        'films_by_boxes': count_values(str(len(film.boxes)) for film in boxed),
        'positives_without_boxes': sum(film.label and not len(film.boxes) for film in films),
        'width': _quartiles(boxes[:, 2]),
        'height': _quartiles(boxes[:, 3]),
        'area': _quartiles(boxes[:, 2] * boxes[:, 3]),
        'films_with_overlap': sum(_overlap(film.boxes, covered[film.patient_id]) for film in boxed),
        'films_of_known_size': len(sized),
        'share_of_film': _quartiles(shares),
        'films_on_both_halves': both if sized else None,
    }


def _overlap(boxes, covered):
    # From one pixel on: boxes that only touch may seem to overlap where their edges are rounded.
    return float((boxes[:, 2] * boxes[:, 3]).sum()) - covered >= 1


def _on_both_halves(boxes, film_width):
    right = boxes[:, 0] + boxes[:, 2] / 2 >= film_width / 2
    return bool(right.any() and not right.all())


def _quartiles(values):
    if not len(values):
        return None
    names = ('p25', 'p50', 'p75')
    return dict(zip(names, np.percentile(values, (25, 50, 75)).tolist(), strict=True))


def _warnings(figures, impossible_ages):
    films, positives = figures['films'], figures['positives']
    if not films:
        yield 'There are no films.'
        return
    if positives in (0, films):
        kind = 'negative' if positives else 'positive'
        yield f'No film is {kind}: nothing can be learned or measured from these labels.'
    alone = figures['persons']['films_without_person']
    if alone == films:
        yield 'Persons are not known: the same person may be in training and test.'
    elif alone:
        yield f'{_films(alone)} without a known person: each counts as a person of its own.'
    if (area := figures['view_alone_auroc']) is not None and area >= _SHORTCUT_AUROC:
        yield (
            f'The view alone predicts the label with AUROC {area:.2f}: report AP and PA apart, '
            'and this figure as the baseline.'
        )
    if unknown := figures['views'].get('unknown'):
        yield f'{_films(unknown)} of unknown view, neither AP nor PA.'
    if unknown := figures['classes'].get('unknown'):
        yield f'{_films(unknown)} of unknown class: normal ones are not told from abnormal ones.'
    rates = {name: group['prevalence'] for name, group in figures['by_label_domain'].items()}
    if max(rates.values()) - min(rates.values()) > _PREVALENCE_GAP:
        told = ', '.join(f'{100 * rate:.1f} % of {name}' for name, rate in rates.items())
        yield f'Label domains differ in what is positive ({told}): report them apart.'
    if without := figures['boxes']['positives_without_boxes']:
        yield f'{_films(without)} positive without a box: there is nothing to learn a place from.'
    if impossible_ages:
        yield f'{_films(impossible_ages)} with an age over {_OLDEST} years: an error of the source.'


def _films(number):
    return f'{number:,} film{"s" if number > 1 else ""}'
