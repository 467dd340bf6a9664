"""What a trial's process tells its runner, and what a runner tells whoever watches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gfp_bench.engine.plan import Trial
from gfp_bench.engine.records import FailureKind
from gfp_bench.errors import PluginError

_VALUES = 16  # that may stand beside a bar
_LARGEST = 2**53  # of a number of steps


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


def checked_progress(step: Any, total: Any, values: Mapping[str, Any]) -> Progress:  # whatever a plugin says
    """Return what a plugin says of its progress; a tensor of one value counts as the number that it holds.

    Raises:
        PluginError: If it is anything but numbers under names.
    """
    if len(values) > _VALUES or not all(name.isidentifier() and len(name) <= 64 for name in values):
        names = ", ".join(map(repr, values))[:200]
        raise PluginError(f"monitor.progress got values called {names}; expected at most {_VALUES} names")
    steps = [_number(name, value) for name, value in (("step", step), ("total", total))]
    if not all(0 <= number <= _LARGEST for number in steps):  # which is false for nan too
        raise PluginError(f"monitor.progress got step {step} of {total}, expected numbers of steps")
    return Progress(int(steps[0]), int(steps[1]), {name: _number(name, value) for name, value in values.items()})


def _number(name: str, value: Any) -> float:  # whatever a plugin says
    try:
        if isinstance(value, str | bytes | bytearray):
            raise TypeError
        return float(value.detach() if hasattr(value, "detach") else value)
    except Exception as error:  # the value's own code runs
        raise PluginError(
            f"monitor.progress got {name} = {type(value).__name__} {str(value)[:80]}, expected a number; of a tensor "
            "with more values, say which one counts"
        ) from error


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
