"""What a run starts from: random weights, or those that ``config.model.init_from`` names."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import logging
import pathlib

from jax.sharding import Mesh
from ml_collections import ConfigDict

from pneumo_jax.batch_moments import reestimate_batch_norms
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.errors import InputError
from pneumo_jax.files import write_json
from pneumo_jax.pretrained import Pretrained, load_pretrained, place
from pneumo_jax.pretrained.cards import Card, card_of_run, read_card, seen_warning
from pneumo_jax.run_config import load_run, saved_init
from pneumo_jax.sharding import replicate
from pneumo_jax.state import Graphs, TrainState, new_ema, params_sha256
from pneumo_jax.transfer import read_transfer

__all__ = ['Start', 'initial_state', 'resolve_start']

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Start:
    """The start of a run.

    Attributes:
        config: the run's config, in which ``model.in_channels`` and ``model.conventions`` are as
            the weights need them; the weights' file is not needed again to build the model.
        init: what ``run_config.save_run`` keeps of the weights; None without ``init_from``.
        pretrained: the weights, if they have been read.
    """

    config: ConfigDict
    init: dict | None = None
    pretrained: Pretrained | None = None


def resolve_start(config: ConfigDict, workdir: pathlib.Path) -> Start:
    """Finds out how the network is computed, from a run to go on with, else from the weights.

    Raises:
        InputError: for weights that are not there or do not fit the model.
    """
    if not config.model.init_from:
        return Start(config)
    asked = {
        'in_channels': config.model.in_channels,
        'conventions': config.model.conventions.to_dict(),
    }
    if (saved := saved_init(workdir)) is not None:
        return Start(_resolved(config, saved['resolved']), saved | {'asked': asked})
    pretrained = _load(config, asked)
    resolved = {
        'in_channels': pretrained.in_channels,
        'conventions': dataclasses.asdict(pretrained.conventions),
    }
    init = {
        'sha256': _sha256(config.model.init_from, pretrained),
        'origin': pretrained.origin,
        'card': _card(config.model.init_from),
        'asked': asked,
        'resolved': resolved,
    }
    return Start(_resolved(config, resolved), init, pretrained)


def initial_state(
    state: TrainState,
    start: Start,
    *,
    graphs: Graphs,
    split: FilmSplit,
    mesh: Mesh,
    workdir: pathlib.Path,
) -> TrainState:
    """A new state with the start's weights in it, and batch norms re-estimated if asked for.

    Args:
        state: with random parameters.
        start: of ``resolve_start``.
        graphs: of the model.
        split: the training films.
        mesh: of ``sharding.make_mesh``; the new state stands on each device.
        workdir: receives init_report.json, which lists every weight.

    Raises:
        InputError: for weights that do not fit, or changed since the run was begun.
    """
    config, params, batch_stats = start.config, state.params, state.batch_stats
    if start.init is not None:
        pretrained = start.pretrained or _load_again(start)
        params, batch_stats, report = place(pretrained, params, batch_stats)
        write_json(workdir / 'init_report.json', report)
        _log_start(start, pretrained, report, workdir)
    if read_transfer(config).batch_norm == 'reestimate':
        params, batch_stats = reestimate_batch_norms(
            params,
            batch_stats,
            graph=graphs.eval,
            split=split,
            mesh=mesh,
            batch_size=config.eval.batch_size,
        )
    ema = new_ema(config, params, batch_stats)
    return replicate(state.replace(params=params, batch_stats=batch_stats, ema=ema), mesh)


def _load(config, asked):
    return load_pretrained(
        config.model.init_from,
        name=config.model.name,
        width=config.model.width,
        conventions=asked['conventions'],
    )


def _load_again(start):
    """For a run that ended before its first checkpoint."""
    pretrained = _load(start.config, start.init['asked'])
    path = start.config.model.init_from
    if (sha256 := _sha256(path, pretrained)) != start.init['sha256']:
        raise InputError(
            f'config.model.init_from={path!r} changed since the run was begun (SHA-256 {sha256}, '
            f'was {start.init["sha256"]}): put the old file back, or give another --workdir'
        )
    return pretrained


def _resolved(config, fields):
    config = copy.deepcopy(config)
    config.model.in_channels = fields['in_channels']
    config.model.conventions.update(fields['conventions'])
    return config


def _sha256(path, pretrained):
    """Of the file; for a workdir, of the weights that were read."""
    if (path := pathlib.Path(path)).is_file():
        with path.open('rb') as file:
            return hashlib.file_digest(file, 'sha256').hexdigest()
    weights = pretrained.params | pretrained.batch_stats
    return params_sha256({'/'.join(map(str, name)): array for name, array in weights.items()})


def _card(path):
    """What a file, or a run, says of the films that its weights saw, for ``save_run``."""
    is_run = pathlib.Path(path).is_dir()
    card = card_of_run(load_run(path).data) if is_run else read_card(path)
    return None if card is None else card.to_json()


def _log_start(start, pretrained, report, workdir):
    model = start.config.model
    log.info(
        'starting from %s (%s, SHA-256 %.12s), computed with %d channels, %s',
        model.init_from,
        pretrained.origin,
        start.init['sha256'],
        model.in_channels,
        ', '.join(f'{name} {value}' for name, value in model.conventions.items()),
    )
    for note in pretrained.notes:
        log.info('%s', note)
    if (card := start.init.get('card')) and (warning := seen_warning(Card.from_json(card))):
        log.warning('%s', warning)
    if _is_folded(pretrained) and read_transfer(start.config).batch_norm == 'train':
        log.warning(
            'the batch norms of %s have mean 0 and variance 1 throughout: they were folded into '
            'the convolutions, and training with the statistics of batches changes the network at '
            'once; set --config.transfer.batch_norm=frozen or reestimate',
            model.init_from,
        )
    reasons = ', '.join(sorted(set(report['skipped'].values())))
    parts = ', '.join(sorted({path.split('.')[0] for path in report['newly initialised']}))
    log.info(
        '%d arrays loaded, %d skipped%s, %d newly initialised%s; all are listed in %s',
        len(report['loaded']),
        len(report['skipped']),
        f' ({reasons})' if reasons else '',
        len(report['newly initialised']),
        f' ({parts})' if parts else '',
        workdir / 'init_report.json',
    )


def _is_folded(pretrained):
    statistics = pretrained.batch_stats
    return bool(statistics) and all(
        (array == (1.0 if path[-1] == 'var' else 0.0)).all() for path, array in statistics.items()
    )
