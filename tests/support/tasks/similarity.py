"""How far apart do the fingerprints of sources lie, learnt or not?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gfp_bench.contracts.dataset import DatasetFacts
from gfp_bench.contracts.task import Evaluation, Fit, Kept, Measure, Outcome, Shown, Task


class Similarity(Task):
    name = "similarity"
    measures = (Measure(key="least", title="least distance", percent=False),)

    def fits(self, dataset: DatasetFacts, attacks: Sequence[str], *, immunise: bool) -> list[Fit]:
        return [Fit(sources=dataset.source_names[:2], evaluations=(Evaluation(fingerprints=6),))]

    def keep(self, scores: np.ndarray, shown: Shown, known: tuple[str, ...]) -> Kept:
        return {}

    def metrics(self, outcome: Outcome) -> dict[str, Any]:
        means = self._means(outcome, np.ones((1, len(outcome.shown.labels))))[0]
        distances = np.linalg.norm(means[:, None] - means, axis=2)
        return {"distances": distances.tolist(), "least": float(distances[np.triu_indices(len(means), 1)].min())}

    def chance(self, shown: Shown) -> float:
        return 0.0

    def resampled(self, outcome: Outcome, measure: str, weights: np.ndarray) -> np.ndarray:
        means = self._means(outcome, weights)
        first, second = np.triu_indices(means.shape[1], 1)
        return np.linalg.norm(means[:, first] - means[:, second], axis=2).min(axis=1)

    def _means(self, outcome: Outcome, weights: np.ndarray) -> np.ndarray:
        rows = outcome.kept["fingerprint_rows"]
        member = np.eye(len(outcome.shown.sources))[outcome.shown.labels[rows]] + 1e-12
        counts = weights[:, rows, None] * member
        return np.einsum("rms,md->rsd", counts, outcome.fingerprints) / counts.sum(axis=1)[:, :, None]
