"""The config of a run in its workdir: written once, read by evaluation and prediction."""

from __future__ import annotations

import dataclasses
import json
import logging
import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict

from configs import base
from pneumo_jax.errors import InputError
from pneumo_jax.files import write_json

__all__ = ['Run', 'check_run', 'load_run', 'save_run', 'saved_environment', 'saved_init']

_FILE = 'config.json'
# What may differ between the starts of one run: where the data lie, and what changes no result.
# The source of the shards is part of their fingerprint.
_FREE = (
    'config.data.dir',
    'config.data.extra_dirs',
    'config.logging.',
    'config.checkpoint.',
    'environment.',
    'data.source',
)

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Run:
    """What ``config.json`` holds.

    Attributes:
        config: of the run, fields as in ``configs/base.py``.
        data: of the conversion it was trained on: ``fingerprint``, ``source`` of its labels,
            ``image_size`` in pixels, ``protocol`` of the split; and ``init``, of the weights it
            started from, if any: ``sha256``, ``origin``, ``card`` (``pretrained.cards.Card``, None
            without one), and the fields of ``config.model`` that follow from them, as ``asked``
            for by the user and as ``resolved``.
    """

    config: ConfigDict
    data: dict


def save_run(
    config: ConfigDict,
    workdir: pathlib.Path,
    *,
    manifest: dict,
    extra: Sequence[str] = (),
    environment: dict,
    init: dict | None = None,
) -> None:
    """Writes ``config.json``.

    Args:
        config: of the run.
        workdir: folder of the run.
        manifest: of the shards.
        extra: fingerprints of the shards of weakly labelled films.
        environment: of ``environment.environment``.
        init: of the weights that the run starts from, as ``Run.data`` has it.
    """
    content = _content(config, manifest, extra, init) | {'environment': environment}
    write_json(workdir / _FILE, content)


def check_run(
    config: ConfigDict,
    workdir: pathlib.Path,
    *,
    manifest: dict,
    extra: Sequence[str] = (),
    init: dict | None = None,
    force: bool = False,
) -> None:
    """Checks that a run to go on with has this config and data; args as of ``save_run``.

    The folder of the shards may move; their content must not change.

    Args:
        force: warn of what differs instead of refusing it.

    Raises:
        InputError: names every field that differs from the run in the workdir.
    """
    path = workdir / _FILE
    if not path.exists():
        return
    # Through JSON, as what it is compared with.
    new = json.loads(json.dumps(_content(config, manifest, extra, init)))
    saved = _read(path)
    saved['config'] = _with_defaults(saved['config'])
    old, now = _flat(_as_asked(saved)), _flat(_as_asked(new))
    changes = [
        f'{name}: {old.get(name)!r} -> {now.get(name)!r}'
        for name in sorted(old.keys() | now.keys())
        if old.get(name) != now.get(name) and not name.startswith(_FREE)
    ]
    if changes and force:
        log.warning('going on under another config or data: %s', '; '.join(changes))
    elif changes:
        raise InputError(
            f'{workdir} holds a run with another config or data ({"; ".join(changes)}): repeat '
            'its flags to go on with it, give another --workdir, or change it with --force_config'
        )


def saved_environment(workdir: pathlib.Path) -> dict:
    """The versions and devices that the run in a workdir was last trained with; {} unknown."""
    path = workdir / _FILE
    return _read(path).get('environment', {}) if path.exists() else {}


def saved_init(workdir: pathlib.Path) -> dict | None:
    """What the run in a workdir knows of the weights it started from; None if there are none."""
    path = workdir / _FILE
    return _read(path)['data'].get('init') if path.exists() else None


def load_run(workdir: str | pathlib.Path) -> Run:
    """The run in a workdir.

    Raises:
        InputError: if there is none.
    """
    path = pathlib.Path(workdir) / _FILE
    if not path.is_file():
        raise InputError(f'no config.json in {workdir}: give the --workdir of a training run')
    content = _read(path)
    config = ConfigDict(_with_tuples(_with_defaults(content['config'])))
    return Run(config=config, data=content['data'])


def _content(config, manifest, extra, init):
    names = 'fingerprint', 'source', 'image_size', 'decoding', 'protocol'
    data = {name: manifest[name] for name in names} | ({'extra': list(extra)} if extra else {})
    return {'config': config.to_dict(), 'data': data | ({} if init is None else {'init': init})}


def _as_asked(content):
    """The content of a file with the fields that follow from weights as the user gave them."""
    if (init := content['data'].get('init')) is None:
        return content
    config, weights = content['config'], {name: init[name] for name in ('sha256', 'origin')}
    return {
        'config': config | {'model': config['model'] | init['asked']},
        'data': content['data'] | {'init': weights},
    }


def _with_defaults(config: dict) -> dict:
    """A saved config with the defaults of fields that its version did not have."""

    def merge(defaults, given):
        return defaults | {
            name: merge(defaults[name], value) if isinstance(value, dict) else value
            for name, value in given.items()
        }

    return merge(json.loads(json.dumps(base.get_config().to_dict())), config)


def _with_tuples(value):
    """A config's sequences are tuples, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _with_tuples(item) for name, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _read(path):
    return json.loads(path.read_text(encoding='utf-8'))


def _flat(tree: dict, prefix: str = '') -> dict:
    flat = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f'{prefix}{name}.')
        else:
            flat[f'{prefix}{name}'] = value
    return flat
