"""How often intervals and marks are right: boards are simulated whose truth is known. Prints the tables of the page.

    python docs/coverage_study.py            # all of it: some minutes on one core
    python docs/coverage_study.py --quick    # few boards, to see that it runs

A simulated row has a recall per source and seed, drawn from a beta distribution whose mean is known and whose standard
deviation is that of its seeds; it is the same quantile in all sources, as a training that goes well does so everywhere.
An image's answer depends on how hard its group is, on how hard itself is, the same for all seeds, and on chance.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import betaincinv, ndtr, ndtri, polygamma, stdtrit

from gfp_bench.metrics.comparison import ByGroups, Rivals, alike, bootstrap_p, holm, not_above
from gfp_bench.metrics.confidence import (
    Clusters,
    Variance,
    interval_of,
    spread,
    variance_over_images,
    variance_over_seeds,
    welch,
)

SEEDS = 3
ROWS = 6  # stochastic rows of a board
RESAMPLES = 300
BY_GROUP, BY_IMAGE = 0.3, 0.3  # shares of the variance of what decides an answer; the rest is chance
DEVIATIONS = (0.0, 0.01, 0.04, 0.12)  # of seeds


@dataclass(frozen=True)
class Design:
    """The images of a column: so many groups in each source, of so many images."""

    sources: int
    groups: int
    size: int = 1

    def __str__(self) -> str:
        return f"{self.sources} x {self.groups}" + (f" of {self.size}" if self.size > 1 else "")

    @property
    def labels(self) -> np.ndarray:
        return np.repeat(np.arange(self.sources), self.groups * self.size)

    @property
    def names(self) -> np.ndarray:
        return np.repeat(np.arange(self.sources * self.groups), self.size)

    def clusters(self) -> Clusters:
        return Clusters.of(self.labels, self.names)


DESIGNS = (Design(5, 10), Design(5, 30), Design(15, 90), Design(15, 10, 9))
ACCURACIES = (0.25, 0.5, 0.9, 0.98)


def recalls(accuracy: float, deviation: float, design: Design, rng: np.random.Generator, seeds: int) -> np.ndarray:
    """Return (seeds, sources) recalls whose expected mean is the accuracy; sources differ."""
    slope = 0.6 * min(accuracy, 1 - accuracy) * np.linspace(-1, 1, design.sources)
    mean = np.clip(accuracy + slope, 1e-9, 1 - 1e-9)
    if not deviation:
        return np.tile(mean, (seeds, 1))
    variance = np.minimum(deviation**2, 0.4 * mean * (1 - mean))
    size = mean * (1 - mean) / variance - 1
    return np.asarray(betaincinv(mean * size, (1 - mean) * size, rng.random((seeds, 1))))


def answers(recall: np.ndarray, design: Design, rng: np.random.Generator, hard: np.ndarray) -> np.ndarray:
    """Return (seeds, images) whether each image's source was named, given how hard images are."""
    chance = rng.standard_normal((len(recall), len(hard))) * np.sqrt(1 - BY_GROUP - BY_IMAGE)
    right: np.ndarray = hard + chance < ndtri(recall)[:, design.labels]
    return right.astype(float)


def hardness(design: Design, rng: np.random.Generator) -> np.ndarray:
    by_group = rng.standard_normal(design.sources * design.groups)[design.names] * np.sqrt(BY_GROUP)
    return np.asarray(by_group + rng.standard_normal(len(design.labels)) * np.sqrt(BY_IMAGE))


def simulated(
    design: Design, rows: Sequence[tuple[float, float]], rng: np.random.Generator, seeds: int = SEEDS
) -> np.ndarray:
    """Return (rows, seeds, images) answers of rows, each an accuracy and a deviation; half of how hard is shared."""
    shared = hardness(design, rng)
    made = []
    for accuracy, deviation in rows:
        hard = np.sqrt(0.5) * (shared + hardness(design, rng))
        made.append(answers(recalls(accuracy, deviation, design, rng, seeds), design, rng, hard))
    return np.stack(made)


