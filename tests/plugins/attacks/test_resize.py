import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from gfp_bench import ImageRng
from gfp_bench_attacks.resize import Resize


def streams(count: int) -> ImageRng:
    names = [str(number) for number in range(count)]
    return ImageRng.for_images(names, seed=0, dataset="set", attack="resize", split="test")


def test_images_go_down_and_up_by_pillow() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (20, 3, 40, 40), dtype=np.uint8))
    sides = (40 * streams(20).uniform(0.5, 0.95)).round().long().tolist()
    attacked = Resize().perturb(images, streams(20))
    for image, side, result in zip(images, sides, attacked, strict=True):
        picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
        small = picture.resize((side, side), Image.Resampling.BICUBIC)
        expected = np.asarray(small.resize((40, 40), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(result.permute(1, 2, 0).numpy(), expected)


def test_share_is_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = []

    def recorded(images: torch.Tensor, height: int, width: int, resample: str) -> torch.Tensor:
        sides.extend([height] * len(images))
        return torch.zeros(len(images), 3, height, width, dtype=torch.uint8)

    monkeypatch.setattr("gfp_bench_attacks.resize.resize", recorded)
    Resize().perturb(torch.zeros(1000, 3, 2000, 1, dtype=torch.uint8), streams(1000))
    shares = np.array([side for side in sides if side < 2000]) / 2000
    assert len(shares) == 1000
    assert stats.kstest(shares, "uniform", args=(0.5, 0.45)).pvalue > 0.01


def test_the_whole_share_changes_nothing() -> None:
    images = torch.randint(0, 256, (2, 3, 9, 14), dtype=torch.uint8)
    assert torch.equal(Resize(1.0, 1.0).perturb(images, streams(2)), images)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got 2\.0, expected float from 0\.01 to 1"):
        Resize(high=2.0)
    with pytest.raises(ValueError, match="got 'nearest', expected 'bilinear'"):
        Resize(resample="nearest")
