"""The monitor that a trial hands to its plugin: signs of life, and checkpoints with every random stream."""

import time
from pathlib import Path

import torch

from gfp_bench.contracts.images import ImageSet
from gfp_bench.contracts.monitor import Monitor
from gfp_bench.contracts.state import State, load_state, save_state
from gfp_bench.engine.events import Progress, Send
from gfp_bench.seeding import random_state, set_random_state

_HEARTBEAT = 0.5  # seconds between signs of life


class TrialMonitor(Monitor):
    """Passes signs of life on and keeps checkpoints together with every random stream."""

    def __init__(self, path: Path, send: Send, every: float) -> None:
        self._path, self._send, self._every = path, send, every
        self._said, self._kept = 0.0, time.monotonic()
        self._rng = torch.Generator()
        self._sets: tuple[ImageSet, ...] = ()

    def watch(self, rng: torch.Generator, *sets: ImageSet) -> None:
        """Name the random state that belongs to the training."""
        self._rng, self._sets = rng, sets

    def tick(self) -> None:
        """Send a sign of life without a number."""
        self.progress(0, 0)

    def progress(self, step: int, total: int, **values: float) -> None:
        now = time.monotonic()
        if now - self._said >= _HEARTBEAT or (total and step == total):
            self._said = now
            self._send(Progress(step, total, values))

    def checkpoint(self, state: State) -> None:
        if time.monotonic() - self._kept < self._every:
            return
        streams = {"rng": self._rng.get_state(), "global": random_state(), "draws": [s.draws for s in self._sets]}
        save_state(self._path, {"state": state, "streams": streams})
        self._kept = time.monotonic()

    def restored(self) -> State:
        if not self._path.exists():
            return None
        kept = load_state(self._path)
        self._rng.set_state(kept["streams"]["rng"])
        set_random_state(kept["streams"]["global"])
        for images, draws in zip(self._sets, kept["streams"]["draws"], strict=True):
            images.draws[:] = draws
        return kept["state"]
