"""How well the sources of images were named, from arg-max predictions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Integer


def attribution_metrics(
    predicted: Integer[np.ndarray, " n"], labels: Integer[np.ndarray, " n"], sources: Sequence[str]
) -> dict[str, Any]:
    """Return metrics of predicted against true source indices, fractions in [0, 1], ready for JSON.

    ``balanced_accuracy`` (mean of the sources' recalls, the headline), ``accuracy``, ``macro_f1`` (a source that is
    never predicted has F1 0), ``recall`` by source, and ``confusion``: counts, a row a true source, a column a
    predicted one.

    Args:
        predicted: Indices into ``sources``.
        labels: Likewise.
        sources: Names in sorted order.

    Raises:
        ValueError: If an index names no source, or a source has no image and so no recall.
    """
    count = len(sources)
    for name, indices in (("predicted", predicted), ("true", labels)):
        if outside := set(indices.tolist()) - set(range(count)):
            raise ValueError(f"{name} source index {min(outside)}, expected 0 to {count - 1}")
    pairs = labels.astype(np.int64) * count + predicted  # published predictions are uint8 and would wrap
    confusion = np.bincount(pairs, minlength=count**2).reshape(count, count)
    hits, shown, named = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    if not shown.all():
        raise ValueError(f"source {sources[int(shown.argmin())]!r} has no test image; give it some or leave it out")
    recall = hits / shown
    return {
        "balanced_accuracy": float(recall.mean()),
        "accuracy": float(hits.sum() / shown.sum()),
        "macro_f1": float((2 * hits / (shown + named)).mean()),
        "recall": dict(zip(sources, recall.tolist(), strict=True)),
        "confusion": confusion.tolist(),
    }


# TEMPORARY while two names are in flight; the one that tasks/attribution.py does not use goes away
from dataclasses import dataclass  # noqa: E402


@dataclass(frozen=True)
class Attribution:  # noqa: D101
    balanced_accuracy: float
    accuracy: float
    macro_f1: float
    recall: dict[str, float]
    confusion: list[list[int]]


def attribution(  # noqa: D103
    predicted: Integer[np.ndarray, " n"], labels: Integer[np.ndarray, " n"], n_sources: int
) -> Attribution:
    return Attribution(**attribution_metrics(predicted, labels, [str(i) for i in range(n_sources)]))
