"""How often intervals and marks are right: boards are simulated whose truth is known. Prints the tables of the page.

    python docs/coverage_study.py            # all of it: about ten minutes on one core
    python docs/coverage_study.py --quick    # few boards, to see that it runs

A simulated row has a recall per source and seed, drawn from a beta distribution whose mean is known and whose standard
deviation is that of its seeds; it is the same quantile in all sources, as a training that goes well does so everywhere.
An image's answer depends on how hard its group is, on how hard itself is, the same for all seeds, and on chance.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, ndtri, polygamma, stdtr, stdtrit
from tabulate import tabulate

from gfp_bench.metrics.comparison import ByGroups, Evidence, Rivals, alike, bootstrap_p, holm, not_above
from gfp_bench.metrics.confidence import (
    Clusters,
    Variance,
    interval_of,
    variance_over_images,
    variance_over_seeds,
    welch,
)

SEEDS = 3
ROWS = 6  # stochastic rows of a board
RESAMPLES = 300
BY_GROUP, BY_IMAGE = 0.3, 0.3  # shares of the variance of what decides an answer; the rest is chance
DEVIATIONS = (0.0, 0.01, 0.04, 0.12)  # of seeds
MIXED = (0.0, 0.01, 0.01, 0.04, 0.04, 0.12)  # of the rows of one board


@dataclass(frozen=True)
class Design:
    """The images of a column: so many groups in each source, of so many images; shared, the same in all sources."""

    sources: int
    groups: int
    size: int = 1
    shared: bool = False

    def __str__(self) -> str:
        """Return the design in words."""
        size = f" of {self.size}" if self.size > 1 else ""
        return f"{self.sources} x {self.groups}{size}" + (", shared" if self.shared else "")

    @property
    def labels(self) -> np.ndarray:
        """The source of each image."""
        return np.repeat(np.arange(self.sources), self.groups * self.size)

    @property
    def names(self) -> np.ndarray:
        """The group of each image."""
        groups = np.repeat(np.arange(self.sources * self.groups), self.size)
        return groups % self.groups if self.shared else groups

    def clusters(self) -> Clusters:
        """Return how its images lie in sources and groups."""
        return Clusters.of(self.labels, self.names)


DESIGNS = (Design(5, 10), Design(5, 30), Design(15, 90), Design(15, 10, size=9))
ACCURACIES = (0.25, 0.5, 0.9, 0.98)
Spread = Callable[[np.ndarray, np.random.Generator, int], np.ndarray]
"""From mean recalls (sources,) to those of some seeds (seeds, sources)."""


def beta(deviation: float) -> Spread:
    """Return seeds whose recalls are beta distributed, with one quantile for all sources: training goes well or not."""

    def spread(mean: np.ndarray, rng: np.random.Generator, seeds: int) -> np.ndarray:
        if not deviation:
            return np.tile(mean, (seeds, 1))
        size = mean * (1 - mean) / np.minimum(deviation**2, 0.4 * mean * (1 - mean)) - 1
        return np.asarray(betaincinv(mean * size, (1 - mean) * size, rng.random((seeds, 1))))

    return spread


def collapsing(share: float) -> Spread:
    """Return seeds of which a share ends at a quarter of the mean, the others above it."""

    def spread(mean: np.ndarray, rng: np.random.Generator, seeds: int) -> np.ndarray:
        fallen = rng.random((seeds, 1)) < share
        return np.where(fallen, mean / 4, mean * (1 - share / 4) / (1 - share))

    return spread


def recalls(accuracy: float, sources: int) -> np.ndarray:
    """Return mean recalls that differ between sources."""
    slope = 0.6 * min(accuracy, 1 - accuracy) * np.linspace(-1, 1, sources)
    return np.asarray(accuracy + slope)


def hardness(design: Design, rng: np.random.Generator) -> np.ndarray:
    """Return how hard images are, normal, alike within groups."""
    by_group = rng.standard_normal(int(design.names.max()) + 1)[design.names] * np.sqrt(BY_GROUP)
    return np.asarray(by_group + rng.standard_normal(len(design.labels)) * np.sqrt(BY_IMAGE))


def simulated(
    design: Design, rows: Sequence[tuple[float, Spread]], rng: np.random.Generator, seeds: int = SEEDS
) -> np.ndarray:
    """Return (rows, seeds, images) answers of rows, 1 where right; half of how hard an image is, all rows share."""
    shared = hardness(design, rng)
    made = []
    for accuracy, spread in rows:
        hard = np.sqrt(0.5) * (shared + hardness(design, rng))
        chance = rng.standard_normal((seeds, len(hard))) * np.sqrt(1 - BY_GROUP - BY_IMAGE)
        recall = spread(recalls(accuracy, design.sources), rng, seeds)
        made.append(hard + chance < ndtri(recall)[:, design.labels])
    return np.stack(made).astype(float)


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
    """Return what all candidates start from."""
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
        [Variance(raw, images.freedom), one] for raw, images, one in zip(column.raw, column.images, seeds, strict=True)
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


def chosen(column: Column) -> Ends:
    """What boards have: own quantiles, Wilson's over images."""
    for value, images, seeds in zip(column.values, column.images, column.seeds, strict=True):
        yield interval_of(float(value), images, seeds, worth=column.worth)


