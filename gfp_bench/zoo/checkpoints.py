"""The monitor of a training in the zoo: checkpoints that it goes on from, sheets of samples, and what it has cost."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from gfp_bench.contracts.monitor import SILENT, Monitor
from gfp_bench.contracts.settings import Setting
from gfp_bench.contracts.state import State, load_state, save_state
from gfp_bench.contracts.types import Images
from gfp_bench.errors import RecordError, differences
from gfp_bench.files import appearing, sha256
from gfp_bench.pictures import sheet

_SHEETS_KEPT = 5


class TrainingRecord(TypedDict):
    """What a training began with; ``pool`` is the sha256 of its images."""

    generator: str
    version: int
    settings: dict[str, Setting]
    seed: int
    pool: str


class Checkpoints(Monitor):
    """Keeps a training in a file together with the state of its ``rng``, writes sheets, and hands progress on."""

    def __init__(
        self,
        path: Path,
        rng: torch.Generator,
        *,
        every: float,
        onward: Monitor = SILENT,
        record: TrainingRecord | None = None,
        sheet_every: int | None = None,
    ) -> None:
        self._path, self._rng, self._every, self._onward = path, rng, every, onward
        self._record, self._sheet_every = record, sheet_every
        self._step = 0
        self._began = self._kept = time.monotonic()
        self._processor_began = time.process_time()
        self._before: tuple[float, float] | None = (0.0, 0.0)  # spent by processes that were killed
        self.weights: str | None = None  # sha256 of those that the training began with

    def progress(self, step: int, total: int, **values: float) -> None:
        self._step = step
        self._onward.progress(step, total, **values)

    def begun(self, weights: Mapping[str, Tensor]) -> None:
        content = (weights[name].detach().cpu().contiguous().numpy().tobytes() for name in sorted(weights))
        self.weights = sha256(b"".join(content))

    def checkpoint(self, state: State) -> None:
        if time.monotonic() - self._kept >= self._every:
            kept = {
                "rng": self._rng.get_state(),
                "training": state,
                "record": self._record,
                "step": self._step,  # the last that was reported: one less than the state's, as a rule
                "spent": self.spent(),
                "weights": self.weights,
            }
            save_state(self._path, kept)
            self._kept = time.monotonic()

    def restored(self) -> State:
        if not self._path.exists():
            return None
        kept = load_state(self._path)
        if not isinstance(kept, dict) or not {"rng", "training"} <= kept.keys():
            raise RecordError(f"{self._path} is no checkpoint of a training; delete it and run again")
        begun = kept.get("record")
        if self._record and begun:
            begun = {**begun, "settings": {**self._record["settings"], **begun["settings"]}}
            if shown := differences(begun, self._record):
                raise RecordError(f"checkpoint {self._path} is of another training ({shown}); delete it and run again")
        spent = kept.get("spent")
        self._before = None if spent is None or None in spent else spent
        self.weights = kept.get("weights")
        self._rng.set_state(kept["rng"])
        return kept["training"]

    def preview(self, step: int, draw: Callable[[], Images]) -> None:
        if self._sheet_every is None or step % self._sheet_every:
            return
        with appearing(self._path.with_name(f"sheet-{step:06d}.png"), durable=False) as file:
            sheet(draw()).save(file, "png")
        for old in sorted(self._path.parent.glob("sheet-*.png"))[:-_SHEETS_KEPT]:
            old.unlink()

    def spent(self) -> tuple[float, float] | tuple[None, None]:
        """Return seconds of wall and processor time of the training so far, killed processes up to their checkpoint."""
        if self._before is None:
            return None, None
        wall, processor = self._before
        return wall + time.monotonic() - self._began, processor + time.process_time() - self._processor_began
