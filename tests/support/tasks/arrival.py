"""Sources that arrive one after another: how well are those named that were learnt so far?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gfp_bench.contracts.dataset import DatasetFacts
from gfp_bench.contracts.task import Evaluation, Fit, Kept, Measure, Outcome, Shown, Task
from gfp_bench.metrics.confidence import mean_credit


class Arrival(Task):
    name = "arrival"
    measures = (Measure(key="balanced_accuracy", title="balanced accuracy"),)

    def __init__(self, first: int = 2) -> None:
        self.first = first

    def fits(self, dataset: DatasetFacts, attacks: Sequence[str], *, immunise: bool) -> list[Fit]:
        names = dataset.source_names
        fits = [
            Fit(name=f"{self.first}-known", sources=names[: self.first], evaluations=(self._shown(names, self.first),))
        ]
        for count in range(self.first + 1, len(names) + 1):
            fits.append(
                Fit(
                    name=f"{count}-known",
                    how="arrive",
                    base=fits[-1].title,
                    sources=(names[count - 1],),
                    evaluations=(self._shown(names, count),),
                )
            )
        return fits

    def _shown(self, names: tuple[str, ...], count: int) -> Evaluation:
        return Evaluation(name=f"{count}-shown", sources=names[:count])

    def keep(self, scores: np.ndarray, shown: Shown, known: tuple[str, ...]) -> Kept:
        return {"answer": scores.argmax(axis=1)}

    def metrics(self, outcome: Outcome) -> dict[str, Any]:
        credit = self.credit(outcome, "balanced_accuracy").astype(float)
        return {"balanced_accuracy": float(mean_credit(credit[None], outcome.shown.labels)[0])}

    def chance(self, shown: Shown) -> float:
        return 1 / len(shown.sources)

    def credit(self, outcome: Outcome, measure: str) -> np.ndarray:
        return np.array(outcome.known)[outcome.kept["answer"]] == np.array(outcome.shown.sources)[outcome.shown.labels]
