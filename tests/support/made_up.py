"""Results of methods that were never run: all that a board needs, at once."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from hashlib import sha256

import numpy as np

from gfp_bench.contracts.task import Outcome
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.outcomes import Truth
from gfp_bench.engine.plan import Plan, Trial
from gfp_bench.engine.records import Record, Store, packed, to_json
from gfp_bench.metrics.separability import Separability

CODE = {"version": "1", "revision": None, "dirty": False}
TIMING = {"wall": 2.0, "fit": 1.0, "peak_memory": 1e6, "peak_gpu_memory": 0}


def filled(toy: Manifest, plan: Plan, store: Store, trials: Iterable[Trial] | None = None, every: int = 3) -> Store:
    """Results of methods that err on every so many images, the rarer the later their row."""
    sources, truth = toy.source_names, Truth({toy.name: toy}, plan.limit)
    rows = [row.title for row in plan.rows]
    for trial in plan.trials if trials is None else trials:
        store.folder(trial).mkdir(parents=True, exist_ok=True)
        for number, cell in enumerate(trial.cells):
            shown = truth.of(cell)
            wrong = np.arange(len(shown.labels)) % (every + rows.index(trial.row)) == number % every
            scores = np.eye(len(sources), dtype=np.float32)[(shown.labels + wrong) % len(sources)]
            content = packed({"scores": scores})
            kept = plan.task.keep(scores, shown, sources)
            record = Record(
                cell.key, trial.key, cell.name, plan.task.metrics(Outcome(kept=kept, shown=shown, known=sources)),
                asdict(Separability(8, 3, reason="0/0")), len(scores), sha256(content).hexdigest(),
                {"packages": {"numpy": "2"}, "code": CODE, "device": "cpu"},
            )  # fmt: skip
            store.write(trial, cell, record, content)
        store.path(trial, "timing").write_bytes(to_json(TIMING))
    store.keep_plan(plan)
    return store


def of_rows(plan: Plan, *methods: str) -> Plan:
    """The part of a plan that has the rows of some methods."""
    trials = tuple(trial for trial in plan.trials if trial.method in methods)
    return replace(plan, trials=trials, rows=tuple(row for row in plan.rows if row.method in methods))
