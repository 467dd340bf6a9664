"""What tests of methods share: image sets made in memory, and the way a fitted state takes to the disk and back."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray

from gfp_bench import ImageSet, Method

MakeSet = Callable[..., ImageSet]
Reload = Callable[[Method, Method], Method]


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def noise() -> NDArray[np.uint8]:
    """48 images of 16 x 16 pixels without any signal."""
    return np.random.default_rng(0).integers(90, 166, (48, 3, 16, 16), dtype=np.uint8)


@pytest.fixture
def make_set() -> MakeSet:
    def make(pixels: ArrayLike, labels: ArrayLike, sources: Sequence[str] = ("a", "b", "real")) -> ImageSet:
        array = np.asarray(pixels, dtype=np.uint8)
        names = [f"image {index}" for index in range(len(array))]
        return ImageSet(array, np.asarray(labels, dtype=np.int64), sources=sources, ids=names)

    return make


@pytest.fixture
def reload(tmp_path: Path) -> Reload:
    """Save a method and load it into a fresh one."""

    def reload(fitted: Method, fresh: Method) -> Method:
        fitted.save(tmp_path)
        fresh.load(tmp_path)
        return fresh

    return reload
