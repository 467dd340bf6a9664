"""How a run shows itself: bars on a terminal, one plain line a finished cell elsewhere."""

import sys
import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from gfp_bench.cli.output import tell
from gfp_bench.contracts.monitor import Monitor
from gfp_bench.engine.events import (
    CellDone,
    CellsFailed,
    RunEvent,
    TrialBusy,
    TrialFinished,
    TrialProgress,
    TrialStarted,
)
from gfp_bench.texts import clean


class RunDisplay:
    """Shows events as they come, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}  # by the trial's key
        self._bars = (
            Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[values]}", markup=False),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> "RunDisplay":
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bars:
            self._bars.stop()

    def report(self, event: RunEvent) -> None:
        """Show one event."""
        with self._lock:
            line = _line(event)
            if self._bars is None:
                if line:
                    tell(line)
                return
            if line and not isinstance(event, CellDone):
                self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
            self._draw(self._bars, event)

    def _draw(self, bars: Progress, event: RunEvent) -> None:
        key = event.trial.key
        match event:
            case TrialStarted() if key not in self._tasks:
                self._tasks[key] = bars.add_task(event.trial.title, total=None, values="")
            case TrialProgress(progress=now):
                values = " ".join(f"{clean(name)} {value:.3g}" for name, value in now.values.items())
                bars.update(self._tasks[key], completed=now.step, total=now.total or None, values=values)
            case TrialFinished() | CellsFailed() | TrialBusy() if key in self._tasks:
                bars.remove_task(self._tasks.pop(key))


def _line(event: RunEvent) -> str:
    match event:
        case CellDone(trial, cell):
            return f"done: {trial.title}, {cell}"
        case CellsFailed(trial, cells, kind, reason):
            return f"{kind}: {trial.title}, {', '.join(cells)}: {reason}"
        case TrialBusy(trial, holder):
            return f"busy: {trial.title} is locked by {holder}; left to it"
    return ""


class TrainingLine(Monitor):
    """Shows a training as one line that is written again, or now and then a plain line elsewhere."""

    def __init__(self) -> None:
        self._said = 0.0

    def progress(self, step: int, total: int, **values: float) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if step < total and now - self._said < (0.5 if terminal else 30):
            return
        self._said = now
        shown = " ".join(f"{name} {value:.3g}" for name, value in values.items())
        begin, end = ("\r", "\n" if step == total else "") if terminal else ("", "\n")
        sys.stderr.write(f"{begin}step {step} of {total} {shown}{end}")
        sys.stderr.flush()
