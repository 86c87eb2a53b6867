"""Which stages of the network learn when, and how fast: the section ``transfer`` of a config."""

from __future__ import annotations

import dataclasses
import itertools
import math

from pneumo_jax.errors import InputError
from pneumo_jax.models import NUM_STAGES

__all__ = [
    'BATCH_NORMS',
    'WHOLE',
    'Phase',
    'Transfer',
    'current_phase',
    'make_phases',
    'read_transfer',
]

BATCH_NORMS = ('train', 'frozen', 'reestimate')


@dataclasses.dataclass(frozen=True)
class Transfer:
    """The rule; fields as in ``configs/base.py``, the defaults those of runs without the section.

    Stages 0 to 4 are the backbone's, from the shallow end; stage 5 is all that is new, the heads.

    Attributes:
        frozen_stages: the first so many stages never learn.
        head_epochs: epochs in which stage 5 alone learns.
        unfreeze_epochs: epoch after which a stage joins in, deepest first; stages beyond its end
            never do. Empty: all join in after ``head_epochs``.
        stage_decay: learning rate of a stage relative to the one behind it.
        batch_norm: one of ``BATCH_NORMS``.

    Raises:
        InputError: for values that make no sense, or contradict each other.
    """

    frozen_stages: int = 0
    head_epochs: float = 0.0
    unfreeze_epochs: tuple[float, ...] = ()
    stage_decay: float = 1.0
    batch_norm: str = 'train'

    def __post_init__(self):
        if not 0 <= self.frozen_stages <= NUM_STAGES:
            raise InputError(
                f'config.transfer.frozen_stages={self.frozen_stages} must be 0 to {NUM_STAGES}, '
                'the number of stages of a backbone'
            )
        if not 0 <= self.head_epochs < math.inf:
            raise InputError(
                f'config.transfer.head_epochs={self.head_epochs} must be 0 or more epochs'
            )
        if not 0 < self.stage_decay <= 1:
            raise InputError(
                f'config.transfer.stage_decay={self.stage_decay} must be more than 0 and at most '
                '1; to freeze stages set config.transfer.frozen_stages'
            )
        if self.batch_norm not in BATCH_NORMS:
            raise InputError(
                f'config.transfer.batch_norm={self.batch_norm!r} is unknown; choose one of '
                f'{", ".join(BATCH_NORMS)}'
            )
        self._check_unfreeze_epochs()

    @property
    def starts(self) -> tuple[float, ...]:
        """Epochs after which the stages 0 to 5 begin to learn; infinity for never."""
        joins = [self.head_epochs] * NUM_STAGES
        if self.unfreeze_epochs:
            never = [math.inf] * (NUM_STAGES - len(self.unfreeze_epochs))
            joins = [*never, *(max(self.head_epochs, e) for e in reversed(self.unfreeze_epochs))]
        frozen = [math.inf] * self.frozen_stages
        return (*frozen, *joins[self.frozen_stages :], 0.0)

    @property
    def rates(self) -> tuple[float, ...]:
        """Learning rates of the stages 0 to 5 relative to the schedule's; 0 for never."""
        return tuple(
            0.0 if math.isinf(start) else self.stage_decay ** (NUM_STAGES - stage)
            for stage, start in enumerate(self.starts)
        )

    @property
    def is_plain(self) -> bool:
        """True if all stages learn from the first step on, at one rate."""
        return set(self.starts) == {0.0} and set(self.rates) == {1.0}

    def _check_unfreeze_epochs(self):
        epochs, field = self.unfreeze_epochs, 'config.transfer.unfreeze_epochs'
        shown = f'{field}={tuple(epochs)}'
        if not all(isinstance(e, int | float) and 0 <= e < math.inf for e in epochs):
            raise InputError(f'{shown} must be epochs of 0 or more, such as (2, 4)')
        if any(later <= earlier for earlier, later in itertools.pairwise(epochs)):
            raise InputError(
                f'{shown} must rise from each stage to the next shallower one, such as (2, 4)'
            )
        learning = NUM_STAGES - self.frozen_stages
        if len(epochs) > learning:
            raise InputError(
                f'{shown} has {len(epochs)} entries for the {learning} stages that may learn with '
                f'config.transfer.frozen_stages={self.frozen_stages}: leave the last '
                f'{len(epochs) - learning} out, or lower frozen_stages'
            )


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of steps in which the same stages learn.

    Attributes:
        start: its first step.
        learning: the stages that learn, ascending, 5 among them always.
        fixed_norms: the stages whose batch norms use and keep their running statistics. Those
            that do not learn are among them, so that they are a fixed function.
    """

    start: int
    learning: tuple[int, ...]
    fixed_norms: tuple[int, ...]


# Of a run without transfer: one phase.
WHOLE = Phase(start=0, learning=tuple(range(NUM_STAGES + 1)), fixed_norms=())


def read_transfer(config) -> Transfer:
    """The rule of a run's config; that of a run from before the section is all learning at once."""
    section = dict(config.get('transfer', {}))
    # A saved config holds a list.
    return Transfer(**section | {'unfreeze_epochs': tuple(section.get('unfreeze_epochs', ()))})


def make_phases(config, *, num_films: int) -> tuple[Phase, ...]:
    """The phases of a run in order, a function of the config and the number of films alone.

    A stage joins in at the first step after its epochs: for whole epochs the first of the next one,
    as ``train`` counts them, else a step inside an epoch.

    Args:
        config: a run's config; ``transfer``, ``num_epochs`` and ``batch_size`` are read.
        num_films: in the training split.

    Raises:
        InputError: for values that make no sense, or a stage that would join in after the run.
    """
    transfer = read_transfer(config)
    for epochs in transfer.starts:
        if config.num_epochs <= epochs < math.inf:
            _refuse_late_start(transfer, epochs, config.num_epochs)
    starts = [
        math.ceil(epochs * num_films / config.batch_size) if epochs < math.inf else math.inf
        for epochs in transfer.starts
    ]
    phases = []
    for start in sorted(set(starts) - {math.inf}):
        learning = tuple(stage for stage, begins in enumerate(starts) if begins <= start)
        adapting = () if transfer.batch_norm == 'frozen' else learning
        fixed = tuple(stage for stage in range(NUM_STAGES) if stage not in adapting)
        phases.append(Phase(start=start, learning=learning, fixed_norms=fixed))
    return tuple(phases)


def current_phase(phases: tuple[Phase, ...], step: int) -> Phase:
    """The phase that a step belongs to."""
    return [phase for phase in phases if phase.start <= step][-1]


def _refuse_late_start(transfer, epochs, num_epochs):
    field, remedy = 'unfreeze_epochs', 'leave these stages out of the list'
    if epochs == transfer.head_epochs:
        field = 'head_epochs'
        remedy = f'to train the heads alone set config.transfer.frozen_stages={NUM_STAGES}'
    raise InputError(
        f'config.transfer.{field}={getattr(transfer, field)} lets a stage join in after epoch '
        f'{epochs:g} of config.num_epochs={num_epochs}, when the run is over: {remedy}, or raise '
        'config.num_epochs'
    )
