"""`leaderboard`, `publish`, `show`: boards from records."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfp_bench.cli.options import (
    Boards,
    DatasetName,
    Limit,
    Output,
    PluginFiles,
    ProtocolName,
    kept_plan,
    manifests_of,
    named_only,
    plugins_of,
    results,
)
from gfp_bench.cli.output import ExitCode, say, stop, tell
from gfp_bench.errors import GfpBenchError, UsageError

if TYPE_CHECKING:
    from gfp_bench.boards.published import Published
    from gfp_bench.boards.verification import Verdict
    from gfp_bench.data.manifest import Manifest
    from gfp_bench.engine.plan import Plan
    from gfp_bench.registry.plugins import Plugins

app = typer.Typer()


@app.command()
def leaderboard(
    output: Output = None,
    dataset: DatasetName = None,
    protocol: ProtocolName = None,
    limit: Limit = None,
    form: Annotated[str, typer.Option("--format", help="md, csv or latex.")] = "md",
    methods: Annotated[str, typer.Option(help="Show these rows only: titles or methods, as a,b.")] = "",
    columns: Annotated[str, typer.Option(help="Show these attacks and ladders only, as noise,jpeg.")] = "",
    no_floors: Annotated[bool, typer.Option("--no-floors", help="Show no floors.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Plan published boards again and derive them anew.")] = False,
    plugin: PluginFiles = None,
    boards: Boards = Path("leaderboards"),
) -> None:
    """Print the board of a results folder, by default the last one, or check those that are published."""
    from gfp_bench.boards import formats
    from gfp_bench.boards.assembly import board_of
    from gfp_bench.boards.ranking import standings
    from gfp_bench.boards.selection import selected, split_names
    from gfp_bench.engine.records import Store

    if check:
        _check(boards, plugin or ())
        return
    writers = {"md": formats.markdown, "csv": formats.csv, "latex": formats.latex}
    if form not in writers:
        raise typer.BadParameter(f"{form!r} is no format; expected md, csv or latex", param_hint="--format")
    store = Store(output or results())
    plan = kept_plan(store, dataset, protocol, limit)
    board = board_of(plan, manifests_of(plan), store)
    shown = selected(
        board,
        standings(board),
        methods=split_names(methods),
        columns=split_names(columns),
        floors=not no_floors,
    )
    say(writers[form](*shown))


@app.command()
def publish(
    output: Output = None,
    dataset: DatasetName = None,
    protocol: ProtocolName = None,
    add: Annotated[bool, typer.Option("--add", help="Keep what is published, and add what it lacks.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Lose what is published and not in this run.")] = False,
    again: Annotated[
        str | None,
        typer.Option(metavar="BOARD", help="Write a published board anew from its own records; 'all': each."),
    ] = None,
    plugin: PluginFiles = None,
    boards: Boards = Path("leaderboards"),
) -> None:
    """Copy a results folder's records into the published boards and write the board there."""
    from gfp_bench.boards import publication
    from gfp_bench.boards.verification import stale_rows
    from gfp_bench.engine.records import Records, Store

    if add and replace:
        raise typer.BadParameter("--add keeps what is published, --replace does not; give one", param_hint="--add")
    if again:
        _write_again(boards, again, plugin or ())
        return
    folder = Store(output or results())
    store: Records = folder
    plan = kept_plan(folder, dataset, protocol, None)
    manifests = manifests_of(plan)
    plugins = plugins_of(plan, plugin or ())
    if add:
        published = published_board(boards, plan.name)
        plan = _grown(published, plan, manifests, plugins)
        store = publication.Together(published, folder)
    plan = named_only(plan, manifests)
    remarks = stale_rows(plan, manifests, plugins)
    canaries = _canaries(plan, plugins, folder.root)
    done = publication.publish(plan, manifests, store, boards, replace=replace, remarks=remarks, canaries=canaries)
    for sentence in done.told or (("nothing is added",) if add else ()):
        tell(sentence)
    say(str(done.path))


def _canaries(plan: "Plan", plugins: "Plugins", folder: Path) -> dict[str, list[str]]:
    """Return what the canary said of each row whose plugin gfp-bench does not bring, also if it was never asked."""
    from gfp_bench.engine.canary import plugin_digest, read_canary, told

    found = {}
    for row in plan.rows:
        if row.method in plugins.methods and plugins.sources(row.method, row.settings):
            code = plugin_digest(plugins, row.method, row.settings)
            canary = read_canary(folder, row.method, row.settings, code, plan.digest)
            found[row.title] = told(canary) if canary else ["no canary was run on this dataset"]
    return found


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


def published_board(folder: Path, name: str) -> "Published":
    """Return the records of a published board, by name or its Markdown's; its last publication is brought to its end.

    Raises:
        UsageError: If there is none of that name.
    """
    from gfp_bench.boards.publication import RECORDS, settle
    from gfp_bench.boards.published import Published
    from gfp_bench.boards.verification import board_names
    from gfp_bench.errors import unknown

    settle(folder)
    name = Path(name).name.removesuffix(".md")
    if name not in board_names(folder):
        raise unknown("published board", name, board_names(folder))
    return Published(folder / RECORDS / name)


def _grown(published: "Published", plan: "Plan", manifests: "dict[str, Manifest]", plugins: "Plugins") -> "Plan":
    """Return the plan of a published board with another's rows, seeds and attacks added."""
    from gfp_bench.engine.replan import extended, planned_again

    before = published.plan()
    if before.protocol != plan.protocol:
        before, absent = planned_again(before, plan.protocol, manifests, plugins)
        if absent:
            raise UsageError(
                f"{plan.name} has another protocol than the published board, and {absent[0]} cannot be planned for it: "
                "its plugin is not here; give it by --plugin"
            )
    return extended(before, plan)


def _write_again(folder: Path, asked: str, files: Sequence[Path]) -> None:
    """Write published boards anew from their own records."""
    from gfp_bench.boards.publication import rewrite
    from gfp_bench.boards.verification import board_names, stale_rows

    for name in board_names(folder) if asked == "all" else [asked]:
        plan = published_board(folder, name).plan()
        manifests = manifests_of(plan)
        say(str(rewrite(folder, name, manifests, stale_rows(plan, manifests, plugins_of(plan, files)))))


def _check(folder: Path, files: Sequence[Path]) -> None:
    """Exit with `ExitCode.DRIFT` unless every published board is what its records, their plan and the code give."""
    from gfp_bench.boards.publication import settle
    from gfp_bench.boards.verification import board_names, strays

    settle(folder)
    names = board_names(folder)
    if not names:
        stop(ExitCode.USAGE, f"no published board in {folder}; name their folder with --boards, or publish one")
    wrong = strays(folder)
    for name in names:
        found = _looked_at(folder, name, files)
        wrong += found.wrong
        for sentence in found.told:
            tell(sentence)
    for sentence in wrong:
        say(sentence)
    if wrong:
        stop(ExitCode.DRIFT, f"{len(wrong)} disagreements between published boards and their records")
    say(f"{len(names)} published boards are what their records give")


def _looked_at(folder: Path, name: str, files: Sequence[Path]) -> "Verdict":
    """Return what is wrong with one board; that it cannot be read is one thing."""
    from gfp_bench.boards.publication import RECORDS
    from gfp_bench.boards.published import Published
    from gfp_bench.boards.verification import Verdict, verdict

    records = Published(folder / RECORDS / name)
    try:
        plan = records.plan()
        return verdict(folder, name, records, manifests_of(plan), plugins_of(plan, files))
    except GfpBenchError as error:
        return Verdict((f"{name}: {error}",))
