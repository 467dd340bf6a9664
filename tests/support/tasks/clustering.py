"""Do fingerprints fall into clusters by what the dataset says of their sources?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import normalized_mutual_info_score

from gfp_bench.contracts.dataset import DatasetFacts
from gfp_bench.contracts.task import Evaluation, Fit, Kept, Measure, Outcome, Shown, Task


class Clustering(Task):
    name = "clustering"
    measures = (Measure(key="nmi", title="NMI"),)

    def __init__(self, factor: str = "loss") -> None:
        self.factor = factor

    def fits(self, dataset: DatasetFacts, attacks: Sequence[str], *, immunise: bool) -> list[Fit]:
        return [Fit(evaluations=(Evaluation(fingerprints=8),))]

    def keep(self, scores: np.ndarray, shown: Shown, known: tuple[str, ...]) -> Kept:
        return {"answer": scores.argmax(axis=1)}

    def metrics(self, outcome: Outcome) -> dict[str, Any]:
        return {"nmi": self._nmi(outcome, outcome.kept["fingerprint_rows"])}

    def chance(self, shown: Shown) -> float:
        return 0.0

    def resampled(self, outcome: Outcome, measure: str, weights: np.ndarray) -> np.ndarray:
        rows = outcome.kept["fingerprint_rows"]
        return np.array([self._nmi(outcome, np.repeat(rows, row[rows].astype(int))) for row in weights])

    def _nmi(self, outcome: Outcome, rows: np.ndarray) -> float:
        factors = np.array([outcome.shown.metadata[source][self.factor] for source in outcome.shown.sources])
        return float(normalized_mutual_info_score(factors[outcome.shown.labels[rows]], outcome.kept["answer"][rows]))
