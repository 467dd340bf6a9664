"""Learnt on one dataset, tested on another."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gfp_bench.contracts.dataset import DatasetFacts
from gfp_bench.contracts.task import Evaluation, Fit, Kept, Measure, Outcome, Shown, Task
from gfp_bench.metrics.confidence import mean_credit


class Transfer(Task):
    name = "transfer"
    measures = (Measure(key="balanced_accuracy", title="balanced accuracy"),)

    def __init__(self, to: str = "") -> None:
        self.to = to

    @property
    def datasets(self) -> tuple[str, ...]:
        return (self.to,)

    def fits(self, dataset: DatasetFacts, attacks: Sequence[str], *, immunise: bool) -> list[Fit]:
        return [Fit(evaluations=(Evaluation(), Evaluation(dataset=self.to, name="elsewhere")))]

    def keep(self, scores: np.ndarray, shown: Shown, known: tuple[str, ...]) -> Kept:
        return {"answer": scores.argmax(axis=1)}

    def metrics(self, outcome: Outcome) -> dict[str, Any]:
        credit = self.credit(outcome, "balanced_accuracy").astype(float)
        return {"balanced_accuracy": float(mean_credit(credit[None], outcome.shown.labels)[0])}

    def chance(self, shown: Shown) -> float:
        return 1 / len(shown.sources)

    def credit(self, outcome: Outcome, measure: str) -> np.ndarray:
        return np.array(outcome.known)[outcome.kept["answer"]] == np.array(outcome.shown.sources)[outcome.shown.labels]
