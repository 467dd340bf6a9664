"""The monitor that a trial hands to its plugin: signs of life, and checkpoints with every random stream."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from gfp_bench.contracts.images import ImageSet
from gfp_bench.contracts.monitor import Monitor
from gfp_bench.contracts.state import State, load_state, save_state
from gfp_bench.engine.events import Progress, checked_progress
from gfp_bench.seeding import random_state, set_random_state

_HEARTBEAT = 0.5  # seconds between signs of life


class Pulse:
    """Passes signs of life on, one each half second and the end of every fit, however many come."""

    def __init__(self, send: Callable[[Progress], None]) -> None:
        self._send, self._said, self._ended = send, 0.0, (0, 0)

    def tick(self) -> None:
        """Pass on that something goes on, without a number."""
        self.pass_on(Progress(0, 0))

    def pass_on(self, progress: Progress) -> None:
        """Pass on how far a fit is."""
        now, at = time.monotonic(), (progress.step, progress.total)
        ends = progress.total > 0 and progress.step == progress.total and at != self._ended
        if ends or now - self._said >= _HEARTBEAT:
            self._said, self._ended = now, at
            self._send(progress)


class TrialMonitor(Monitor):
    """Passes signs of life on and keeps checkpoints together with every random stream."""

    def __init__(self, path: Path, send: Callable[[Progress], None], every: float) -> None:
        self._path, self._pulse, self._every = path, Pulse(send), every
        self._kept = time.monotonic()
        self._rng = torch.Generator()
        self._sets: tuple[ImageSet, ...] = ()

    def watch(self, rng: torch.Generator, *sets: ImageSet) -> None:
        """Name the random state that belongs to the training."""
        self._rng, self._sets = rng, sets

    def progress(self, step: int, total: int, **values: float) -> None:
        self._pulse.pass_on(checked_progress(step, total, values))

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
