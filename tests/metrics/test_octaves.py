"""Octaves against Hadamard matrices, Pillow and a slow loop."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.linalg import hadamard

from gfp_bench import UsageError, octaves
from gfp_bench.contracts.types import Images


def noise(n: int, seed: int, shape: tuple[int, int] = (16, 16)) -> Images:
    return torch.randint(0, 256, (n, 3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def slow_octaves(image: NDArray[np.uint8]) -> list[float]:
    """The same by Pillow's colours and 2 x 2 Hadamard matrices, block by block."""
    red, green, blue = image.astype(np.float64)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = [luma, 0.5 * (blue - luma) / (1 - 0.114), 0.5 * (red - luma) / (1 - 0.299)]
    columns = [plane.mean() for plane in planes]
    h = hadamard(2) / np.sqrt(2)
    for _ in range(3):
        details, rest = [], []
        for plane in planes:
            height, width = (side // 2 for side in plane.shape)
            blocks = [
                [h @ plane[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] @ h for j in range(width)] for i in range(height)
            ]
            found = np.array(blocks)
            rest.append(found[:, :, 0, 0])
            details.append([(found[:, :, i, j] ** 2).mean() for i, j in ((0, 1), (1, 0), (1, 1))])
        columns += [np.log(value + 1 / 12) for value in (*details[0], np.mean(details[1]), np.mean(details[2]))]
        planes = rest
    return columns + [np.log(plane.var() + 1 / 12) for plane in planes]


@pytest.mark.parametrize("shape", [(16, 16), (19, 9)])
def test_octaves_are_logarithms_of_haar_energies(shape: tuple[int, int]) -> None:
    images = noise(2, 0, shape)
    expected = [slow_octaves(image.numpy()) for image in images]
    assert octaves(images).numpy() == pytest.approx(np.array(expected), abs=1e-4)


def test_octaves_begin_with_the_colours_that_pillow_has() -> None:
    images = noise(3, 1)
    converted = [Image.fromarray(image.permute(1, 2, 0).numpy()).convert("YCbCr") for image in images]
    means = np.stack([np.asarray(image).mean(axis=(0, 1)) for image in converted]) - [0, 128, 128]
    assert octaves(images)[:, :3].numpy() == pytest.approx(means, abs=1)  # Pillow cuts off


def test_octaves_of_a_flat_image_are_those_of_rounding() -> None:
    flat = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    columns = octaves(flat)[0]
    assert columns[:3].numpy() == pytest.approx([100, 0, 0], abs=1e-3)
    assert columns[3:].numpy() == pytest.approx(np.log(1 / 12), abs=1e-3)


def test_octaves_of_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(UsageError, match=r"images are 9 x 7 pixels, expected 8 x 8 or more"):
        octaves(noise(1, 0, (7, 9)))


def test_an_image_s_octaves_do_not_depend_on_the_others() -> None:
    images = noise(50, 2, (64, 64))
    assert torch.equal(octaves(images)[40:41], octaves(images[40:41]))
