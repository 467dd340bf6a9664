"""Published boards checked: planned again, their numbers derived again, their files compared.

Planning again reads the classes of methods and attacks, and so loads torch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gfp_bench.boards import curves
from gfp_bench.boards.assembly import board_of, wrong_metrics
from gfp_bench.boards.board import Board
from gfp_bench.boards.publication import ENDINGS, RECORDS, not_run, texts
from gfp_bench.boards.published import TIMING, Published
from gfp_bench.boards.ranking import standings
from gfp_bench.boards.timing import timing_markdown, timings
from gfp_bench.contracts.task import Outcome, Task
from gfp_bench.data.manifest import Manifest
from gfp_bench.documents import checked
from gfp_bench.engine.outcomes import Truth, outcomes
from gfp_bench.engine.plan import Plan, Row, Trial
from gfp_bench.engine.records import SCHEMA, Record
from gfp_bench.engine.replan import planned_again
from gfp_bench.errors import GfpBenchError, RecordError
from gfp_bench.metrics.separability import Separability
from gfp_bench.protocols.protocol import load_protocol, protocol_names

if TYPE_CHECKING:
    from gfp_bench.registry.plugins import Plugins


@dataclass(frozen=True)
class Verdict:
    """What a look at a published board found, a sentence each.

    Attributes:
        wrong: What is not as its records, its plan or the code say.
        told: What a reader should know, and nothing is wrong with.
    """

    wrong: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def board_names(folder: Path) -> list[str]:
    """Return the boards that a folder has records of, sorted."""
    return sorted(path.name for path in (folder / RECORDS).glob("*") if path.is_dir() and not path.name.startswith("."))


def strays(folder: Path) -> list[str]:
    """Return a sentence for each file and folder that belongs to no board: all here is generated."""
    names = board_names(folder)
    known = {f"{name}{ending}" for name in names for ending in ENDINGS} | {RECORDS}
    found = [path for path in sorted(folder.glob("[!.]*")) if path.name not in known]
    found += [path for path in sorted((folder / RECORDS).glob("[!.]*")) if path.name not in names]
    return [f"{path} belongs to no published board; take it away, or publish its records" for path in found]


def stale_rows(plan: Plan, manifests: Mapping[str, Manifest], plugins: "Plugins") -> list[str]:
    """Return a remark for each row of a built-in method that the code of today would compute anew.

    Of methods that do not come with the code no remark is made, so that a board reads the same wherever it is checked.
    """
    try:
        again, _ = planned_again(plan, plan.protocol, manifests, plugins)
    except GfpBenchError:  # which `verdict` tells
        return []
    now = {row.title: row for row in again.rows}
    return [
        f"**Stale:** `{row.title}`: {why}; run it again."
        for row in plan.rows
        if row.title in now and plugins.entry(row.method).origin.startswith("built-in")
        if (why := _aged(plan, row, again, now[row.title]))
    ]


def verdict(
    folder: Path, name: str, records: Published, manifests: Mapping[str, Manifest], plugins: "Plugins"
) -> Verdict:
    """Return what is wrong with a published board, and what there is to say of it.

    Args:
        folder: That of published boards.
        name: The board.
        records: Its records.
        manifests: The datasets that it reads, by name.
        plugins: Where methods and attacks are looked up.

    Raises:
        RecordError: If the records cannot be read, or the dataset is another than theirs.
    """
    plan = records.plan()
    told: list[str] = []
    wrong = [*_misplaced(records, plan, name), *_other_protocol(plan)]
    wrong += _planned_otherwise(plan, manifests, plugins, told)
    wrong += _incomplete(plan, records)
    wrong += _unsound(plan, records, manifests)
    if not wrong:
        derived = board_of(plan, manifests, records, stale_rows(plan, manifests, plugins))
        wrong = wrong_metrics(derived) or list(_other_files(folder, name, derived))
    told += _timing_differs(folder / f"{name}-timing.md", plan, records)
    return Verdict(tuple(f"{name}: {one}" for one in wrong), tuple(f"{name}: {one}" for one in told))


def _misplaced(records: Published, plan: Plan, name: str) -> Iterator[str]:
    if plan.name != name:
        yield f"its records are those of {plan.name}; give the folder and the board their own name"
    known = records.files
    for path in sorted(records.root.rglob("*")):
        if str(path.relative_to(records.root)) not in known:
            yield f"{path} is none of its records; take it away"


def _other_protocol(plan: Plan) -> Iterator[str]:
    if plan.protocol.id in protocol_names() and plan.protocol != load_protocol(plan.protocol.id):
        yield f"its records are of another {plan.protocol.id} than the one that is built in; run it again"


def _planned_otherwise(
    plan: Plan, manifests: Mapping[str, Manifest], plugins: "Plugins", told: list[str]
) -> Iterator[str]:
    """Yield where a plan is not what its rows ask for today, and note what is no fault."""
    if manifests[plan.dataset].digest != plan.digest:
        yield f"its records are of another {plan.dataset}: digest {plan.digest[:12]}, the dataset has " + (
            f"{manifests[plan.dataset].digest[:12]}; bring the dataset back or run again"
        )
        return
    try:
        again, absent = planned_again(plan, plan.protocol, manifests, plugins)
    except GfpBenchError as error:
        yield f"it cannot be planned again: {error}"
        return
    told += [f"`{title}` was not planned again: its plugin is not here; give it by --plugin" for title in absent]
    yield from _missing_floors(plan, plugins)
    now = {row.title: row for row in again.rows}
    for row in plan.rows:
        if row.title in absent:
            continue
        if row.title not in now:
            yield f"`{row.title}` is called otherwise by its settings; publish it again"
        elif why := _aged(plan, row, again, now[row.title]):
            told.append(f"`{row.title}` is stale: {why}; run it again")
        else:
            yield from _row_differs(plan, row, again, now[row.title])


def _missing_floors(plan: Plan, plugins: "Plugins") -> Iterator[str]:
    rows = {row.method for row in plan.rows}
    for method in plugins.methods:
        built_in = plugins.entry(method).origin.startswith("built-in")
        if method not in rows and built_in and plugins.method(method).floor:
            yield f"the floor `{method}` is missing, which every plan has; add it with run --add"


def _aged(plan: Plan, row: Row, again: Plan, now: Row) -> str:
    """Return what has a newer version than when a row was computed, or nothing."""
    if plan.core != again.core:
        return f"made by version {plan.core} of the core's numerics, now {again.core}"
    if row.version != now.version:
        return f"made by version {row.version} of {row.method}, now {now.version}"
    before, after = _attack_versions(plan, row), _attack_versions(again, now)
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name]:
            return f"made by version {before[name]} of the attack {name}, now {after[name]}"
    return ""


def _attack_versions(plan: Plan, row: Row) -> dict[str, int]:
    own = [trial for trial in plan.trials if trial.row == row.title]
    used = [attack for trial in own for attack in (trial.condition, *(cell.attack for cell in trial.cells)) if attack]
    return {attack.name: attack.version for attack in used}


def _row_differs(plan: Plan, row: Row, again: Plan, now: Row) -> Iterator[str]:
    """Yield where a row that is current is not what its class, its settings and the protocol give."""
    changed = [field.name for field in fields(Row) if getattr(row, field.name) != getattr(now, field.name)]
    if changed:
        name = changed[0]
        yield f"`{row.title}` has {name} {getattr(row, name)!r}, its class says {getattr(now, name)!r}"
    mine, theirs = ({trial.key: trial for trial in one.trials if trial.row == row.title} for one in (plan, again))
    for trial in mine.values():
        if trial.key not in theirs:
            yield f"{trial.title} is no trial that its settings and the protocol give: its key is another"
        elif trial != theirs[trial.key]:
            yield f"{trial.title} is planned otherwise{_cells_differ(trial, theirs[trial.key])}"
    for key in theirs.keys() - mine.keys():
        yield f"{theirs[key].title} is missing"


def _cells_differ(trial: Trial, other: Trial) -> str:
    own = {cell.key for cell in trial.cells}
    lacking = [cell.name for cell in other.cells if cell.key not in own]
    return f": {', '.join(lacking)} missing" if lacking else ""


def _incomplete(plan: Plan, records: Published) -> Iterator[str]:
    cells = [(trial, cell) for trial in plan.trials for cell in trial.cells]
    kept = {
        cell.key: found
        for trial, cell in cells
        if (found := records.record(trial, cell) or records.failure(trial, cell))
    }
    for trial, cell in not_run(plan, kept):
        yield f"{trial.title}, {cell.name} has neither a record nor a reason"
    for trial in plan.trials:
        if trial.skip and any(cell.key in kept for cell in trial.cells):
            yield f"{trial.title} was skipped, but has records"


def _unsound(plan: Plan, records: Published, manifests: Mapping[str, Manifest]) -> Iterator[str]:
    """Yield where what is kept of images has not the form that the task gives it."""
    if manifests[plan.dataset].digest != plan.digest:
        return
    task, truth = plan.task, Truth(manifests, plan.limit)
    for trial in plan.trials:
        for cell, record, outcome in outcomes(records, trial, task, truth):
            images = len(outcome.shown.labels)
            where = f"{trial.title}, {cell.name}"
            if record.n_scored != images:
                yield f"{where} has {record.n_scored} images scored, expected {images}"
            if told := _other_form(record, task, outcome):
                yield f"{where} {told}"
            if record.separability:
                checked(record.separability, Separability, subject=f"separability of {where}", error=RecordError)


def _other_form(record: Record, task: Task, outcome: Outcome) -> str:
    """Return how what is kept of images differs from what the task keeps of any scores, or nothing."""
    shown, known = outcome.shown, outcome.known
    form = task.keep(np.zeros((len(shown.labels), len(known)), np.float32), shown, known)
    own = {name: array for name, array in outcome.kept.items() if not name.startswith("fingerprint")}
    for name, array in own.items():
        if name not in form or (array.dtype, array.shape) != (form[name].dtype, form[name].shape):
            return f"keeps {name!r} as {array.dtype} {array.shape}, which its task does not"
        if not np.isfinite(array).all():
            return f"keeps values of {name!r} that are not finite"
    if record.schema == SCHEMA and (lacking := form.keys() - own.keys()):  # earlier ones kept less
        return f"keeps no {min(lacking)!r}"
    return ""


def _other_files(folder: Path, name: str, derived: Board) -> Iterator[str]:
    ranked = standings(derived)
    told = "is not what its records give; publish again, or write it anew with publish --again"
    for ending, text in texts(derived, ranked).items():
        path = folder / f"{name}{ending}"
        if not path.exists() or path.read_bytes() != text.encode():
            yield f"{path} {told}"
    figure = folder / derived.figure
    if derived.ladders and curves.digest_of(figure) != curves.digest(derived, ranked):
        yield f"{figure} {told}"
    if not derived.ladders and figure.exists():
        yield f"{figure} {told}"


def _timing_differs(path: Path, plan: Plan, records: Published) -> Iterator[str]:
    """Yield what is wrong with the table of costs, on which nothing depends."""
    spent, damaged = timings(plan, records)
    yield from damaged
    text = timing_markdown(plan.name, spent, damaged) if spent or damaged else ""
    if not damaged and (path.read_bytes() if path.exists() else b"") != text.encode():
        yield f"{path} is not what {records.root / TIMING} gives; no number depends on it"