# --- intervals ---


@dataclass
class Column:
    """What is estimated of the rows of a simulated column before any interval."""

    values: np.ndarray  # (rows,)
    images: list[Variance]  # each row's, of the mean over seeds
    raw: list[float]  # the same without what is added for the unseen
    seeds: list[Variance]
    overlap: np.ndarray  # (rows,): the part of the seeds' variance that the images' has too
    worth: float
    by_seed: np.ndarray  # (rows, seeds, resamples): drawn again
    drawn: np.ndarray  # (resamples, seeds): how often each seed was drawn


def estimated(credit: np.ndarray, clusters: Clusters, weights: np.ndarray, drawn: np.ndarray) -> Column:
    rows, seeds, _ = credit.shape
    parts = clusters.parts(credit.reshape(rows * seeds, -1)).reshape(rows, seeds, -1)
    mean = parts.mean(axis=1)
    raw = [variance_over_images(one, clusters, bounded=False).value for one in mean]
    each = [np.mean([variance_over_images(one, clusters, bounded=False).value for one in row]) for row in parts]
    return Column(
        values=mean.sum(axis=1),
        images=[variance_over_images(one, clusters) for one in mean],
        raw=raw,
        seeds=[variance_over_seeds(row.sum(axis=1)) for row in parts],
        overlap=(np.array(each) - raw) / max(seeds - 1, 1),
        worth=clusters.worth,
        by_seed=(parts.reshape(rows * seeds, -1) @ weights.T).reshape(rows, seeds, -1),
        drawn=drawn,
    )


def resample_weights(clusters: Clusters, rng: np.random.Generator) -> np.ndarray:
    """Return (resamples, clusters) how often each cluster is drawn; here all have one size."""
    parts = [rng.multinomial(count, np.full(count, 1 / count), RESAMPLES) for count in clusters.counts]
    return np.concatenate(parts, axis=1).astype(float)


Ends = Iterator[tuple[float, float]]


def images_alone(column: Column) -> Ends:
    """Percentiles of resampled groups: what boards had before."""
    yield from map(tuple, np.quantile(column.by_seed.mean(axis=1), [0.025, 0.975], axis=1).T)


def both_resampled(column: Column) -> Ends:
    """Percentiles of resampled groups and seeds."""
    both = np.einsum("rsd,ds->rd", column.by_seed, column.drawn) / column.drawn.shape[1]
    yield from map(tuple, np.quantile(both, [0.025, 0.975], axis=1).T)


def _symmetric(values: np.ndarray, variances: Sequence[float], freedom: Sequence[float]) -> Ends:
    for value, variance, known in zip(values, variances, freedom, strict=True):
        half = stdtrit(known, 0.975) * np.sqrt(variance)
        yield value - half, value + half


def normal(column: Column) -> Ends:
    """Both variances, normal quantile."""
    total = [raw + seeds.value for raw, seeds in zip(column.raw, column.seeds, strict=True)]
    yield from _symmetric(column.values, total, [1e9] * len(total))


def own_t(column: Column) -> Ends:
    """Both variances, t with Satterthwaite's degrees of freedom."""
    yield from _with_seeds(column, column.seeds)


def _with_seeds(column: Column, seeds: Sequence[Variance]) -> Ends:
    parts = [
        [Variance(raw, images.freedom), one]
        for raw, images, one in zip(column.raw, column.images, seeds, strict=True)
    ]
    totals = [sum(one.value for one in pair) for pair in parts]
    yield from _symmetric(column.values, totals, [min(welch(pair), 1e9) for pair in parts])


def less_overlap(column: Column) -> Ends:
    """As before, less what both variances have in common."""
    less = [
        Variance(max(one.value - overlap, 0.0), one.freedom)
        for one, overlap in zip(column.seeds, column.overlap, strict=True)
    ]
    yield from _with_seeds(column, less)


