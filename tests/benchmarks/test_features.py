"""How long hand-crafted features take, beside the procedures that define them, image by image, on the same images.

    pytest tests/benchmarks/test_features.py --benchmark-enable --benchmark-group-by=group --jaxtyping-packages=

Two cores each, 128 px. Both sides' results are compared.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from benchmarks.peers import photographs
from numpy.typing import NDArray
from prnu import slow_wavelet_noise
from pytest_benchmark.fixture import BenchmarkFixture
from sklearn.neighbors import NearestNeighbors

from gfp_bench_methods._shared.neighbours import nearest
from gfp_bench_methods._shared.residuals import Denoiser
from gfp_bench_methods.durall20 import profile

SIDE, COUNT = 128, 64


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(2)


def authors_profile(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Sort all pixels by their distance, sum them up, and take differences where its whole part changes."""
    grey = cv2.cvtColor(np.ascontiguousarray(image.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
    spectrum = 20 * np.log(np.abs(np.fft.fftshift(np.fft.fft2(grey)) + 1e-8))
    row, column = np.indices(grey.shape)
    radius = np.hypot(row - (grey.shape[0] - 1) / 2, column - (grey.shape[1] - 1) / 2)
    order = radius.ravel().argsort()
    whole = radius.ravel()[order].astype(int)
    ends = np.flatnonzero(np.diff(whole))
    sums = spectrum.ravel()[order].cumsum()[ends]
    return np.diff(sums) / np.diff(ends)


def residual(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.stack([slow_wavelet_noise(plane, 1.0, 4) for plane in image.astype(np.float32)])


def neighbours_by_scikit_learn(queries: NDArray[np.uint8], rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    fitted = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(rows.astype(np.float32))
    return np.asarray(fitted.kneighbors(queries.astype(np.float32))[1])


def test_durall_profiles(benchmark: BenchmarkFixture) -> None:
    images = photographs(SIDE, COUNT)
    benchmark.group = "Durall profiles"
    found = benchmark(partial(profile, images))
    np.testing.assert_allclose(found, [authors_profile(image) for image in images.numpy()], rtol=1e-9)


def test_durall_profiles_peer(benchmark: BenchmarkFixture) -> None:
    images = photographs(SIDE, COUNT).numpy()
    benchmark.group = "Durall profiles"
    benchmark(lambda: [authors_profile(image) for image in images])


def test_wavelet_residuals(benchmark: BenchmarkFixture) -> None:
    images = photographs(SIDE, COUNT)
    benchmark.group = "wavelet-Wiener residuals"
    found = benchmark(partial(Denoiser("wavelet").residuals, images))
    np.testing.assert_allclose(found[:2], [residual(image) for image in images[:2].numpy()], atol=1e-4)


def test_wavelet_residuals_peer(benchmark: BenchmarkFixture) -> None:
    images = list(photographs(SIDE, COUNT).numpy())
    benchmark.group = "wavelet-Wiener residuals"
    with ProcessPoolExecutor(2) as pool:
        benchmark(lambda: list(pool.map(residual, images, chunksize=8)))


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "peer"])
def test_neighbours(benchmark: BenchmarkFixture, *, ours: bool) -> None:
    images = photographs(SIDE, 600).flatten(1)
    queries, rows = images[:100], images[100:]
    benchmark.group = "5 nearest of 500, 100 queries"
    if ours:
        found = benchmark(lambda: nearest(queries, rows, 5)[1])
        assert (found.numpy() == neighbours_by_scikit_learn(queries.numpy(), rows.numpy())).mean() > 0.99
    else:
        benchmark(lambda: neighbours_by_scikit_learn(queries.numpy(), rows.numpy()))
