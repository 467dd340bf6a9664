"""Train generators and draw from them: one folder per trained generator, resumable at any time."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import torch

from gfp_bench.contracts.generator import Generator
from gfp_bench.contracts.monitor import SILENT, Monitor
from gfp_bench.contracts.settings import parse_spec, resolved_settings
from gfp_bench.contracts.state import load_state
from gfp_bench.contracts.types import Images, Setting
from gfp_bench.documents import read_json
from gfp_bench.errors import UsageError, differences
from gfp_bench.files import claimed, sha256, write_atomically
from gfp_bench.machine import has_matrix_units
from gfp_bench.zoo.checkpoints import Checkpoints, TrainingRecord

_CHECKPOINT = "checkpoint.safetensors"
_RECORD = "training.json"
_TRAINED = "trained.json"


class Trained(TypedDict):
    """How a training ended; ``weights`` is the sha256 of those it began with, null where nobody told.

    The seconds are null where a part of it was not timed.

    On a processor without matrix units networks may train in another precision.
    """

    steps: int
    seconds: float | None
    processor_seconds: float | None
    device: str
    matrix_units: bool
    threads: int
    torch: str
    weights: str | None


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
    sheets: int = 10,
) -> None:
    """Train a generator and save it into ``folder``; a training that was killed goes on from its last checkpoint.

    Args:
        generator: What to train.
        pool: Training images.
        folder: Where the generator, its checkpoint and its record lie; made if missing.
        steps: Steps in all; more than before lengthens a training, as many leave it as it is.
        seed: Of all randomness.
        settings: What the generator was made with, for the record.
        monitor: Is told of progress.
        every: Seconds between checkpoints.
        sheets: How often in all a sheet of samples, ``sheet-<step>.png``, is written; the last five are kept.

    Raises:
        UsageError: If the folder holds a training of something else, or a longer one, or another process trains there.
        RecordError: If the checkpoint is damaged or another training's.
        FloatingPointError: If the training diverges; the last good checkpoint stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = pool.cpu().contiguous().numpy()
    record: TrainingRecord = {
        "generator": generator.name,
        "version": generator.version,
        "settings": dict(settings or {}),
        "seed": seed,
        "pool": sha256(content.tobytes()),
    }
    with claimed(folder / ".claim") as holder:
        if holder is not None:
            raise UsageError(f"{folder} is locked by {holder}; wait for it or choose another folder")
        _expect(folder, record, resolved_settings(type(generator), {}))
        done = trained(folder)
        if done and done["steps"] > steps:
            raise UsageError(
                f"the training is at step {done['steps']}, beyond the {steps} asked for; take another folder"
            )
        if done and done["steps"] == steps:
            return
        rng = torch.Generator().manual_seed(seed)
        path = folder / _CHECKPOINT
        checkpoints = Checkpoints(
            path, rng, every=every, onward=monitor, record=record, sheet_every=_part(steps, sheets)
        )
        try:
            generator.train(pool, steps=steps, rng=rng, monitor=checkpoints)
        except (UsageError, FloatingPointError):
            if not done and not path.exists():  # what was refused or kept nothing has not begun
                (folder / _RECORD).unlink()
            raise
        generator.save(folder)
        _end(folder, steps, checkpoints, pool.device)


def read_record(folder: Path) -> TrainingRecord:
    """Return what was trained in a folder: the generator's name, version, settings, seed and pool.

    Raises:
        UsageError: If no training was begun there.
    """
    record: TrainingRecord | None = read_json(folder / _RECORD)
    if record is None:
        raise UsageError(f"{folder} holds no trained generator; train one into it with `gfp-bench zoo train`")
    return record


def trained(folder: Path) -> Trained | None:
    """Return how the training in a folder ended, or None if it has not."""
    done: Trained | None = read_json(folder / _TRAINED)
    return done


def steps_done(folder: Path) -> int:
    """Return how many steps of a training need not be taken again."""
    if done := trained(folder):
        return done["steps"]
    path = folder / _CHECKPOINT
    return int(load_state(path).get("step", 0)) if path.exists() else 0


def remains(folder: Path) -> str:
    """Return in words what a training that diverged has left in a folder."""
    if (folder / _CHECKPOINT).exists():
        return f"{folder} keeps the last good checkpoint"
    return f"{folder} keeps nothing of it, as no checkpoint was due yet"


def sample(generator: Generator, folder: Path, n: int, seed: int, *, device: torch.device | str = "cpu") -> Images:
    """Return n images of the generator trained in ``folder``; ``generator`` was made with the recorded settings.

    Raises:
        UsageError: If the training has not ended, or the folder holds another generator's weights.
        RecordError: If the weights are damaged.
    """
    load(generator, folder, device=device)
    return generator.sample(n, rng=torch.Generator().manual_seed(seed))


def load(generator: Generator, folder: Path, *, device: torch.device | str = "cpu") -> None:
    """Let a generator take over what was trained in ``folder``; raises like `sample`."""
    try:
        generator.load(folder, device=device)
    except FileNotFoundError as error:
        raise UsageError(f"{folder} holds no finished training; go on with `gfp-bench zoo train`") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # what torch and plugins say of foreign weights
        raise UsageError(
            f"{folder} holds weights that do not fit generator {generator.name!r} as it is recorded there ({error}); "
            "train it again in another folder"
        ) from error


def parse_generator(text: str) -> tuple[str, dict[str, str]]:
    """Return the name and the settings, still as text, of ``name``, ``name[key=value,...]`` or ``name:PATH``.

    Raises:
        UsageError: If the text is none of these.
    """
    if match := re.fullmatch(r"([^\[\]:\s]+):(.+)", text):
        return match[1], {"path": match[2]}
    return parse_spec(text)


def _part(steps: int, sheets: int) -> int | None:
    """Return after how many steps another sheet is due."""
    return max(1, steps // sheets) if sheets else None


def _expect(folder: Path, record: TrainingRecord, defaults: Mapping[str, Setting]) -> None:
    """Write the record of a training, or see that it is the one begun here before.

    A setting that was added to the generator since had its default then; pools were not always recorded.
    """
    if not (folder / _RECORD).exists():
        write_atomically(folder / _RECORD, json.dumps(record, indent=2).encode())
        return
    begun = read_record(folder)
    begun.setdefault("pool", record["pool"])
    begun["settings"] = {**defaults, **begun["settings"]}
    if shown := differences(begun, {**record, "settings": {**defaults, **record["settings"]}}):
        raise UsageError(f"{folder} holds another training ({shown}); choose another folder")


def _end(folder: Path, steps: int, checkpoints: Checkpoints, device: torch.device) -> None:
    """Write how a training ended."""
    seconds, processor_seconds = checkpoints.spent()
    ended: Trained = {
        "steps": steps,
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "device": _device_name(device),
        "matrix_units": has_matrix_units(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "weights": checkpoints.weights,
    }
    write_atomically(folder / _TRAINED, json.dumps(ended, indent=2).encode())


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
