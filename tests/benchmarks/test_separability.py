"""How long the Fréchet ratios of a clean cell take, beside the same by singular values alone, on the same features.

    pytest tests/benchmarks/test_separability.py --benchmark-enable --jaxtyping-packages=

One thread, as in a trial: 14 sources of 100 images. Pixels are 3 x 64 x 64 values per image, whose Gram matrix takes a
quarter of the time; 64 steep features are those of a network, whose spectrum falls so fast that only singular values
tell its end.
"""

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from threadpoolctl import threadpool_limits

from gfp_bench import load_dataset
from gfp_bench.metrics import separability as ratios
from gfp_bench.metrics.separability import Separability, separability

SEED = 1904


@pytest.fixture(scope="module", params=["pixels", "steep"])
def features(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    test = load_dataset("gm-photo64").split("test")
    labels = test.labels.numpy()
    if request.param == "pixels":
        return (test.images.flatten(1) / 127.5 - 1).double().numpy(), labels
    return np.random.default_rng(SEED).normal(size=(len(labels), 64)) * np.logspace(0, -5, 64), labels


def by_singular_values(gram: np.ndarray, parts: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The distances as their definition has them."""
    first, second = pairs.T
    m = parts.shape[1]
    own, cross = (gram[a[:, :, None], b[:, None, :]] for a, b in ((parts, parts), (parts[first], parts[second])))
    lengths, overlap = own.mean(axis=(1, 2)), cross.mean(axis=(1, 2))
    traces = (np.trace(own, axis1=1, axis2=2) - m * lengths) / (m - 1)
    centred = cross - cross.mean(axis=1, keepdims=True) - cross.mean(axis=2, keepdims=True) + overlap[:, None, None]
    nuclear = np.linalg.svd(centred, compute_uv=False).sum(axis=1) / (m - 1)
    return lengths[first] + lengths[second] - 2 * overlap + traces[first] + traces[second] - 2 * nuclear


def measured(benchmark: BenchmarkFixture, features: tuple[np.ndarray, np.ndarray]) -> Separability:
    torch.set_num_threads(1)
    benchmark.group = f"separability, 14 x 100 images of {features[0].shape[1]:,} values"
    with threadpool_limits(1):
        return benchmark.pedantic(lambda: separability(*features, 14, seed=SEED), rounds=3)


@pytest.mark.timeout(120)
def test_ours(benchmark: BenchmarkFixture, features: tuple[np.ndarray, np.ndarray]) -> None:
    measured(benchmark, features)


@pytest.mark.timeout(120)
def test_peer(
    benchmark: BenchmarkFixture, features: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = separability(*features, 14, seed=SEED)
    monkeypatch.setattr(ratios, "gram_distances", by_singular_values)
    peer = measured(benchmark, features)
    for name in ("fdr", "fdr_equal", "permuted_low", "permuted_high"):
        assert getattr(ours, name) == pytest.approx(getattr(peer, name), rel=1e-9)
