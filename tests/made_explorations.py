"""Films to explore, made up for the tests, and a download of them."""

import dataclasses

import numpy as np

from data_prep.exploration.films import ExploredFilms, PixelFacts
from data_prep.labels import FilmLabel

SIDE = 1000


def made_films(count=300, *, seed=0, persons=None, splits=(), pixels=True) -> ExploredFilms:
    """Films whose fields are drawn; about three a person, a tenth of each field unknown."""
    rng = np.random.default_rng(seed)
    labels = [_label(rng, i, persons or max(1, count // 3)) for i in range(count)]
    histograms = rng.gamma(2.0, 1000, (count, 256)).astype(np.uint32)
    # Brighter films of some.
    histograms[::7, 128:] *= 3
    return ExploredFilms(
        labels=labels,
        labelled=np.ones(count, bool),
        splits=[str(rng.choice(splits)) if splits else '' for _ in range(count)],
        sizes=np.full((count, 2), SIDE),
        sizes_assumed=False,
        spacings=np.where(rng.random(count) < 0.9, rng.choice([0.139, 0.168], count), np.nan),
        manufacturers=[str(name) for name in rng.choice(['Maker', 'Other', ''], count)],
        rows_with_pixels=np.arange(count if pixels else 0),
        pixels=PixelFacts(
            histograms=histograms if pixels else np.zeros((0, 256), np.uint32),
            thumbnails=rng.integers(0, 256, (count if pixels else 0, 64, 64), np.uint8),
            digests=[f'{i // 2 if i < 4 else i}' for i in range(count if pixels else 0)],
        ),
        picture=lambda rows, side: [np.full((side, side), 99, np.uint8) for _ in rows],
        rejected=[],
        missing=None,
        protocol='by chance' if splits else '',
        origin='Made up.',
    )


def relabelled(films: ExploredFilms, **changes) -> ExploredFilms:
    """The films with these fields of all labels changed."""
    labels = [dataclasses.replace(label, **changes) for label in films.labels]
    return dataclasses.replace(films, labels=labels)


def _label(rng, i, persons):
    class_id = int(rng.choice([-1, 0, 1, 2], p=[0.1, 0.3, 0.3, 0.3]))
    boxes = np.zeros((0, 4), np.float32)
    if class_id == 2:
        corners = rng.uniform(0, SIDE / 2, (int(rng.integers(1, 4)), 2))
        sides = rng.uniform(50, SIDE / 2, corners.shape)
        boxes = np.concatenate([corners, sides], axis=1).astype(np.float32)
    ap = rng.random() < (0.7 if class_id == 2 else 0.4)
    return FilmLabel(
        patient_id=f'film{i:04d}',
        label=int(class_id == 2),
        class_id=class_id,
        boxes=boxes,
        person_id=f'person{rng.integers(persons)}' if rng.random() < 0.9 else '',
        view_position='' if rng.random() < 0.1 else 'AP' if ap else 'PA',
        sex=str(rng.choice(['F', 'M', ''], p=[0.5, 0.4, 0.1])),
        age=int(rng.integers(-1, 100)),
        label_domain=str(rng.choice(['single_read', 'multi_read'])),
    )
