"""From a plan and what is stored of it to a board. Torch-free."""

import json
import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gfp_bench.boards.board import Board, Result, Status
from gfp_bench.contracts.task import CLEAN, Outcome
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.outcomes import Truth, outcomes
from gfp_bench.engine.plan import Cell, Plan, Row, Trial, digest
from gfp_bench.engine.records import Record, Records, Tried
from gfp_bench.engine.replan import seeds_of
from gfp_bench.errors import RecordError
from gfp_bench.protocols.protocol import protocol_names


def board_of(plan: Plan, manifests: Mapping[str, Manifest], store: Records, remarks: Sequence[str] = ()) -> Board:
    """Return the board of a plan's cells, those without numbers included.

    Args:
        plan: What was planned.
        manifests: The datasets that it reads, by name.
        store: Where its records lie.
        remarks: What is known of it besides.

    Raises:
        RecordError: If the dataset is another than the plan's, or a record is damaged.
    """
    manifest = manifests[plan.dataset]
    if manifest.digest != plan.digest:
        raise RecordError(
            f"the plan in {store.root} is for {plan.dataset} with digest {plan.digest[:12]}, but {manifest.file} has "
            f"{manifest.digest[:12]}; run again, or bring the dataset back"
        )
    truth = Truth(manifests, plan.limit)
    records: list[Record] = []
    results = tuple(_results(plan, store, truth, records))
    return Board(
        dataset=plan.dataset + (f" (limited to {plan.limit} images per source)" if plan.limit else ""),
        digest=plan.digest,
        protocol=plan.protocol.id,
        draft=plan.protocol.draft,
        task=plan.task,
        shown=truth.of(_on_boards(plan.trials[0])[0]),
        columns=tuple(dict.fromkeys(result.column for result in results if result.condition == CLEAN)),
        rows=plan.rows,
        results=results,
        provenance=tuple(_provenance(records)),
        rederive=command(plan, store.told),
        ladders=plan.protocol.ladders,
        figure=f"{plan.name}.png",
        remarks=(*remarks, *_canaries(store.canaries(plan)), *_few_seeds(plan), *_others(plan, store.tried(plan))),
        notes={cell.name: cell.attack.note for trial in plan.trials for cell in trial.cells if cell.attack},
        leakage=manifest.allowed_leakage,
    )


