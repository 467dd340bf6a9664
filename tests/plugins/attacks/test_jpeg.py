import io

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import stats
from skimage import data

from gfp_bench import ImageRng
from gfp_bench_attacks.jpeg import Jpeg, roundtrip_tensor

PILLOW = {"4:2:0": "4:2:0", "4:4:4": "4:4:4"}
every_subsampling = pytest.mark.parametrize("subsampling", PILLOW)


def by_pillow(image: torch.Tensor, quality: int, subsampling: str) -> torch.Tensor:
    file = io.BytesIO()
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=PILLOW[subsampling])
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


def examples(height: int, width: int) -> torch.Tensor:
    """(4, 3, h, w): noise, black-and-white noise, a photograph, one colour."""
    draws = np.random.default_rng(height * 1000 + width)
    photograph: NDArray[np.uint8] = data.astronaut()[100 : 100 + height, 200 : 200 + width].transpose(2, 0, 1)
    noise = draws.integers(0, 256, (3, height, width), dtype=np.uint8)
    extreme = draws.integers(0, 2, (3, height, width), dtype=np.uint8) * np.uint8(255)
    flat = np.broadcast_to(draws.integers(0, 256, (3, 1, 1), dtype=np.uint8), photograph.shape)
    return torch.from_numpy(np.stack([noise, extreme, photograph, flat]))


@every_subsampling
@pytest.mark.parametrize("size", [(24, 40), (17, 31)])
def test_tensor_form_is_pillows_at_every_quality(size: tuple[int, int], subsampling: str) -> None:
    qualities = torch.arange(1, 101)
    for image in examples(*size):
        attacked = roundtrip_tensor(image.expand(100, -1, -1, -1), qualities, subsampling)
        for quality, result in zip(qualities.tolist(), attacked, strict=True):
            assert torch.equal(result, by_pillow(image, quality, subsampling)), quality


@every_subsampling
@pytest.mark.parametrize("height", [1, 2, 3, 8, 15, 16, 18])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 8, 16, 18, 34])
def test_tensor_form_is_pillows_at_every_edge(height: int, width: int, subsampling: str) -> None:
    images = examples(height, width)
    for quality in (5, 60, 95):
        attacked = roundtrip_tensor(images, quality, subsampling)
        expected = [by_pillow(image, quality, subsampling) for image in images]
        assert torch.equal(attacked, torch.stack(expected))


@every_subsampling
@pytest.mark.parametrize("threads", [1, 2])
def test_attack_is_pillows(subsampling: str, threads: int) -> None:
    torch.set_num_threads(threads)
    images = torch.cat([examples(33, 47)] * 10)
    attacked = Jpeg(1, 100, subsampling).perturb(images, streams(40))
    qualities = streams(40).integers(1, 100).tolist()
    expected = [by_pillow(image, quality, subsampling) for image, quality in zip(images, qualities, strict=True)]
    assert torch.equal(attacked, torch.stack(expected))


@every_subsampling
def test_a_coder_may_take_red_for_blue(subsampling: str) -> None:
    images = torch.cat([examples(24, 40)] * 5)
    attacked = Jpeg(95, 95, f"{subsampling}-bgr").perturb(images, streams(20))
    swapped = [by_pillow(image.flip(0), 95, subsampling).flip(0) for image in images]
    assert torch.equal(attacked, torch.stack(swapped))
    assert not torch.equal(attacked, Jpeg(95, 95, subsampling).perturb(images, streams(20)))


def streams(count: int) -> ImageRng:
    names = [str(number) for number in range(count)]
    return ImageRng.for_images(names, seed=0, dataset="set", attack="jpeg", split="test")


def test_every_quality_of_the_range_is_drawn_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    encode = cv2.imencode
    monkeypatch.setattr(cv2, "imencode", lambda *arguments: drawn.append(arguments[2][1]) or encode(*arguments))
    Jpeg().perturb(torch.zeros(3300, 3, 1, 1, dtype=torch.uint8), streams(3300))
    assert (min(drawn), max(drawn)) == (10, 75)
    assert stats.chisquare(np.bincount(np.array(drawn) - 10)).pvalue > 0.01


def test_parts_of_a_large_batch_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.cat([examples(16, 24)] * 3)
    whole = roundtrip_tensor(images, 50)
    monkeypatch.setattr("gfp_bench_attacks._shared.libjpeg._BATCH", 5 * images[0].numel())
    assert torch.equal(roundtrip_tensor(images, 50), whole)
    assert roundtrip_tensor(images[:0], 50).shape == (0, 3, 16, 24)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 0}, "got 0, expected int from 1 to 100"),
        ({"low": 50, "high": 40}, "'jpeg': settings low=50 and high=40 are no range"),
        ({"high": 101}, "got 101, expected int from 1 to 100"),
        ({"subsampling": "4:1:1"}, "got '4:1:1', expected '4:2:0' or '4:4:4'"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Jpeg(**options)


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_that_does_not_exist_is_refused(quality: int) -> None:
    with pytest.raises(ValueError, match=f"{quality}.*expected whole numbers from 1 to 100"):
        roundtrip_tensor(examples(8, 8), quality)
    with pytest.raises(ValueError, match="'4:2:2', expected 4:2:0 or 4:4:4"):
        roundtrip_tensor(examples(8, 8), 50, "4:2:2")
