"""`run`, `plan`, `status`: from a request to a plan, and from a plan to records."""

import json
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfp_bench.cli.options import (
    Boards,
    DatasetName,
    Limit,
    Output,
    PluginFiles,
    ProtocolName,
    cache,
    kept_plan,
    manifests_of,
    named_manifest,
    plugins_of,
    results,
)
from gfp_bench.cli.output import ExitCode, say, stop, tell
from gfp_bench.errors import UsageError

if TYPE_CHECKING:
    from gfp_bench.data.manifest import Manifest
    from gfp_bench.engine.plan import Plan
    from gfp_bench.engine.records import Store
    from gfp_bench.registry.plugins import Plugins

Methods = Annotated[
    list[str] | None, typer.Option("-m", "--method", help="name or name[key=value,...]; repeat for more.")
]
Seeds = Annotated[str | None, typer.Option(help="As 0-2 or 0,2, or 'protocol' for the protocol's own.")]

_MOST_SEEDS = 100  # per row: a slip of the finger would plan for years
_DIGITS = 9  # of a seed

app = typer.Typer()


@app.command()
def run(
    dataset: DatasetName = None,
    protocol: ProtocolName = None,
    method: Methods = None,
    seeds: Seeds = None,
    limit: Limit = None,
    plugin: PluginFiles = None,
    output: Output = None,
    jobs: Annotated[int | None, typer.Option("-j", min=1, help="Trials at a time; one per GPU or core.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    timeout: Annotated[float, typer.Option(help="Seconds that a trial may take.")] = 24 * 3600,
    idle_timeout: Annotated[float, typer.Option(help="Seconds that a trial may give no sign of life.")] = 900,
    memory: Annotated[float | None, typer.Option(help="GB that a trial on the CPU may allocate.")] = None,
    checkpoint_every: Annotated[float, typer.Option(help="Seconds between checkpoints of a training.")] = 30,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed cells again.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Run one trial in this process, without limits: breakpoints work.")
    ] = False,
    add: Annotated[
        str | None, typer.Option(metavar="BOARD", help="Extend a published board: its cells count as done.")
    ] = None,
    boards: Boards = Path("leaderboards"),
) -> None:
    """Run what is not done yet, then print the board. The same command again goes on where it was."""
    from gfp_bench.cli.progress import RunDisplay
    from gfp_bench.data.dataset import Dataset
    from gfp_bench.engine import runner

    if device not in ("auto", "cpu", "cuda"):
        raise typer.BadParameter(f"{device!r} is no device; expected auto, cpu or cuda", param_hint="--device")
    if add:
        plan, manifests, plugins = _extending(
            boards, add, (dataset, limit), protocol, method, seeds, plugin, output or results()
        )
    else:
        plan, manifests, plugins = _requested(dataset, protocol, method, seeds, limit, plugin)
    options = runner.Options(
        manifests={name: manifest.file for name, manifest in manifests.items()},
        cache=cache(),
        results=output or results(),
        jobs=jobs,
        device=device,
        timeout=timeout,
        idle_timeout=idle_timeout,
        memory=int(memory * 1e9) if memory else None,
        retry_failed=retry_failed,
        plugins=plugins,
        digests={name: manifest.digest for name, manifest in manifests.items()},
        checkpoint_every=checkpoint_every,
    )
    for manifest in manifests.values():
        Dataset(manifest, cache()).pixels()  # checked and decoded once, before any trial's clock runs
    try:
        with RunDisplay() as display:
            if debug:
                trial = runner.debug(plan, options, display.report)
                tell(f"{trial.title} came to its end; the same command takes the next trial")
                return
            runner.run(plan, options, display.report)
    except KeyboardInterrupt:
        stop(ExitCode.INTERRUPTED, "interrupted; what is done is kept, the same command goes on")
    _conclude(plan, manifests, options.results)


@app.command("plan")
def plan_command(
    dataset: DatasetName = None,
    protocol: ProtocolName = None,
    method: Methods = None,
    seeds: Seeds = None,
    limit: Limit = None,
    plugin: PluginFiles = None,
    output: Output = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole plan as JSON.")] = False,
) -> None:
    """Say what `run` with the same options would do."""
    from gfp_bench.engine.plan import plan_to_json
    from gfp_bench.engine.records import Store

    plan, _, _ = _requested(dataset, protocol, method, seeds, limit, plugin)
    if as_json:
        say(json.dumps(plan_to_json(plan), indent=1))
        return
    _table(plan, Store(output or results()))


@app.command()
def status(
    output: Output = None,
    dataset: DatasetName = None,
    protocol: ProtocolName = None,
    limit: Limit = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object per cell.")] = False,
) -> None:
    """Say how far a plan of a results folder is, by default the last."""
    from gfp_bench.engine.records import Store

    store = Store(output or results())
    plan = kept_plan(store, dataset, protocol, limit)
    if as_json:
        say(json.dumps([_cell_state(store, trial, cell) for trial in plan.trials for cell in trial.cells], indent=1))
        return
    _table(plan, store)


def _requested(
    dataset: str | None,
    protocol: str | None,
    methods: list[str] | None,
    seeds: str | None,
    limit: int | None,
    files: list[Path] | None,
) -> "tuple[Plan, dict[str, Manifest], Plugins]":
    """Return the plan that the options ask for, or the default, the datasets it reads and what is registered."""
    from gfp_bench.cli.default import load_default
    from gfp_bench.contracts.settings import parse_spec
    from gfp_bench.data.dataset import Dataset
    from gfp_bench.engine.plan import Given, make_plan
    from gfp_bench.protocols.protocol import load_protocol
    from gfp_bench.registry.discovery import survey_plugins
    from gfp_bench.tasks import load_task

    default = load_default()
    manifest = named_manifest(dataset or default.dataset)
    specs = [parse_spec(spec) for spec in (methods or default.methods)]
    chosen = default.seeds if seeds is None else None if seeds == "protocol" else _numbers(seeds)
    recipe = load_protocol(protocol or default.protocol)
    others = {name: named_manifest(name) for name in load_task(recipe.task, recipe.options).datasets}
    plugins = survey_plugins(files or ())
    plan = make_plan(manifest, recipe, specs, plugins, seeds=chosen, limit=limit, others=others)
    file = Path(protocol).absolute() if protocol and protocol.endswith(".toml") else None
    given = Given(
        datasets={manifest.name: manifest.file} if (dataset or default.dataset).endswith(".toml") else {},
        protocol=file,
        plugins=tuple(Path(file).absolute() for file in files or ()),
    )
    manifests = {one.name: one for one in (manifest, *others.values())}
    for one in manifests.values():
        Dataset(one, cache()).expect_unchanged()
    return replace(plan, given=given), manifests, plugins


def _extending(
    boards: Path,
    board: str,
    refused: tuple[object, ...],
    protocol: str | None,
    methods: list[str] | None,
    seeds: str | None,
    files: list[Path] | None,
    folder: Path,
) -> "tuple[Plan, dict[str, Manifest], Plugins]":
    """Return the plan of a published board with rows, seeds or attacks added; what is published counts as done.

    Methods that are asked for are added, with the board's seeds or those asked for; seeds without methods are added to
    every row; a protocol's file with further attacks adds these.
    """
    from gfp_bench.boards.publication import news
    from gfp_bench.cli.boards import published_board
    from gfp_bench.contracts.settings import parse_spec
    from gfp_bench.engine.plan import make_plan
    from gfp_bench.engine.records import Store
    from gfp_bench.engine.replan import extended, planned_again
    from gfp_bench.protocols.protocol import load_protocol

    if any(refused):
        raise typer.BadParameter("a published board has its own dataset, and no limit", param_hint="--add")
    published = published_board(boards, board)
    before = published.plan()
    manifests = manifests_of(before)
    plugins = plugins_of(before, files or ())
    recipe = load_protocol(protocol) if protocol else before.protocol
    if recipe.id != before.protocol.id:
        raise UsageError(f"{before.name} cannot take cells of {recipe.id}; publish a board of its own")
    if protocol and protocol.endswith(".toml"):
        before = replace(before, given=replace(before.given, protocol=Path(protocol).absolute()))
    known, absent = planned_again(before, recipe, manifests, plugins)
    if absent and recipe != before.protocol:
        raise UsageError(f"{absent[0]} cannot be planned for another protocol: its plugin is not here; give --plugin")
    specs = [parse_spec(spec) for spec in methods or (row.title for row in known.rows)]
    chosen = _numbers(seeds) if seeds and seeds != "protocol" else None
    chosen = chosen or sorted({trial.seed for trial in before.trials if trial.row in _stochastic(before)}) or None
    others = {name: manifests[name] for name in before.task.datasets}
    asked = make_plan(manifests[before.dataset], recipe, specs, plugins, seeds=chosen, others=others)
    given = replace(asked.given, plugins=tuple(Path(file).absolute() for file in files or ()))
    base = before if recipe == before.protocol else known
    plan = extended(base, replace(asked, given=given))
    taken = Store(folder).absorb(plan, published)
    tell(f"{taken} published cells count as done")
    for sentence in news(published.plan(), plan):
        tell(sentence)
    tell(f"publish it when it is done: gfp-bench publish -o {folder} --boards {boards}")
    return plan, manifests, plugins


def _stochastic(plan: "Plan") -> set[str]:
    return {row.title for row in plan.rows if row.stochastic}


def _numbers(text: str) -> list[int]:
    """Return the seeds that ``0-2`` or ``0,2`` stands for."""
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise _no_seeds(f"{text!r} are no seeds; expected as 0-2, 0,2 or 'protocol'")
        if max(len(first), len(last)) > _DIGITS:
            raise _no_seeds(f"{part!r} has a seed of more than {_DIGITS} digits; take a smaller one")
        begin, end = int(first), int(last or first)
        if end < begin:
            raise _no_seeds(f"{part!r} runs backwards; write {end}-{begin}")
        if end - begin >= _MOST_SEEDS - len(numbers):
            raise _no_seeds(f"{text!r} are more than {_MOST_SEEDS} seeds, each a fit per row and attack; ask for fewer")
        numbers += range(begin, end + 1)
    if len(set(numbers)) < len(numbers):
        raise _no_seeds(f"{text!r} has a seed twice, which would count one training as two; give each seed once")
    return numbers


def _no_seeds(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="--seeds")


def _conclude(plan: "Plan", manifests: "dict[str, Manifest]", folder: Path) -> None:
    """Print the board, where it lies, and what became of the cells; exit with 1 if any has failed."""
    from gfp_bench.boards.assembly import board_of
    from gfp_bench.boards.formats import screen
    from gfp_bench.boards.publication import write_board
    from gfp_bench.boards.ranking import standings
    from gfp_bench.engine.records import Store

    store = Store(folder)
    board = board_of(plan, manifests, store)
    found = standings(board)
    path = write_board(board, found, plan, store, folder)
    say(screen(board, found) if sys.stdout.isatty() else path.read_text(encoding="utf-8"))
    states = [_cell_state(store, trial, cell) for trial in plan.trials for cell in trial.cells]
    counts = Counter(state["status"] for state in states)
    tell(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    for line in _causes(states, folder):
        tell(line)
    tell(f"board: {path}")
    if counts["failed"] or counts["timeout"]:
        stop(ExitCode.FAILED, "some cells failed; mend the cause, then run the same command with --retry-failed")
    if counts["not run"]:
        stop(ExitCode.FAILED, "some cells are left to another run; the same command again takes what it leaves")


def _causes(states: list[dict[str, Any]], folder: Path) -> list[str]:
    """Return a paragraph for each cause of failure, however many cells it cost."""
    causes: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for state in states:
        if state["status"] in ("failed", "timeout"):
            causes.setdefault((state["status"], state["reason"]), []).append(state)
    lines = []
    for (status, reason), lost in causes.items():
        more = f" and {len(lost) - 1} more cells" if len(lost) > 1 else ""
        first = lost[0]
        log = f"\n  log: {folder / first['log']}" if "log" in first else ""
        lines.append(f"{status}: {first['trial']}, {first['cell']}{more}: {reason}{log}")
    return lines


def _cell_state(store: "Store", trial: Any, cell: Any) -> dict[str, Any]:  # Trial, Cell: torch-free, imported late
    state = {"trial": trial.title, "cell": cell.name, "key": cell.key}
    if trial.skip:
        return state | {"status": "failed" if trial.broken else "skipped", "reason": trial.skip}
    if store.record(trial, cell):
        return state | {"status": "done"}
    if failure := store.failure(trial, cell):
        return state | asdict(failure)
    return state | {"status": "not run"}


def _table(plan: "Plan", store: "Store") -> None:
    """Print one line per trial: how many of its cells are done, failed and to do."""
    from tabulate import tabulate

    statuses = ("done", "failed", "timeout", "skipped", "not run")
    rows: list[list[str | int]] = []
    total: Counter[str] = Counter()
    for trial in plan.trials:
        counts = Counter(_cell_state(store, trial, cell)["status"] for cell in trial.cells)
        rows.append([trial.title, *(counts[status] for status in statuses)])
        total += counts
    say(tabulate(rows, headers=["trial", *statuses], tablefmt="simple"))
    say(f"\n{plan.dataset}, {plan.protocol.id}: {len(rows)} trials, {total.total()} cells, {total['done']} done")
    for path in store.stale(plan):
        say(f"stale: {path} (made by another version, dataset or limit; no board takes it)")
