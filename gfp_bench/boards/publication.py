"""Boards as files: written from a results folder, published with their records. Torch-free.

A publication is made whole beside the board that it replaces, then put in its place step by step; a step that was cut
short is done again by the next command that looks (`settle`), so that the old or the new board stands, never a mixture.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gfp_bench.boards import curves
from gfp_bench.boards.assembly import board_of
from gfp_bench.boards.board import Board
from gfp_bench.boards.formats import csv, latex, markdown
from gfp_bench.boards.published import Published, write_records
from gfp_bench.boards.ranking import Standing, standings
from gfp_bench.boards.timing import timing_markdown, timings
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.outcomes import Truth, outcomes
from gfp_bench.engine.plan import Cell, Plan, Trial
from gfp_bench.engine.records import Failed, Record, Records, Timing, Tried
from gfp_bench.engine.replan import row_key, seeds_of
from gfp_bench.errors import RecordError, UsageError
from gfp_bench.files import claimed, write_atomically

RECORDS = "records"
ENDINGS = (".md", ".csv", ".tex", ".png", "-timing.md")
"""What a board's files are called after its name."""


@dataclass(frozen=True)
class Publication:
    """What came of publishing.

    Attributes:
        path: The board's Markdown.
        told: What was added, a sentence each.
    """

    path: Path
    told: tuple[str, ...]


def write_board(board: Board, found: Sequence[Standing], plan: Plan, store: Records, folder: Path) -> Path:
    """Write a board as Markdown, CSV and LaTeX, curves and what it cost beside it; returns the Markdown's path.

    Args:
        board: The board.
        found: Its `standings`.
        plan: What was planned.
        store: Where what it cost is kept.
        folder: Where the files go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for ending, text in texts(board, found).items():
        write_atomically(folder / f"{plan.name}{ending}", text.encode())
    if board.ladders:
        write_atomically(folder / board.figure, curves.png(board, found))
    spent, damaged = timings(plan, store)
    if spent or damaged:
        write_atomically(folder / f"{plan.name}-timing.md", timing_markdown(plan.name, spent, damaged).encode())
    return folder / f"{plan.name}.md"


def texts(board: Board, found: Sequence[Standing]) -> dict[str, str]:
    """Return a board in every form that is text, by what its file ends in."""
    return {".md": markdown(board, found), ".csv": csv(board, found), ".tex": latex(board, found)}


def publish(
    plan: Plan,
    manifests: Mapping[str, Manifest],
    store: Records,
    folder: Path,
    *,
    replace: bool = False,
    remarks: Sequence[str] = (),
    canaries: Mapping[str, Sequence[str]] | None = None,
) -> Publication:
    """Copy a plan's records into ``folder`` with what their numbers can be derived from, and write its board there.

    Args:
        plan: What was planned.
        manifests: The datasets that it reads, by name.
        store: Where its records lie.
        folder: That of published boards.
        replace: Whether what is published may be lost.
        remarks: What else the board has to say.
        canaries: By row's title what the canary said, of rows that gfp-bench does not bring.

    Raises:
        UsageError: If the plan has a limit or cells that were not run, something published would be lost, or another
            process is publishing this board.
        RecordError: If a record is damaged. Whatever is raised, the published board stands as it was.
    """
    if plan.limit:
        raise UsageError(
            f"a run with --limit {plan.limit} is not the benchmark and cannot be published; run without it"
        )
    with held(folder, plan.name):
        before = Published(folder / RECORDS / plan.name)
        kept = _collected(plan, manifests, store)
        told: tuple[str, ...] = ()
        tried = store.tried(plan)
        if before.exists and not replace:
            _refuse_loss(before, plan, kept)
            told = tuple(news(before.plan(), plan))
        if before.exists:
            tried = _union(tried, _tried_before(before, replace))
        made = _fresh(folder / RECORDS / f".{plan.name}.made")
        boards = made / "boards"
        (boards / RECORDS / plan.name).mkdir(parents=True)
        sung = {**store.canaries(plan), **(canaries or {})}
        write_records(plan, kept, _spent(plan, store), tried, sung, boards / RECORDS / plan.name, folder)
        _derive(made, plan.name, folder, manifests, remarks)
        _commit(folder, plan.name)
    return Publication(folder / f"{plan.name}.md", told)


def rewrite(folder: Path, name: str, manifests: Mapping[str, Manifest], remarks: Sequence[str] = ()) -> Path:
    """Write a published board again from its own records; returns its Markdown's path.

    Args:
        folder: That of published boards.
        name: The board.
        manifests: The datasets that it reads, by name.
        remarks: What else the board has to say.

    Raises:
        RecordError: If a record is damaged; the board then stands as it was.
    """
    with held(folder, name):
        made = _fresh(folder / RECORDS / f".{name}.made")
        shutil.copytree(folder / RECORDS / name, made / "boards" / RECORDS / name)
        _derive(made, name, folder, manifests, remarks)
        _commit(folder, name)
    return folder / f"{name}.md"


@contextmanager
def held(folder: Path, name: str) -> Iterator[None]:
    """Hold a board while it is published, what was cut short before brought to its end.

    Raises:
        UsageError: If another process holds it.
    """
    (folder / RECORDS).mkdir(parents=True, exist_ok=True)
    with claimed(folder / RECORDS / f".{name}.claim") as holder:
        if holder is not None:
            raise UsageError(f"{name} in {folder} is being published by {holder}; wait for it")
        _settle(folder, name)
        yield


def settle(folder: Path) -> None:
    """Bring every publication in a folder to its end that was cut short after its records stood whole.

    Raises:
        UsageError: If one is under way.
    """
    for path in sorted((folder / RECORDS).glob(".*.ready")):
        with held(folder, path.name[1 : -len(".ready")]):
            continue  # holding it settles it


def _derive(made: Path, name: str, folder: Path, manifests: Mapping[str, Manifest], remarks: Sequence[str]) -> None:
    """Write a board's files from the records that will be published, as they are read back."""
    records = Published(made / "boards" / RECORDS / name, home=folder)
    plan = records.plan()
    board = board_of(plan, manifests, records, remarks)
    write_board(board, standings(board), plan, records, made / "boards")


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _commit(folder: Path, name: str) -> None:
    """Let what was made become the board: from the rename on it will, however this process ends."""
    records = folder / RECORDS
    (records / f".{name}.made").replace(records / f".{name}.ready")
    _settle(folder, name)


