"""Metrics against scikit-learn, SciPy and slow loops."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.linalg import sqrtm
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    recall_score,
    roc_auc_score,
)

from gfp_bench import metrics
from gfp_bench.errors import PluginError
from gfp_bench.metrics.attribution import attribution
from gfp_bench.metrics.detection import detection_auroc, detection_margins
from gfp_bench.metrics.distances import gram_distances, moment_distances, nuclear_norms
from gfp_bench.metrics.separability import separability


@st.composite
def outcomes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    n_sources = draw(st.integers(2, 5))
    extra = draw(hnp.arrays(np.int64, st.integers(0, 30), elements=st.integers(0, n_sources - 1)))
    labels = np.concatenate([np.arange(n_sources), extra])
    predicted = draw(hnp.arrays(np.uint8, len(labels), elements=st.integers(0, n_sources - 1)))
    return predicted, labels, n_sources


@given(outcomes())
@settings(max_examples=50)
def test_attribution_agrees_with_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    predicted, labels, n_sources = case
    every = list(range(n_sources))
    found = attribution(predicted, labels, n_sources)
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro", labels=every, zero_division=0))
    assert found.recall == pytest.approx(recall_score(labels, predicted, average=None, labels=every))
    assert np.array_equal(found.confusion, confusion_matrix(labels, predicted, labels=every))


@pytest.mark.parametrize(("n_sources", "dtype"), [(40, np.uint8), (300, np.uint16)])
def test_attribution_takes_narrow_indices_of_many_sources(n_sources: int, dtype: type[np.unsignedinteger]) -> None:
    indices = np.arange(n_sources, dtype=dtype)  # a cell of the confusion has a number that is wider
    found = attribution(np.roll(indices, 1), indices, n_sources)
    assert np.array_equal(found.confusion, confusion_matrix(indices, np.roll(indices, 1)))
    assert attribution(indices, indices, n_sources).accuracy == 1


def test_attribution_refuses_a_source_without_images() -> None:
    with pytest.raises(ValueError, match="source 1 of 3 has no test image"):
        attribution(np.array([0, 1]), np.array([0, 2]), 3)


def test_attribution_refuses_an_index_that_is_no_source() -> None:
    with pytest.raises(ValueError, match="predicted source index 3, expected 0 to 2"):
        attribution(np.array([0, 1, 3]), np.array([0, 1, 2]), 3)


def test_detection_score_is_the_margin_of_real() -> None:
    scores = np.array([[3.0, 5.0, 1.0], [3.0, 1.0, 2.5]], dtype=np.float32)
    margins = detection_margins(scores, ["dcgan", "real", "vae"])
    assert margins is not None
    assert margins.tolist() == [2.0, -2.0]


@pytest.mark.parametrize("sources", [["dcgan", "vae", "wgan"], ["real"]])
def test_no_detection_without_both_kinds(sources: list[str]) -> None:
    detection = detection_margins(np.zeros((4, len(sources)), dtype=np.float32), sources)
    assert detection is None
    assert detection_auroc(detection, np.zeros(4, dtype=np.int64), sources) is None


@given(hnp.arrays(np.float64, 30, elements=st.integers(-3, 3).map(float)))
@settings(max_examples=50)
def test_auroc_agrees_with_scikit_learn(detection: np.ndarray) -> None:
    labels = np.arange(30) % 3
    found = detection_auroc(detection, labels, ["a", "real", "z"])
    assert found == pytest.approx(roc_auc_score(labels == 1, detection))


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    covariances = [np.atleast_2d(np.cov(sample, rowvar=False)) for sample in (first, second)]
    root = np.real(sqrtm(covariances[0] @ covariances[1]))
    shift = first.mean(axis=0) - second.mean(axis=0)
    return float(shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * root))


@pytest.mark.parametrize(("m", "d"), [(30, 5), (6, 1), (8, 6)])
def test_both_distances_agree_with_scipy(m: int, d: int) -> None:
    rng = np.random.default_rng(m)
    features = rng.normal(size=(3 * m, d)) * rng.uniform(0.5, 3, size=d) + rng.normal(size=(3 * m, 1))
    parts = rng.permutation(3 * m).reshape(3, m)
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    expected = [frechet(features[parts[i]], features[parts[j]]) for i, j in pairs]
    assert moment_distances(features, parts, pairs) == pytest.approx(expected, rel=1e-9)
    assert gram_distances(features @ features.T, parts, pairs) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("m", "d"), [(2, 9), (7, 40), (10, 10)])
def test_both_distances_agree_where_covariances_are_singular(m: int, d: int) -> None:
    features = np.random.default_rng(d).normal(size=(2 * m, d))
    parts, pairs = np.arange(2 * m).reshape(2, m), np.array([[0, 1]])
    by_gram = gram_distances(features @ features.T, parts, pairs)
    assert moment_distances(features, parts, pairs) == pytest.approx(by_gram, rel=1e-9)


@pytest.mark.parametrize("fall", [0.0, 4.0, 7.0, 12.0])
def test_nuclear_norms_are_sums_of_singular_values_whatever_their_range(fall: float) -> None:
    """Singular values from 1 down to 10^-fall: beyond some range eigenvalues of the square lose them."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(20, 30, 30)))[0] for _ in range(2))
    matrices = left * np.logspace(0, -fall, 30) @ right
    matrices -= matrices.mean(axis=2, keepdims=True)
    matrices -= matrices.mean(axis=1, keepdims=True)
    expected = np.linalg.svd(matrices, compute_uv=False).sum(axis=1)
    np.testing.assert_allclose(nuclear_norms(matrices, rank=29), expected, rtol=1e-10)
    assert nuclear_norms(0 * matrices, rank=29) == pytest.approx(0)


