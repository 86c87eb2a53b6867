"""Which stages of the network learn when, and how fast: the section ``transfer`` of a config."""

from __future__ import annotations

import dataclasses
import itertools
import math
from fractions import Fraction

from pneumo_jax.durations import epoch_ends
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
    """The rule; fields as in ``configs/base.py``, the defaults those of runs from random weights.

    Stages 0 to 4 are the backbone's, from the shallow end; stage 5 is all that is new, the heads.

    Attributes:
        frozen_stages: the first so many stages never learn.
        head_epochs, head_steps: how long stage 5 alone learns; the steps hold where not 0.
        unfreeze_epochs, unfreeze_steps: after how long a stage joins in, deepest first; stages
            beyond the end never do. Empty: all join in after the heads. The steps hold where given.
        stage_decay: learning rate of a stage relative to the one behind it.
        batch_norm: one of ``BATCH_NORMS``.

    Raises:
        InputError: for values that make no sense, or contradict each other.
    """

    frozen_stages: int = 0
    head_epochs: float = 0.0
    head_steps: int = 0
    unfreeze_epochs: tuple[float, ...] = ()
    unfreeze_steps: tuple[int, ...] = ()
    stage_decay: float = 1.0
    batch_norm: str = 'train'

    def __post_init__(self):
        if not 0 <= self.frozen_stages <= NUM_STAGES:
            raise InputError(
                f'config.transfer.frozen_stages={self.frozen_stages} must be 0 to {NUM_STAGES}, '
                'the number of stages of a backbone'
            )
        if not 0 <= self.head < math.inf:
            raise InputError(
                f'config.transfer.{self.head_field}={self.head} must be 0 or more {self.unit}'
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
        self._check_unfreezing()

    @property
    def unit(self) -> str:
        """What the durations are given in: ``epochs`` or ``steps``."""
        return 'steps' if self.head_steps or self.unfreeze_steps else 'epochs'

    @property
    def head(self) -> float:
        """``head_epochs`` or ``head_steps``."""
        return self.head_steps or self.head_epochs

    @property
    def unfreeze(self) -> tuple[float, ...]:
        """``unfreeze_epochs`` or ``unfreeze_steps``."""
        return self.unfreeze_steps or self.unfreeze_epochs

    @property
    def head_field(self) -> str:
        """The name of the field that ``head`` is of."""
        return 'head_steps' if self.head_steps else 'head_epochs'

    @property
    def unfreeze_field(self) -> str:
        """The name of the field that ``unfreeze`` is of."""
        return 'unfreeze_steps' if self.unfreeze_steps else 'unfreeze_epochs'

    @property
    def starts(self) -> tuple[float, ...]:
        """When the stages 0 to 5 begin to learn, in ``unit``; infinity for never."""
        joins = [self.head] * NUM_STAGES
        if self.unfreeze:
            never = [math.inf] * (NUM_STAGES - len(self.unfreeze))
            joins = [*never, *(max(self.head, later) for later in reversed(self.unfreeze))]
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

    def _check_unfreezing(self):
        shown = f'config.transfer.{self.unfreeze_field}={tuple(self.unfreeze)}'
        if self.head and self.unfreeze and self.head_field[5:] != self.unfreeze_field[9:]:
            raise InputError(
                f'{shown} is in {self.unfreeze_field[9:]}, config.transfer.{self.head_field}='
                f'{self.head} is not: give both in epochs or both in steps'
            )
        if not all(isinstance(e, int | float) and 0 <= e < math.inf for e in self.unfreeze):
            raise InputError(f'{shown} must be {self.unit} of 0 or more, such as (2, 4)')
        if any(later <= earlier for earlier, later in itertools.pairwise(self.unfreeze)):
            raise InputError(
                f'{shown} must rise from each stage to the next shallower one, such as (2, 4)'
            )
        learning = NUM_STAGES - self.frozen_stages
        if len(self.unfreeze) > learning:
            raise InputError(
                f'{shown} has {len(self.unfreeze)} entries for the {learning} stages that may '
                f'learn with config.transfer.frozen_stages={self.frozen_stages}: leave the last '
                f'{len(self.unfreeze) - learning} out, or lower frozen_stages'
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
    """The rule of a run's config."""
    # A config says what a list or a tuple is given as.
    return Transfer(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in config.transfer.items()
        }
    )


def make_phases(config, *, steps_per_epoch: Fraction) -> tuple[Phase, ...]:
    """The phases of a run in order, a function of the config and the steps of an epoch alone.

    A stage joins in at the first step after its epochs: for whole epochs the first of the next one,
    as ``durations.epoch_ends`` counts them, else a step inside an epoch.

    Args:
        config: a run's config; ``transfer`` and the run's length are read.
        steps_per_epoch: training films / training films in a batch.

    Raises:
        InputError: for values that make no sense, or a stage that would join in after the run.
    """
    transfer = read_transfer(config)
    num_steps = epoch_ends(config, steps_per_epoch=steps_per_epoch)[-1]
    per_unit = steps_per_epoch if transfer.unit == 'epochs' else 1
    starts = [
        math.inf if math.isinf(start) else math.ceil(Fraction(str(start)) * per_unit)
        for start in transfer.starts
    ]
    for when, start in zip(transfer.starts, starts, strict=True):
        if num_steps <= start < math.inf:
            _refuse_late_start(transfer, when, num_steps)
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


def _refuse_late_start(transfer, when, num_steps):
    field, value = transfer.unfreeze_field, transfer.unfreeze
    remedy = 'leave these stages out of the list'
    if when == transfer.head:
        field, value = transfer.head_field, transfer.head
        remedy = f'to train the heads alone set config.transfer.frozen_stages={NUM_STAGES}'
    raise InputError(
        f'config.transfer.{field}={value} lets a stage join in after {transfer.unit[:-1]} '
        f'{when:g}, when the run of {num_steps} steps is over: {remedy}, or raise config.num_epochs'
    )
