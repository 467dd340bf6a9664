"""`reproduce`: some of a published board's cells, run again."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from gfp_bench.cli.options import PluginFiles, cache, manifests_of
from gfp_bench.cli.output import ExitCode, say, stop, tell

if TYPE_CHECKING:
    from gfp_bench.boards.reproduction import Rerun
    from gfp_bench.contracts.task import Measure

app = typer.Typer()


@app.command()
def reproduce(
    board: Annotated[str, typer.Argument(help="A published board: its name, or the path of its Markdown.")],
    cells: Annotated[int, typer.Option(min=1, help="How many cells are drawn.")] = 5,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the draw; a new one by default.")] = None,
    plugin: PluginFiles = None,
    boards: Annotated[Path, typer.Option("--boards", help="The folder of published boards.")] = Path("leaderboards"),
    jobs: Annotated[int | None, typer.Option("-j", min=1, help="Trials at a time; one per GPU or core.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Run a random sample of a published board's cells again, fits included, and compare."""
    from gfp_bench.boards import reproduction
    from gfp_bench.cli.boards import published_board
    from gfp_bench.cli.progress import RunDisplay
    from gfp_bench.data.dataset import Dataset
    from gfp_bench.engine import runner
    from gfp_bench.engine.plan import make_plan
    from gfp_bench.engine.records import Store
    from gfp_bench.registry.discovery import survey_plugins

    published = published_board(boards, Path(board).name.removesuffix(".md"))
    plan = published.plan()
    manifests = manifests_of(plan)
    plugins = survey_plugins(plugin or ())
    start = secrets.randbelow(2**32) if seed is None else seed
    sample = reproduction.drawn(plan, published, cells, start)
    tell(f"{len(sample)} cells drawn with --seed {start}")
    others = {name: manifests[name] for name in plan.task.datasets}
    rows = {trial.row: (trial.method, trial.settings) for trial, _ in sample}
    seeds = sorted({trial.seed for trial, _ in sample})
    again = make_plan(manifests[plan.dataset], plan.protocol, [*rows.values()], plugins, seeds=seeds, others=others)
    reproduction.current(sample, [again])
    wanted = reproduction.plan_of(plan, sample)
    for manifest in manifests.values():
        Dataset(manifest, cache()).pixels()
    with TemporaryDirectory(prefix="gfp-bench-reproduce-") as scratch:
        options = runner.Options(
            manifests={name: manifest.file for name, manifest in manifests.items()},
            cache=cache(),
            results=Path(scratch),
            jobs=jobs,
            device=device,
            plugins=plugins,
            digests={name: manifest.digest for name, manifest in manifests.items()},
        )
        with RunDisplay() as display:
            runner.run(wanted, options, display.report)
        found = [*reproduction.compared(plan, manifests, sample, published, Store(Path(scratch)), again.rows)]
    say(_table(found, plan.task.measures[0]))
    if drifted := sum(one.drifted for one in found):
        stop(
            ExitCode.DRIFT,
            f"{drifted} of {len(found)} cells are not what was published; --seed {start} draws them again",
        )
    say(f"all {len(found)} cells are what was published")


def _table(found: "Sequence[Rerun]", measure: "Measure") -> str:
    """Return one line per cell."""
    from tabulate import tabulate

    def number(value: float | None) -> str:
        if value is None:
            return "none"
        return f"{100 * value:.1f}" if measure.percent else f"{value:.4g}"

    rows = [
        {
            "trial": one.trial.title,
            "cell": one.cell.name,
            f"{measure.title}, published": number(one.published),
            "again": number(one.again),
            "answers changed": "not told" if one.changed is None else f"{100 * one.changed:.1f} %",
            "allowed": one.allowed or one.reason,
            "verdict": "DRIFT" if one.drifted else "same",
        }
        for one in found
    ]
    return tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True)