CANDIDATES: dict[str, Callable[[Column], Ends]] = {
    "images alone": images_alone,
    "both resampled": both_resampled,
    "normal": normal,
    "own t": own_t,
    "less overlap": less_overlap,
    "own quantiles": own_quantiles,
    "pooled": pooled,
    "moderated": moderated,
    "chosen": chosen,
}


@dataclass
class Covered:
    """What became of a candidate, by row.

    Attributes:
        share: Of the boards on which the interval has the truth.
        width: Median, over that of 1.96 true standard deviations on either side.
    """

    share: np.ndarray
    width: np.ndarray


def coverage(
    design: Design,
    rows: Sequence[tuple[float, Spread]],
    boards: int,
    rng: np.random.Generator,
    *,
    seeds: int = SEEDS,
    candidates: Sequence[str] = tuple(CANDIDATES),
) -> dict[str, Covered]:
    """Simulate boards and return what became of the candidates' intervals."""
    clusters = design.clusters()
    weights, drawn = resample_weights(clusters, rng), rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)
    truth = np.array([accuracy for accuracy, _ in rows])
    columns = [estimated(simulated(design, rows, rng, seeds), clusters, weights, drawn) for _ in range(boards)]
    ideal = 2 * 1.96 * np.maximum(np.std([column.values for column in columns], axis=0), 1e-6)
    found = {}
    for name in candidates:
        ends = np.array([list(CANDIDATES[name](column)) for column in columns])  # (boards, rows, 2)
        inside = (ends[..., 0] <= truth + 1e-9) & (truth - 1e-9 <= ends[..., 1])
        found[name] = Covered(inside.mean(axis=0), np.median(ends[..., 1] - ends[..., 0], axis=0) / ideal)
    return found


# --- marks ---


def _told(p: np.ndarray) -> np.ndarray:
    return np.asarray(holm(p) < 0.05)


def resampled_marks(
    credit: np.ndarray, clusters: Clusters, rivals: Rivals, best: int, weights: np.ndarray
) -> np.ndarray:
    """Return which rows differ from the best by a paired bootstrap over images: what boards had before."""
    drawn = clusters.parts(credit.mean(axis=1)) @ weights.T
    return _told(bootstrap_p(np.delete(drawn, best, axis=0) - drawn[best]))


def flipped_marks(credit: np.ndarray, clusters: Clusters, rivals: Rivals, best: int, weights: np.ndarray) -> np.ndarray:
    """Return which rows differ by signs flipped, over images alone."""
    others = [row for row in range(len(credit)) if row != best]
    return _told(rivals.evidence.differences(others, best, one_sided=False)[0])


