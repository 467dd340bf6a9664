"""What floors decide by: libsvm's machine on small sets, a least-squares one beyond, about as good."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from gfp_bench import load_dataset, octaves
from gfp_bench_methods._shared import gaussian
from gfp_bench_methods._shared.features import balanced_accuracy, gather
from gfp_bench_methods._shared.gaussian import fit_gaussian, gaussian_scores
from gfp_bench_methods.thumbnail import Thumbnail

Part = tuple[torch.Tensor, torch.Tensor]


def planted(count: int, sources: int, seed: int) -> Part:
    """Normal features around a centre per source, which is the same for every seed."""
    centres = np.random.default_rng(7).normal(0, 3, (sources, 6))
    labels = np.arange(count) % sources
    rows = centres[labels] + np.random.default_rng(seed).normal(size=(count, 6)) * [1, 2, 1, 3, 1, 1]
    return torch.from_numpy(rows), torch.from_numpy(labels)


@pytest.mark.parametrize(
    ("images", "sources", "kept"), [(60, 3, "support"), (59, 3, "landmarks"), (60, 2, "landmarks")]
)
def test_large_sets_get_another_machine(monkeypatch: pytest.MonkeyPatch, images: int, sources: int, kept: str) -> None:
    monkeypatch.setattr(gaussian, "EXACT_IMAGES", images)
    monkeypatch.setattr(gaussian, "EXACT_SOURCES", sources)
    machine, _ = fit_gaussian(planted(60, 3, 0), planted(30, 3, 1), 3)
    assert kept in machine


def test_the_limits_are_those_that_rows_and_pages_name() -> None:
    assert (gaussian.EXACT_IMAGES, gaussian.EXACT_SOURCES, gaussian.LANDMARKS) == (8000, 32, 2000)
    for number in ("8,000", "32", "2,000"):
        assert number in gaussian.BEYOND
        assert number in (gaussian.__doc__ or "")


def test_least_squares_are_those_of_the_dense_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Suykens and Vandewalle's: [0, 1; 1, K + I/C] [b; a] = [0; y], with every training image a landmark."""
    monkeypatch.setattr(gaussian, "EXACT_IMAGES", 0)
    (rows, labels), val = planted(50, 5, 0), planted(40, 5, 1)
    machine, penalty = fit_gaussian((rows, labels), val, 5)
    mean, scale = rows.mean(dim=0), rows.std(dim=0, correction=0)
    x, y = ((values - mean) / scale for values in (rows, val[0]))
    kernel = np.exp(-cdist(x, x, "sqeuclidean") / 6)
    system = np.block([[np.zeros((1, 1)), np.ones((1, 50))], [np.ones((50, 1)), kernel + np.eye(50) / penalty]])
    targets = np.concatenate([np.zeros((1, 5)), 2 * np.eye(5)[labels] - 1])
    offset, *multipliers = np.linalg.solve(system, targets)
    expected = np.exp(-cdist(y, x, "sqeuclidean") / 6) @ np.array(multipliers) + offset
    np.testing.assert_allclose(gaussian_scores(machine, val[0], 5), expected, atol=1e-4)


def accuracy(train: Part, val: Part, test: Part, sources: int) -> float:
    machine, _ = fit_gaussian(train, val, sources)
    return balanced_accuracy(gaussian_scores(machine, test[0], sources).argmax(dim=1), test[1])


def test_many_sources_are_told_apart_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [planted(count, 30, seed) for seed, count in enumerate((900, 300, 1200))]
    exact = accuracy(*parts, sources=30)
    monkeypatch.setattr(gaussian, "EXACT_SOURCES", 29)
    monkeypatch.setattr(gaussian, "LANDMARKS", 300)
    assert accuracy(*parts, sources=30) > exact - 0.02
    assert exact > 10 / 30


@pytest.mark.parametrize(("features", "landmarks"), [(octaves, 200), (Thumbnail().features, 480)])
def test_photographs_are_told_apart_as_well(monkeypatch: pytest.MonkeyPatch, features, landmarks: int) -> None:
    data = load_dataset("photo-mini")
    parts = [gather(features, data.split(split)) for split in ("train", "val", "test")]
    exact = accuracy(*parts, sources=4)
    monkeypatch.setattr(gaussian, "EXACT_IMAGES", 479)
    monkeypatch.setattr(gaussian, "LANDMARKS", landmarks)
    assert accuracy(*parts, sources=4) > exact - 0.03


def test_equal_images_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian, "EXACT_IMAGES", 0)
    rows, labels = planted(6, 3, 0)
    repeated = rows.repeat(20, 1), labels.repeat(20)
    assert accuracy(repeated, (rows, labels), (rows, labels), 3) == 1.0


def test_a_source_without_training_images_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian, "EXACT_IMAGES", 0)
    with pytest.raises(ValueError, match="2 sources, expected some of each of the 3"):
        fit_gaussian(planted(10, 2, 0), planted(10, 2, 0), 3)