def pooled(column: Column) -> Ends:
    """As own t, the seeds' variance averaged over the rows of the column."""
    mean, freedom = np.mean([one.value for one in column.seeds]), sum(one.freedom for one in column.seeds)
    yield from _with_seeds(column, [Variance(float(mean), freedom)] * len(column.seeds))


def moderated(column: Column) -> Ends:
    """As own t, the seeds' variance drawn towards that of the column as far as the rows agree (Smyth 2004)."""
    own, freedom = np.array([max(one.value, 1e-12) for one in column.seeds]), column.seeds[0].freedom
    logs = np.log(own) - polygamma(0, freedom / 2) + np.log(freedom / 2)
    excess = logs.var(ddof=1) - polygamma(1, freedom / 2)
    if excess <= 0:
        yield from _with_seeds(column, [Variance(float(np.exp(logs.mean())), 1e9)] * len(own))
        return
    prior = 2 * _inverse_trigamma(float(excess))
    centre = np.exp(logs.mean() + polygamma(0, prior / 2) - np.log(prior / 2))
    drawn = (prior * centre + freedom * own) / (prior + freedom)
    yield from _with_seeds(column, [Variance(float(one), prior + freedom) for one in drawn])


def _inverse_trigamma(value: float) -> float:
    low, high = 1e-6, 1e6
    for _ in range(200):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if polygamma(1, middle) > value else (low, middle)
    return float(np.sqrt(low * high))


def _in_squares(column: Column, seeds: Sequence[Variance]) -> Ends:
    for value, raw, images, one in zip(column.values, column.raw, column.images, seeds, strict=True):
        half = np.hypot(
            stdtrit(min(images.freedom, 1e9), 0.975) * np.sqrt(raw), stdtrit(one.freedom, 0.975) * np.sqrt(one.value)
        )
        yield value - half, value + half


def own_quantiles(column: Column) -> Ends:
    """A t interval over images and one over seeds, added in squares (Howe 1974)."""
    yield from _in_squares(column, column.seeds)


def own_quantiles_less(column: Column) -> Ends:
    yield from _in_squares(column, [Variance(max(one.value - overlap, 0.0), one.freedom) for one, overlap in zip(column.seeds, column.overlap, strict=True)])


def chosen(column: Column) -> Ends:
    """What boards have: own t, Wilson's over images."""
    for value, images, seeds in zip(column.values, column.images, column.seeds, strict=True):
        yield interval_of(float(value), images, seeds, worth=column.worth)


CANDIDATES: dict[str, Callable[[Column], Ends]] = {
    "images alone": images_alone,
    "both resampled": both_resampled,
    "normal": normal,
    "own t": own_t,
    "less overlap": less_overlap,
    "own quantiles": own_quantiles,
    "own quantiles less": own_quantiles_less,
    "pooled": pooled,
    "moderated": moderated,
    "chosen": chosen,
}


def coverage(
    design: Design, rows: Sequence[tuple[float, float]], boards: int, rng: np.random.Generator, seeds: int = SEEDS
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return for every candidate the share of boards on which each row's interval has the truth, and median widths."""
    clusters = design.clusters()
    weights = resample_weights(clusters, rng)
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)
    truth = np.array([accuracy for accuracy, _ in rows])
    hits = {name: np.zeros(len(rows)) for name in CANDIDATES}
    widths: dict[str, list[np.ndarray]] = {name: [] for name in CANDIDATES}
    for _ in range(boards):
        column = estimated(simulated(design, rows, rng, seeds), clusters, weights, drawn)
        for name, candidate in CANDIDATES.items():
            low, high = np.array(list(candidate(column))).T
            hits[name] += (low <= truth + 1e-9) & (truth - 1e-9 <= high)
            widths[name].append(high - low)
    medians = {name: np.median(found, axis=0) for name, found in widths.items()}
    return {name: found / boards for name, found in hits.items()}, medians
