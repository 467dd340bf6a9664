"""What a cell leaves behind, and the store that keeps it: one JSON and one score file per cell. Torch-free."""

import io
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from gfp_bench.documents import read_json
from gfp_bench.engine.plan import Cell, Plan, Trial, plan_from_json, plan_to_json
from gfp_bench.errors import RecordError, UsageError
from gfp_bench.files import claimed, write_atomically

_PLAN, _PLANS = "plan.json", "plans"
SCHEMA = 2  # 1 kept no top score of each image
FailureKind: TypeAlias = Literal["failed", "timeout"]


@dataclass(frozen=True)
class Record:
    """One scored cell, immutable.

    Attributes:
        key: The cell's identity (`gfp_bench.engine.plan`), 64 hex digits.
        trial: The trial's identity.
        cell: ``clean`` or the attack's label.
        metrics: Full precision.
        separability: The Fréchet ratios, or null with a reason; empty where the task has none.
        n_scored: Test images scored, which is all of them.
        scores_sha256: Of the score file beside the record.
        provenance: Package versions, revision, device, determinism flags.
        schema: Version of this layout.
    """

    key: str
    trial: str
    cell: str
    metrics: dict[str, Any]
    separability: dict[str, Any]
    n_scored: int
    scores_sha256: str
    provenance: dict[str, Any]
    schema: int = SCHEMA


@dataclass(frozen=True)
class Failed:
    """Why a cell has no numbers, and the log that says more (relative to the results folder)."""

    key: str
    status: FailureKind
    reason: str
    log: str


