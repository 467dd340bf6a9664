"""Weighted ROC curves and what is read off them, against scikit-learn, SciPy and a slow loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score, roc_curve

from gfp_bench.metrics.detection import balanced_accuracy_at, best_threshold, roc

images = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(1, 4)), min_size=4, max_size=40).filter(
    lambda rows: {positive for _, positive, _ in rows} == {True, False}
)


def arrays(rows: list[tuple[int, bool, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, positive, counts = (np.array(column) for column in zip(*rows, strict=True))
    return scores / 4, positive, counts


@given(images)
def test_areas_are_those_of_scikit_learn(rows: list[tuple[int, bool, int]]) -> None:
    scores, positive, counts = arrays(rows)
    curve = roc(scores, positive, counts[None].astype(float))
    assert curve.auroc()[0] == pytest.approx(roc_auc_score(positive, scores, sample_weight=counts))
    expected = average_precision_score(positive, scores, sample_weight=counts)
    assert curve.average_precision()[0] == pytest.approx(expected)


@given(images)
def test_a_weight_is_a_number_of_copies(rows: list[tuple[int, bool, int]]) -> None:
    scores, positive, counts = arrays(rows)
    weighted = roc(scores, positive, counts[None].astype(float))
    copied = roc(np.repeat(scores, counts), np.repeat(positive, counts))
    for name in ("auroc", "average_precision", "eer"):
        assert getattr(weighted, name)()[0] == pytest.approx(getattr(copied, name)()[0], abs=1e-12)
    for share in (0.05, 0.3):
        assert weighted.tpr_at(share)[0] == pytest.approx(copied.tpr_at(share)[0])


def test_many_weightings_at_once_are_each_alone() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.normal(size=50).round(1), rng.random(50) < 0.4
    weights = rng.integers(0, 3, (6, 50)).astype(float)
    together = roc(scores, positive, weights)
    for row in range(6):
        alone = roc(scores, positive, weights[[row]])
        assert together.eer()[row] == pytest.approx(alone.eer()[0])
        assert together.tpr_at(0.1)[row] == pytest.approx(alone.tpr_at(0.1)[0])
        kept = weights[row] > 0
        expected = roc_auc_score(positive[kept], scores[kept], sample_weight=weights[row, kept])
        assert together.auroc()[row] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_equal_error_rate_is_where_the_curve_meets_the_diagonal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    positive = rng.random(300) < 0.3
    scores = rng.normal(size=300) + positive
    false, true, _ = roc_curve(positive, scores, drop_intermediate=False)
    expected = brentq(lambda x: 1 - x - interp1d(false, true)(x), 0, 1)
    assert roc(scores, positive).eer()[0] == pytest.approx(expected, abs=2 / min(positive.sum(), 300 - positive.sum()))


def test_equal_error_rate_of_scores_that_tell_all_and_nothing() -> None:
    positive = np.arange(10) < 4
    assert roc(positive.astype(float), positive).eer()[0] == 0
    assert roc(np.zeros(10), positive).eer()[0] == pytest.approx(0.5)
    assert roc(-positive.astype(float), positive).eer()[0] == 1


def test_true_positives_at_false_alarms_are_counted() -> None:
    scores = np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    positive = np.array([1, 1, 0, 1, 0, 1, 0, 0, 0, 0], dtype=bool)  # 4 positives, 6 negatives
    curve = roc(scores, positive)
    assert [curve.tpr_at(share)[0] for share in (0.0, 0.1, 1 / 6, 0.2, 2 / 6, 1.0)] == [0.5, 0.5, 0.75, 0.75, 1, 1]
    tied = roc(np.array([1.0, 1.0, 0.0]), np.array([True, False, False]))
    assert tied.tpr_at(0.4)[0] == 0, "a tie cannot be cut"


@given(images)
def test_no_other_threshold_is_better(rows: list[tuple[int, bool, int]]) -> None:
    scores, positive, _ = arrays(rows)
    chosen = balanced_accuracy_at(best_threshold(scores, positive), scores, positive)[0]
    values = np.unique(scores)
    others = [*(values - 0.01), values[-1] + 1]
    assert chosen >= max(balanced_accuracy_score(positive, scores >= other) for other in others) - 1e-12


def test_a_threshold_lies_between_scores_and_in_the_middle_of_equals() -> None:
    scores = np.array([0.0, 1.0, 2.0, 3.0])
    assert best_threshold(scores, np.array([False, False, True, True])) == 1.5
    assert best_threshold(np.array([0.0, 0.0, 4.0]), np.array([False, False, True])) == 2.0
    adjacent = np.array([1.0, np.nextafter(np.float32(1.0), np.float32(2.0))], dtype=np.float32)
    threshold = best_threshold(adjacent, np.array([False, True]))
    assert balanced_accuracy_at(threshold, adjacent.astype(np.float64), np.array([False, True]))[0] == 1.0


def test_balanced_accuracy_at_a_threshold_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    scores, positive = rng.normal(size=80), rng.random(80) < 0.7
    weights = rng.integers(1, 5, (3, 80)).astype(float)
    found = balanced_accuracy_at(0.2, scores, positive, weights)
    expected = [balanced_accuracy_score(positive, scores >= 0.2, sample_weight=row) for row in weights]
    np.testing.assert_allclose(found, expected)
