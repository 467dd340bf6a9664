"""Variances and intervals against slow loops, SciPy and simulations of known truth."""

import statistics as stdlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from gfp_bench.metrics import confidence
from gfp_bench.metrics.confidence import (
    Clusters,
    Variance,
    bootstrap,
    image_weights,
    interval,
    interval_of,
    mean_credit,
    spread,
    variance_over_images,
    variance_over_seeds,
    welch,
)

fractions = st.floats(0, 1, allow_subnormal=False)


def board(seed: int = 0, methods: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correctness of methods on 3 sources of unequal size, in groups of unequal size that cross sources."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1, 2], [20, 30, 10]))
    groups = np.array([f"photo{number}" for number in rng.integers(0, 8, len(labels))])
    return rng.integers(0, 2, (methods, len(labels))).astype(float), labels, groups


def slow_bootstrap(correct: np.ndarray, labels: np.ndarray, groups: np.ndarray, resamples: int) -> np.ndarray:
    """Draw groups image by image, from the stream that published boards rest on."""
    rng = np.random.Generator(np.random.Philox(0))
    recalls = []
    for source in sorted(set(labels)):
        names = sorted(set(groups[labels == source]))
        draws = rng.random((resamples, len(names)))
        for_source = []
        for row in draws:
            images = []
            for draw in row:
                name = names[int(draw * len(names))]
                images += [i for i in range(len(labels)) if labels[i] == source and groups[i] == name]
            for_source.append(correct[:, images].mean(axis=1))
        recalls.append(for_source)
    return np.mean(recalls, axis=0)


def test_balanced_accuracy_agrees_with_scikit_learn() -> None:
    _, labels, _ = board()
    predicted = np.random.default_rng(1).integers(0, 3, len(labels))
    found = mean_credit((predicted == labels)[None].astype(float), labels)
    assert found == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_bootstrap_agrees_with_a_slow_loop() -> None:
    correct, labels, groups = board()
    assert bootstrap(correct, labels, groups, 25) == pytest.approx(slow_bootstrap(correct, labels, groups, 25))


def test_blocks_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    correct, labels, groups = board()
    whole = bootstrap(correct, labels, groups, 50)
    monkeypatch.setattr(confidence, "_DRAWS", 60)
    assert np.array_equal(bootstrap(correct, labels, groups, 50), whole)


def test_standard_error_of_single_images_is_the_binomial_one() -> None:
    labels = np.repeat([0, 1], [40, 160])
    correct = np.concatenate([np.arange(40) < 30, np.arange(160) < 40]).astype(float)
    error = bootstrap(correct[None], labels, np.arange(200), 4000).std()
    assert error == pytest.approx(np.sqrt(0.75 * 0.25 / 40 + 0.25 * 0.75 / 160) / 2, rel=0.05)


def test_copies_in_a_group_add_nothing() -> None:
    correct, labels, _ = board()
    single = bootstrap(correct, labels, np.arange(len(labels)))
    thrice = bootstrap(np.repeat(correct, 3, axis=1), np.repeat(labels, 3), np.repeat(np.arange(len(labels)), 3))
    assert thrice == pytest.approx(single)


@given(hnp.arrays(np.float64, (2, 60), elements=fractions))
def test_resamples_stay_within_what_was_seen(correct: np.ndarray) -> None:
    _, labels, groups = board()
    resampled = bootstrap(correct, labels, groups, 20)
    assert (resampled >= correct.min(axis=1) - 1e-12).all()
    assert (resampled <= correct.max(axis=1) + 1e-12).all()


def clustered(rng: np.random.Generator, n_groups: int, size: int) -> np.ndarray:
    """Correctness of 4 sources whose groups differ in difficulty; 0.6 on average."""
    difficulty = rng.beta(3, 2, size=4 * n_groups)
    return (rng.random((4 * n_groups, size)) < difficulty[:, None]).ravel().astype(float)


def test_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    labels, groups = np.repeat(np.arange(4), 60), np.repeat(np.arange(80), 3)
    simulated = np.stack([clustered(rng, n_groups=20, size=3) for _ in range(400)])
    intervals = np.array([interval(column) for column in bootstrap(simulated, labels, groups, 500).T])
    covered = (intervals[:, 0] <= 0.6) & (intervals[:, 1] >= 0.6)
    assert 0.91 <= covered.mean() <= 0.97
    naive = np.array([interval(column) for column in bootstrap(simulated, labels, np.arange(240), 500).T])
    assert np.diff(naive).mean() < 0.95 * np.diff(intervals).mean()


def test_interval_agrees_with_sorting() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1001) / 1000)
    assert interval(values) == pytest.approx((0.025, 0.975))