class Store:
    """A results folder. Every file appears by rename, complete or not at all."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, trial: Trial) -> Path:
        """Return the trial's folder, which may not exist yet."""
        return self.root / trial.folder

    def path(self, trial: Trial, kind: str) -> Path:
        """Return where the trial keeps its ``state``, ``log``, ``timing``, ``claim`` or plugins' ``scratch`` files."""
        return self.folder(trial) / f"{kind}-{trial.key[:8]}"

    def record(self, trial: Trial, cell: Cell) -> Record | None:
        """Return a cell's record if there is one.

        Raises:
            RecordError: If the file is damaged or another cell's.
        """
        path = self._cell(trial, cell, ".json")
        data = read_json(path)
        if data is None:
            return None
        try:
            record = Record(**data)
        except TypeError as error:
            raise RecordError(
                f"record {path} has other fields than schema {SCHEMA} ({error}); delete it and run again"
            ) from error
        if record.key != cell.key:
            raise RecordError(f"record {path} is of cell {record.key}, expected {cell.key}; delete it and run again")
        return record

    def failure(self, trial: Trial, cell: Cell) -> Failed | None:
        """Return why a cell failed, if it did."""
        data = read_json(self._cell(trial, cell, ".failed.json"))
        return Failed(**data) if data else None

    def has_scores(self, trial: Trial, cell: Cell) -> bool:
        """Return whether a cell's scores are here: a published board keeps only what its metrics come from."""
        return self._cell(trial, cell, ".npz").exists()

    def archive(self, trial: Trial) -> Path:
        """Return where a published board has what is kept of all cells of a trial."""
        return self.path(trial, "answers").with_suffix(".npz")

    def archived(self, trial: Trial) -> dict[str, NDArray[Any]]:
        """Return the arrays of a trial's archive, each called ``<cell>.<name>``; none if there is no archive.

        Raises:
            RecordError: If it is damaged.
        """
        try:
            with np.load(self.archive(trial)) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, BadZipFile) as error:
            raise RecordError(f"{self.archive(trial)} is damaged ({error}); publish the board again") from error

    def arrays(self, trial: Trial, cell: Cell, record: Record) -> dict[str, NDArray[Any]]:
        """Return the (n, s) ``scores`` of a done cell, in the order of the manifest's index, and kept fingerprints.

        Raises:
            RecordError: If the file is missing or not the one that the record was made with.
        """
        path = self._cell(trial, cell, ".npz")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RecordError(
                f"score file {path} cannot be read ({error.strerror}); delete its record and run again"
            ) from error
        if sha256(content).hexdigest() != record.scores_sha256:
            raise RecordError(f"score file {path} is not the one its record was made with; delete both and run again")
        with np.load(io.BytesIO(content)) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def write(self, trial: Trial, cell: Cell, record: Record, scores: bytes) -> None:
        """Keep a cell: its scores first, so that a record never stands without them."""
        write_atomically(self._cell(trial, cell, ".npz"), scores)
        self.put(trial, cell, record)
        self.forget_failure(trial, cell)

    def put(self, trial: Trial, cell: Cell, record: Record) -> None:
        """Keep a record alone, as a published board does."""
        self.folder(trial).mkdir(parents=True, exist_ok=True)
        write_atomically(self._cell(trial, cell, ".json"), to_json(asdict(record)))

    def fail(self, trial: Trial, cell: Cell, status: FailureKind, reason: str) -> None:
        """Keep why a cell has no numbers."""
        self.folder(trial).mkdir(parents=True, exist_ok=True)
        log = str(self.path(trial, "log").relative_to(self.root))
        write_atomically(
            self._cell(trial, cell, ".failed.json"), to_json(asdict(Failed(cell.key, status, reason, log)))
        )

    def forget_failure(self, trial: Trial, cell: Cell) -> None:
        """Make a failed cell pending again."""
        self._cell(trial, cell, ".failed.json").unlink(missing_ok=True)

    def pending(self, trial: Trial, *, retry_failed: bool = False) -> list[Cell]:
        """Return the cells that have to be computed: not those done, nor those failed unless asked for."""
        return [
            cell
            for cell in trial.cells
            if self.record(trial, cell) is None and (retry_failed or self.failure(trial, cell) is None)
        ]

    def stale(self, plan: Plan) -> list[Path]:
        """Return records in a plan's folders that no plan made here has: of another version, dataset or limit."""
        known = [trial for one in (plan, *self._plans()) for trial in one.trials]
        current = {self._cell(trial, cell, ".json") for trial in known for cell in trial.cells}
        folders = sorted({self.folder(trial) for trial in plan.trials})
        found = (path for folder in folders for path in sorted(folder.glob("*.json")))
        return [path for path in found if path not in current and not path.name.endswith(".failed.json")]

    def keep_plan(self, plan: Plan, *, alone: bool = False) -> None:
        """Keep a plan as the last one and, unless it stands ``alone`` here, as that of its dataset and protocol."""
        content = to_json(plan_to_json(plan))
        self.root.mkdir(parents=True, exist_ok=True)
        write_atomically(self.root / _PLAN, content)
        if not alone:
            (self.root / _PLANS).mkdir(exist_ok=True)
            write_atomically(self.root / _PLANS / f"{plan.dataset}-{plan.protocol.id}.json", content)

    def plan(self) -> Plan:
        """Return the plan that was kept last: what a results folder, or a published board's records, were made by.

        Raises:
            UsageError: If there is none.
            RecordError: If it is damaged.
        """
        plan = _read_plan(self.root / _PLAN)
        if plan is None:
            raise UsageError(f"no plan in {self.root}; run something first, or name its folder with --output")
        return plan

    def _plans(self) -> Iterator[Plan]:
        for path in sorted((self.root / _PLANS).glob("*.json")):
            if plan := _read_plan(path):
                yield plan

    def drop(self, trial: Trial, kind: str) -> None:
        """Delete what a trial no longer needs."""
        path = self.path(trial, kind)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def claim(self, trial: Trial) -> AbstractContextManager[str | None]:
        """Hold a trial so that no other run takes it; yields None, or who else holds it."""
        return claimed(self.path(trial, "claim"))

    def _cell(self, trial: Trial, cell: Cell, ending: str) -> Path:
        return self.folder(trial) / f"{cell.name}-{cell.key[:8]}{ending}"


def packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays as the bytes of a compressed npz, the same for the same arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type] # an array named as its flag is none of ours
    return buffer.getvalue()


def to_json(data: Any) -> bytes:  # anything that json takes
    """Return indented JSON with a final newline, as every file of the store has it."""
    return (json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _read_plan(path: Path) -> Plan | None:
    try:
        data = read_json(path)
        return None if data is None else plan_from_json(data)
    except (KeyError, TypeError, ValueError, RecordError) as error:
        raise RecordError(f"plan {path} is damaged ({error}); run the same command again to write it anew") from error
