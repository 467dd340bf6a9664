"""What an accuracy is worth: its interval over images, its spread over seeds, and which methods it cannot tell apart.

Images of one group (a photograph, a prompt) rise and fall together, so groups are drawn, within each source. Every
column of a board is drawn with the same resamples, which pairs them.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

RESAMPLES = 2000
SEED = 0  # of the resamples: fixed, so that a board is the same each time
LEVEL = 0.95
_DRAWS = 2**21  # random numbers held at a time


def mean_credit(credit: Float[np.ndarray, "m n"], labels: Integer[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    """Return the mean over sources of the mean credit of their images, one value per row of ``credit``.

    Where credit is whether an image's source was named, this is balanced accuracy.
    """
    recalls = [credit[:, labels == source].mean(axis=1) for source in np.unique(labels)]
    mean: Float[np.ndarray, " m"] = np.mean(recalls, axis=0)
    return mean


def bootstrap(
    credit: Float[np.ndarray, "m n"],
    labels: Integer[np.ndarray, " n"],
    groups: Shaped[np.ndarray, " n"],
    resamples: int = RESAMPLES,
) -> Float[np.ndarray, "r m"]:
    """Return `mean_credit` of resampled images, the same resamples for every row of ``credit``.

    Args:
        credit: Credit per image in [0, 1], averaged over seeds; one row per column of the board.
        labels: Source index per image.
        groups: What ties images together, per image; within a source, groups are drawn with replacement.
        resamples: How often.
    """
    recalls = np.zeros((resamples, len(credit)))
    strata = _strata(labels, groups)
    rng = np.random.Generator(np.random.Philox(SEED))
    for images, starts, sizes in strata:
        sums = np.add.reduceat(credit[:, images], starts, axis=1)
        weights = _weights(len(sizes), resamples, rng)
        recalls += np.concatenate([_weighted(drawn, sums) / _weighted(drawn, sizes[None]) for drawn in weights])
    return recalls / len(strata)


def _weighted(drawn: Float[np.ndarray, "b g"], sums: Shaped[np.ndarray, "m g"]) -> Float[np.ndarray, "b m"]:
    """Return ``drawn @ sums.T``, added up group by group: a product of matrices rounds as each processor likes."""
    total = np.zeros((len(drawn), len(sums)))
    for weights, credit in zip(drawn.T, sums.T, strict=True):
        total += weights[:, None] * credit
    return total


def image_weights(
    labels: Integer[np.ndarray, " n"], groups: Shaped[np.ndarray, " n"], resamples: int = RESAMPLES
) -> Iterator[Float[np.ndarray, "b n"]]:
    """Yield the resamples of `bootstrap`, in blocks: how often each image was drawn."""
    rng = np.random.Generator(np.random.Philox(SEED))
    strata = _strata(labels, groups)
    counts = [np.concatenate([d.astype(np.uint16) for d in _weights(len(s), resamples, rng)]) for _, _, s in strata]
    block = max(1, _DRAWS // len(labels))
    for start in range(0, resamples, block):
        weights = np.empty((min(block, resamples - start), len(labels)))
        for drawn, (images, _, sizes) in zip(counts, strata, strict=True):
            weights[:, images] = np.repeat(drawn[start : start + block], sizes, axis=1)
        yield weights


def _strata(
    labels: Integer[np.ndarray, " n"], groups: Shaped[np.ndarray, " n"]
) -> list[tuple[Integer[np.ndarray, " k"], Integer[np.ndarray, " g"], Integer[np.ndarray, " g"]]]:
    """Return for each source its images, sorted by group, and the start and size of each group among them."""
    strata = []
    for source in np.unique(labels):
        images = np.flatnonzero(labels == source)
        images = images[np.argsort(groups[images], kind="stable")]
        _, starts, sizes = np.unique(groups[images], return_index=True, return_counts=True)
        strata.append((images, starts, sizes))
    return strata


def _weights(groups: int, resamples: int, rng: np.random.Generator) -> Iterator[Float[np.ndarray, "r g"]]:
    """Yield, in blocks of resamples, how often each group was drawn."""
    block = max(1, _DRAWS // groups)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = (rng.random((rows, groups)) * groups).astype(np.int64)  # raw draws are stable across NumPy versions
        drawn += groups * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)


def interval(resampled: Float[np.ndarray, " r"]) -> tuple[float, float]:
    """Return the percentile interval of level `LEVEL`."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return low, high


def spread(values: Float[np.ndarray, " k"]) -> float | None:
    """Return the standard deviation over seeds with ddof 1, or None for a single seed."""
    return float(values.std(ddof=1)) if len(values) > 1 else None


def paired_p(differences: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " k"]:
    """Return two-sided p values of the hypothesis that a difference, resampled r times, is 0.

    None is below 2 / (r + 1), so after `holm` 2,000 resamples can tell apart at most 50 methods from the best at 5 %.
    """
    resamples = len(differences)
    fewer = np.minimum((differences <= 0).sum(axis=0), (differences >= 0).sum(axis=0))
    p: Float[np.ndarray, " k"] = np.minimum(1.0, 2 * (fewer + 1) / (resamples + 1))
    return p


def holm(p: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Return p values adjusted for k comparisons by Holm's step-down procedure."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def ties(accuracy: Float[np.ndarray, " m"], resampled: Float[np.ndarray, "r m"]) -> Bool[np.ndarray, " m"]:
    """Return which methods cannot be told from the best at 1 - `LEVEL`, the best among them.

    Args:
        accuracy: One value per method.
        resampled: Their values under common resamples, from `bootstrap`.
    """
    best = int(accuracy.argmax())
    others = np.delete(np.arange(len(accuracy)), best)
    tied = np.ones(len(accuracy), dtype=bool)
    tied[others] = holm(paired_p(resampled[:, [best]] - resampled[:, others])) >= 1 - LEVEL
    return tied
