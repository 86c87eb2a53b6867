"""Where a run's figures go: JSON lines and TensorBoard events, in the workdir."""

from __future__ import annotations

import json
import math
import pathlib

from tensorboardX import SummaryWriter

from pneumo_jax.files import write_atomically

__all__ = ['MetricsWriter']


class MetricsWriter:
    """Writes scalars to ``metrics.jsonl`` and ``tensorboard/``; use it in a ``with``.

    Args:
        workdir: folder of the run.
        resume_step: step that the run goes on from; what an interrupted run wrote after it is
            removed, since those steps are about to be done again.
    """

    def __init__(self, workdir, *, resume_step: int = 0):
        workdir = pathlib.Path(workdir)
        self._path = workdir / 'metrics.jsonl'
        _truncate(self._path, resume_step)
        self._lines = self._path.open('a', encoding='utf-8')
        self._events = SummaryWriter(str(workdir / 'tensorboard'), purge_step=resume_step + 1)

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, *exception) -> None:
        self._lines.close()
        self._events.close()

    def write(self, step: int, scalars: dict[str, float], **context) -> None:
        """One line, and one TensorBoard point per scalar. NaN becomes null in the line."""
        self._lines.write(json.dumps({'step': step, **context, **_finite(scalars)}) + '\n')
        self._lines.flush()
        for name, value in scalars.items():
            self._events.add_scalar(name, value, step)
        self._events.flush()


def _truncate(path, last_step):
    """Keeps the lines up to a step; a last line cut short by a kill goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding='utf-8').splitlines(keepends=True):
        if not line.endswith('\n') or json.loads(line)['step'] > last_step:
            break
        kept.append(line)
    write_atomically(path, ''.join(kept))


def _finite(scalars):
    return {k: v if math.isfinite(v) else None for k, v in scalars.items()}