def test_nuclear_norms_of_few_steep_matrices_among_many() -> None:
    """What most matrices of a sample are like decides nothing for the others."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(100, 30, 30)))[0] for _ in range(2))
    values = np.logspace(0, -np.where(np.arange(100) % 10 == 5, 12, 2), 30).T
    found = nuclear_norms(left * values[:, None] @ right, rank=30)
    np.testing.assert_allclose(found, values.sum(axis=1), rtol=1e-10)


def test_distance_of_a_shifted_copy_is_the_squared_shift() -> None:
    sample = np.random.default_rng(0).normal(size=(5, 8))
    features = np.concatenate([sample, sample + 2])
    parts, pairs = np.arange(10).reshape(2, 5), np.array([[0, 1], [0, 0]])
    assert gram_distances(features @ features.T, parts, pairs) == pytest.approx([32, 0], abs=1e-9)
    assert moment_distances(features, parts, pairs) == pytest.approx([32, 0], abs=1e-9)


def planted(n: int, d: int, shift: float, n_sources: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Normal features whose sources lie on different axes, ``shift`` from the origin."""
    labels = np.tile(np.arange(n_sources), n)
    features = np.random.default_rng(7).normal(size=(n * n_sources, d))
    features[np.arange(len(labels)), labels] += shift
    return features, labels


def slow_ratios(features: np.ndarray, labels: np.ndarray, halvings: int) -> tuple[float, float]:
    """The two ratios by SciPy, with halvings of their own."""
    rng = np.random.default_rng(5)
    samples = [features[labels == source] for source in np.unique(labels)]
    whole = np.mean([frechet(a, b) for a, b in combinations(samples, 2)])
    between, within = [], []
    for _ in range(halvings):
        halves = [np.array_split(rng.permutation(sample), 2) for sample in samples]
        between += [frechet(a[0], b[0]) for a, b in combinations(halves, 2)]
        within += [frechet(a, b) for a, b in halves]
    return float(whole / np.mean(within)), float(np.mean(between) / np.mean(within))


def test_ratios_agree_with_a_slow_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.separability, "HALVINGS", 400)
    features, labels = planted(n=60, d=3, shift=0.5)
    found = separability(features, labels, 3, seed=0)
    fdr, fdr_equal = slow_ratios(features, labels, halvings=400)
    assert found.fdr == pytest.approx(fdr, rel=0.06)  # 400 other halvings differ by about 0.02
    assert found.fdr_equal == pytest.approx(fdr_equal, rel=0.06)
    assert fdr < 0.9 * fdr_equal  # so the tolerance tells them apart
    assert (found.n, found.d, found.reason) == (60, 3, "")


@pytest.mark.parametrize("d", [4, 80])
def test_without_signal_the_equal_ratio_is_1(d: int) -> None:
    features, labels = planted(n=40, d=d, shift=0)
    found = separability(features, labels, 3, seed=0)
    assert found.permuted_low is not None and found.permuted_high is not None and found.fdr_equal is not None
    assert found.permuted_low < found.fdr_equal < found.permuted_high
    assert found.permuted_low < 1 < found.permuted_high
    assert found.fdr_equal == pytest.approx(1, abs=0.15)


def test_a_signal_leaves_the_permuted_range() -> None:
    features, labels = planted(n=20, d=30, shift=4)
    found = separability(features, labels, 3, seed=0)
    assert found.fdr_equal is not None and found.permuted_high is not None
    assert found.fdr_equal > 1.2 * found.permuted_high


def test_same_seed_same_values() -> None:
    features, labels = planted(n=10, d=4, shift=1)
    assert separability(features, labels, 3, seed=1) == separability(features, labels, 3, seed=1)
    assert separability(features, labels, 3, seed=1) != separability(features, labels, 3, seed=2)


