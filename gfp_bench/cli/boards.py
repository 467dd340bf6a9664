"""`leaderboard`, `publish`, `show`: boards from records."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gfp_bench.cli.options import Output, manifests_of, results
from gfp_bench.cli.output import ExitCode, say, stop

app = typer.Typer()

Boards = Annotated[Path, typer.Option("--boards", help="The folder of published boards.")]


@app.command()
def leaderboard(
    output: Output = None,
    form: Annotated[str, typer.Option("--format", help="md, csv or latex.")] = "md",
    check: Annotated[bool, typer.Option("--check", help="Compare published boards with their records.")] = False,
    boards: Boards = Path("leaderboards"),
) -> None:
    """Print the board of a results folder, or check those that are published."""
    from gfp_bench.boards import formats
    from gfp_bench.boards.assembly import board_of
    from gfp_bench.boards.ranking import standings
    from gfp_bench.engine.records import Store

    if check:
        _check(boards)
        return
    writers = {"md": formats.markdown, "csv": formats.csv, "latex": formats.latex}
    if form not in writers:
        raise typer.BadParameter(f"{form!r} is no format; expected md, csv or latex", param_hint="--format")
    store = Store(output or results())
    plan = store.plan()
    board = board_of(plan, manifests_of(plan), store)
    say(writers[form](board, standings(board)))


@app.command()
def publish(output: Output = None, boards: Boards = Path("leaderboards")) -> None:
    """Copy a results folder's records into the published boards and write the board there."""
    from gfp_bench.boards import publication
    from gfp_bench.engine.records import Store

    store = Store(output or results())
    plan = store.plan()
    say(str(publication.publish(plan, manifests_of(plan), store, boards)))


@app.command()
def show(
    trial: Annotated[str, typer.Argument(help="A trial as `status` prints it, or the beginning of a cell's key.")],
    output: Output = None,
) -> None:
    """Print the records of a trial or a cell as JSON."""
    from gfp_bench.engine.records import Store

    store = Store(output or results())
    found = [
        asdict(kept)
        for planned in store.plan().trials
        for cell in planned.cells
        if trial == planned.title or cell.key.startswith(trial)
        if (kept := store.record(planned, cell) or store.failure(planned, cell))
    ]
    if not found:
        stop(ExitCode.USAGE, f"no record of {trial!r} in {store.root}; `gfp-bench status --json` lists trials and keys")
    say(json.dumps(found, indent=1))


def _check(folder: Path) -> None:
    """Exit with `ExitCode.DRIFT` unless every published board is what its records give."""
    from gfp_bench.boards.publication import drift
    from gfp_bench.engine.records import Store

    names = sorted(
        path.name for path in (folder / "records").glob("*") if path.is_dir() and not path.name.startswith(".")
    )
    found = []
    for name in names:
        store = Store(folder / "records" / name)
        plan = store.plan()
        found += drift(folder / f"{name}.md", plan, manifests_of(plan), store)
    for sentence in found:
        say(sentence)
    if found:
        stop(ExitCode.DRIFT, f"{len(found)} disagreements between published boards and their records")
    say(f"{len(names)} published boards are what their records give")
