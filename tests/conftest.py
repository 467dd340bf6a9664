"""What several tests share: a small dataset on disk, and a folder for its decoded images."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from gfp_bench.data.indexing import index_folder
from gfp_bench.data.manifest import About, Manifest

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

SOURCES = ("real", "gan-a", "gan-b")
COUNTS = {"train": 12, "val": 4, "test": 8}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two workers share two cores, and sums depend on how they are split."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A dataset of 32 x 32 noise whose sources differ in brightness, so that any method can tell them apart."""
    root = tmp_path_factory.mktemp("data") / "toy"
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for shift, source in enumerate(SOURCES):
            folder = root / split / source
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 150, (32, 32, 3)) + 40 * shift
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return index_folder(root, "toy", about=About("Noise of three brightnesses."))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where decoded images of all tests lie."""
    return tmp_path_factory.mktemp("cache")