def _canaries(told: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield what the canary said of the rows that gfp-bench does not bring."""
    for title, sentences in told.items():
        yield f"`{title}`, a plugin of others: {'; '.join(sentences)}."


def command(plan: Plan, told: Callable[[Path], str]) -> str:
    """Return what computes a plan's cells, to be pasted into a shell: a command for each choice of seeds.

    Args:
        plan: The plan.
        told: What a path is called there.
    """
    given, built_in = plan.given, plan.protocol.id in protocol_names()
    protocol = told(given.protocol) if given.protocol and not built_in else plan.protocol.id
    dataset = told(given.datasets[plan.dataset]) if plan.dataset in given.datasets else plan.dataset
    common = [
        f"-d {shlex.quote(dataset)}",
        f"-p {shlex.quote(protocol if built_in or given.protocol else f'{protocol}.toml')}",
        *(f"--plugin {shlex.quote(told(path))}" for path in given.plugins),
    ]
    limit = [f"--limit {plan.limit}"] if plan.limit else []
    commands = []
    for seeds, rows in _by_seeds(plan).items():
        methods = [f"-m '{row.title}'" for row in rows]
        commands.append(" ".join(["gfp-bench run", *common, *methods, f"--seeds {','.join(map(str, seeds))}", *limit]))
    return " && ".join(commands)


def _by_seeds(plan: Plan) -> dict[tuple[int, ...], list[Row]]:
    """Return the contenders by their seeds; those that no seed changes stand with the first."""
    seeds = {row.title: seeds_of(plan, row) for row in plan.rows if row.stochastic}
    contenders = [row for row in plan.rows if not row.floor]
    first = next((seeds[row.title] for row in [*contenders, *plan.rows] if row.title in seeds), (0,))
    groups: dict[tuple[int, ...], list[Row]] = {first: []}
    for row in contenders:
        groups.setdefault(seeds.get(row.title, first), []).append(row)
    return groups


def _few_seeds(plan: Plan) -> Iterator[str]:
    """Yield which rows lack seeds that the protocol asks for."""
    for row in plan.rows:
        seeds = seeds_of(plan, row)
        if row.stochastic and not row.floor and set(plan.protocol.seeds) - {*seeds}:
            asked = ", ".join(map(str, plan.protocol.seeds))
            yield f"`{row.title}` has seed {', '.join(map(str, seeds))} only, the protocol asks for {asked}."


def _others(plan: Plan, tried: Tried) -> Iterator[str]:
    """Yield what else was tried of the methods shown, as far as records know: a choice among many flatters."""
    told = []
    for method in dict.fromkeys(row.method for row in plan.rows):
        own = {digest(row.settings)[:8]: row for row in plan.rows if row.method == method}
        known = tried.get(method, {})
        if others := known.keys() - own.keys():
            told.append(f"{len(others)} other setting{'s' * (len(others) > 1)} of `{method}`")
        for settings, row in own.items():
            if seeds := sorted({*known.get(settings, ())} - {*seeds_of(plan, row)}):
                told.append(f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))} of `{row.title}`")
    if told:
        yield f"Not shown, but among the records that it was chosen from: {'; '.join(told)}."


def _on_boards(trial: Trial) -> list[Cell]:
    return [cell for cell in trial.cells if not cell.calibration]


def _results(plan: Plan, store: Records, truth: Truth, records: list[Record]) -> Iterator[Result]:
    """Yield what a board has of every cell, and note the records that it comes from."""
    task, by_key = plan.task, {trial.key: trial for trial in plan.trials}
    for trial in plan.trials:
        done = {cell.key: (record, outcome) for cell, record, outcome in outcomes(store, trial, task, truth)}
        records += [record for record, _ in done.values()]
        base = by_key[trial.base] if trial.base else None
        lost = f"{base.name} failed" if base and any(store.failure(base, cell) for cell in base.cells) else ""
        for cell in _on_boards(trial):
            what: dict[str, Any] = {
                "row": trial.row,
                "condition": trial.condition_name,
                "column": cell.name,
                "seed": trial.seed,
                "fold": trial.fold,
            }
            if cell.key not in done:
                status, reason = _missing(store, trial, cell, lost)
                yield Result(**what, status=status, reason=reason)
                continue
            record, outcome = done[cell.key]
            yield Result(
                **what,
                status="done",
                outcome=outcome,
                metrics=record.metrics,
                separability=record.separability,
                device=record.provenance["device"],
            )


def _missing(store: Records, trial: Trial, cell: Cell, lost: str) -> tuple[Status, str]:
    if trial.skip:
        return "failed" if trial.broken else "skipped", trial.skip
    if failure := store.failure(trial, cell):
        return failure.status, failure.reason
    return "not run", lost


def _provenance(records: Iterable[Record]) -> Iterator[str]:
    """Yield what the records were made with: each package's versions, the code's."""
    packages: dict[str, set[str]] = {}
    codes = set()
    kept: list[str] = []
    for record in records:
        for name, version in record.provenance["packages"].items():
            packages.setdefault(name, set()).add(version)
        kept += [record.provenance["isolation"]] if "isolation" in record.provenance else []  # older ones do not say
        code = record.provenance["code"]
        changed = ", changed" if code["dirty"] else ""
        codes.add(f"gfp-bench {code['version']}" + (f" ({code['revision'][:12]}{changed})" if code["revision"] else ""))
    yield from sorted(codes)
    yield from (f"{name} {' and '.join(sorted(versions))}" for name, versions in sorted(packages.items()))
    if open_ones := sum(how.startswith("none") for how in kept):
        yield f"nothing that kept methods from the dataset in {open_ones} of {len(kept)} cells"
    elif kept:
        yield "Landlock, which kept methods from the dataset"


def wrong_metrics(board: Board) -> list[str]:
    """Return a sentence for each cell whose recorded metrics are not those that what is kept of its images gives."""
    return [
        f"{one.row} {one.condition} seed {one.seed}, {one.column}: its record has other metrics than its answers give"
        for one in board.results
        if one.outcome and not _holds(board, one.metrics, one.outcome)
    ]


def _holds(board: Board, metrics: Mapping[str, Any], outcome: Outcome) -> bool:
    try:
        return _close(metrics, _derived(board, outcome))
    except (IndexError, KeyError, ValueError):  # answers that no scores give
        return False


def _derived(board: Board, outcome: Outcome) -> Any:  # JSON of any depth
    return json.loads(json.dumps(board.task.metrics(outcome)))


def _close(first: Any, second: Any) -> bool:  # JSON of any depth
    """Compare numbers to 1e-9, which a NumPy version may change, and all else exactly."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_close(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_close, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-12)
    return bool(first == second)