def welch_marks(credit: np.ndarray, clusters: Clusters, rivals: Rivals, best: int, weights: np.ndarray) -> np.ndarray:
    """Return which rows differ by a t test with Satterthwaite's degrees of freedom."""
    others = [row for row in range(len(credit)) if row != best]
    _, images = rivals.evidence.differences(others, best, one_sided=False)
    p = []
    for row, one in zip(others, images, strict=True):
        variances = [one, rivals.seeds[row], rivals.seeds[best]]
        total = sum(variance.value for variance in variances)
        t = abs(rivals.values[row] - rivals.values[best]) / np.sqrt(total) if total else 0.0
        p.append(2 * stdtr(welch(variances), -t))
    return _told(np.array(p))


def chosen_marks(credit: np.ndarray, clusters: Clusters, rivals: Rivals, best: int, weights: np.ndarray) -> np.ndarray:
    """Return which rows boards tell from the best."""
    return np.delete(~alike(rivals, range(len(credit)), best), best)


MARKS: dict[str, Callable[..., np.ndarray]] = {
    "resampled images": resampled_marks,
    "flips alone": flipped_marks,
    "Welch's t": welch_marks,
    "chosen": chosen_marks,
}


class Once(Evidence):
    """What the images say, worked out once for all tests of a board."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.known: dict[tuple[tuple[int, ...], int, bool], tuple[np.ndarray, list[Variance]]] = {}

    def differences(self, rows: Sequence[int], other: int, *, one_sided: bool) -> tuple[np.ndarray, list[Variance]]:
        """Return what the evidence returns."""
        key = tuple(rows), other, one_sided
        if key not in self.known:
            self.known[key] = self.evidence.differences(rows, other, one_sided=one_sided)
        return self.known[key]


def rivals_of(credit: np.ndarray, clusters: Clusters) -> Rivals:
    """Return rows as boards compare them."""
    parts = clusters.parts(credit.reshape(-1, credit.shape[2])).reshape(*credit.shape[:2], -1)
    seeds = [variance_over_seeds(row.sum(axis=1)) for row in parts]
    return Rivals(parts.mean(axis=1).sum(axis=1), seeds, Once(ByGroups(parts.mean(axis=1), clusters)))


def comparisons(
    design: Design, rows: Sequence[tuple[float, Spread]], boards: int, rng: np.random.Generator, seeds: int = SEEDS
) -> dict[str, tuple[float, float]]:
    """Return by test: the share of boards that tell any row from the best, and of the rows that are told from it."""
    clusters = design.clusters()
    weights = resample_weights(clusters, rng)
    found: dict[str, list[np.ndarray]] = {name: [] for name in MARKS}
    for _ in range(boards):
        credit = simulated(design, rows, rng, seeds)
        rivals = rivals_of(credit, clusters)
        best = int(rivals.values.argmax())
        for name, marks in MARKS.items():
            found[name].append(marks(credit, clusters, rivals, best, weights))
    return {name: (float(np.mean([m.any() for m in all_])), float(np.mean(all_))) for name, all_ in found.items()}


def above_a_floor(
    design: Design, accuracy: float, floor: float, spread: Spread, boards: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the shares of boards and of rows that are found above a deterministic floor, of `ROWS` contenders."""
    clusters = design.clusters()
    found = []
    for _ in range(boards):
        credit = simulated(design, [(accuracy, spread)] * ROWS + [(floor, beta(0.0))], rng)
        credit[-1] = credit[-1, :1]  # one answer, whatever the seed
        found.append(~not_above(rivals_of(credit, clusters), range(ROWS), ROWS))
    return float(np.mean([one.any() for one in found])), float(np.mean(found))


# --- tables ---


def percent(value: float) -> str:
    """Return a share in percent."""
    return f"{100 * value:.1f}"


