"""From a plan and what is stored of it to a board. Torch-free."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gfp_bench.boards.board import Board, Result, Status
from gfp_bench.contracts.task import CLEAN, Outcome
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.outcomes import Truth, outcomes
from gfp_bench.engine.plan import Cell, Plan, Trial
from gfp_bench.engine.records import Record, Store
from gfp_bench.errors import RecordError
from gfp_bench.protocols.protocol import protocol_names


def board_name(plan: Plan) -> str:
    """Return what a board's files are called."""
    return f"{plan.dataset}-{plan.protocol.id}"


def board_of(plan: Plan, manifests: Mapping[str, Manifest], store: Store) -> Board:
    """Return the board of a plan's cells, those without numbers included.

    Args:
        plan: What was planned.
        manifests: The datasets that it reads, by name.
        store: Where its records lie.

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
        rederive=command(plan),
        ladders=plan.protocol.ladders,
        figure=f"{board_name(plan)}.png",
    )


def command(plan: Plan) -> str:
    """Return the command that computes a plan."""
    methods = [f"-m '{row.title}'" for row in plan.rows if not row.floor]
    seeds = sorted({trial.seed for trial in plan.trials})
    limit = [f"--limit {plan.limit}"] if plan.limit else []
    protocol = plan.protocol.id if plan.protocol.id in protocol_names() else f"{plan.protocol.id}.toml"
    options = [f"-d {plan.dataset}", f"-p {protocol}", *methods, f"--seeds {','.join(map(str, seeds))}", *limit]
    return " ".join(["gfp-bench run", *options])


def _on_boards(trial: Trial) -> list[Cell]:
    return [cell for cell in trial.cells if not cell.calibration]


def _results(plan: Plan, store: Store, truth: Truth, records: list[Record]) -> Iterator[Result]:
    """Yield what a board has of every cell, and note the records that it comes from."""
    by_key = {trial.key: trial for trial in plan.trials}
    for trial in plan.trials:
        done = {cell.key: (record, outcome) for cell, record, outcome in outcomes(store, trial, plan.task, truth)}
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


def _missing(store: Store, trial: Trial, cell: Cell, lost: str) -> tuple[Status, str]:
    if trial.skip:
        return "skipped", trial.skip
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
        if one.outcome and not _close(one.metrics, _derived(board, one.outcome))
    ]


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
