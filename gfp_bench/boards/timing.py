"""What the trials of a board have cost, as a table of its own: boards hold no durations. Torch-free."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from gfp_bench.engine.plan import Plan
from gfp_bench.engine.records import Store


@dataclass(frozen=True)
class Timing:
    """What one trial cost.

    Attributes:
        row: The title of its row.
        wall: Seconds from launch to end.
        plugin: Seconds of these inside methods and attacks.
        memory: Peak, in MB.
    """

    row: str
    wall: float
    plugin: float
    memory: float


def timing_markdown(name: str, timings: Sequence[Timing]) -> str:
    """Return what the trials of each row cost, as GitHub shows it; ``name`` is the board's."""
    rows = []
    for title in dict.fromkeys(timing.row for timing in timings):
        own = [timing for timing in timings if timing.row == title]
        harness = [timing.wall - timing.plugin for timing in own]
        rows.append(
            {
                "method": f"`{title}`",
                "trials": str(len(own)),
                "trial s": f"{sum(timing.wall for timing in own):.1f}",
                "in plugins s": f"{sum(timing.plugin for timing in own):.1f}",
                "harness s": f"{sum(harness):.1f}",
                "harness s per trial, at most": f"{max(harness):.2f}",
                "peak memory MB": f"{max(timing.memory for timing in own):.0f}",
            }
        )
    legend = (
        "Seconds are sums over trials, each that of the process that ended it: what was interrupted before is left "
        "out. `harness`: what a trial took outside methods and attacks."
    )
    table = tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True)
    return f"# {name}: what it cost\n\n{table}\n\n{legend}\n"


def timings(plan: Plan, store: Store) -> Iterator[Timing]:
    """Yield what the trials of a plan have cost, as far as it is known."""
    for trial in plan.trials:
        path = store.path(trial, "timing")
        if path.exists():
            seconds = json.loads(path.read_text())
            wall, memory = seconds.pop("wall"), max(seconds.pop("peak_memory"), seconds.pop("peak_gpu_memory"))
            yield Timing(trial.row, wall, sum(seconds.values()), memory / 1e6)
