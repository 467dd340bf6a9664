"""From a store to a board, and the boards that are published: written, checked against their records. Torch-free."""

import io
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfp_bench.boards import curves
from gfp_bench.boards.formats import Timing, csv, latex, markdown, timing_markdown
from gfp_bench.boards.ranking import Board, Ladder, Row, Status
from gfp_bench.boards.ranking import Cell as BoardCell
from gfp_bench.data.manifest import Manifest, read_index
from gfp_bench.engine.plan import Cell, Plan, Trial, method_title, plan_from_json, plan_to_json
from gfp_bench.engine.records import Record, Store, to_json
from gfp_bench.errors import RecordError, UsageError
from gfp_bench.files import write_atomically
from gfp_bench.protocols.protocol import protocol_names
from gfp_bench.tasks import load_task

Kept = Mapping[str, NDArray[Any]]


def stored_plan(root: Path) -> Plan:
    """Return the plan that a results folder, or a published board's records, were made by.

    Raises:
        UsageError: If there is none.
        RecordError: If it is damaged.
    """
    path = root / "plan.json"
    try:
        return plan_from_json(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise UsageError(f"no plan in {root}; run something first, or name its folder with --output") from error
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"plan {path} is damaged ({error}); run the same command again to write it anew") from error


def board_name(plan: Plan) -> str:
    """Return what a board's files are called."""
    return f"{plan.dataset}-{plan.protocol.id}"


def board_of(plan: Plan, manifest: Manifest, store: Store) -> Board:
    """Return the board of a plan's cells, those without numbers included.

    Raises:
        RecordError: If the dataset is another than the plan's, or a record is damaged.
    """
    if manifest.digest != plan.digest:
        raise RecordError(
            f"the plan in {store.root} is for {plan.dataset} with digest {plan.digest[:12]}, but {manifest.file} has "
            f"{manifest.digest[:12]}; run again, or bring the dataset back"
        )
    test = scored_index(manifest, plan.limit)
    labels = np.searchsorted(manifest.source_names, test["source"].to_list()).astype(np.int64)
    done: list[Record] = []
    cells = list(_cells(plan, manifest, store, labels, done))
    return Board(
        dataset=plan.dataset + (f" (limited to {plan.limit} images a source)" if plan.limit else ""),
        digest=plan.digest,
        protocol=plan.protocol.id,
        draft=plan.protocol.draft,
        sources=manifest.source_names,
        labels=labels,
        groups=test["group"].to_numpy(),
        attacks=tuple(attack.label for attack in plan.protocol.all_attacks),
        rows=tuple(_rows(plan, store)),
        cells=tuple(cells),
        provenance=tuple(_provenance(done)),
        rederive=command(plan),
        ladders=tuple(_ladders(plan)),
        figure=f"{board_name(plan)}.png",
    )


def _ladders(plan: Plan) -> Iterator[Ladder]:
    for ladder in plan.protocol.ladders:
        labels = tuple(step.label for step in ladder.steps)
        yield Ladder(ladder.label, ladder.axis, tuple(map(str, ladder.severities)), labels)


def scored_index(manifest: Manifest, limit: int | None) -> Any:  # a data frame
    """Return the rows of the test images, in the order in which they are scored."""
    index = read_index(manifest)
    test = index[index["split"] == "test"]
    return test if limit is None else test.groupby("source").head(limit)


def command(plan: Plan) -> str:
    """Return the command that computes a plan."""
    methods = [f"-m '{row.shown}'" for row in plan.methods if not row.floor]
    seeds = sorted({trial.seed for trial in plan.trials})
    limit = [f"--limit {plan.limit}"] if plan.limit else []
    protocol = plan.protocol.id if plan.protocol.id in protocol_names() else f"{plan.protocol.id}.toml"
    options = [f"-d {plan.dataset}", f"-p {protocol}", *methods, f"--seeds {','.join(map(str, seeds))}", *limit]
    return " ".join(["gfp-bench run", *options])