def show(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print a table."""
    table = tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True)
    sys.stdout.write(f"\n### {title}\n\n{table}\n")
    sys.stdout.flush()


def feasible(accuracy: float) -> list[float]:
    """Return the deviations of seeds that a symmetric distribution can have about an accuracy."""
    return [one for one in DEVIATIONS if one <= 0.5 * min(accuracy, 1 - accuracy)]


def intervals(boards: int, rng: np.random.Generator, step: int) -> None:
    """Print how often each candidate covers, and how wide it is."""
    alike_, mixed = {}, {}
    for design in DESIGNS[::step]:
        for accuracy in ACCURACIES:
            for deviation in feasible(accuracy):
                key = design, accuracy, deviation
                alike_[key] = coverage(design, [(accuracy, beta(deviation))] * ROWS, boards, rng)
            if feasible(accuracy) == list(DEVIATIONS):
                mixed[design, accuracy] = coverage(design, [(accuracy, beta(one)) for one in MIXED], boards * 2, rng)
    rows = []
    for deviation in DEVIATIONS:
        own = [found for (_, _, one), found in alike_.items() if one == deviation]
        shares = {name: [found[name].share.mean() for found in own] for name in CANDIDATES}
        rows.append({"seeds differ by": percent(deviation), "rows": "alike"} | _worst(shares))
        places = [place for place, one in enumerate(MIXED) if one == deviation]
        shares = {name: [found[name].share[places].mean() for found in mixed.values()] for name in CANDIDATES}
        rows.append({"seeds differ by": percent(deviation), "rows": "mixed"} | _worst(shares))
    show("Coverage: mean (lowest) over designs and accuracies", rows)
    widths = []
    for deviation in DEVIATIONS:
        own = [found for (_, _, one), found in alike_.items() if one == deviation]
        means = {name: np.mean([found[name].width.mean() for found in own]) for name in CANDIDATES}
        widths.append({"seeds differ by": percent(deviation)} | {name: f"{one:.2f}" for name, one in means.items()})
    show("Width: median over the ideal", widths)
    rows = [
        {"sources x groups": design, "seeds differ by": percent(deviation)}
        | {
            percent(accuracy): percent(alike_[design, accuracy, deviation]["chosen"].share.mean())
            if (design, accuracy, deviation) in alike_
            else ""
            for accuracy in ACCURACIES
        }
        for design in DESIGNS[::step]
        for deviation in DEVIATIONS
    ]
    show("Coverage of the chosen interval, by accuracy", rows)


def _worst(shares: Mapping[str, Sequence[float]]) -> dict[str, str]:
    return {name: f"{percent(float(np.mean(one)))} ({percent(min(one))})" for name, one in shares.items()}


def limits(boards: int, rng: np.random.Generator, step: int) -> None:
    """Print where the chosen interval is right and wrong outside of that."""
    cases: list[tuple[str, Design, float, Spread, int]] = [
        *((f"{count} seeds", Design(15, 90), 0.5, beta(0.04), count) for count in (2, 3, 5, 10)),
        ("one seed of a stochastic row", Design(15, 90), 0.5, beta(0.04), 1),
        ("deterministic, near 100 %", Design(5, 30), 0.995, beta(0.0), 1),
        ("deterministic, nearer 100 %", Design(5, 30), 0.999, beta(0.0), 1),
        ("deterministic, nearer 100 %", Design(15, 90), 0.999, beta(0.0), 1),
        ("deterministic, few groups", Design(5, 3, size=20), 0.5, beta(0.0), 1),
        ("deterministic, few groups", Design(5, 5, size=20), 0.5, beta(0.0), 1),
        ("deterministic, ten groups", Design(5, 10, size=20), 0.5, beta(0.0), 1),
        ("deterministic, groups in all sources", Design(5, 10, size=20, shared=True), 0.5, beta(0.0), 1),
        ("deterministic, groups in all sources", Design(15, 40, shared=True), 0.5, beta(0.0), 1),
        *((f"one training in five collapses, {count} seeds", Design(15, 90), 0.5, collapsing(0.2), count)
          for count in (3, 5, 10)),
        ("accuracy 98, seeds by 4, very skewed", Design(15, 90), 0.98, beta(0.04), 3),
    ]  # fmt: skip
    rows = []
    for title, design, accuracy, spread, seeds in cases[::step]:
        names = ("images alone", "chosen")
        found = coverage(design, [(accuracy, spread)] * ROWS, boards, rng, seeds=seeds, candidates=names)
        rows.append(
            {"case": title, "sources x groups": design, "accuracy": percent(accuracy)}
            | {name: percent(float(found[name].share.mean())) for name in names}
            | {"width over ideal": f"{found['chosen'].width.mean():.2f}"}
        )
    show("Limits: coverage", rows)


def marks(boards: int, rng: np.random.Generator, step: int) -> None:
    """Print how often rows are told from the best, wrongly and rightly."""
    cases = [
        *((f"{count} equal rows", design, [0.5] * count, deviation, SEEDS)
          for design in (Design(5, 30), Design(15, 30)) for count in (2, ROWS) for deviation in DEVIATIONS),
        *((f"{count} equal rows, deterministic", design, [accuracy] * count, 0.0, 1)
          for design, accuracy in ((Design(5, 10), 0.98), (Design(5, 30), 0.9), (Design(15, 30), 0.5))
          for count in (2, ROWS)),
        *((f"one row {100 * more:.0f} points better", Design(15, 30), [0.5 + more, *[0.5] * 5], deviation, SEEDS)
          for more, deviation in ((0.05, 0.0), (0.05, 0.01), (0.05, 0.04), (0.2, 0.04), (0.3, 0.04), (0.3, 0.12))),
        ("one row 5 points better, deterministic", Design(15, 30), [0.55, *[0.5] * 5], 0.0, 1),
    ]  # fmt: skip
    rows = []
    for title, design, accuracies, deviation, seeds in cases[::step]:
        found = comparisons(design, [(one, beta(deviation)) for one in accuracies], boards, rng, seeds)
        any_of = len(set(accuracies)) == 1
        rows.append(
            {
                "boards": title,
                "sources x groups": design,
                "accuracy": percent(accuracies[-1]),
                "seeds differ by": percent(deviation) if seeds > 1 else "",
                "share of": "boards" if any_of else "rows",
            }
            | {name: percent(one[0 if any_of else 1]) for name, one in found.items()}
        )
    show("Told from the best", rows)


def floors(boards: int, rng: np.random.Generator, step: int) -> None:
    """Print how often rows are found above a floor, wrongly and rightly."""
    rows = []
    over = ((0.0, 0.0), (0.0, 0.04), (0.0, 0.12), (0.05, 0.0), (0.05, 0.01), (0.2, 0.04), (0.4, 0.12))
    for more, deviation in over[::step]:
        found = above_a_floor(Design(15, 30), 0.3 + more, 0.3, beta(deviation), boards, rng)
        rows.append(
            {
                "above the floor by": percent(more),
                "seeds differ by": percent(deviation),
                "boards with a row above": percent(found[0]),
                "rows above": percent(found[1]),
            }
        )
    show("Found above a floor of 30 %, six rows, 15 x 30", rows)


PARTS = {"intervals": (intervals, 150), "limits": (limits, 400), "marks": (marks, 150), "floors": (floors, 150)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="How often intervals and marks are right, by simulation.")
    parser.add_argument("--quick", action="store_true", help="few boards of few kinds")
    parser.add_argument("--part", choices=tuple(PARTS), help="one part alone")
    given = parser.parse_args(arguments)
    for name, (part, boards) in PARTS.items():
        if given.part in (None, name):
            part(3 if given.quick else boards, np.random.default_rng(0), 6 if given.quick else 1)


if __name__ == "__main__":
    main()
