"""Detection: tell generated images from real ones by the scores of a method that attributes. Torch-free.

The score of an image is the best score of any generated source less that of ``real``; generated images are the
positives. A threshold is chosen on validation images, under the attack that a method is immunised against if any.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from gfp_bench.contracts.dataset import REAL, DatasetFacts
from gfp_bench.contracts.task import Evaluation, Fit, Kept, Measure, Outcome, Shown, Task
from gfp_bench.errors import UsageError
from gfp_bench.metrics.detection import Roc, balanced_accuracy_at, best_threshold, detection_margins, roc

FALSE_ALARMS = {"tpr_at_fpr_1": 0.01, "tpr_at_fpr_5": 0.05}
"""Shares of real images that are taken for generated ones, at which the share of generated ones found is told."""


class Detection(Task):
    """Every source is learnt and every source is shown; the question is only whether an image is real."""

    name = "detection"
    measures = (
        Measure(key="auroc", title="AUROC"),
        Measure(key="average_precision", title="AP"),
        Measure(key="eer", title="EER", higher_is_better=False),
        Measure(key="balanced_accuracy", title="balanced accuracy at val's threshold"),
        Measure(key="tpr_at_fpr_1", title="TPR at 1 % FPR"),
        Measure(key="tpr_at_fpr_5", title="TPR at 5 % FPR"),
    )

    def fits(self, dataset: DatasetFacts, attacks: Sequence[str], *, immunise: bool) -> list[Fit]:
        """The fits of attribution, each with validation images for its threshold.

        Raises:
            UsageError: If the dataset has no real or no generated images.
        """
        if REAL not in dataset.source_names or len(dataset.source_names) < 2:
            raise UsageError(
                f"dataset {dataset.name!r} has sources {', '.join(dataset.source_names)}, expected {REAL!r} and "
                "others, which detection tells from it; choose another dataset or task"
            )
        clean, *attacked = (Evaluation(attack=attack) for attack in (None, *attacks))
        fits = [Fit(evaluations=(clean, *attacked), calibration=_on_val(None))]
        if immunise:
            fits += [
                Fit(
                    evaluations=(own, clean),
                    how="immunise",
                    base=fits[0].title,
                    condition=attack,
                    calibration=_on_val(attack),
                )
                for attack, own in zip(attacks, attacked, strict=True)
            ]
        return fits

    def keep(self, scores: Float32[np.ndarray, "n k"], shown: Shown, known: tuple[str, ...]) -> Kept:
        """Keep each image's margin of ``real``: its score less the best other one."""
        margins = detection_margins(scores, known)
        assert margins is not None, "fits() saw to it"  # noqa: S101
        return {"margin": margins}

    def metrics(self, outcome: Outcome) -> dict[str, Any]:
        """Return every measure; what the images are too few for, or lacks a threshold, is None and says why.

        Keys besides the measures': ``threshold``; ``flagged``, per source the share of its images that are taken for
        generated ones; ``n_real``, ``n_generated``; ``undefined``, by measure why it has no value.
        """
        scores, generated = _scores(outcome), _generated(outcome.shown)
        curve = roc(scores, generated)
        undefined = _undefined(outcome)
        found: dict[str, Any] = {
            measure.key: None if measure.key in undefined else float(self._values(outcome, measure.key, curve, None)[0])
            for measure in self.measures
        }
        threshold = _threshold(outcome)
        flagged = None if threshold is None else _flagged(outcome, scores >= threshold)
        counts = {"n_real": int((~generated).sum()), "n_generated": int(generated.sum())}
        return found | counts | {"threshold": threshold, "flagged": flagged, "undefined": undefined}

    def chance(self, shown: Shown) -> float:
        """Return the AUROC of scores that say nothing."""
        return 0.5

    def resampled(self, outcome: Outcome, measure: str, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """Return a measure on resampled images; the threshold stays that of the validation images."""
        return self._values(outcome, measure, roc(_scores(outcome), _generated(outcome.shown), weights), weights)

    def _values(
        self, outcome: Outcome, measure: str, curve: Roc, weights: Float[np.ndarray, "r n"] | None
    ) -> Float[np.ndarray, " r"]:
        if measure == "balanced_accuracy":
            threshold = _threshold(outcome)
            assert threshold is not None, "asked for only where it is defined"  # noqa: S101
            return balanced_accuracy_at(threshold, _scores(outcome), _generated(outcome.shown), weights)
        if measure in FALSE_ALARMS:
            return curve.tpr_at(FALSE_ALARMS[measure])
        values: Float[np.ndarray, " r"] = getattr(curve, measure)()
        return values


def _on_val(attack: str | None) -> Evaluation:
    return Evaluation(attack=attack, split="val", name="val")


def _scores(outcome: Outcome) -> Float64[np.ndarray, " n"]:
    scores: Float64[np.ndarray, " n"] = -outcome.kept["margin"].astype(
        np.float64
    )  # a threshold may lie between two float32
    return scores


def _generated(shown: Shown) -> Bool[np.ndarray, " n"]:
    generated: Bool[np.ndarray, " n"] = shown.labels != shown.sources.index(REAL)
    return generated


def _threshold(outcome: Outcome) -> float | None:
    val = outcome.calibration
    return None if val is None else best_threshold(_scores(val), _generated(val.shown))


def _undefined(outcome: Outcome) -> dict[str, str]:
    reasons = {} if outcome.calibration else {"balanced_accuracy": "no threshold: these are the images it is chosen on"}
    real = int((~_generated(outcome.shown)).sum())
    for key, share in FALSE_ALARMS.items():
        if real * share < 1:
            reasons[key] = f"too few negatives: {real} real images, expected at least {round(1 / share)}"
    return reasons


def _flagged(outcome: Outcome, positive: Bool[np.ndarray, " n"]) -> list[float]:
    labels = outcome.shown.labels
    return [float(positive[labels == index].mean()) for index in range(len(outcome.shown.sources))]