def answers(store: Store, trial: Trial, cell: Cell, record: Record, plan: Plan, sources: tuple[str, ...]) -> Kept:
    """Return what a cell's metrics come from: a published board keeps just that, a results folder all scores.

    A results folder that began as a copy of a board's records has some cells of the one kind, some of the other.
    """
    archive = _archive(store, trial)
    if store.has_scores(trial, cell) or not archive.exists():
        kept: Kept = load_task(plan.protocol.task).answers(store.scores(trial, cell, record), sources)
        return kept
    try:
        with np.load(archive) as arrays:
            inside = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        raise RecordError(f"{archive} is damaged ({error}); publish the board again") from error
    prefix = f"{cell.name}."
    return {name.removeprefix(prefix): array for name, array in inside.items() if name.startswith(prefix)}


def _archive(store: Store, trial: Trial) -> Path:
    return store.path(trial, "answers").with_suffix(".npz")


def _cells(
    plan: Plan, manifest: Manifest, store: Store, labels: NDArray[np.int64], done: list[Record]
) -> Iterator[BoardCell]:
    for _, group in groupby(plan.trials, lambda trial: (trial.shown, trial.seed)):
        trials = list(group)
        clean_failed = any(store.failure(trials[0], cell) for cell in trials[0].cells)
        for trial in trials:
            for cell in trial.cells:
                place = (trial.shown, trial.condition_name, cell.name, trial.seed)
                record = store.record(trial, cell)
                if record:
                    done.append(record)
                    kept = answers(store, trial, cell, record, plan, manifest.source_names)
                    correct = kept["answer"] == labels
                    yield BoardCell(*place, "done", "", correct, record.metrics, record.separability)
                else:
                    yield BoardCell(*place, *_missing(store, trial, cell, clean_failed=clean_failed))


def _missing(store: Store, trial: Trial, cell: Cell, *, clean_failed: bool) -> tuple[Status, str]:
    if trial.skip:
        return "skipped", trial.skip
    if failure := store.failure(trial, cell):
        return failure.status, failure.reason
    return "not run", "clean failed" if clean_failed and trial.condition else ""


def _rows(plan: Plan, store: Store) -> Iterator[Row]:
    for row in plan.methods:
        own = [trial for trial in plan.trials if trial.shown == row.shown]
        records = [store.record(trial, cell) for trial in own for cell in trial.cells]
        devices = sorted({record.provenance["device"] for record in records if record})
        yield Row(
            row.shown, method_title("", row.settings), row.weights, row.budget, row.floor, row.deviations,
            ", ".join(devices) or "none",
        )  # fmt: skip


def _provenance(records: list[Record]) -> Iterator[str]:
    """Yield what the records were made with: each package's versions, the code's."""
    packages: dict[str, set[str]] = {}
    codes = set()
    for record in records:
        for name, version in record.provenance["packages"].items():
            packages.setdefault(name, set()).add(version)
        code = record.provenance["code"]
        changed = ", changed" if code["dirty"] else ""
        codes.add(f"gfp-bench {code['version']}" + (f" ({code['revision'][:12]}{changed})" if code["revision"] else ""))
    yield from sorted(codes)
    yield from (f"{name} {' and '.join(sorted(versions))}" for name, versions in sorted(packages.items()))


def write_board(board: Board, plan: Plan, store: Store, folder: Path) -> Path:
    """Write a board as Markdown, CSV and LaTeX, curves and what it cost beside it; returns the Markdown's path."""
    folder.mkdir(parents=True, exist_ok=True)
    name = board_name(plan)
    for ending, text in ((".md", markdown(board)), (".csv", csv(board)), (".tex", latex(board))):
        write_atomically(folder / f"{name}{ending}", text.encode())
    if board.ladders:
        write_atomically(folder / board.figure, curves.png(board))
    if timings := list(_timings(plan, store)):
        write_atomically(folder / f"{name}-timing.md", timing_markdown(name, timings).encode())
    return folder / f"{name}.md"


