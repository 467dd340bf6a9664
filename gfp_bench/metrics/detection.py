"""How well a method tells real images from generated ones: margins, weighted ROC curves, thresholds. Torch-free."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

from gfp_bench.contracts.dataset import REAL


def detection_margins(scores: Float[np.ndarray, "n s"], sources: Sequence[str]) -> Float[np.ndarray, " n"] | None:
    """Return the score of `real` minus the best other score, or None unless there are real and generated sources.

    Args:
        scores: One row per image, one column per source.
        sources: Names of the columns.
    """
    if REAL not in sources or len(sources) < 2:
        return None
    real = list(sources).index(REAL)
    margin: Float[np.ndarray, " n"] = scores[:, real] - np.delete(scores, real, axis=1).max(axis=1)
    return margin


def detection_auroc(
    detection: Float[np.ndarray, " n"] | None, labels: Integer[np.ndarray, " n"], sources: Sequence[str]
) -> float | None:
    """Return the chance that a real image scores above a generated one, ties counting half.

    Args:
        detection: What `detection_margins` gave; without it there is no AUROC.
        labels: Indices into ``sources``, each of which occurs.
        sources: Names in sorted order.
    """
    if detection is None:
        return None
    is_real = labels == list(sources).index(REAL)
    generated = np.sort(detection[~is_real])
    below = np.searchsorted(generated, detection[is_real], side="left")
    not_above = np.searchsorted(generated, detection[is_real], side="right")
    return float((below + not_above).mean() / (2 * len(generated)))


@dataclass(frozen=True, eq=False)
class Roc:
    """ROC curves of the same scores under r weightings of their images, from (0, 0) to (1, 1).

    Attributes:
        true: Share of the positives that score at or above each of u - 1 thresholds, highest first, and before them 0.
        false: Share of the negatives, likewise.
        prevalence: Share of the positives among all images.
    """

    true: Float[np.ndarray, "r u"]
    false: Float[np.ndarray, "r u"]
    prevalence: Float[np.ndarray, " r"]

    def auroc(self) -> Float[np.ndarray, " r"]:
        """Return the chance that a positive scores above a negative, ties counting half."""
        area: Float[np.ndarray, " r"] = np.trapezoid(self.true, self.false, axis=1)
        return area

    def average_precision(self) -> Float[np.ndarray, " r"]:
        """Return the mean precision over the positives, each at its own threshold; it depends on their share."""
        positive = self.true[:, 1:] * self.prevalence[:, None]
        negative = self.false[:, 1:] * (1 - self.prevalence[:, None])
        found = positive + negative
        precision = np.divide(positive, found, out=np.zeros_like(found), where=found > 0)
        mean: Float[np.ndarray, " r"] = (np.diff(self.true, axis=1) * precision).sum(axis=1)
        return mean

    def eer(self) -> Float[np.ndarray, " r"]:
        """Return the error rate where as many positives are missed as negatives taken for positives, interpolated."""
        excess = self.true + self.false - 1
        after = (excess >= 0).argmax(axis=1)[:, None]
        ends = [
            np.take_along_axis(values, after + step, axis=1)[:, 0]
            for values in (excess, self.false)
            for step in (-1, 0)
        ]
        below, above, left, right = ends
        rate: Float[np.ndarray, " r"] = left + (right - left) * below / (below - above)
        return rate

    def tpr_at(self, share: float) -> Float[np.ndarray, " r"]:
        """Return the largest share of positives found while at most a share of the negatives is taken for positives."""
        allowed = self.false <= share + 1e-12  # shares are quotients of counts
        largest: Float[np.ndarray, " r"] = np.where(allowed, self.true, 0.0).max(axis=1)
        return largest


def roc(
    scores: Float[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    weights: Float[np.ndarray, "r n"] | None = None,
) -> Roc:
    """Return the ROC curves of scores, the higher the likelier a positive.

    Args:
        scores: One per image.
        positive: Which images are positives; there are both.
        weights: How often each image counts, one row per curve; all once by default.
    """
    order = np.argsort(-scores, kind="stable")
    _, starts = np.unique(-scores[order], return_index=True)
    counts = np.ones((1, len(scores))) if weights is None else weights
    hits = np.add.reduceat(counts[:, order] * positive[order], starts, axis=1).cumsum(axis=1)
    found = np.add.reduceat(counts[:, order], starts, axis=1).cumsum(axis=1)
    alarms = found - hits
    start = np.zeros((len(counts), 1))
    true = np.concatenate([start, hits / hits[:, -1:]], axis=1)
    false = np.concatenate([start, alarms / alarms[:, -1:]], axis=1)
    return Roc(true, false, hits[:, -1] / found[:, -1])


def best_threshold(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """Return the threshold with the highest balanced accuracy, halfway between two scores.

    Where several have it, the middle one. Images that score at or above it are taken for positives.
    """
    values = np.unique(scores)[::-1].astype(np.float64)
    curve = roc(scores, positive)
    quality = (curve.true - curve.false)[0]
    best = np.flatnonzero(quality >= quality.max() - 1e-12)
    chosen = int(best[(len(best) - 1) // 2])
    if chosen == 0:
        return float(values[0] + 1)
    return float(values[chosen - 1] if chosen == len(values) else (values[chosen - 1] + values[chosen]) / 2)


def balanced_accuracy_at(
    threshold: float,
    scores: Float[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    weights: Float[np.ndarray, "r n"] | None = None,
) -> Float[np.ndarray, " r"]:
    """Return the mean of the shares of positives at or above a threshold and of negatives below it."""
    counts = np.ones((1, len(scores))) if weights is None else weights
    above = scores >= threshold
    found = (counts[:, positive] @ above[positive]) / counts[:, positive].sum(axis=1)
    left = (counts[:, ~positive] @ ~above[~positive]) / counts[:, ~positive].sum(axis=1)
    mean: Float[np.ndarray, " r"] = (found + left) / 2
    return mean
