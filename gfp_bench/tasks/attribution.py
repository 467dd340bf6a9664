"""Closed-set attribution: name the source of an image, clean, attacked, and attacked after immunisation. Torch-free."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from gfp_bench.contracts.dataset import DatasetFacts
from gfp_bench.contracts.task import Evaluation, Fit, Kept, Measure, Outcome, Shown, Task
from gfp_bench.metrics.attribution import attribution
from gfp_bench.metrics.detection import detection_auroc, detection_margins


class Attribution(Task):
    """Every source is learnt and every source is shown."""

    name = "attribution"
    measures = (Measure(key="balanced_accuracy", title="balanced accuracy"),)
    separability = True

    def fits(self, dataset: DatasetFacts, attacks: Sequence[str], *, immunise: bool) -> list[Fit]:
        """One fit on clean images answers for all attacks; an immunised one for its own and, for the record, clean."""
        clean, *attacked = (Evaluation(attack=attack) for attack in (None, *attacks))
        fits = [Fit(evaluations=(clean, *attacked))]
        if immunise:
            base = fits[0].title
            fits += [
                Fit(evaluations=(own, clean), how="immunise", base=base, condition=attack)
                for attack, own in zip(attacks, attacked, strict=True)
            ]
        return fits

    def keep(self, scores: Float32[np.ndarray, "n k"], shown: Shown, known: tuple[str, ...]) -> Kept:
        """Keep each image's arg-max, its top score and, with a source ``real``, the margin of that."""
        margins = detection_margins(scores, known)
        answers = scores.argmax(axis=1).astype(np.min_scalar_type(len(known) - 1))
        return {"answer": answers, "top": scores.max(axis=1)} | ({} if margins is None else {"margin": margins})

    def metrics(self, outcome: Outcome) -> dict[str, Any]:
        """Return balanced accuracy, accuracy, macro-F1, recalls and confusion, and the AUROC of ``real``."""
        kept, labels, sources = outcome.kept, outcome.shown.labels, outcome.known
        auroc = detection_auroc(kept.get("margin"), labels, sources)
        return asdict(attribution(kept["answer"], labels, len(sources))) | {"detection_auroc": auroc}

    def chance(self, shown: Shown) -> float:
        """Return one over the number of sources."""
        return 1 / len(shown.sources)

    def credit(self, outcome: Outcome, measure: str) -> Bool[np.ndarray, " n"]:
        """Return whether the source of an image was named."""
        right: Bool[np.ndarray, " n"] = outcome.kept["answer"] == outcome.shown.labels
        return right
