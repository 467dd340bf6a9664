"""What tests of methods share: image sets made in memory, and the way a fitted state takes to the disk and back."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray
from tiny_generators import noise_pool

from gfp_bench import Images, ImageSet, Method, Monitor, load_state, save_state
from gfp_bench.contracts.state import State

MakeSet = Callable[..., ImageSet]
Reload = Callable[[Method, Method], Method]


@pytest.fixture
def pool() -> Images:
    return noise_pool()


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


class Killed(Exception):
    """What ends a training before its time."""


class Keeper(Monitor):
    """Keeps the last checkpoint with every random stream on disk, and may kill the training after some."""

    def __init__(self, path: Path, rng: torch.Generator, sets: Sequence[ImageSet], die_after: int | None) -> None:
        self.path, self.rng, self.sets, self.left = path, rng, sets, die_after
        self.steps: list[tuple[int, int]] = []

    def progress(self, step: int, total: int, **values: float) -> None:
        self.steps.append((step, total))

    def checkpoint(self, state: State) -> None:
        if self.left == 0:
            raise Killed
        draws = [images.draws for images in self.sets]
        streams = {"rng": self.rng.get_state(), "torch": torch.get_rng_state(), "draws": draws}
        save_state(self.path, {"state": state, "streams": streams})
        self.left = None if self.left is None else self.left - 1

    def restored(self) -> State:
        if not self.path.exists():
            return None
        kept = load_state(self.path)
        self.rng.set_state(kept["streams"]["rng"])
        torch.set_rng_state(kept["streams"]["torch"])
        for images, draws in zip(self.sets, kept["streams"]["draws"], strict=True):
            images.draws[:] = draws
        return kept["state"]


@pytest.fixture
def interrupted(tmp_path: Path) -> Callable[..., list[tuple[int, int]]]:
    """Run a training that is killed after some checkpoints, and run it again to the end; return the steps reported.

    ``train`` is given its rng and a monitor and starts from nothing each time, as a new process would.
    """

    def interrupted(
        train: Callable[[torch.Generator, Monitor], None], die_after: int, sets: Sequence[ImageSet] = ()
    ) -> list[tuple[int, int]]:
        steps: list[tuple[int, int]] = []
        for death in (die_after, None):
            for images in sets:
                images.draws[:] = 0
            torch.manual_seed(0)
            rng = torch.Generator().manual_seed(0)
            keeper = Keeper(tmp_path / "checkpoint", rng, sets, death)
            with nullcontext() if death is None else pytest.raises(Killed):
                train(rng, keeper)
            steps += keeper.steps
        return steps

    return interrupted
