"""What several tests of data share: a folder of images on disk."""

from pathlib import Path

import pytest
from noise_files import save


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    """A folder of 18 images of noise by split and source, three each, as if of two cats."""
    for split in ("train", "val", "test"):
        for source in ("gan", "real"):
            for number in range(3):
                save(tmp_path / "toy" / split / source / f"cat{number % 2}.{number}.png")
    return tmp_path / "toy"
