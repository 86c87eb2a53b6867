"""Checkpoints of a run: the newest two and the best, by Orbax. The one place that knows it."""

from __future__ import annotations

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from pneumo_jax.errors import InputError

__all__ = ['Checkpoints', 'workdir_lock']

_IMPROVED_AT = 'improved_at'


class Checkpoints:
    """The folder ``checkpoints`` of a workdir; use it in a ``with``, or the last save is lost.

    Args:
        workdir: folder of the run.
        read_only: for evaluation and prediction: writes and deletes nothing.
    """

    def __init__(self, workdir, *, read_only: bool = False):
        self._folder = pathlib.Path(workdir).resolve() / 'checkpoints'
        if read_only and not self._folder.is_dir():
            raise InputError(
                f'no checkpoints in {workdir}: give the --workdir of a run of pneumo_jax.main'
            )
        # Early stopping alone decides what is better. A checkpoint that it called better carries
        # its step as the metric, any other carries 0, so that the highest is the best so far.
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(2),
                checkpoint_managers.BestN(get_metric_fn=lambda m: m[_IMPROVED_AT], n=1),
            ]
        )
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=lambda m: m[_IMPROVED_AT],
                best_mode='max',
                cleanup_tmp_directories=not read_only,
                read_only=read_only,
                create=not read_only,
            ),
            item_names=('state', 'meta'),
        )

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exception) -> None:
        self._manager.close()

    def save(self, step: int, state: Any, meta: dict, *, improved: bool) -> None:
        """Saves in the background.

        Args:
            step: steps done.
            state: a pytree of arrays.
            meta: what else to remember, as JSON.
            improved: True if early stopping called this state the best so far.
        """
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)
            ),
            metrics={_IMPROVED_AT: step if improved else 0},
        )

    def restore_latest(self, like: Any) -> tuple[Any, dict] | None:
        """(state, meta) of the newest checkpoint, or None where there is none.

        Args:
            like: a pytree of ``jax.ShapeDtypeStruct`` with shardings, or of arrays.
        """
        step = self._manager.latest_step()
        return None if step is None else self._restore(step, like)

    def restore_best(self, like: Any) -> tuple[Any, dict]:
        """(state, meta) of the best checkpoint.

        Raises:
            InputError: where there is none yet.
        """
        step = self._manager.best_step()
        if step is None:
            raise InputError(
                f'{self._folder} holds no finished checkpoint: let the run reach its first '
                'validation'
            )
        return self._restore(step, like)

    def _restore(self, step, like):
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(like), meta=ocp.args.JsonRestore()
            ),
        )
        return restored.state, restored.meta


@contextlib.contextmanager
def workdir_lock(workdir) -> Iterator[None]:
    """Holds the workdir for one trainer; two in one folder lose checkpoints silently.

    The lock is the kernel's and goes with the process, however that ends.

    Raises:
        InputError: if another process holds it.
    """
    path = pathlib.Path(workdir) / '.lock'
    with path.open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f'another training runs in {workdir}: wait for it, or give another --workdir'
            ) from error
        yield
