"""Folds that leave a source out: is an image of a source that was learnt?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gfp_bench.contracts.dataset import DatasetFacts
from gfp_bench.contracts.task import Evaluation, Fit, Kept, Measure, Outcome, Shown, Task
from gfp_bench.metrics.detection import Roc, roc


class OpenSet(Task):
    name = "open_set"
    measures = (Measure(key="auroc", title="AUROC of the known"),)

    def fits(self, dataset: DatasetFacts, attacks: Sequence[str], *, immunise: bool) -> list[Fit]:
        evaluations = tuple(Evaluation(attack=attack) for attack in (None, *attacks))
        fakes = [source for source in dataset.source_names if source != "real"]
        return [
            Fit(
                name=f"without-{unknown}",
                fold=fold,
                sources=tuple(source for source in dataset.source_names if source != unknown),
                evaluations=evaluations,
            )
            for fold, unknown in enumerate(fakes)
        ]

    def keep(self, scores: np.ndarray, shown: Shown, known: tuple[str, ...]) -> Kept:
        return {"top": scores.max(axis=1)}

    def metrics(self, outcome: Outcome) -> dict[str, Any]:
        return {"auroc": float(self._curve(outcome).auroc()[0])}

    def chance(self, shown: Shown) -> float:
        return 0.5

    def resampled(self, outcome: Outcome, measure: str, weights: np.ndarray) -> np.ndarray:
        return self._curve(outcome, weights).auroc()

    def _curve(self, outcome: Outcome, weights: np.ndarray | None = None) -> Roc:
        known = np.isin(np.array(outcome.shown.sources)[outcome.shown.labels], outcome.known)
        return roc(outcome.kept["top"], known, weights)
