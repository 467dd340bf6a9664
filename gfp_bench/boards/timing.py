"""What the trials of a board have cost, as a table of its own: boards hold no durations. Torch-free."""

from collections.abc import Sequence

from tabulate import tabulate

from gfp_bench.engine.plan import Plan
from gfp_bench.engine.records import Records, Timing
from gfp_bench.errors import RecordError


def timing_markdown(name: str, spent: Sequence[tuple[str, Timing]], damaged: Sequence[str] = ()) -> str:
    """Return what trials cost, each given with its row's title, as GitHub shows it.

    Args:
        name: The board's.
        spent: What is known.
        damaged: What is not, a sentence each.
    """
    rows = []
    for title in dict.fromkeys(title for title, _ in spent):
        own = [timing for row, timing in spent if row == title]
        harness = [timing.wall - sum(timing.steps.values()) for timing in own]
        rows.append(
            {
                "method": f"`{title}`",
                "trials": str(len(own)),
                "trial s": f"{sum(timing.wall for timing in own):.1f}",
                "in plugins s": f"{sum(sum(timing.steps.values()) for timing in own):.1f}",
                "harness s": f"{sum(harness):.1f}",
                "harness s per trial, at most": f"{max(harness):.2f}",
                "peak memory MB": f"{max(max(timing.peak_memory, timing.peak_gpu_memory) for timing in own) / 1e6:.0f}",
            }
        )
    legend = (
        "Seconds are sums over trials, each that of the process that ended it: what was interrupted before is left "
        "out. `harness`: what a trial took outside methods and attacks."
    )
    table = tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True)
    return "\n\n".join([f"# {name}: what it cost", table, legend, *(f"Left out: {one}." for one in damaged)]) + "\n"


def timings(plan: Plan, store: Records) -> tuple[list[tuple[str, Timing]], list[str]]:
    """Return what trials have cost, each with its row's title, and a sentence for each that is damaged.

    No board depends on it, so that damage here stops nothing.
    """
    spent, damaged = [], []
    for trial in plan.trials:
        try:
            if timing := store.timing(trial):
                spent.append((trial.row, timing))
        except RecordError as error:
            damaged.append(str(error))
    return spent, list(dict.fromkeys(damaged))
