"""Boards as files: written from a results folder, published with their records, checked against them. Torch-free."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gfp_bench.boards import curves
from gfp_bench.boards.assembly import board_name, board_of, wrong_metrics
from gfp_bench.boards.board import Board
from gfp_bench.boards.formats import csv, latex, markdown
from gfp_bench.boards.ranking import Standing, standings
from gfp_bench.boards.timing import timing_markdown, timings
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.outcomes import Truth, outcomes
from gfp_bench.engine.plan import Plan, Trial
from gfp_bench.engine.records import Store, packed
from gfp_bench.errors import UsageError
from gfp_bench.files import write_atomically


def write_board(board: Board, found: Sequence[Standing], plan: Plan, store: Store, folder: Path) -> Path:
    """Write a board as Markdown, CSV and LaTeX, curves and what it cost beside it; returns the Markdown's path.

    Args:
        board: The board.
        found: Its `standings`.
        plan: What was planned.
        store: Where what it cost is kept.
        folder: Where the files go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = board_name(plan)
    for ending, text in _texts(board, found).items():
        write_atomically(folder / f"{name}{ending}", text.encode())
    if board.ladders:
        write_atomically(folder / board.figure, curves.png(board, found))
    if spent := list(timings(plan, store)):
        write_atomically(folder / f"{name}-timing.md", timing_markdown(name, spent).encode())
    return folder / f"{name}.md"


def _texts(board: Board, found: Sequence[Standing]) -> dict[str, str]:
    return {".md": markdown(board, found), ".csv": csv(board, found), ".tex": latex(board, found)}


def publish(plan: Plan, manifests: Mapping[str, Manifest], store: Store, folder: Path) -> Path:
    """Copy a plan's records into ``folder`` with what their numbers can be derived from, and write its board there.

    Args:
        plan: What was planned.
        manifests: The datasets that it reads, by name.
        store: Where its records lie.
        folder: That of published boards.

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
    published.keep_plan(plan, alone=True)
    truth = Truth(manifests, plan.limit)
    for trial in plan.trials:
        _copy(plan, trial, truth, store, published)
    if final.root.exists():  # not before all of the new one stands
        shutil.rmtree(final.root)
    published.root.rename(final.root)
    board = board_of(plan, manifests, final)
    return write_board(board, standings(board), plan, store, folder)


def _copy(plan: Plan, trial: Trial, truth: Truth, store: Store, published: Store) -> None:
    """Publish a trial: its records, why cells failed, one archive of what is kept of all, what it cost."""
    archive: dict[str, NDArray[Any]] = {}
    for cell, record, outcome in outcomes(store, trial, plan.task, truth):
        archive |= {f"{cell.name}.{name}": array for name, array in outcome.kept.items()}
        published.put(trial, cell, record)
    for cell in trial.cells:
        if not store.record(trial, cell) and (failure := store.failure(trial, cell)):
            published.fail(trial, cell, failure.status, failure.reason)
    if archive:
        write_atomically(published.archive(trial), packed(archive))
    if (timing := store.path(trial, "timing")).exists():
        write_atomically(published.path(trial, "timing"), timing.read_bytes())


def drift(path: Path, plan: Plan, manifests: Mapping[str, Manifest], store: Store) -> list[str]:
    """Return what a published board and its records do not agree on; nothing if every number can be re-derived.

    Args:
        path: The board's Markdown.
        plan: What its records were made by.
        manifests: The datasets that it reads, by name.
        store: Its records.
    """
    derived = board_of(plan, manifests, store)
    if found := wrong_metrics(derived):
        return found
    ranked = standings(derived)
    paths = {path.with_name(path.stem + ending): text for ending, text in _texts(derived, ranked).items()}
    wrong = [path for path, text in paths.items() if not path.exists() or path.read_text() != text]
    figure = path.with_name(derived.figure)
    if derived.ladders and curves.digest_of(figure) != curves.digest(derived, ranked):
        wrong.append(figure)
    return [f"{path} is not what its records give; publish again" for path in wrong]
