"""Image files of noise."""

from pathlib import Path

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)


def save(file: Path, size: tuple[int, int] = (8, 8), kind: str = "PNG") -> None:
    """Write an image of some height and width, and the folders that it lies in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)).save(file, kind)
