"""`leaderboard`, `publish`, `show`: boards from records."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gfp_bench.cli.options import Output, named_manifest, results
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
    from gfp_bench.boards import formats as tables
    from gfp_bench.boards.assembly import board_of, stored_plan
    from gfp_bench.engine.records import Store

    if check:
        _check(boards)
        return
    writers = {"md": tables.markdown, "csv": tables.csv, "latex": tables.latex}
    if form not in writers:
        raise typer.BadParameter(f"{form!r} is no format; expected md, csv or latex", param_hint="--format")
    root = output or results()
    plan = stored_plan(root)
    say(writers[form](board_of(plan, named_manifest(plan.dataset), Store(root))))


@app.command()
def publish(output: Output = None, boards: Boards = Path("leaderboards")) -> None:
    """Copy a results folder's records into the published boards and write the board there."""
    from gfp_bench.boards import assembly as published
    from gfp_bench.engine.records import Store

    root = output or results()
    plan = published.stored_plan(root)
    say(str(published.publish(plan, named_manifest(plan.dataset), Store(root), boards)))


@app.command()
def show(
    trial: Annotated[str, typer.Argument(help="A trial as `status` prints it, or the beginning of a cell's key.")],
    output: Output = None,
) -> None:
    """Print the records of a trial or a cell as JSON."""
    from gfp_bench.boards.assembly import stored_plan
    from gfp_bench.engine.records import Store

    store = Store(output or results())
    found = [
        asdict(kept)
        for planned in stored_plan(store.root).trials
        for cell in planned.cells
        if trial == planned.title or cell.key.startswith(trial)
        if (kept := store.record(planned, cell) or store.failure(planned, cell))
    ]
    if not found:
        stop(ExitCode.USAGE, f"no record of {trial!r} in {store.root}; `gfp-bench status --json` lists trials and keys")
    say(json.dumps(found, indent=1))


def _check(folder: Path) -> None:
    """Exit with `ExitCode.DRIFT` unless every published board is what its records give."""
    from gfp_bench.boards.assembly import drift, stored_plan

    names = sorted(
        path.name for path in (folder / "records").glob("*") if path.is_dir() and not path.name.startswith(".")
    )
    found = []
    for name in names:
        board = folder / f"{name}.md"
        found += drift(board, named_manifest(stored_plan(folder / "records" / name).dataset))
    for sentence in found:
        say(sentence)
    if found:
        stop(ExitCode.DRIFT, f"{len(found)} disagreements between published boards and their records")
    say(f"{len(names)} published boards are what their records give")
