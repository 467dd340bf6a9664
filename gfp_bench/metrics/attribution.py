"""How well the sources of images were named, from arg-max predictions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer


@dataclass(frozen=True)
class Attribution:
    """Fractions in [0, 1]; sources in their sorted order.

    Attributes:
        balanced_accuracy: Mean of the sources' recalls, the headline; equals accuracy where sources are balanced.
        accuracy: Fraction of images whose source was named.
        macro_f1: Mean of the sources' F1; a source that is never predicted has F1 0.
        recall: Per source, the fraction of its images that was attributed to it.
        confusion: Counts, one row per true source, one column per predicted one.
    """

    balanced_accuracy: float
    accuracy: float
    macro_f1: float
    recall: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]


def attribution(predicted: Integer[np.ndarray, " n"], labels: Integer[np.ndarray, " n"], n_sources: int) -> Attribution:
    """Compare predicted source indices with the true ones.

    Raises:
        ValueError: If an index is outside [0, n_sources) or a source has no image, since its recall is undefined.
    """
    for name, indices in (("predicted", predicted), ("true", labels)):
        if outside := set(indices.tolist()) - set(range(n_sources)):
            raise ValueError(f"{name} source index {min(outside)}, expected 0 to {n_sources - 1}")
    pairs = labels.astype(np.int64) * n_sources + predicted  # published predictions are uint8 and would wrap
    confusion = np.bincount(pairs, minlength=n_sources**2).reshape(n_sources, n_sources)
    hits, shown, named = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    if not shown.all():
        raise ValueError(f"source {int(shown.argmin())} of {n_sources} has no test image; give it some or leave it out")
    recall = hits / shown
    return Attribution(
        balanced_accuracy=float(recall.mean()),
        accuracy=float(hits.sum() / shown.sum()),
        macro_f1=float((2 * hits / (shown + named)).mean()),
        recall=tuple(recall.tolist()),
        confusion=tuple(map(tuple, confusion.tolist())),
    )