def _settle(folder: Path, name: str) -> None:
    """Put what is ready into its place; every step can be done again."""
    ready, final = folder / RECORDS / f".{name}.ready", folder / RECORDS / name
    shutil.rmtree(folder / RECORDS / f".{name}.made", ignore_errors=True)
    if not ready.exists():
        return
    boards = ready / "boards"
    if (boards / RECORDS / name).exists():
        for ending in ENDINGS:
            if not (boards / f"{name}{ending}").exists():
                (folder / f"{name}{ending}").unlink(missing_ok=True)
        shutil.rmtree(final, ignore_errors=True)
        (boards / RECORDS / name).replace(final)
    for path in sorted(path for path in boards.glob("*") if path.is_file()):
        path.replace(folder / path.name)
    shutil.rmtree(ready)


def _collected(
    plan: Plan, manifests: Mapping[str, Manifest], store: Records
) -> dict[str, tuple[Record, Mapping[str, NDArray[Any]]] | Failed]:
    """Return by cell's key its record and what is kept of its images, or why it failed.

    Raises:
        UsageError: If a cell has neither, and nothing says why.
    """
    task, truth = plan.task, Truth(manifests, plan.limit)
    kept: dict[str, tuple[Record, Mapping[str, NDArray[Any]]] | Failed] = {}
    for trial in plan.trials:
        for cell, record, outcome in outcomes(store, trial, task, truth):
            kept[cell.key] = record, outcome.kept
        for cell in trial.cells:
            if cell.key not in kept and (failure := store.failure(trial, cell)):
                kept[cell.key] = failure
    if open_cells := not_run(plan, kept):
        raise UsageError(
            f"{len(open_cells)} cells of {plan.name} are not run, the first of {open_cells[0][0].title}, "
            f"{open_cells[0][1].name}; run them, then publish"
        )
    return kept


def not_run(plan: Plan, kept: Mapping[str, object]) -> list[tuple[Trial, Cell]]:
    """Return the cells of a plan that have nothing kept by their key, and no reason: skipped, or a base that failed."""
    by_key = {trial.key: trial for trial in plan.trials}

    def excused(trial: Trial) -> bool:
        base = by_key.get(trial.base) if trial.base else None
        failed = base and any(isinstance(kept.get(cell.key), Failed) for cell in base.cells)
        return bool(trial.skip or failed or (base and excused(base)))

    return [
        (trial, cell) for trial in plan.trials if not excused(trial) for cell in trial.cells if cell.key not in kept
    ]


