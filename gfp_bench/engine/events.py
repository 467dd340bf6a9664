"""What a trial's process tells its runner, and what a runner tells whoever watches."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from gfp_bench.engine.plan import Trial
from gfp_bench.engine.records import FailureKind


@dataclass(frozen=True)
class Stake:
    """What fails if the step that begins now fails: keys of cells."""

    keys: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """So many steps of a fit are done; 0 of 0 is a mere sign of life."""

    step: int
    total: int
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """A cell is recorded."""

    key: str


@dataclass(frozen=True)
class Timing:
    """The trial has come to its end: seconds by step inside plugins, and peak memory in bytes."""

    seconds: dict[str, float]


@dataclass(frozen=True)
class Error:
    """The trial has ended badly, and why, in one line; ``machine`` if that is no plugin's fault."""

    reason: str
    machine: bool = False


Event: TypeAlias = Stake | Progress | Done | Timing | Error
"""What a trial's process tells."""

Send: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True)
class TrialStarted:
    """A process of the trial is launched."""

    trial: Trial


@dataclass(frozen=True)
class TrialProgress:
    """The fit of a trial has come so far."""

    trial: Trial
    progress: Progress


@dataclass(frozen=True)
class CellDone:
    """A cell of a trial is recorded."""

    trial: Trial
    cell: str


@dataclass(frozen=True)
class CellsFailed:
    """Cells of a trial have no numbers, for one reason."""

    trial: Trial
    cells: tuple[str, ...]
    kind: FailureKind
    reason: str


@dataclass(frozen=True)
class TrialBusy:
    """Another run is at the trial, which is left to it."""

    trial: Trial
    holder: str


@dataclass(frozen=True)
class TrialFinished:
    """The trial has come to its end."""

    trial: Trial


RunEvent: TypeAlias = TrialStarted | TrialProgress | CellDone | CellsFailed | TrialBusy | TrialFinished
"""What a runner tells."""

Report: TypeAlias = Callable[[RunEvent], None]