def test_empty_dimensions_and_an_offset_change_nothing() -> None:
    features, labels = planted(n=21, d=5, shift=1)
    wide = np.hstack([features, np.zeros((len(features), 60))]) + 1e5  # n < d: the other computation
    by_moments, by_gram = (separability(x, labels, 3, seed=0) for x in (features, wide))
    for name in ("fdr", "fdr_equal", "permuted_low", "permuted_high"):
        assert getattr(by_gram, name) == pytest.approx(getattr(by_moments, name), rel=1e-6)


@pytest.mark.parametrize(("d", "other_way"), [(5, "gram_distances"), (6, "moment_distances")])
def test_matrices_are_no_larger_than_they_must(monkeypatch: pytest.MonkeyPatch, d: int, other_way: str) -> None:
    monkeypatch.setattr(metrics.separability, other_way, None)
    features, labels = planted(n=10, d=d, shift=1)
    assert separability(features, labels, 3, seed=0).fdr is not None


def test_every_source_counts_with_the_same_images() -> None:
    features, labels = planted(n=230, d=2, shift=1, n_sources=2)
    assert separability(features, labels, 2, seed=0, permutations=0).n == 200
    few = np.concatenate([np.flatnonzero(labels == 0)[:9], np.flatnonzero(labels == 1)])
    found = separability(features[few], labels[few], 2, seed=0, permutations=0)
    assert found.n == 9
    assert (found.permuted_low, found.permuted_high, found.reason) == (None, None, "")


@pytest.mark.parametrize(
    ("features", "n_sources", "reason"),
    [
        (np.full((12, 5), 0.1, dtype=np.float32), 3, "0/0: all fingerprints are equal"),
        (np.random.default_rng(0).normal(size=(3, 5))[np.arange(30) % 3], 3, "x/0: no source varies within itself"),
        (np.random.default_rng(0).normal(size=(9, 2)), 3, "3 sources of 3 images, needs 2 of 4 or more"),
        (np.random.default_rng(0).normal(size=(9, 2)), 1, "1 sources of 9 images, needs 2 of 4 or more"),
    ],
)
def test_undefined_ratios_say_why(features: np.ndarray, n_sources: int, reason: str) -> None:
    found = separability(features, np.arange(len(features)) % n_sources, n_sources, seed=0)
    assert (found.fdr, found.fdr_equal, found.permuted_low, found.reason) == (None, None, None, reason)


def test_a_range_that_is_undefined_says_why() -> None:
    features = (np.arange(10) == 3).astype(float)[:, None]  # halves of 5 images leave one out: at times this one
    found = separability(features, np.arange(10) % 2, 2, seed=0)
    assert found.fdr_equal is not None
    assert (found.permuted_low, found.reason) == (None, "range: x/0 under permuted labels")


def test_features_that_are_not_finite_are_refused() -> None:
    features, labels = planted(n=5, d=4, shift=1)
    features[2, 1] = np.nan
    with pytest.raises(PluginError, match="1 values that are not finite"):
        separability(features, labels, 3, seed=0)


def test_of_many_sources_twenty_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that time and memory have an end; which ones is drawn once, whatever the features."""
    asked: list[int] = []
    ticks: list[None] = []

    def counted(features: np.ndarray, parts: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        asked.append(len(pairs))
        return moment_distances(features, parts, pairs)

    monkeypatch.setattr(metrics.separability, "moment_distances", counted)
    labels = np.repeat(np.arange(130), 8)
    near = np.random.default_rng(0).normal(size=(len(labels), 2))
    found = separability(near, labels, 130, seed=0, permutations=3, tick=lambda: ticks.append(None))
    assert max(asked) == 190 + 20  # the pairs of 20 sources, and each with itself
    assert (found.n, len(ticks)) == (8, 20 + 3)
    far = near + 100 * labels[:, None]
    chosen = _chosen_by(far, labels)
    assert len(chosen) == 20
    others = np.where(np.isin(labels, chosen), 0.0, 1e6)[:, None]
    assert separability(near + others, labels, 130, seed=0, permutations=3) == found


def _chosen_by(features: np.ndarray, labels: np.ndarray) -> list[int]:
    """Return the sources that count: those without which the ratio is another."""
    whole = separability(features, labels, 130, seed=0, permutations=0)
    return [k for k in range(130) if _without(features, labels, k) != whole.fdr]


def _without(features: np.ndarray, labels: np.ndarray, source: int) -> float | None:
    moved = features.copy()
    moved[labels == source] += 7.0
    return separability(moved, labels, 130, seed=0, permutations=0).fdr