def _timings(plan: Plan, store: Store) -> Iterator[Timing]:
    for trial in plan.trials:
        path = store.path(trial, "timing")
        if path.exists():
            seconds = json.loads(path.read_text())
            wall, memory = seconds.pop("wall"), max(seconds.pop("peak_memory"), seconds.pop("peak_gpu_memory"))
            yield Timing(trial.shown, wall, sum(seconds.values()), memory / 1e6)


def publish(plan: Plan, manifest: Manifest, store: Store, folder: Path) -> Path:
    """Copy a plan's records into ``folder`` with what their numbers can be derived from, and write its board there.

    Raises:
        UsageError: If the plan has a limit.
    """
    if plan.limit:
        raise UsageError(
            f"a run with --limit {plan.limit} is not the benchmark and cannot be published; run without it"
        )
    final = Store(folder / "records" / board_name(plan))
    published = Store(final.root.with_name(f".{final.root.name}.partial"))
    shutil.rmtree(published.root, ignore_errors=True)
    published.root.mkdir(parents=True)
    write_atomically(published.root / "plan.json", to_json(plan_to_json(plan)))
    for trial in plan.trials:
        inside: dict[str, NDArray[Any]] = {}
        for cell in trial.cells:
            if record := store.record(trial, cell):
                kept = answers(store, trial, cell, record, plan, manifest.source_names)
                inside |= {f"{cell.name}.{name}": array for name, array in kept.items()}
                published.put(trial, cell, record)
            elif failure := store.failure(trial, cell):
                published.fail(trial, cell, failure.status, failure.reason)
        if inside:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **inside)  # type: ignore[arg-type] # an array named as its flag is none of ours
            write_atomically(_archive(published, trial), buffer.getvalue())
        if (timing := store.path(trial, "timing")).exists():
            write_atomically(published.path(trial, "timing"), timing.read_bytes())
    if final.root.exists():  # not before all of the new one stands
        shutil.rmtree(final.root)
    published.root.rename(final.root)
    return write_board(board_of(plan, manifest, final), plan, store, folder)


def drift(board: Path, manifest: Manifest) -> list[str]:
    """Return what a published board and its records do not agree on; nothing if every number can be re-derived."""
    store = Store(board.parent / "records" / board.stem)
    plan = stored_plan(store.root)
    if found := list(_wrong_metrics(plan, manifest, store)):
        return found
    derived = board_of(plan, manifest, store)
    texts = {".md": markdown(derived), ".csv": csv(derived), ".tex": latex(derived)}
    paths = {board.with_name(board.stem + ending): text for ending, text in texts.items()}
    wrong = [path for path, text in paths.items() if not path.exists() or path.read_text() != text]
    figure = board.with_name(derived.figure)
    if derived.ladders and curves.digest_of(figure) != curves.digest(derived):
        wrong.append(figure)
    return [f"{path} is not what its records give; publish again" for path in wrong]


def _wrong_metrics(plan: Plan, manifest: Manifest, store: Store) -> Iterator[str]:
    labels = np.searchsorted(manifest.source_names, scored_index(manifest, None)["source"].to_list()).astype(np.int64)
    task = load_task(plan.protocol.task)
    for trial in plan.trials:
        for cell in trial.cells:
            if record := store.record(trial, cell):
                kept = answers(store, trial, cell, record, plan, manifest.source_names)
                derived = json.loads(json.dumps(task.metrics(kept, labels, manifest.source_names)))
                if not _close(record.metrics, derived):
                    yield f"{trial.title}, {cell.name}: its record has other metrics than its answers give"


def _close(first: Any, second: Any) -> bool:  # JSON of any depth
    """Compare numbers to 1e-9, which a NumPy version may change, and all else exactly."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_close(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_close, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-12)
    return bool(first == second)
