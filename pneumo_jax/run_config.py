"""The config of a run in its workdir: written once, read by evaluation and prediction."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from ml_collections import ConfigDict

from pneumo_jax.errors import InputError
from pneumo_jax.files import write_json

__all__ = ['Run', 'load_run', 'save_run']


@dataclasses.dataclass(frozen=True)
class Run:
    """What ``config.json`` holds.

    Attributes:
        config: of the run, fields as in ``configs/base.py``.
        data: of the conversion it was trained on: ``fingerprint``, ``image_size`` in pixels,
            ``protocol`` of the split.
    """

    config: ConfigDict
    data: dict


def save_run(config: ConfigDict, workdir: pathlib.Path, *, manifest: dict) -> None:
    """Writes ``config.json``, or checks that a resumed run has the same config and data.

    Args:
        config: of the run.
        workdir: folder of the run.
        manifest: of the shards; their folder may move, their content must not change.

    Raises:
        InputError: names every field that differs from the run in the workdir.
    """
    path = workdir / 'config.json'
    data = {name: manifest[name] for name in ('fingerprint', 'image_size', 'decoding', 'protocol')}
    # Through JSON, as what it is compared with.
    new = json.loads(json.dumps({'config': config.to_dict(), 'data': data}))
    if path.exists():
        old, now = _flat(_read(path)), _flat(new)
        changes = [
            f'{name}: {old.get(name)!r} -> {now.get(name)!r}'
            for name in sorted(old.keys() | now.keys())
            if old.get(name) != now.get(name) and name != 'config.data.dir'
        ]
        if changes:
            raise InputError(
                f'{workdir} holds a run with another config or data ({"; ".join(changes)}): repeat '
                'its flags to go on with it, or give another --workdir'
            )
    write_json(path, new)


def load_run(workdir: str | pathlib.Path) -> Run:
    """The run in a workdir.

    Raises:
        InputError: if there is none.
    """
    path = pathlib.Path(workdir) / 'config.json'
    if not path.is_file():
        raise InputError(f'no config.json in {workdir}: give the --workdir of a training run')
    content = _read(path)
    return Run(config=ConfigDict(content['config']), data=content['data'])


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
