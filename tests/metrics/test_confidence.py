"""Intervals and paired tests against slow loops, formulas and simulations of known truth."""

import statistics as stdlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import balanced_accuracy_score

from gfp_bench.metrics import confidence
from gfp_bench.metrics.confidence import bootstrap, holm, image_weights, interval, mean_credit, paired_p, spread, ties

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


def test_p_values_are_two_sided_and_never_0() -> None:
    differences = np.stack([np.ones(999), -np.ones(999), np.zeros(999), np.arange(999) - 100.0], axis=1)
    assert paired_p(differences) == pytest.approx([0.002, 0.002, 1.0, 2 * 102 / 1000])


def compare(correct: np.ndarray) -> list[bool]:
    labels = np.arange(correct.shape[1]) % 2
    accuracy = mean_credit(correct, labels)
    return ties(accuracy, bootstrap(correct, labels, np.arange(len(labels)))).tolist()


def test_equal_methods_are_tied_and_a_worse_one_is_not() -> None:
    good = (np.arange(200) < 190).astype(float)
    assert compare(np.stack([1 - good, good, good])) == [False, True, True]
    assert compare(good[None]) == [True]


def test_pairing_finds_a_small_steady_difference() -> None:
    better = (np.random.default_rng(0).random(400) < 0.6).astype(float)
    worse = better.copy()
    worse[np.flatnonzero(better)[:16]] = 0  # 4 points, well within the width of either interval
    assert compare(np.stack([better, worse])) == [True, False]


def test_equally_good_methods_are_rarely_told_apart() -> None:
    rng = np.random.default_rng(3)
    labels, groups = np.arange(120) % 3, np.arange(120)
    found = 0
    for _ in range(200):
        correct = (rng.random((2, 120)) < 0.7).astype(float)
        found += not ties(mean_credit(correct, labels), bootstrap(correct, labels, groups, 400)).all()
    assert 2 <= found <= 22  # 10 expected


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
