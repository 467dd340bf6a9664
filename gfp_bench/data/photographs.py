"""Small real images: crops of ten free photographs that scikit-image and scikit-learn bring along.

Every photograph is first divided into regions, one per split, that share no pixel; crops come from inside a region, so
no pixel of one split can reach another.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

from gfp_bench.contracts.types import Images

SIZE = 64
GAP = 16  # pixels between two regions
SIDES = (96, 128)  # of a crop before it is scaled, to SIZE 1.5x to 2x, which washes out the 8 x 8 grid of JPEG
POOL_EACH = 600  # crops of each photograph that generators are trained on
FLATNESS = 8.0  # least standard deviation of an image's luma, in grey levels

SHARED = f"crops of a photograph; each split has a region of its own, {GAP} pixels apart"
"""Why photographs, as groups, may stand in several splits."""

PHOTOGRAPHS: Mapping[str, Callable[[], NDArray[np.uint8]]] = {
    "astronaut": skimage.data.astronaut,
    "chelsea": skimage.data.chelsea,
    "china": lambda: load_sample_image("china.jpg"),
    "coffee": skimage.data.coffee,
    "flower": lambda: load_sample_image("flower.jpg"),
    "hubble": skimage.data.hubble_deep_field,
    "immunohistochemistry": skimage.data.immunohistochemistry,
    "motorcycle": lambda: skimage.data.stereo_motorcycle()[0],  # type: ignore[no-untyped-call]
    "retina": skimage.data.retina,
    "rocket": skimage.data.rocket,
}


class Region(NamedTuple):
    """A rectangle of a photograph, in pixels."""

    top: int
    left: int
    height: int
    width: int


class Crops(NamedTuple):
    """Images and, one each, the names of the photographs that they were cut from."""

    images: Images
    groups: tuple[str, ...]


def regions(height: int, width: int) -> dict[str, Region]:
    """Return the regions of a photograph: train above; val and test side by side below; `GAP` between them."""
    lower, half = round(0.45 * height), (width - GAP) // 2
    return {
        "train": Region(0, 0, height - lower - GAP, width),
        "val": Region(height - lower, 0, lower, half),
        "test": Region(height - lower, half + GAP, lower, width - half - GAP),
    }


@cache
def pool(size: int = SIZE) -> Crops:
    """Return the 6,000 training crops that the zoo's generators learn from, always the same, ``size`` pixels a side."""
    return crops("train", POOL_EACH, rng=torch.Generator().manual_seed(0), size=size)


def crops(split: str, each: int, *, rng: torch.Generator, size: int = SIZE) -> Crops:
    """Return ``each`` random crops of every photograph's region of a split, none of them flat, ``size`` x ``size``."""
    images, groups = [], []
    for name, load in PHOTOGRAPHS.items():
        photograph = load()
        region = regions(*photograph.shape[:2])[split]
        images += [cut(photograph, region, SIDES, size, rng=rng) for _ in range(each)]
        groups += [name] * each
    return Crops(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), tuple(groups))


def cut(
    photograph: NDArray[np.uint8], region: Region, sides: tuple[int, int], size: int, *, rng: torch.Generator
) -> NDArray[np.uint8]:
    """Return a random square of a region, scaled to (size, size, 3) by Pillow's Lanczos filter, drawn until not flat.

    Args:
        photograph: (h, w, 3).
        region: Where the square lies.
        sides: Its least and its largest side in pixels; a region that is smaller than either counts in its place.
        size: Height and width of what is returned, in pixels.
        rng: Draws side and place.
    """
    least, most = (min(side, region.height, region.width) for side in sides)
    while True:
        side = _draw(least, most, rng)
        top = region.top + _draw(0, region.height - side, rng)
        left = region.left + _draw(0, region.width - side, rng)
        image = scaled(photograph, Region(top, left, side, side), size)
        if textured(image).item():
            return image[0].permute(1, 2, 0).numpy()


def scaled(photograph: NDArray[np.uint8], region: Region, size: int) -> Images:
    """Return (1, 3, size, size): a square region of a photograph, scaled by Pillow's Lanczos filter."""
    top, left, height, width = region
    square = Image.fromarray(photograph[top : top + height, left : left + width])
    small = np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))
    return torch.tensor(small).permute(2, 0, 1)[None]


def textured(images: Images) -> Tensor:
    """Return (n,) bool: whether an image's luma (ITU-R BT.601) has a standard deviation of at least `FLATNESS`."""
    weights = torch.tensor([0.299, 0.587, 0.114])
    luma = torch.einsum("nchw,c->nhw", images.float(), weights)
    return luma.flatten(1).std(dim=1, correction=0) >= FLATNESS


def _draw(low: int, high: int, rng: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=rng))
