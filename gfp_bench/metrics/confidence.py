"""What a mean over images and seeds is worth: its variance from both, and its interval.

Images of one group (a photograph, a prompt) rise and fall together, and so do the answers of one training: groups are
what images are counted in, and seeds a sample of the trainings that there might be. ``docs/statistics.md`` has the
formulas, what they were chosen from and how often they are right. Sums here are added up in one order, never by a
product of matrices, so that a board is the same text on every processor.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
from jaxtyping import Float, Integer, Shaped

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


@dataclass(frozen=True, eq=False)
class Clusters:
    """How the images of a column lie in sources and groups; a cluster is the images of one group in one source.

    Attributes:
        images: Their positions, cluster by cluster, those of a source together.
        starts: Where each cluster begins among them.
        sizes: How many images each has.
        source: The source of each, from 0.
        group: The group of each, from 0; a group may lie in several sources.
    """

    images: Integer[np.ndarray, " n"]
    starts: Integer[np.ndarray, " c"]
    sizes: Integer[np.ndarray, " c"]
    source: Integer[np.ndarray, " c"]
    group: Integer[np.ndarray, " c"]

    @classmethod
    def of(cls, labels: Integer[np.ndarray, " n"], groups: Shaped[np.ndarray, " n"]) -> "Clusters":
        """Return the clusters of images, given the source and the group of each."""
        source, group = (np.unique(values, return_inverse=True)[1] for values in (labels, groups))
        images = np.lexsort((group, source))
        pairs = source[images] * (int(group.max()) + 1) + group[images]
        _, starts, sizes = np.unique(pairs, return_index=True, return_counts=True)
        first = images[starts]
        return cls(images, starts, sizes, source[first], group[first])

    @cached_property
    def shares(self) -> Float[np.ndarray, " c"]:
        """What each cluster would add to the mean over sources if all of its images earned 1."""
        totals = np.bincount(self.source, weights=self.sizes)
        shares: Float[np.ndarray, " c"] = self.sizes / totals[self.source] / len(totals)
        return shares

    @cached_property
    def first(self) -> Integer[np.ndarray, " s"]:
        """Where each source begins among the clusters."""
        return np.unique(self.source, return_index=True)[1]

    @cached_property
    def counts(self) -> Integer[np.ndarray, " s"]:
        """How many groups each source has."""
        return np.bincount(self.source)

    @cached_property
    def effective(self) -> Float[np.ndarray, " s"]:
        """How many groups of one size would be worth as much as those of each source (Kish)."""
        squares = np.bincount(self.source, weights=np.square(self.sizes))
        effective: Float[np.ndarray, " s"] = np.bincount(self.source, weights=self.sizes) ** 2 / squares
        return effective

    @cached_property
    def worth(self) -> float:
        """The number of independent images that would tell as much of an accuracy that is the same in all sources."""
        return float(len(self.counts) ** 2 / (1 / self.effective).sum())

    def parts(self, credit: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m c"]:
        """Return what each cluster adds to `mean_credit`."""
        sums = np.add.reduceat(credit[:, self.images], self.starts, axis=1)
        parts: Float[np.ndarray, "m c"] = sums / self.sizes * self.shares
        return parts

    def by_group(self, parts: Float[np.ndarray, "m c"]) -> Float[np.ndarray, "m g"]:
        """Return the sums of clusters of one group, over sources."""
        order = np.argsort(self.group, kind="stable")
        _, starts = np.unique(self.group[order], return_index=True)
        sums: Float[np.ndarray, "m g"] = np.add.reduceat(parts[:, order], starts, axis=1)
        return sums


@dataclass(frozen=True)
class Variance:
    """An estimated variance of a mean, and the degrees of freedom that it is known with."""

    value: float
    freedom: float


def variance_over_images(parts: Float[np.ndarray, " c"], clusters: Clusters, *, bounded: bool = True) -> Variance:
    """Return the variance of a mean that comes of its images, groups being the sample.

    Args:
        parts: What each cluster adds to the mean, from `Clusters.parts`; a difference of two such also.
        clusters: How images lie in sources and groups.
        bounded: Whether the mean is one of credit, so that in every source some room is left for what was not seen:
            as much over all sources as two more groups right and two more wrong would give.
    """
    recall = np.add.reduceat(parts, clusters.first) * len(clusters.counts)
    single = clusters.counts == 1
    factor = np.sqrt(clusters.counts / np.maximum(clusters.counts - 1, 1))
    residuals = (parts - recall[clusters.source] * clusters.shares) * factor[clusters.source]
    sources = len(clusters.counts)
    widest = np.where(single, 0.25 / sources**2, 0.0)  # of one group nothing is known
    unseen = 2 / sources / (sources * clusters.effective + 4) ** 2 if bounded else np.zeros(sources)
    by_source = np.add.reduceat(np.square(residuals), clusters.first) + widest + unseen
    value = float(np.square(clusters.by_group(residuals[None])).sum() + widest.sum() + unseen.sum())
    known = welch([Variance(one, max(n - 1, 1)) for one, n in zip(by_source, clusters.counts.tolist(), strict=True)])
    return Variance(value, min(known, max(int(clusters.group.max()), 1)))


def variance_over_resamples(resampled: Float[np.ndarray, " r"], clusters: Clusters, *, worth: float | None) -> Variance:
    """Return the variance over images of a measure that is no mean of credit.

    Args:
        resampled: Its values under resamples of the groups.
        clusters: How images lie in sources and groups.
        worth: How many images it is worth if it is a fraction: then room is left for what was not seen, as two groups
            right and two wrong would give.
    """
    unseen = 2 / (worth + 4) ** 2 if worth is not None else 0.0
    return Variance(max(float(resampled.var()), unseen), float(max((clusters.counts - 1).sum(), 1)))


def variance_over_seeds(values: Float[np.ndarray, " k"]) -> Variance:
    """Return the variance of the mean of one value per seed; none of a single one, which says nothing about others."""
    count = len(values)
    return Variance(float(values.var(ddof=1)) / count, count - 1) if count > 1 else Variance(0.0, 1)


def welch(variances: Sequence[Variance]) -> float:
    """Return the degrees of freedom of a sum of independent variances, by Satterthwaite's formula."""
    total = sum(one.value for one in variances)
    parts = sum(one.value**2 / one.freedom for one in variances)
    return total**2 / parts if parts > 0 else min(one.freedom for one in variances)


