"""The libraries that define attacks, called image by image in one thread, and pictures to compare on."""

import importlib
import io
import pkgutil
from collections.abc import Callable, Iterable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data

import gfp_bench_attacks
from gfp_bench import ImageRng, Images, Perturbation
from gfp_bench_attacks.blur import Blur
from gfp_bench_attacks.crop import Crop
from gfp_bench_attacks.jpeg import Jpeg
from gfp_bench_attacks.noise import Noise

ATTACKS: dict[str, type[Perturbation]] = {}
for _module in pkgutil.iter_modules(gfp_bench_attacks.__path__):
    if not _module.name.startswith("_"):
        _found: list[type[Perturbation]] = []
        importlib.import_module(f"gfp_bench_attacks.{_module.name}").register_attacks(_found.append)
        ATTACKS |= {attack.name: attack for attack in _found}
Picture = NDArray[np.uint8]  # (h, w, 3)


def photographs(side: int, count: int) -> Images:
    """Overlapping cuts of a photograph."""
    picture, draws = data.astronaut(), np.random.default_rng(0)
    corners = draws.integers(0, len(picture) - side, (count, 2))
    cuts = np.stack([picture[top : top + side, left : left + side] for top, left in corners])
    return torch.from_numpy(cuts).permute(0, 3, 1, 2).contiguous()


def streams(count: int, device: str = "cpu") -> ImageRng:
    names = [str(number) for number in range(count)]
    return ImageRng.for_images(names, seed=0, dataset="set", attack="any", split="test", device=device)


def pillows_jpeg(picture: Picture, quality: int, subsampling: str = "4:2:0") -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


def pillows_resize(picture: Picture, height: int, width: int, resample: str = "bicubic") -> Picture:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling[resample.upper()]))


def pillows_webp(picture: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=quality)
    return np.asarray(Image.open(file))


def opencvs_blur(picture: Picture, size: int, sigma: float = 0) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (size, size), sigma), dtype=np.uint8)


def by_pillows_jpeg(images: Images) -> Images:
    return one_by_one(images, pillows_jpeg, streams(len(images)).integers(10, 75).tolist())


def by_pillows_crop(images: Images) -> Images:
    side = images.shape[3]

    def attack(picture: Picture, box: list[int]) -> Picture:
        top, left, height, width = box
        return pillows_resize(picture[top : top + height, left : left + width], side, side)

    return one_by_one(images, attack, Crop().boxes(images, streams(len(images))).tolist())


def by_opencvs_blur(images: Images) -> Images:
    return one_by_one(images, opencvs_blur, (2 * streams(len(images)).integers(0, 4) + 1).tolist())


def by_numpys_normal(images: Images) -> Images:
    def attack(picture: Picture, seed: int) -> Picture:
        draws = np.random.Generator(np.random.Philox(key=seed))
        noise = np.sqrt(draws.uniform(5, 20)) * draws.standard_normal(picture.shape)
        return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)

    return one_by_one(images, attack, range(len(images)))


def one_by_one(images: Images, attack: Callable[..., Picture], parameters: Iterable[object]) -> Images:
    """Return what ``attack`` makes of each picture and its parameter."""
    attacked = np.empty_like(images.numpy())
    for result, image, parameter in zip(attacked, images.numpy(), parameters, strict=True):
        result[:] = attack(np.ascontiguousarray(image.transpose(1, 2, 0)), parameter).transpose(2, 0, 1)
    return torch.from_numpy(attacked)


PEERS: dict[type[Perturbation], Callable[[Images], Images]] = {
    Jpeg: by_pillows_jpeg,
    Crop: by_pillows_crop,
    Blur: by_opencvs_blur,
    Noise: by_numpys_normal,
}
