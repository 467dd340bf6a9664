"""Residuals against PyWavelets and SciPy, plane by plane."""

import numpy as np
import pytest
import pywt
import torch
from prnu import slow_clearing, slow_wavelet_noise
from rounding import assert_same_but_for_rounding
from scipy.ndimage import uniform_filter
from scipy.signal import wiener

from gfp_bench_methods._shared.residuals import Denoiser, to_grey, wiener_residuals, without_linear_patterns
from gfp_bench_methods._shared.wavelets import useful_levels, wavelet_noise

SHAPES = ((64, 64), (33, 70), (8, 8), (9, 5))


def pictures(shape: tuple[int, int], count: int = 3) -> torch.Tensor:
    """Steps under noise, some of them saturated."""
    draws = np.random.default_rng(sum(shape))
    steps = draws.integers(0, 2, (count, 3, *shape)).cumsum(axis=3) * 9
    return torch.from_numpy((steps + draws.normal(0, 6, steps.shape)).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("levels", "sigma"), [(4, 5.0), (3, 1.0), (1, 0.25)])
def test_wavelet_noise_is_pywavelets_and_scipys(shape: tuple[int, int], levels: int, sigma: float) -> None:
    images = pictures(shape).double()
    expected = np.stack([[slow_wavelet_noise(plane, sigma, levels) for plane in image] for image in images.numpy()])
    np.testing.assert_allclose(wavelet_noise(images, sigma, levels), expected, atol=1e-11)
    single = Denoiser("wavelet", sigma, levels).residuals(images.byte())
    np.testing.assert_allclose(single, expected, atol=1e-4)


@pytest.mark.parametrize("side", [8, 13, 14, 16, 27, 28, 64, 128, 1000])
def test_useful_levels_are_pywavelets(side: int) -> None:
    assert useful_levels(side) == max(1, pywt.dwt_max_level(side, "db4"))


@pytest.mark.parametrize("window", [3, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_wiener_residual_is_scipys(shape: tuple[int, int], window: int) -> None:
    images = pictures(shape)
    planes = images.double().flatten(0, 1).numpy()
    with np.errstate(divide="ignore", invalid="ignore"):  # where a window is flat, SciPy takes the other branch
        expected = np.stack([plane - wiener(plane, window) for plane in planes]).reshape(images.shape)
    np.testing.assert_allclose(wiener_residuals(images, window), expected, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_box_residual_is_scipys(shape: tuple[int, int]) -> None:
    images = pictures(shape)
    pixels = images.double().numpy()
    expected = pixels - uniform_filter(pixels, (0, 0, 3, 3), mode="nearest")
    np.testing.assert_allclose(Denoiser("box").residuals(images), expected, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_linear_patterns_are_cleared_as_in_the_toolbox(shape: tuple[int, int]) -> None:
    residuals = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 3, *shape)))
    expected = np.stack([[slow_clearing(plane) for plane in image] for image in residuals.numpy()])
    np.testing.assert_allclose(without_linear_patterns(residuals), expected, atol=1e-11)


def test_clearing_takes_lines_and_leaves_noise() -> None:
    noise = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 1, 64, 64)))
    lines = 9 * (torch.arange(64) % 4)[:, None].expand(64, 64)
    assert_same_but_for_rounding(
        without_linear_patterns(noise + lines), without_linear_patterns(noise), operations=4 * 64 * 6, largest=27.0
    )


@pytest.mark.parametrize("name", ["wavelet", "wiener", "box"])
def test_flat_and_grey_images_give_numbers(name: str) -> None:
    flat = torch.full((2, 3, 16, 16), 201, dtype=torch.uint8)
    residuals = Denoiser(name).residuals(flat)
    inside = residuals[..., 2:-2, 2:-2]  # beyond its edge, the Wiener filter sees zeros
    assert inside.abs().max() == 0 if name != "wiener" else inside.isfinite().all()
    assert without_linear_patterns(residuals).isfinite().all()
    grey = pictures((16, 16))[:, :1].expand(-1, 3, -1, -1)
    residuals = Denoiser(name).residuals(grey)
    np.testing.assert_allclose(to_grey(residuals), residuals[:, :1], atol=1e-5)


@pytest.mark.parametrize("name", ["wavelet", "wiener", "box"])
def test_residuals_do_not_depend_on_the_batch(name: str) -> None:
    images = pictures((64, 64), 40)  # more than are filtered at once
    alone = torch.cat([Denoiser(name).residuals(image[None]) for image in images])
    np.testing.assert_allclose(Denoiser(name).residuals(images), alone, atol=1e-4)