@given(st.lists(fractions, min_size=2, max_size=6))
def test_spread_agrees_with_the_standard_library(values: list[float]) -> None:
    assert spread(np.array(values)) == pytest.approx(stdlib.stdev(values), abs=1e-9)


def test_one_seed_has_no_spread() -> None:
    assert spread(np.array([0.5])) is None


def test_weights_of_images_are_the_resamples_of_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    labels, groups = np.arange(60) % 3, rng.integers(0, 7, 60)
    credit = rng.random((2, 60))
    monkeypatch.setattr(confidence, "_DRAWS", 240)  # several blocks
    weights = np.concatenate(list(image_weights(labels, groups, 50)))
    assert weights.shape == (50, 60)
    assert all(len(set(row[(labels == 0) & (groups == 2)])) == 1 for row in weights), "groups are drawn whole"
    by_hand = np.mean([weights[:, labels == s] @ credit[:, labels == s].T / weights[:, labels == s].sum(1)[:, None]
                       for s in range(3)], axis=0)  # fmt: skip
    np.testing.assert_allclose(bootstrap(credit, labels, groups, 50), by_hand, rtol=1e-12)


def test_what_stands_beside_a_column_does_not_change_its_rounding() -> None:
    """Credit averaged over seeds is not whole; a product of matrices would round it by its shape and the processor."""
    rng = np.random.default_rng(5)
    labels, groups = np.arange(900) % 2, np.arange(900)
    credit = rng.integers(0, 4, (5, 900)) / 3
    together = bootstrap(credit, labels, groups, 100)
    for column in range(5):
        assert (bootstrap(credit[[column]], labels, groups, 100)[:, 0] == together[:, column]).all()


@given(hnp.arrays(np.float64, (2, 60), elements=fractions))
def test_parts_of_clusters_add_up_to_the_mean(credit: np.ndarray) -> None:
    _, labels, groups = board()
    clusters = Clusters.of(labels, groups)
    assert clusters.parts(credit).sum(axis=1) == pytest.approx(mean_credit(credit, labels), abs=1e-12)
    assert clusters.shares.sum() == pytest.approx(1)


def slow_variance(credit: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    """The sum over groups of the square of what each adds to the mean beyond its share, in all of its sources."""
    sources = sorted(set(labels))
    total = 0.0
    for group in set(groups):
        residual = 0.0
        for source in sources:
            there = labels == source
            count = len(set(groups[there]))
            own = credit[there & (groups == group)]
            residual += (own - credit[there].mean()).sum() / there.sum() / len(sources) * np.sqrt(count / (count - 1))
        total += residual**2
    return total


@given(st.integers(0, 1000))
def test_variance_over_images_agrees_with_a_slow_loop(seed: int) -> None:
    credit, labels, groups = board(seed, methods=1)
    found = variance_over_images(
        Clusters.of(labels, groups).parts(credit)[0], Clusters.of(labels, groups), bounded=False
    )
    assert found.value == pytest.approx(slow_variance(credit[0], labels, groups))


def test_variance_of_single_images_is_the_binomial_one() -> None:
    labels = np.repeat([0, 1], [40, 160])
    correct = np.concatenate([np.arange(40) < 30, np.arange(160) < 40]).astype(float)
    clusters = Clusters.of(labels, np.arange(200))
    found = variance_over_images(clusters.parts(correct[None])[0], clusters, bounded=False)
    parts = [0.75 * 0.25 / 39 / 4, 0.25 * 0.75 / 159 / 4]
    assert found.value == pytest.approx(sum(parts))
    assert found.freedom == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 39 + parts[1] ** 2 / 159))


def test_groups_that_lie_in_all_sources_are_counted_once() -> None:
    """Ten photographs, each copied by five models: fifty images, ten independent."""
    labels, groups = np.repeat(np.arange(5), 10), np.tile(np.arange(10), 5)
    correct = (groups < 6).astype(float)
    shared, apart = (Clusters.of(labels, names) for names in (groups, np.arange(50)))
    wide, narrow = (variance_over_images(one.parts(correct[None])[0], one, bounded=False) for one in (shared, apart))
    assert wide.value == pytest.approx(5 * narrow.value)
    assert (wide.freedom, narrow.freedom) == (9, pytest.approx(45))


def test_one_group_says_nothing_of_others() -> None:
    clusters = Clusters.of(np.repeat([0, 1], 20), np.repeat([0, 1], 20))
    found = variance_over_images(clusters.parts(np.ones((1, 40)))[0], clusters)
    low, high = interval_of(1.0, found, Variance(0.0, 1), worth=clusters.worth)
    assert low < 0.5
    assert high == 1


