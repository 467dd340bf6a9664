"""Train generators and draw from them: one folder a trained generator, resumable at any time."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import torch

from gfp_bench.errors import UsageError
from gfp_bench.files import write_atomically
from gfp_bench.generator import Generator
from gfp_bench.monitor import SILENT, Monitor
from gfp_bench.state import State, load_state, save_state
from gfp_bench.types import Images, Setting

_CHECKPOINT = "checkpoint.safetensors"
_RECORD = "training.json"


class Record(TypedDict):
    """What a training began with."""

    generator: str
    version: int
    settings: dict[str, Setting]
    seed: int


def train(
    generator: Generator,
    pool: Images,
    folder: Path,
    *,
    steps: int,
    seed: int,
    settings: Mapping[str, Setting] | None = None,
    monitor: Monitor = SILENT,
    every: float = 60.0,
) -> None:
    """Train a generator and save it into ``folder``; a training that was killed goes on from its last checkpoint.

    Args:
        generator: What to train.
        pool: Training images.
        folder: Where the generator, its checkpoint and its record lie; made if missing.
        steps: Steps in all; more than before lengthens a training.
        seed: Of all randomness.
        settings: What the generator was made with, for the record.
        monitor: Is told of progress.
        every: Seconds between checkpoints.

    Raises:
        UsageError: If the folder holds a training of something else, or a longer one.
        FloatingPointError: If the training diverges; the last good checkpoint stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record: Record = {
        "generator": generator.name,
        "version": generator.version,
        "settings": dict(settings or {}),
        "seed": seed,
    }
    _claim(folder, record)
    rng = torch.Generator().manual_seed(seed)
    checkpoints = Checkpoints(folder / _CHECKPOINT, rng, every=every, onward=monitor)
    generator.train(pool, steps=steps, rng=rng, monitor=checkpoints)
    generator.save(folder)


def read_record(folder: Path) -> Record:
    """Return what was trained in a folder: the generator's name, version, settings and seed.

    Raises:
        UsageError: If no training was begun there.
    """
    try:
        record: Record = json.loads((folder / _RECORD).read_text())
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder} holds no trained generator; train one into it with `gfp-bench zoo train`"
        ) from error
    return record


def sample(generator: Generator, folder: Path, n: int, seed: int, *, device: torch.device | str = "cpu") -> Images:
    """Return n images of the generator trained in ``folder``; ``generator`` was made with the recorded settings."""
    generator.load(folder, device=device)
    return generator.sample(n, rng=torch.Generator().manual_seed(seed))


class Checkpoints(Monitor):
    """Keeps a training in a file together with the state of its ``rng``, and hands progress on."""

    def __init__(self, path: Path, rng: torch.Generator, *, every: float, onward: Monitor = SILENT) -> None:
        self._path, self._rng, self._every, self._onward = path, rng, every, onward
        self._kept = time.monotonic()

    def progress(self, step: int, total: int, **values: float) -> None:
        self._onward.progress(step, total, **values)

    def checkpoint(self, state: State) -> None:
        if time.monotonic() - self._kept >= self._every:
            save_state(self._path, {"rng": self._rng.get_state(), "training": state})
            self._kept = time.monotonic()

    def restored(self) -> State:
        if not self._path.exists():
            return None
        kept = load_state(self._path)
        self._rng.set_state(kept["rng"])
        return kept["training"]


def _claim(folder: Path, record: Record) -> None:
    """Write the record of a training, or see that it is the one begun here before."""
    if not (folder / _RECORD).exists():
        write_atomically(folder / _RECORD, json.dumps(record, indent=2).encode())
    elif (begun := read_record(folder)) != record:
        raise UsageError(f"{folder} holds the training {begun}, expected {record}; choose another folder")
