"""Which of several means over the same images can be told apart, images and seeds both being samples."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
from jaxtyping import Bool, Float

from gfp_bench.metrics.confidence import (
    LEVEL,
    SEED,
    Clusters,
    Variance,
    variance_over_images,
    variance_over_resamples,
    welch,
)

FLIPS = 4999
"""Random flips of signs; no p value from them is below 1 / (FLIPS + 1)."""

_EXACT = 12  # groups that differ, up to which all of their flips are gone through
_NORMAL = 1000  # groups of one weight, from which on the sum of flips is normal to 2 % of a p value of 1 / FLIPS
_GRID = 2.0**40  # steps in a difference of 1: sums of whole numbers are the same in any order
_HELD = 2**22  # signs held at a time


class Evidence(ABC):
    """What the images say of the rows of a column."""

    @abstractmethod
    def differences(
        self, rows: Sequence[int], other: int, *, one_sided: bool
    ) -> tuple[Float[np.ndarray, " k"], list[Variance]]:
        """Return for some rows the p value of being equal to another (one-sided: not above it), and the variances.

        Both are over images alone.
        """


@dataclass(frozen=True, eq=False)
class ByGroups(Evidence):
    """Of means of credit: what each cluster adds to them, one row each."""

    parts: Float[np.ndarray, "m c"]
    clusters: Clusters

    def differences(
        self, rows: Sequence[int], other: int, *, one_sided: bool
    ) -> tuple[Float[np.ndarray, " k"], list[Variance]]:
        """Flip the signs of groups."""
        apart = self.parts[list(rows)] - self.parts[other]
        variances = [variance_over_images(one, self.clusters, bounded=False) for one in apart]
        return sign_flip_p(self.clusters.by_group(apart), one_sided=one_sided), variances


@dataclass(frozen=True, eq=False)
class ByResamples(Evidence):
    """Of any other measures: their values under common resamples of the groups."""

    resampled: Float[np.ndarray, "m r"]
    clusters: Clusters

    def differences(
        self, rows: Sequence[int], other: int, *, one_sided: bool
    ) -> tuple[Float[np.ndarray, " k"], list[Variance]]:
        """Count the resamples on the other side of 0."""
        apart = self.resampled[list(rows)] - self.resampled[other]
        variances = [variance_over_resamples(one, self.clusters, worth=None) for one in apart]
        return bootstrap_p(apart, one_sided=one_sided), variances


@dataclass(frozen=True, eq=False)
class Rivals:
    """The rows of one column, side by side; the higher a value the better.

    Attributes:
        values: One per row.
        seeds: Their variances over seeds.
        evidence: What the images say.
    """

    values: Float[np.ndarray, " m"]
    seeds: Sequence[Variance]
    evidence: Evidence

    def p_values(self, rows: Sequence[int], other: int, *, one_sided: bool = False) -> Float[np.ndarray, " k"]:
        """Return p values of the hypothesis that rows are equal to another one; one-sided, that they are not above it.

        Where seeds differ in either, the p value is the larger of that over images alone and of that by which an
        interval over images and seeds, made as `interval_of` does, ends at 0.
        """
        p, images = self.evidence.differences(rows, other, one_sided=one_sided)
        seeds = [_sum([self.seeds[row], self.seeds[other]]) for row in rows]
        apart = self.values[list(rows)] - self.values[other]
        tails = _tails(apart if one_sided else np.abs(apart), images, seeds)
        larger: Float[np.ndarray, " k"] = np.maximum(p, np.minimum(tails if one_sided else 2 * tails, 1.0))
        return larger


def _sum(variances: Sequence[Variance]) -> Variance:
    return Variance(sum(one.value for one in variances), welch(variances))


def _tails(
    distances: Float[np.ndarray, " k"], images: Sequence[Variance], seeds: Sequence[Variance]
) -> Float[np.ndarray, " k"]:
    """Return the tails beyond distances of two t distributions that are added in squares; 0 where no seed differs."""
    from scipy.special import stdtrit

    parts = [(np.array([v.value for v in kind]), np.array([v.freedom for v in kind])) for kind in (images, seeds)]
    low, high = np.full(len(distances), -40.0), np.full(len(distances), np.log(0.5))
    for _ in range(60):  # halves an interval of logarithms
        middle = (low + high) / 2
        reach = sum(variance * stdtrit(freedom, np.exp(middle)) ** 2 for variance, freedom in parts)
        within = reach < np.square(distances)
        low, high = np.where(within, low, middle), np.where(within, middle, high)
    tails: Float[np.ndarray, " k"] = np.where(distances > 0, np.exp(high), 1.0)
    return np.where(parts[1][0] > 0, tails, 0.0)


def sign_flip_p(differences: Float[np.ndarray, "k g"], *, one_sided: bool = False) -> Float[np.ndarray, " k"]:
    """Return p values of the hypothesis that groups are as likely to differ by some amount as by its negative.

    Under it each group could as well have had the other sign: the p value is the share of flips whose sum is as far
    from 0 (one-sided: as high) as that seen. All flips are gone through where few groups differ, as many as `FLIPS`
    are drawn from a fixed stream otherwise; where many differ, their sum is normal.

    Args:
        differences: What each group adds to the difference of two means, one row per pair.
        one_sided: Whether only a positive difference counts.
    """
    steps = np.rint(differences * _GRID)
    p = np.empty(len(steps))
    drawn = []
    for row, one in enumerate(steps):
        apart = one[one != 0]
        squares = np.square(apart / _GRID)
        if len(apart) <= _EXACT:
            p[row] = _as_far(_all_signs(len(apart)), apart[None], one_sided)[0] / 2 ** len(apart)
        elif squares.sum() ** 2 >= _NORMAL * np.square(squares).sum():
            p[row] = _normal(apart / _GRID, one_sided)
        else:
            drawn.append(row)
    if drawn:
        p[drawn] = (1 + _drawn(steps[drawn], one_sided)) / (FLIPS + 1)
    return p


def _normal(apart: Float[np.ndarray, " g"], one_sided: bool) -> float:
    total = float(apart.sum()) if one_sided else abs(float(apart.sum()))
    nearest = float(np.abs(apart).min())  # sums come in steps of at most twice that
    tail = erfc((total - nearest) / sqrt(2 * float(np.square(apart).sum()))) / 2
    return tail if one_sided else min(2 * tail, 1.0)


def _drawn(steps: Float[np.ndarray, "k g"], one_sided: bool) -> Float[np.ndarray, " k"]:
    """Return how many random flips come as far as what was seen; a pair's are the same, whatever stands beside it."""
    stream = np.random.Philox(SEED)
    groups, apart = steps.shape[1], np.flatnonzero(np.abs(steps).sum(axis=0))
    width = -(-groups // 64)
    block = max(1, _HELD // (64 * width))
    found = np.zeros(len(steps))
    for start in range(0, FLIPS, block):
        rows = min(block, FLIPS - start)
        words = stream.random_raw(rows * width).astype("<u8").reshape(rows, width)  # raw draws never change
        bits = np.unpackbits(words.view(np.uint8), axis=1, count=groups, bitorder="little")
        found += _as_far(2.0 * bits[:, apart] - 1, steps[:, apart], one_sided)
    return found


def _all_signs(count: int) -> Float[np.ndarray, "f g"]:
    numbers = np.arange(2**count)[:, None]
    return 2.0 * ((numbers >> np.arange(count)) & 1) - 1


def _as_far(
    signs: Float[np.ndarray, "f g"], steps: Float[np.ndarray, "k g"], one_sided: bool
) -> Float[np.ndarray, " k"]:
    """Return how many flips give a sum as far from 0 as no flip; steps are whole, so the sums are exact."""
    sums, seen = signs @ steps.T, steps.sum(axis=1)
    if not one_sided:
        sums, seen = np.abs(sums), np.abs(seen)
    found: Float[np.ndarray, " k"] = (sums >= seen - steps.shape[1]).sum(axis=0).astype(np.float64)  # rounding is half
    return found


def bootstrap_p(differences: Float[np.ndarray, "k r"], *, one_sided: bool = False) -> Float[np.ndarray, " k"]:
    """Return p values of the hypothesis that a difference, resampled r times, is 0 (one-sided: not above 0).

    None is below 2 / (r + 1), one-sided half of that.
    """
    resamples = differences.shape[1]
    below, above = (differences <= 0).sum(axis=1), (differences >= 0).sum(axis=1)
    fewer = below if one_sided else 2 * np.minimum(below, above) + 1
    p: Float[np.ndarray, " k"] = np.minimum(1.0, (fewer + 1) / (resamples + 1))
    return p


def holm(p: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Return p values adjusted for k comparisons by Holm's step-down procedure."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def alike(rivals: Rivals, rows: Sequence[int], best: int) -> Bool[np.ndarray, " k"]:
    """Return which rows cannot be told from the best one at 1 - `LEVEL`, that itself among them."""
    others = [row for row in rows if row != best]
    told = holm(rivals.p_values(others, best)) < 1 - LEVEL
    apart = {row for row, one in zip(others, told, strict=True) if one}
    return np.array([row not in apart for row in rows])


def not_above(rivals: Rivals, rows: Sequence[int], floor: int) -> Bool[np.ndarray, " k"]:
    """Return which rows cannot be shown at 1 - `LEVEL` to be above a floor."""
    p = rivals.p_values(rows, floor, one_sided=True)
    below: Bool[np.ndarray, " k"] = holm(p) >= 1 - LEVEL
    return below
