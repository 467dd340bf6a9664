"""What a card says is what independent ways of measuring say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from gfp_bench.contracts.method import Method
from gfp_bench.contracts.types import Images
from gfp_bench.data import card
from gfp_bench.data.dataset import Dataset
from gfp_bench.data.manifest import Manifest
from gfp_bench.errors import UsageError
from gfp_bench.registry.discovery import load_plugins


def noise(n: int, seed: int, shape: tuple[int, int] = (16, 16)) -> Images:
    return torch.randint(0, 256, (n, 3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def scipy_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    one, other = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    shift = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    return float(shift + np.trace(one + other - 2 * np.real(sqrtm(one @ other))))


def test_frechet_distance_is_scipy_s(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    real, gan = rng.normal(size=(40, 4)) * [1, 2, 3, 4], rng.normal(2, 1, (40, 4))
    monkeypatch.setattr(card, "HALVINGS", 1)
    distances, halves = card.frechet({"gan": gan, "real": real}, "real")
    draws = np.random.Generator(np.random.Philox(0))
    orders = [np.argsort(draws.random(40)) for _ in range(2)]
    first, second = real[orders[0]] / real.std(axis=0), gan[orders[1]] / real.std(axis=0)
    assert distances["gan"] == pytest.approx(scipy_distance(first[:20], second[:20]), rel=1e-8)
    assert halves == pytest.approx([scipy_distance(first[:20], first[20:])] * 3, rel=1e-8)


def test_frechet_distance_has_a_yardstick() -> None:
    rng = np.random.default_rng(1)
    features = {name: rng.normal(shift, 1, (300, 3)) for name, shift in (("far", 3), ("real", 0), ("same", 0))}
    distances, (mean, low, high) = card.frechet(features, "real")
    assert low < mean < high
    assert low < distances["same"] < 2 * high
    assert distances["far"] == pytest.approx(3 * 9, rel=0.15)  # three columns, three deviations each


def test_a_column_that_never_varies_in_real_images_counts_as_it_is() -> None:
    real = np.random.default_rng(2).normal(size=(10, 2)) * [1, 0]
    distances, _ = card.frechet({"gan": real + np.array([0, 5]), "real": real}, "real")
    assert 25 < distances["gan"] < 27


def test_images_are_apart_by_the_nearest() -> None:
    images, others = noise(5, 0), noise(9, 1)
    nearest = cdist(images.flatten(1).double(), others.flatten(1).double()).min(axis=1) / np.sqrt(3 * 16 * 16)
    assert card.apart(images, others) == pytest.approx((nearest.min(), np.median(nearest), nearest.max()), rel=1e-4)
    assert card.apart(others[:1], others)[0] == pytest.approx(0, abs=0.1)


@pytest.fixture(scope="module")
def floors() -> list[Method]:
    plugins = load_plugins()
    return [plugins.method(name)() for name in ("majority", "thumbnail")]


def test_a_dataset_is_measured_whole(toy: Manifest, cache: Path, floors: list[Method]) -> None:
    found = card.measured(Dataset(toy, cache), "test", floors)
    assert (found["dataset"], found["split"], found["chance"]) == ("toy", "test", 1 / 3)
    assert list(found["sources"]) == ["gan-a", "gan-b", "real"]
    assert found["sources"]["real"]["frechet"] is None
    assert found["sources"]["gan-a"]["frechet"] > found["real_halves"][2], "40 grey levels brighter"
    assert found["sources"]["gan-a"]["frechet"] < found["sources"]["gan-b"]["frechet"]
    assert found["sources"]["real"]["to_pool"] == found["sources"]["real"]["to_train"]
    assert found["sources"]["gan-b"]["to_pool"][1] > found["sources"]["gan-a"]["to_pool"][1]
    assert list(found["told_from"]) == ["`thumbnail`", "files: facts", "files: bytes"]
    assert found["told_from"]["`thumbnail`"][0] == 1.0
    assert found["told_from"]["files: facts"][0] == pytest.approx(1 / 3)


def test_a_pool_stands_in_for_real_images(toy: Manifest, cache: Path) -> None:
    dataset = Dataset(toy, cache)
    pool = dataset.split("test").images
    found = card.measured(dataset, "test", [], pool)
    assert max(one["to_pool"][2] for one in found["sources"].values()) == pytest.approx(0, abs=0.1)
    with pytest.raises(UsageError, match=r"pool's images have shape \(3, 16, 16\), expected \(3, 32, 32\) as those"):
        card.measured(dataset, "test", [], noise(3, 0))


@pytest.mark.parametrize("split", ["train", "tests"])
def test_splits_that_are_not_held_out_are_refused(toy: Manifest, cache: Path, split: str) -> None:
    with pytest.raises(UsageError, match=rf"dataset 'toy' has splits test, train, val and '{split}' was asked for"):
        card.measured(Dataset(toy, cache), split, [])


def test_markdown_has_a_row_a_source_and_fits_a_screen(toy: Manifest, cache: Path, floors: list[Method]) -> None:
    found = card.measured(Dataset(toy, cache), "val", floors)
    lines = card.markdown(found).splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if line.startswith("| gan-a")]
    smallest, median, largest = found["sources"]["gan-a"]["to_pool"]
    assert f"{found['sources']['gan-a']['frechet']:.2f}" in row
    assert f"{smallest:.1f} / {median:.1f} / {largest:.1f}" in row
    assert any(line.startswith("| `thumbnail`") and "+66.7" in line for line in lines)


def test_markdown_says_where_there_is_nothing_to_compare_with(toy: Manifest, cache: Path) -> None:
    found = card.measured(Dataset(toy, cache), "val", [])
    for one in found["sources"].values():
        one["frechet"] = one["to_pool"] = None
    text = card.markdown(found | {"real_halves": None})
    assert text.count("n/a") == 6
    assert "Fréchet:" not in text
