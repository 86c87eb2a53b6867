"""The films that a model is judged on: a split of shards, or a folder with labels."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping

from data_prep.conversion import convert
from data_prep.options import Options
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.data.shards import MANIFEST_NAME, SPLITS, load_manifest
from pneumo_jax.errors import InputError
from pneumo_jax.trained import TrainedModel

__all__ = ['JudgedFilms', 'films_of_folder', 'films_of_shards', 'films_of_site']


@dataclasses.dataclass(frozen=True)
class JudgedFilms:
    """Films and what to say of them.

    Attributes:
        films: the films.
        protocol: how they were set apart, a sentence.
        persons_apart: whether no person is in training and here; None where nothing was divided.
        fingerprint: of the shards.
        num_rejected: files of a folder that could not be used.
    """

    films: FilmSplit
    protocol: str
    persons_apart: bool | None
    fingerprint: str
    num_rejected: int = 0


def films_of_shards(data_dir, split: str, model: TrainedModel) -> JudgedFilms:
    """A split of shards that ``data_prep/convert.py`` wrote.

    Raises:
        InputError: if they are not whole, or of another size than the model takes.
    """
    manifest = load_manifest(data_dir)
    if manifest['image_size'] != model.image_size:
        raise InputError(
            f'the films of {data_dir} are {manifest["image_size"]} px, the model was trained on '
            f'{model.image_size} px: convert them with --image_size={model.image_size}'
        )
    protocol = manifest['protocol']
    divided = len(manifest['splits']) > 1
    return JudgedFilms(
        films=FilmSplit(data_dir, split),
        protocol=protocol['sentence'],
        persons_apart=protocol.get('persons_in_two_splits') == 0 if divided else None,
        fingerprint=manifest['fingerprint'],
    )


def films_of_folder(source: Mapping, films_dir: pathlib.Path, model: TrainedModel) -> JudgedFilms:
    """All films of a folder, converted as the model needs them.

    Args:
        source: fields of ``data_prep.options.Options`` that say where films and labels are.
        films_dir: receives the shards, and report.html, which says what became of every film.
        model: that is to take them.

    Raises:
        InputError: if a table, a folder or an option is not right, or no film can be used.
    """
    convert(
        Options(
            output_dir=str(films_dir),
            split='image',
            split_fractions=(0.0, 0.0, 1.0),
            image_size=model.image_size,
            fast=model.decoding == 'dct_scaled',
            # One bad film must not keep the others from being judged.
            max_bad=sys.maxsize,
            overwrite=True,
            **source,
        )
    )
    report = json.loads((films_dir / 'report.json').read_text(encoding='utf-8'))
    judged = films_of_shards(films_dir, 'test', model)
    return dataclasses.replace(
        judged,
        protocol='all films of a folder, undivided',
        num_rejected=report['counts']['rejected'],
    )


def films_of_site(
    place: str, source: Mapping, films_dir: pathlib.Path, model: TrainedModel
) -> JudgedFilms:
    """Films of a new site to recalibrate on.

    Args:
        place: a folder of shards, of which the split is taken that stands behind a colon, or the
            only one; else a table of labels in the form of ``--labels_csv``, of films in the
            same folder, or with ``--source=folders`` a folder of class folders.
        source: as of ``films_of_folder``, of the films that are judged.
        films_dir: receives shards, as of ``films_of_folder``.
        model: that is to take them.

    Raises:
        InputError: if there is nothing of the kind, or a split has to be named.
    """
    folder, _, split = place.rpartition(':')
    if split not in SPLITS or not folder:
        folder, split = place, ''
    if (pathlib.Path(folder) / MANIFEST_NAME).exists():
        splits = list(load_manifest(folder)['splits'])
        if not split and len(splits) > 1:
            raise InputError(
                f'--recalibrate_on={place}: name one of its splits, such as {folder}:{splits[0]}'
            )
        return films_of_shards(folder, split or splits[0], model)
    if not pathlib.Path(place).exists():
        raise InputError(f'--recalibrate_on={place} is neither a folder nor a table of labels')
    name = 'images_dir' if pathlib.Path(place).is_dir() else 'labels_csv'
    return films_of_folder({**source, name: place}, films_dir, model)
