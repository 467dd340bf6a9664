"""A generator that learns in no time: enough to see where a training went on and what became of its samples."""

import time
from pathlib import Path
from typing import ClassVar

import torch

from gfp_bench import Generator, Images, Register, UsageError, hookimpl, load_state, save_state
from gfp_bench.contracts.monitor import SILENT, Monitor


@hookimpl
def register_generators(register: Register) -> None:
    register(Dice)


class Dice(Generator):
    """Learns nothing but the sum of what it threw, and adds that to noise."""

    name = "dice"
    paper = ""
    version = 1
    metadata: ClassVar[dict[str, str]] = {"family": "dice"}

    def __init__(self, path: str = "", patience: float = 0.0, burst: int = 0, flat: bool = False) -> None:
        self.path = path
        self.patience = patience  # seconds per step
        self.burst = burst  # the step at which it diverges
        self.flat = flat

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        if pool.shape[-1] > 64:
            raise UsageError(f"dice has side {pool.shape[-1]}, expected at most 64")
        state = monitor.restored() or {"step": 0, "sum": 0}
        self.side, self.thrown = pool.shape[-1], 0
        while state["step"] < steps:
            if state["step"] + 1 == self.burst:
                raise FloatingPointError(f"training diverged at step {self.burst}")
            state = {"step": state["step"] + 1, "sum": state["sum"] + int(torch.randint(1000, (), generator=rng))}
            self.thrown += 1
            time.sleep(self.patience)
            monitor.checkpoint(state)
            monitor.preview(state["step"], lambda step=state["step"]: torch.full((5, 3, 4, 4), step, dtype=torch.uint8))
            monitor.progress(state["step"], steps)
        self.sum = state["sum"]

    def sample(self, n: int, *, rng: torch.Generator) -> Images:
        noise = torch.randint(0, 1 if self.flat else 150, (n, 3, self.side, self.side), generator=rng)
        return (noise + self.sum % 100).to(torch.uint8)

    def save(self, folder: Path) -> None:
        save_state(folder / "dice.safetensors", {"sum": self.sum, "side": self.side})

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        state = load_state(folder / "dice.safetensors")
        self.sum, self.side = state["sum"], state["side"]
