"""A trial's random state: seeded from its key, kept in checkpoints, put back when a killed training goes on."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gfp_bench.images import ImageSet
from gfp_bench.monitor import Monitor
from gfp_bench.state import State, load_state, save_state

_HEARTBEAT = 0.5  # seconds between signs of life


class TrialMonitor(Monitor):
    """Passes signs of life on and keeps checkpoints together with every random stream."""

    def __init__(self, path: Path, send: Callable[[tuple[Any, ...]], None], every: float) -> None:
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
            self._send(("progress", step, total, values))

    def checkpoint(self, state: State) -> None:
        if time.monotonic() - self._kept < self._every:
            return
        streams = {"rng": self._rng.get_state(), "global": _global_state(), "draws": [s.draws for s in self._sets]}
        save_state(self._path, {"state": state, "streams": streams})
        self._kept = time.monotonic()

    def restored(self) -> State:
        if not self._path.exists():
            return None
        kept = load_state(self._path)
        self._rng.set_state(kept["streams"]["rng"])
        _set_global_state(kept["streams"]["global"])
        for images, draws in zip(self._sets, kept["streams"]["draws"], strict=True):
            images.draws[:] = draws
        return kept["state"]


@contextmanager
def seeded(key: str, call: str) -> Iterator[None]:
    """Seed torch, NumPy and random from a trial's key for one plugin call, and put them back afterwards."""
    before = _global_state()
    seed = seed_of(key, f"global {call}")
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - scikit-learn draws from the legacy state
    random.seed(seed)
    try:
        yield
    finally:
        _set_global_state(before)


def seed_of(key: str, call: str) -> int:
    """Return the seed of one call in a trial, 63 bits."""
    return int.from_bytes(sha256(f"{key} {call}".encode()).digest()[:8], "big") >> 1


def _global_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    legacy = np.random.get_state()  # noqa: NPY002
    return {"torch": torch.get_rng_state(), "cuda": cuda, "numpy": legacy, "random": random.getstate()}


def _set_global_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all([part.cpu() for part in state["cuda"]])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    random.setstate(state["random"])
