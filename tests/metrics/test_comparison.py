"""Comparisons against SciPy, against all flips of signs, and by simulations in which nothing differs."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import optimize, stats

from gfp_bench.metrics import comparison
from gfp_bench.metrics.comparison import (
    FLIPS,
    ByGroups,
    ByResamples,
    Rivals,
    alike,
    bootstrap_p,
    holm,
    not_above,
    sign_flip_p,
)
from gfp_bench.metrics.confidence import Clusters, Variance, variance_over_images, variance_over_seeds

fractions = st.floats(0, 1, allow_subnormal=False)
NO_SEEDS = Variance(0.0, 1)


def rivals(correct: np.ndarray, sources: int = 2, groups: np.ndarray | None = None) -> Rivals:
    """Deterministic rows over images of some sources in turn."""
    labels = np.arange(correct.shape[1]) % sources
    clusters = Clusters.of(labels, np.arange(len(labels)) if groups is None else groups)
    parts = clusters.parts(correct)
    return Rivals(parts.sum(axis=1), [NO_SEEDS] * len(correct), ByGroups(parts, clusters))


def of_seeds(credit: np.ndarray, sources: int = 2) -> Rivals:
    """Rows of several seeds: (rows, seeds, images)."""
    labels = np.arange(credit.shape[2]) % sources
    clusters = Clusters.of(labels, np.arange(len(labels)))
    each = [clusters.parts(row).sum(axis=1) for row in credit]
    parts = clusters.parts(credit.mean(axis=1))
    return Rivals(parts.sum(axis=1), [variance_over_seeds(one) for one in each], ByGroups(parts, clusters))


def told(rows: Rivals) -> list[bool]:
    best = int(rows.values.argmax())
    return alike(rows, range(len(rows.values)), best).tolist()


def test_four_images_against_none_are_no_difference() -> None:
    """The exact sign test says 0.125; resamples of the images would say 0.034."""
    worse = np.ones(80)
    worse[:4] = 0
    found = rivals(np.stack([np.ones(80), worse]), sources=4)
    assert found.p_values([1], 0) == [stats.binomtest(4, 4).pvalue] == [0.125]
    assert found.p_values([0], 1, one_sided=True) == [0.0625]
    assert told(found) == [True, True]


@given(hnp.arrays(np.int64, (2, 8), elements=st.integers(-3, 3)))
def test_few_flips_are_gone_through(counts: np.ndarray) -> None:
    differences = counts / 120
    for one_sided in (False, True):
        expected = []
        for row in counts:  # whole numbers: no rounding decides
            sums = np.array([np.dot(signs, row) for signs in product((-1, 1), repeat=8)])
            expected.append(np.mean(sums >= row.sum() if one_sided else np.abs(sums) >= abs(row.sum())))
        assert sign_flip_p(differences, one_sided=one_sided) == pytest.approx(expected, abs=1e-12)


def test_flips_agree_with_scipy() -> None:
    differences = np.array([0.1, 0.25, -0.05, 0.3, 0.0, 0.02, 0.17])
    expected = stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(differences[None]) == pytest.approx([expected.pvalue])


@pytest.mark.parametrize("excess", [2, 6, 10])
def test_drawn_flips_agree_with_the_sign_test(excess: int) -> None:
    signs = np.concatenate([np.ones(20 + excess), -np.ones(20)])
    expected = stats.binomtest(20 + excess, len(signs)).pvalue
    found = sign_flip_p(signs[None] / 400)[0]
    assert found == pytest.approx(expected, abs=4 * np.sqrt(expected / FLIPS))
    assert found != expected, "drawn, not gone through"


@pytest.mark.parametrize("excess", [0, 40, 80, 130])
def test_many_flips_are_normal(excess: int) -> None:
    signs = np.concatenate([np.ones(600 + excess), -np.ones(600)])
    test = [stats.binomtest(600 + excess, len(signs), alternative=side).pvalue for side in ("two-sided", "greater")]
    found = [sign_flip_p(signs[None] / 5000, one_sided=one_sided)[0] for one_sided in (False, True)]
    assert found == pytest.approx(test, rel=0.03)


def test_flips_are_the_same_in_blocks_and_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    differences = rng.integers(-1, 2, (5, 90)) * (rng.random((5, 90)) < 0.4) / 90 + (np.arange(90) % 7 == 0) / 200
    together = sign_flip_p(differences)
    monkeypatch.setattr(comparison, "_HELD", 64 * 100)
    assert (sign_flip_p(differences) == together).all()
    assert [sign_flip_p(differences[[row]])[0] for row in range(5)] == together.tolist()
    assert sign_flip_p(differences[::-1])[::-1].tolist() == together.tolist()


@given(hnp.arrays(np.int64, (1, 30), elements=st.integers(-2, 2)))
def test_a_difference_and_its_opposite_are_as_likely(counts: np.ndarray) -> None:
    assert sign_flip_p(counts / 60) == sign_flip_p(-counts / 60)
    up, down = (sign_flip_p(sign * counts / 60, one_sided=True)[0] for sign in (1, -1))
    assert up + down >= 1 - 0.05, "each sum is as high as that seen, or its opposite is"


def test_groups_are_flipped_whole_over_sources() -> None:
    """Eight photographs in four sources, on each of which one row is better everywhere: eight differences, not 32."""
    correct = np.stack([np.ones(32), np.zeros(32)])
    assert rivals(correct, 4, groups=np.arange(32) // 4).p_values([1], 0) == [2 / 2**8]
    apart = rivals(correct, 4).p_values([1], 0)
    assert apart[0] < 1e-3


def test_sources_weigh_the_same_whatever_their_size() -> None:
    """Balanced accuracy: two images lost in a source of ten outweigh nine lost in one of ninety."""
    labels = np.repeat([0, 1], [10, 90])
    first, second = np.ones(100), np.ones(100)
    first[:2], second[10:19] = 0, 0
    clusters = Clusters.of(labels, np.arange(100))
    differences = clusters.by_group(clusters.parts(np.stack([first, second])))
    apart = differences[0] - differences[1]
    assert apart.sum() == pytest.approx(-0.1 + 0.05)
    sums = [np.dot(signs, apart[apart != 0]) for signs in product((-1, 1), repeat=11)]
    expected = np.mean(np.abs(sums) >= 0.05 - 1e-9)
    assert sign_flip_p(apart[None]) == pytest.approx([expected])


def test_seeds_alone_are_compared_as_by_welch() -> None:
    """Every image earns the same, so that only seeds differ."""
    seeds = np.array([[0.50, 0.61, 0.55], [0.70, 0.66, 0.83]])
    found = of_seeds(np.repeat(seeds[:, :, None], 400, axis=2)).p_values([1], 0)
    assert found == pytest.approx([stats.ttest_ind(*seeds, equal_var=False).pvalue], rel=1e-6)
    above = of_seeds(np.repeat(seeds[:, :, None], 400, axis=2)).p_values([1], 0, one_sided=True)
    assert above == pytest.approx(found / 2)
    below = of_seeds(np.repeat(seeds[:, :, None], 400, axis=2)).p_values([0], 1, one_sided=True)
    assert below == [1.0]


def test_images_and_seeds_are_added_in_squares() -> None:
    rng = np.random.default_rng(2)
    credit = (rng.random((2, 3, 300)) < [[[0.5]], [[0.7]]]).astype(float)
    rows = of_seeds(credit)
    seeds = [one.value for one in rows.seeds]
    assert isinstance(rows.evidence, ByGroups)
    apart = rows.evidence.parts[1] - rows.evidence.parts[0]
    images = variance_over_images(apart, rows.evidence.clusters, bounded=False)
    welch = sum(seeds) ** 2 / sum(one**2 / 2 for one in seeds)

    def excess(tail: float) -> float:
        reach = images.value * stats.t.isf(tail, images.freedom) ** 2 + sum(seeds) * stats.t.isf(tail, welch) ** 2
        return float(reach - apart.sum() ** 2)

    assert rows.p_values([1], 0) == pytest.approx([2 * optimize.brentq(excess, 1e-12, 0.5)], rel=1e-6)


def test_seeds_that_differ_hide_what_images_show() -> None:
    better, worse = (np.arange(400) < count for count in (280, 240))
    steady = np.stack([np.stack([better] * 3), np.stack([worse] * 3)]).astype(float)
    assert told(of_seeds(steady)) == [True, False]
    seeds = np.stack([np.arange(400) < count for count in (200, 280, 360)])
    assert told(of_seeds(np.stack([seeds, np.stack([worse] * 3)]).astype(float))) == [True, True]


def test_equal_methods_are_tied_and_a_worse_one_is_not() -> None:
    good = (np.arange(200) < 190).astype(float)
    assert told(rivals(np.stack([1 - good, good, good]))) == [False, True, True]
    assert told(rivals(good[None])) == [True]


def test_pairing_finds_a_small_steady_difference() -> None:
    better = (np.random.default_rng(0).random(400) < 0.6).astype(float)
    worse = better.copy()
    worse[np.flatnonzero(better)[:16]] = 0  # 4 points, well within the width of either interval
    assert told(rivals(np.stack([better, worse]))) == [True, False]


def test_equally_good_methods_are_rarely_told_apart() -> None:
    rng = np.random.default_rng(3)
    found = sum(not all(told(rivals((rng.random((2, 120)) < 0.7).astype(float), 3))) for _ in range(200))
    assert 2 <= found <= 20  # 10 expected


def test_a_row_is_above_a_floor_or_it_is_not() -> None:
    floor = (np.arange(200) < 100).astype(float)
    above, equal = (np.arange(200) < 130).astype(float), floor
    below = (np.arange(200) < 50).astype(float)
    found = not_above(rivals(np.stack([floor, above, equal, below])), [1, 2, 3], 0)
    assert found.tolist() == [False, True, True]


def test_p_values_of_resamples() -> None:
    differences = np.stack([np.ones(999), -np.ones(999), np.zeros(999), np.arange(999) - 100.0])
    assert bootstrap_p(differences) == pytest.approx([0.002, 0.002, 1.0, 2 * 102 / 1000])
    assert bootstrap_p(differences, one_sided=True) == pytest.approx([0.001, 1.0, 1.0, 102 / 1000])


def test_measures_that_are_no_means_are_compared_by_resamples() -> None:
    drawn = np.random.default_rng(0).normal([[0.9], [0.7], [0.89]], 0.02, (3, 999))
    clusters = Clusters.of(np.arange(80) % 2, np.arange(80))
    rows = Rivals(np.array([0.9, 0.7, 0.89]), [NO_SEEDS] * 3, ByResamples(drawn, clusters))
    assert told(rows) == [True, False, True]
    unsure = Rivals(rows.values, [NO_SEEDS, Variance(0.1**2 / 3, 2), NO_SEEDS], rows.evidence)
    assert told(unsure) == [True, True, True]


def slow_holm(p: list[float]) -> list[float]:
    """Smallest first, times the number of hypotheses that are left, never below what went before."""
    left, adjusted, least = list(range(len(p))), [0.0] * len(p), 0.0
    while left:
        smallest = min(left, key=lambda index: p[index])
        least = adjusted[smallest] = max(least, min(1.0, len(left) * p[smallest]))
        left.remove(smallest)
    return adjusted


@given(st.lists(fractions, max_size=8))
def test_holm_agrees_with_a_slow_loop(p: list[float]) -> None:
    assert holm(np.array(p)) == pytest.approx(slow_holm(p))
