"""How well a method that attributes tells real images from generated ones."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer

from gfp_bench.contracts.dataset import REAL


def detection_scores(scores: Float[np.ndarray, "n s"], sources: Sequence[str]) -> Float[np.ndarray, " n"] | None:
    """Return the score of `real` minus the best other score, or None unless there are real and generated sources.

    Args:
        scores: One row an image, one column a source.
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
        detection: What `detection_scores` gave; without it there is no AUROC.
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
