"""Gamma, contrast and flip: changes of single values or of their places."""

import numpy as np
import pytest
import torch
from scipy import stats

from gfp_bench import ImageRng
from gfp_bench_attacks.contrast import Contrast
from gfp_bench_attacks.flip import Flip
from gfp_bench_attacks.gamma import Gamma


def streams(count: int) -> ImageRng:
    names = [str(number) for number in range(count)]
    return ImageRng.for_images(names, seed=0, dataset="set", attack="tones", split="test")


@pytest.fixture
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 20, 30), dtype=np.uint8))


def test_gamma_raises_to_a_power(images: torch.Tensor) -> None:
    exponent = np.exp(streams(6).uniform(np.log(0.5), np.log(2.0)).numpy())[:, None, None, None]
    expected = np.rint(255 * (images.numpy() / 255) ** exponent)
    np.testing.assert_array_equal(Gamma().perturb(images, streams(6)).numpy(), expected)
    assert torch.equal(Gamma(1.0, 1.0).perturb(images, streams(6)), images)


def test_contrast_scales_distances_from_the_mean(images: torch.Tensor) -> None:
    factor = streams(6).uniform(0.5, 1.5).numpy()[:, None, None, None]
    mean = images.numpy().mean(axis=(1, 2, 3), keepdims=True)
    expected = np.clip(np.rint(mean + factor * (images.numpy() - mean)), 0, 255)
    np.testing.assert_array_equal(Contrast().perturb(images, streams(6)).numpy(), expected)
    grey = Contrast(0.0, 0.0).perturb(images, streams(6))
    assert torch.equal(grey, grey[:, :1, :1, :1].expand_as(grey))


@pytest.mark.parametrize(("direction", "axes"), [("horizontal", 3), ("vertical", 2), ("both", (2, 3))])
def test_flip_mirrors(images: torch.Tensor, direction: str, axes: int | tuple[int, ...]) -> None:
    flipped = Flip(direction).perturb(images, streams(6))
    np.testing.assert_array_equal(flipped.numpy(), np.flip(images.numpy(), axes))


def test_flip_leaves_some_as_they_were() -> None:
    steps = torch.arange(2, dtype=torch.uint8).expand(2000, 3, 1, 2)
    flipped = Flip(probability=0.3).perturb(steps, streams(2000))[:, 0, 0, 0] == 1
    assert stats.binomtest(int(flipped.sum()), 2000, 0.3).pvalue > 0.01


@pytest.mark.parametrize(
    ("attack", "options", "message"),
    [
        (Gamma, {"low": 0.0}, "got 0.0, expected float from 0.01 to 100"),
        (Contrast, {"high": 0.1}, "low=0.5 and high=0.1 are no range"),
        (Flip, {"direction": "left"}, "got 'left', expected 'horizontal' or 'vertical' or 'both'"),
        (Flip, {"probability": 2.0}, "got 2.0, expected float from 0 to 1"),
    ],
)
def test_settings_out_of_range_are_refused(attack: type, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attack(**options)