def interval_of(value: float, images: Variance, seeds: Variance, *, worth: float | None) -> tuple[float, float]:
    """Return the interval of level `LEVEL` of a mean over images and seeds, rounded to six decimals.

    A t interval over images and one over seeds, each with its own degrees of freedom, are added in squares on either
    side (Howe 1974). That over images is Wilson's for fractions, so it has width at 0 and at 1 and stays between them.

    Args:
        value: The mean.
        images: Its variance over images.
        seeds: Its variance over seeds.
        worth: `Clusters.worth` of a mean between 0 and 1; None for one without bounds.
    """
    from scipy.special import stdtrit

    over_images, over_seeds = (float(stdtrit(one.freedom, (1 + LEVEL) / 2)) for one in (images, seeds))
    by_seeds = over_seeds**2 * seeds.value
    if worth is None:
        half = sqrt(over_images**2 * images.value + by_seeds)
        return round(value - half, 6), round(value + half, 6)
    low, high = _wilson(value, images.value, worth, over_images)
    below, above = (sqrt((value - end) ** 2 + by_seeds) for end in (low, high))
    return round(max(value - below, 0.0), 6), round(min(value + above, 1.0), 6)


def _wilson(value: float, variance: float, worth: float, quantile: float) -> tuple[float, float]:
    """Return Wilson's interval of a fraction with as many images as give its variance."""
    inner = (value * worth + 2) / (worth + 4)
    count = inner * (1 - inner) / variance
    widening = quantile**2 / count
    centre = (value + widening / 2) / (1 + widening)
    half = sqrt(widening * (value * (1 - value) + widening / 4)) / (1 + widening)
    return min(centre - half, value), max(centre + half, value)
