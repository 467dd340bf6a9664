"""The zoo's folders: what a training leaves behind, and when it may go on."""

from pathlib import Path
from typing import ClassVar

import pytest
import torch

from gfp_bench import Generator, Images, UsageError, load_state, save_state, zoo
from gfp_bench.monitor import SILENT, Monitor


class Dice(Generator):
    """Learns nothing but the sum of what it threw: enough to see where a training went on."""

    name = "dice"
    paper = ""
    version = 1
    metadata: ClassVar[dict[str, str]] = {}

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        state = monitor.restored() or {"step": 0, "sum": 0}
        self.thrown = 0
        while state["step"] < steps:
            state = {"step": state["step"] + 1, "sum": state["sum"] + int(torch.randint(1000, (), generator=rng))}
            self.thrown += 1
            monitor.checkpoint(state)
            monitor.progress(state["step"], steps)
        self.sum = state["sum"]

    def sample(self, n: int, *, rng: torch.Generator) -> Images:
        noise = torch.randint(0, 100, (n, 3, 4, 4), generator=rng)
        return ((noise + self.sum) % 256).to(torch.uint8)

    def save(self, folder: Path) -> None:
        save_state(folder / "dice.safetensors", self.sum)

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        self.sum = load_state(folder / "dice.safetensors")


POOL = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)


def test_training_is_lengthened_from_its_checkpoint(tmp_path: Path) -> None:
    zoo.train(Dice(), POOL, tmp_path / "parts", steps=3, seed=1, every=0)
    longer, whole = Dice(), Dice()
    zoo.train(longer, POOL, tmp_path / "parts", steps=8, seed=1, every=0)
    zoo.train(whole, POOL, tmp_path / "whole", steps=8, seed=1, every=0)
    assert (longer.thrown, whole.thrown) == (5, 8)
    assert longer.sum == whole.sum


def test_checkpoints_wait_for_their_time(tmp_path: Path) -> None:
    zoo.train(Dice(), POOL, tmp_path, steps=3, seed=1, every=3600)
    assert not (tmp_path / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("change", [{"seed": 2}, {"settings": {"sides": 6}}])
def test_folder_of_another_training_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    zoo.train(Dice(), POOL, tmp_path, steps=1, seed=1)
    with pytest.raises(UsageError, match=r"holds the training .* choose another folder"):
        zoo.train(Dice(), POOL, tmp_path, steps=1, **{"seed": 1, **change})  # type: ignore[arg-type]


def test_record_tells_what_was_trained(tmp_path: Path) -> None:
    zoo.train(Dice(), POOL, tmp_path, steps=1, seed=4, settings={"sides": 6})
    assert zoo.read_record(tmp_path) == {"generator": "dice", "version": 1, "settings": {"sides": 6}, "seed": 4}


def test_folder_without_a_training_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no trained generator.*zoo train"):
        zoo.read_record(tmp_path)


def test_samples_follow_from_the_seed(tmp_path: Path) -> None:
    zoo.train(Dice(), POOL, tmp_path, steps=2, seed=1)
    first, again, other = (zoo.sample(Dice(), tmp_path, 2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_progress_reaches_the_caller(tmp_path: Path) -> None:
    seen = []

    class Watcher(Monitor):
        def progress(self, step: int, total: int, **values: float) -> None:
            seen.append((step, total))

    zoo.train(Dice(), POOL, tmp_path, steps=2, seed=1, monitor=Watcher())
    assert seen == [(1, 2), (2, 2)]
