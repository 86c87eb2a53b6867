"""What a run would be: checked and described in seconds, nothing computed and nothing written."""

from __future__ import annotations

import pathlib

import jax
from ml_collections import ConfigDict

from pneumo_jax import narration
from pneumo_jax.memory import estimate_memory
from pneumo_jax.plan import make_plan
from pneumo_jax.state import create_state

__all__ = ['describe_run']


def describe_run(config: ConfigDict, workdir: str | pathlib.Path) -> str:
    """The run as text: config, model, films and steps, shapes, and an estimate of the memory.

    Args:
        config: of the run.
        workdir: that it would have; read where it holds a run, and not made.

    Raises:
        InputError: where ``train.train`` would refuse to start.
    """
    workdir = pathlib.Path(workdir)
    plan = make_plan(config, workdir)
    plan.check(workdir)
    state = jax.eval_shape(lambda: create_state(plan.config, plan.tx, plan.plateau))
    devices, size = plan.mesh.devices.size, plan.manifest['image_size']
    estimate = estimate_memory(state, plan.graphs, plan.config, size, devices)
    rows = plan.config.batch_size // devices // plan.config.accumulation_steps
    return '\n'.join(
        [
            *narration.describe_plan(plan, state.params, state.batch_stats),
            f'a device works on pictures [{rows},{size},{size},1] at a time, masks '
            f'[{rows},{size // 4},{size // 4},1]',
            *estimate.lines(),
            'dry run: nothing was computed or written',
        ]
    )
