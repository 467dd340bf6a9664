"""How long attacks take, beside a one-thread loop over the library that defines them, on the same images.

    pytest tests/benchmarks/test_attacks.py --benchmark-enable --benchmark-group-by=group

Both sides take and give (n, 3, h, w) tensors and draw their parameters from the same streams, so their results can be
compared: they are equal, but for noise, whose peer is NumPy's own generator of normal values.
"""

import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture
from skimage import data

from gfp_bench import ImageRng, Images, Perturbation
from gfp_bench_attacks.blur import Blur
from gfp_bench_attacks.combination import Combination
from gfp_bench_attacks.crop import Crop
from gfp_bench_attacks.jpeg import Jpeg
from gfp_bench_attacks.noise import Noise
from gfp_bench_attacks.relight import Relight

COUNTS = {64: 256, 128: 64, 256: 32}
Picture = NDArray[np.uint8]  # (h, w, 3)


def photographs(side: int) -> Images:
    """Overlapping cuts of a photograph."""
    picture, draws = data.astronaut(), np.random.default_rng(0)
    corners = draws.integers(0, len(picture) - side, (COUNTS[side], 2))
    cuts = np.stack([picture[top : top + side, left : left + side] for top, left in corners])
    return torch.from_numpy(cuts).permute(0, 3, 1, 2).contiguous()


def streams(count: int) -> ImageRng:
    names = [str(number) for number in range(count)]
    return ImageRng.for_images(names, seed=0, dataset="set", attack="any", split="test")


def by_pillows_jpeg(images: Images) -> Images:
    def attack(picture: Picture, quality: int) -> Picture:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return one_by_one(images, attack, streams(len(images)).integers(10, 75).tolist())


def by_pillows_resize(images: Images) -> Images:
    side = images.shape[3]

    def attack(picture: Picture, box: list[int]) -> Picture:
        top, left, height, width = box
        part = Image.fromarray(picture).crop((left, top, left + width, top + height))
        return np.asarray(part.resize((side, side), Image.Resampling.BICUBIC))

    return one_by_one(images, attack, Crop().boxes(images, streams(len(images))).tolist())


def by_opencvs_blur(images: Images) -> Images:
    def attack(picture: Picture, size: int) -> Picture:
        return np.asarray(cv2.GaussianBlur(picture, (2 * size + 1, 2 * size + 1), 0), dtype=np.uint8)

    return one_by_one(images, attack, streams(len(images)).integers(0, 4).tolist())


def by_numpys_normal(images: Images) -> Images:
    def attack(picture: Picture, seed: int) -> Picture:
        draws = np.random.Generator(np.random.Philox(key=seed))
        noise = np.sqrt(draws.uniform(5, 20)) * draws.standard_normal(picture.shape)
        return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)

    return one_by_one(images, attack, range(len(images)))


def one_by_one(images: Images, attack: Callable[..., Picture], parameters: object) -> Images:
    attacked = np.empty_like(images.numpy())
    for result, image, parameter in zip(attacked, images.numpy(), parameters, strict=True):  # type: ignore[call-overload]
        result[:] = attack(np.ascontiguousarray(image.transpose(1, 2, 0)), parameter).transpose(2, 0, 1)
    return torch.from_numpy(attacked)


PEERS: dict[type[Perturbation], Callable[[Images], Images]] = {
    Jpeg: by_pillows_jpeg,
    Crop: by_pillows_resize,
    Blur: by_opencvs_blur,
    Noise: by_numpys_normal,
}
every_size = pytest.mark.parametrize("side", COUNTS)


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(2)
    cv2.setNumThreads(2)


@every_size
@pytest.mark.parametrize("attack", [*PEERS, Relight, Combination], ids=lambda attack: attack.name)
def test_ours(benchmark: BenchmarkFixture, attack: type[Perturbation], side: int) -> None:
    images = photographs(side)
    benchmark.group = f"{attack.name} {side}"
    attacked = benchmark(lambda: attack().perturb(images, streams(len(images))))
    if attack in (Jpeg, Crop, Blur):
        assert torch.equal(attacked, PEERS[attack](images))


@every_size
@pytest.mark.parametrize("attack", PEERS, ids=lambda attack: attack.name)
def test_peer(benchmark: BenchmarkFixture, attack: type[Perturbation], side: int) -> None:
    images = photographs(side)
    benchmark.group = f"{attack.name} {side}"
    cv2.setNumThreads(1)
    benchmark(lambda: PEERS[attack](images))
