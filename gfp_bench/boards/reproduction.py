"""A sample of a published board's cells, run again, and what differs. Torch-free."""

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gfp_bench.contracts.task import Kept, Measure, Outcome
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.outcomes import Truth, outcomes
from gfp_bench.engine.plan import Cell, Plan, Row, Trial, digest
from gfp_bench.engine.records import Record, Records
from gfp_bench.errors import UsageError

ANSWERS = 0.01
"""The share of answers that may differ on another machine for a method without trained networks."""

POINTS = 0.1
"""How far the headline may lie apart on another machine for a trained network, which is trained anew."""


@dataclass(frozen=True)
class Rerun:
    """A published cell beside the same one run again.

    Attributes:
        trial: What it is of.
        cell: The cell.
        published: The headline that was published.
        again: The headline now, or None if the cell failed.
        changed: The share of answers that differ, or None where the task keeps none.
        allowed: What may differ, in words.
        drifted: Whether more does.
        reason: Why the cell failed.
    """

    trial: Trial
    cell: Cell
    published: float | None
    again: float | None = None
    changed: float | None = None
    allowed: str = ""
    drifted: bool = True
    reason: str = ""


def drawn(plan: Plan, store: Records, count: int, seed: int) -> list[tuple[Trial, Cell]]:
    """Return a random sample of a board's done cells, without those that only calibrate; all if they are fewer.

    Raises:
        UsageError: If none is done.
    """
    done = [
        (trial, cell)
        for trial in plan.trials
        for cell in trial.cells
        if not cell.calibration and store.record(trial, cell)
    ]
    if not done:
        raise UsageError(f"the board in {store.root} has no cell with numbers, so there is nothing to run again")
    chosen = random.Random(seed).sample(range(len(done)), min(count, len(done)))  # noqa: S311 - anyone may foresee it
    return [done[number] for number in sorted(chosen)]


def plan_of(plan: Plan, sample: Sequence[tuple[Trial, Cell]]) -> Plan:
    """Return the plan of some cells alone, with the fits and the calibration that they need."""
    wanted = {cell.key for _, cell in sample}
    by_key = {trial.key: trial for trial in plan.trials}
    kept: set[str] = set()
    for trial, _ in sample:
        key: str | None = trial.key
        while key is not None and key not in kept:
            kept.add(key)
            key = by_key[key].base
    sampled = {trial.key for trial, _ in sample}
    trials = tuple(
        replace(
            trial, cells=tuple(c for c in trial.cells if c.key in wanted or (c.calibration and trial.key in sampled))
        )
        for trial in plan.trials
        if trial.key in kept
    )
    return replace(plan, trials=trials)


def current(sample: Iterable[tuple[Trial, Cell]], plans: Iterable[Plan]) -> None:
    """Refuse cells that the code at hand does not plan: it would compute something else.

    Raises:
        UsageError: If there are any; the message names the first.
    """
    known = {cell.key for plan in plans for trial in plan.trials for cell in trial.cells}
    for trial, cell in sample:
        if cell.key not in known:
            raise UsageError(
                f"{trial.title}, {cell.name} was made by another version of gfp-bench, of {trial.method!r} or of its "
                "attack, so this one cannot run it again; take the version that the board names"
            )


def compared(
    plan: Plan,
    manifests: Mapping[str, Manifest],
    sample: Sequence[tuple[Trial, Cell]],
    before: Records,
    after: Records,
    rows: Iterable[Row],
) -> Iterator[Rerun]:
    """Yield each cell of a sample as it was published and as it is now.

    To the bit where both were computed with the same packages on the same processor or device, deterministically;
    else up to `ANSWERS` or, for a method with trained networks, `POINTS`.

    Args:
        plan: What was published.
        manifests: The datasets that it reads, by name.
        sample: Its cells.
        before: The published records.
        after: Those of the run.
        rows: What the methods at hand say of themselves; a published row may have been forged.
    """
    truth, measure = Truth(manifests, plan.limit), plan.task.measures[0]
    trained = {(row.method, digest(row.settings)) for row in rows if row.weights}
    for trial, cell in sample:
        (old,) = _found(before, plan, trial, cell, truth)
        new = next(_found(after, plan, trial, cell, truth), None)
        if new is None:
            failure = after.failure(trial, cell)
            yield Rerun(
                trial, cell, old[0].metrics[measure.key], reason=failure.reason if failure else "it did not run"
            )
            continue
        yield _rerun(plan, trial, cell, old, new, measure, is_trained=(trial.method, digest(trial.settings)) in trained)


def _found(store: Records, plan: Plan, trial: Trial, cell: Cell, truth: Truth) -> Iterator[tuple[Record, Outcome]]:
    found = outcomes(store, trial, plan.task, truth)
    return ((record, outcome) for one, record, outcome in found if one.key == cell.key)


def _rerun(
    plan: Plan,
    trial: Trial,
    cell: Cell,
    old: tuple[Record, Outcome],
    new: tuple[Record, Outcome],
    measure: Measure,
    *,
    is_trained: bool,
) -> Rerun:
    (record, outcome), (again, outcome_again) = old, new
    headline, now = record.metrics[measure.key], again.metrics[measure.key]
    changed = _changed(outcome.kept, outcome_again.kept)
    if promised(record, again):
        allowed = "nothing"
        drifted = not (_same(outcome.kept, outcome_again.kept) and _plain(record.metrics) == _plain(again.metrics))
    elif is_trained or changed is None:
        allowed = f"{100 * POINTS:g} points"
        drifted = headline is None or now is None or abs(headline - now) > POINTS
    else:
        allowed = f"{100 * ANSWERS:g} % of answers"
        derived = plan.task.metrics(outcome)  # of its own answers, lest the numbers be forged and not these
        drifted = changed > ANSWERS or not np.isclose(headline, derived[measure.key], rtol=0, atol=1e-9)
    return Rerun(trial, cell, headline, now, changed, allowed, drifted)


def promised(first: Record, second: Record) -> bool:
    """Return whether two records of a cell must be equal to the bit."""
    ours = [
        {key: record.provenance.get(key) for key in ("packages", "device", "processor", "threads", "deterministic")}
        for record in (first, second)
    ]
    return ours[0] == ours[1] and ours[0]["deterministic"] is True and ours[0]["processor"] is not None


def _same(first: Kept, second: Kept) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def _changed(first: Kept, second: Kept) -> float | None:
    """Return the share of images of which a whole number that is kept differs."""
    names = [name for name, array in first.items() if array.dtype.kind in "iub" and name != "fingerprint_rows"]
    if not names or any(name not in second or first[name].shape != second[name].shape for name in names):
        return None if not names else 1.0
    return float(np.mean(np.any([first[name] != second[name] for name in names], axis=0)))


def _plain(metrics: Any) -> Any:  # JSON of any depth
    return json.loads(json.dumps(metrics))