def test_seeds_add_their_variance_over_their_number() -> None:
    values = np.array([0.2, 0.5, 0.6])
    found = variance_over_seeds(values)
    assert (found.value, found.freedom) == (pytest.approx(stdlib.variance(values) / 3), 2)
    assert variance_over_seeds(values[:1]).value == 0


def test_degrees_of_freedom_of_a_sum() -> None:
    assert welch([Variance(2.0, 4), Variance(0.0, 1)]) == pytest.approx(4)
    assert welch([Variance(1.0, 4), Variance(1.0, 4)]) == pytest.approx(8)
    first, second = np.random.default_rng(0).normal(size=(2, 7)) * [[1], [5]]
    found = welch([variance_over_seeds(first[:4]), variance_over_seeds(second)])
    assert found == pytest.approx(stats.ttest_ind(first[:4], second, equal_var=False).df)


@pytest.mark.parametrize(("right", "images"), [(0, 40), (13, 40), (40, 40), (997, 1000)])
def test_interval_over_images_is_wilsons(right: int, images: int) -> None:
    """Of single images of one source it is SciPy's, but for the four images that are added to the variance."""
    clusters = Clusters.of(np.zeros(images, dtype=int), np.arange(images))
    correct = (np.arange(images) < right).astype(float)
    variance = variance_over_images(clusters.parts(correct[None])[0], clusters)
    low, high = interval_of(right / images, variance, Variance(0.0, 1), worth=clusters.worth)
    expected = stats.binomtest(right, images).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.35 * (expected.high - expected.low))
    assert low < high


def test_interval_is_wilsons_for_its_own_variance() -> None:
    inner = (13 + 2) / 44
    known = Variance(inner * (1 - inner) / 40, 1e9)
    expected = stats.binomtest(13, 40).proportion_ci(method="wilson")
    assert interval_of(13 / 40, known, Variance(0.0, 1), worth=40) == pytest.approx(tuple(expected), abs=1e-6)


def test_interval_over_seeds_is_students() -> None:
    values = np.array([0.45, 0.5, 0.58])
    expected = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    found = interval_of(float(values.mean()), Variance(1e-12, 100), variance_over_seeds(values), worth=1e9)
    assert found == pytest.approx(expected, abs=1e-4)
    assert interval_of(0.0, Variance(1.0, 5), Variance(2.0, 2), worth=None) == pytest.approx(
        (-(np.hypot(stats.t.ppf(0.975, 5), stats.t.ppf(0.975, 2) * 2**0.5)), np.hypot(2.570582, 4.302653 * 2**0.5)),
        abs=1e-5,
    )


@given(fractions, st.floats(1e-9, 0.2), st.floats(0, 0.1), st.floats(1, 1e6))
def test_intervals_have_width_and_stay_within_bounds(value: float, images: float, seeds: float, freedom: float) -> None:
    low, high = interval_of(value, Variance(images, freedom), Variance(seeds, 2), worth=100.0)
    assert 0 <= low <= round(value, 6) <= high <= 1
    assert low < high or images < 1e-8


def test_interval_over_images_and_seeds_covers_the_truth() -> None:
    """Seeds of 60 +- 6 %, 120 images: over images alone 60 of 100 intervals would have 0.6."""
    rng = np.random.default_rng(1)
    labels, groups = np.repeat(np.arange(4), 30), np.arange(120)
    clusters = Clusters.of(labels, groups)
    covered = alone = 0
    for _ in range(400):
        hard = rng.random(120)
        seeds = (hard < rng.normal(0.6, 0.06, size=(3, 1))).astype(float)
        each, parts = mean_credit(seeds, labels), clusters.parts(seeds.mean(axis=0)[None])[0]
        images = variance_over_images(parts, clusters)
        low, high = interval_of(float(each.mean()), images, variance_over_seeds(each), worth=clusters.worth)
        covered += low <= 0.6 <= high
        low, high = interval_of(float(each.mean()), images, Variance(0.0, 1), worth=clusters.worth)
        alone += low <= 0.6 <= high
    assert covered >= 0.93 * 400
    assert alone <= 0.92 * 400


def test_what_stands_beside_a_row_does_not_change_its_parts() -> None:
    rng = np.random.default_rng(5)
    clusters = Clusters.of(np.arange(900) % 2, np.arange(900) // 3)
    credit = rng.integers(0, 4, (5, 900)) / 3
    together = clusters.parts(credit)
    for row in range(5):
        assert (clusters.parts(credit[[row]])[0] == together[row]).all()
