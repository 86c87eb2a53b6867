"""Tables of scored films, film by film."""

from __future__ import annotations

import numpy as np

from pneumo_jax.data.example import UNKNOWN_CLASS
from pneumo_jax.evaluation.films import EXTENT_NAMES, MASK_NAMES, ScoredFilms, number_persons

BOX = (100.0, 100.0, 200.0, 300.0)


def film(label, prob, *, boxes=(), scores=(), drawn=True, **known):
    """A film; one with an opacity has the true box ``BOX``, but for ``drawn`` False.

    Args:
        label: of the film.
        prob: that was answered.
        boxes: predicted, (x, y, width, height).
        scores: their confidences.
        drawn: False for a collection in which nobody drew boxes.
        known: person_id, view_position, sex, age, label_domain, class_id, class_probs,
            extent and true_extent (a number for all shares, or a dict).
    """
    return {'label': label, 'prob': prob, 'boxes': boxes, 'scores': scores, 'drawn': drawn} | known


def table_of(films) -> ScoredFilms:
    """The table of such films."""
    persons, persons_known = number_persons(
        [f.get('person_id', str(i)) for i, f in enumerate(films)]
    )
    opacity = [20.0 * (f['label'] and f['drawn']) for f in films]
    sums = {name: np.array(opacity) for name in MASK_NAMES}
    sums |= {name: np.full(len(films), 100.0) for name in ('mask_correct', 'mask_pixels')}
    classes = [f.get('class_probs') for f in films]
    return ScoredFilms(
        ids=[f'film{i}' for i in range(len(films))],
        persons=persons,
        persons_known=persons_known,
        view_position=_column(films, 'view_position', ''),
        sex=_column(films, 'sex', ''),
        label_domain=_column(films, 'label_domain', 'unknown'),
        age=_column(films, 'age', -1),
        class_id=_column(films, 'class_id', UNKNOWN_CLASS),
        film_sizes=np.full((len(films), 2), 1024),
        labels=np.array([f['label'] for f in films]),
        probs=_exact([f['prob'] for f in films]),
        class_probs=None if any(c is None for c in classes) else _exact(classes),
        truths=[np.array([BOX] * (f['label'] and f['drawn'])).reshape(-1, 4) for f in films],
        boxes=[_exact(f['boxes']).reshape(-1, 4) for f in films],
        box_scores=[_exact(f['scores']) for f in films],
        extent=_extents(films, 'extent'),
        true_extent=_extents(films, 'true_extent'),
        mask_sums=sums,
    )


def _column(films, name, default):
    return np.array([f.get(name, default) for f in films])


def _extents(films, name):
    given = [f.get(name, {}) for f in films]
    given = [g if isinstance(g, dict) else dict.fromkeys(EXTENT_NAMES[:-1], g) for g in given]
    return {key: _exact([g.get(key, np.nan) for g in given]) for key in EXTENT_NAMES}


def _exact(values):
    return np.asarray(values, np.float32).astype(np.float64)