def _refuse_loss(before: Published, plan: Plan, kept: Mapping[str, object]) -> None:
    """Raise unless everything that is published is published again, with the same numbers."""
    lost: dict[str, int] = {}
    old = before.plan()
    for trial in old.trials:
        for cell in trial.cells:
            record = before.record(trial, cell)
            now = kept.get(cell.key)
            same = isinstance(now, tuple) and record and _numbers(now[0]) == _numbers(record)
            if record and not same:
                lost[trial.row] = lost.get(trial.row, 0) + 1
    if lost:
        told = ", ".join(f"{row} ({count} cells)" for row, count in lost.items())
        raise UsageError(
            f"{old.name} in {before.root.parents[1]} has records that this run lacks or has other numbers for: {told}; "
            "give --add to keep them beside yours, or --replace to lose them"
        )


def _numbers(record: Record) -> tuple[Any, ...]:
    return record.metrics, record.separability, record.n_scored


def _tried_before(before: Published, replace: bool) -> Tried:
    """Return what a board that is replaced knew was tried, its own rows included; nothing if it cannot be read."""
    try:
        plan = before.plan()
    except RecordError:
        if not replace:
            raise
        return {}
    return before.tried(plan)


def _union(first: Tried, second: Tried) -> Tried:
    """Return what either knows, methods and settings sorted."""
    return {
        method: {
            settings: tuple(
                sorted({*first.get(method, {}).get(settings, ()), *second.get(method, {}).get(settings, ())})
            )
            for settings in sorted({*first.get(method, {}), *second.get(method, {})})
        }
        for method in sorted({*first, *second})
    }


def _spent(plan: Plan, store: Records) -> dict[str, dict[str, float]]:
    """Return by trial's key what it has cost, as far as that is known and not damaged."""

    def told(timing: Timing) -> dict[str, float]:
        return {**timing.steps, **{key: value for key, value in asdict(timing).items() if key != "steps"}}

    found = {}
    for trial in plan.trials:
        try:
            if timing := store.timing(trial):
                found[trial.key] = told(timing)
        except RecordError:  # no board depends on it, and the run's own table of costs says so
            continue
    return found


def news(old: Plan, new: Plan) -> Iterator[str]:
    """Yield what a plan adds to an older one."""
    known = {row_key(row): row for row in old.rows}
    for row in new.rows:
        before = known.get(row_key(row))
        if before is None:
            yield f"added: the row {row.title}"
        elif seeds := sorted({*seeds_of(new, row)} - {*seeds_of(old, before)}):
            yield f"added: seed {', '.join(map(str, seeds))} of {row.title}"
    labels = {use.label for use in old.protocol.all_attacks}
    for use in new.protocol.all_attacks:
        if use.label not in labels:
            yield f"added: the attack {use.label}"


@dataclass(frozen=True)
class Together:
    """Published records, and those of a results folder where nothing is published."""

    published: Published
    store: Records

    @property
    def root(self) -> Path:
        """The results folder."""
        return self.store.root

    def record(self, trial: Trial, cell: Cell) -> Record | None:
        """Return a cell's record if either has one."""
        return self.published.record(trial, cell) or self.store.record(trial, cell)

    def failure(self, trial: Trial, cell: Cell) -> Failed | None:
        """Return why a cell failed, if it did and has no record."""
        return self.store.failure(trial, cell) or self.published.failure(trial, cell)

    def has_scores(self, trial: Trial, cell: Cell) -> bool:
        """Return whether the results folder answers for the cell, and has its scores."""
        return self.published.record(trial, cell) is None and self.store.has_scores(trial, cell)

    def archived(self, trial: Trial) -> dict[str, NDArray[Any]]:
        """Return what is kept of cells without scores."""
        return self.store.archived(trial) | self.published.archived(trial)

    def arrays(self, trial: Trial, cell: Cell, record: Record) -> dict[str, NDArray[Any]]:
        """Return scores from the results folder."""
        return self.store.arrays(trial, cell, record)

    def timing(self, trial: Trial) -> Timing | None:
        """Return what a trial has cost, if either knows."""
        return self.published.timing(trial) or self.store.timing(trial)

    def tried(self, plan: Plan) -> Tried:
        """Return what either knows was tried."""
        return _union(self.published.tried(plan), self.store.tried(plan))

    def canaries(self, plan: Plan) -> Mapping[str, tuple[str, ...]]:
        """Return what the board says of canaries."""
        return self.published.canaries(plan)

    def told(self, path: Path) -> str:
        """Return a path as the published board names it."""
        return self.published.told(path)
