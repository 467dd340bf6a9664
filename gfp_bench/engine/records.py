"""What a cell leaves behind, and the store that keeps it: one JSON and one score file per cell. Torch-free."""

import io
import json
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeAlias, runtime_checkable
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from gfp_bench.documents import checked, read_json
from gfp_bench.engine.plan import Cell, Key, Plan, Trial, plan_from_json, plan_to_json, with_paths
from gfp_bench.errors import RecordError, UsageError
from gfp_bench.files import claimed, write_atomically

_PLAN, _PLANS = "plan.json", "plans"
SCHEMA = 2  # 1 kept no top score of each image
FailureKind: TypeAlias = Literal["failed", "timeout"]
Tried: TypeAlias = Mapping[str, Mapping[str, tuple[int, ...]]]
"""The seeds that a method has records of, by its name and the first 8 digits of its settings' digest."""


def _ratios(values: dict[str, Any]) -> dict[str, Any]:
    for key, value in values.items():
        if key != "reason" and value is not None and type(value) not in (int, float):
            raise ValueError(f"{key} = {value!r}, expected a number")
    return values


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

    key: Key
    trial: Key
    cell: str
    metrics: dict[str, Any]
    separability: Annotated[dict[str, Any], AfterValidator(_ratios)]
    n_scored: int
    scores_sha256: str
    provenance: dict[str, Any]
    schema: int = SCHEMA


@dataclass(frozen=True)
class Failed:
    """Why a cell has no numbers, and the log that says more (relative to the results folder)."""

    key: Key
    status: FailureKind
    reason: str
    log: str = ""


@dataclass(frozen=True)
class Timing:
    """What a trial has cost.

    Attributes:
        wall: Seconds from launch to end.
        peak_memory: Bytes.
        peak_gpu_memory: Bytes.
        steps: Seconds inside methods and attacks, by step.
    """

    wall: float
    peak_memory: float
    peak_gpu_memory: float
    steps: dict[str, float]


def timing_from_json(data: Any, subject: str) -> Timing:  # what may have been damaged
    """Return what a trial has cost, as its process told it.

    Raises:
        RecordError: If something is missing, or is no number; it begins with the ``subject``.
    """
    if not isinstance(data, Mapping):
        raise RecordError(f"{subject} is no table")
    own = {"wall", "peak_memory", "peak_gpu_memory"}
    content = {key: data[key] for key in own & data.keys()}
    steps = {key: value for key, value in data.items() if key not in own}
    return checked(content | {"steps": steps}, Timing, subject=subject, error=RecordError)


@runtime_checkable  # so that tests can check what is handed over
class Records(Protocol):
    """What a board is made of: a results folder, the records of a published board, or both."""

    @property
    def root(self) -> Path:
        """The folder, for messages."""

    def record(self, trial: Trial, cell: Cell) -> Record | None:
        """Return a cell's record if there is one."""

    def failure(self, trial: Trial, cell: Cell) -> Failed | None:
        """Return why a cell failed, if it did."""

    def has_scores(self, trial: Trial, cell: Cell) -> bool:
        """Return whether a cell's scores are here: a published board keeps only what its metrics come from."""

    def archived(self, trial: Trial) -> dict[str, NDArray[Any]]:
        """Return what is kept of a trial's cells without scores, each array called ``<cell>.<name>``."""

    def arrays(self, trial: Trial, cell: Cell, record: Record) -> dict[str, NDArray[Any]]:
        """Return the (n, s) ``scores`` of a done cell, and kept fingerprints."""

    def timing(self, trial: Trial) -> Timing | None:
        """Return what a trial has cost, if it is known."""

    def tried(self, plan: Plan) -> Tried:
        """Return the settings and seeds of a plan's methods that there are records of."""

    def canaries(self, plan: Plan) -> Mapping[str, tuple[str, ...]]:
        """Return by row's title what the canary said of a plugin that gfp-bench does not bring, a sentence each."""

    def told(self, path: Path) -> str:
        """Return a path as the command of a board names it."""


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
        record = checked(data, Record, subject=f"record {path}; delete it and run again", error=RecordError)
        if record.key != cell.key:
            raise RecordError(f"record {path} is of cell {record.key}, expected {cell.key}; delete it and run again")
        return record

    def failure(self, trial: Trial, cell: Cell) -> Failed | None:
        """Return why a cell failed, if it did.

        Raises:
            RecordError: If the file is damaged.
        """
        path = self._cell(trial, cell, ".failed.json")
        data = read_json(path)
        if data is None:
            return None
        return checked(data, Failed, subject=f"failure {path}; delete it and run again", error=RecordError)

    def timing(self, trial: Trial) -> Timing | None:
        """Return what a trial has cost, if it is known.

        Raises:
            RecordError: If the file is damaged.
        """
        path = self.path(trial, "timing")
        data = read_json(path)
        return None if data is None else timing_from_json(data, f"timing {path}")

    def has_scores(self, trial: Trial, cell: Cell) -> bool:
        """Return whether a cell's scores are here: a published board keeps only what its metrics come from."""
        return self._cell(trial, cell, ".npz").exists()

    def archive(self, trial: Trial) -> Path:
        """Return what is kept of a trial's cells that came from a published board, and have no scores."""
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
        except (OSError, EOFError, ValueError, BadZipFile, zlib.error) as error:
            raise RecordError(
                f"{self.archive(trial)} is damaged ({error}); delete the trial's folder and run again"
            ) from error

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
        """Keep a record alone."""
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

    def keep_plan(self, plan: Plan) -> None:
        """Keep a plan as the last one, and as that of its dataset, protocol and limit."""
        home = self._home
        relative = with_paths(plan, lambda path: path.relative_to(home) if path.is_relative_to(home) else path)
        content = to_json(plan_to_json(relative))
        (self.root / _PLANS).mkdir(parents=True, exist_ok=True)
        write_atomically(self.root / _PLANS / f"{plan.name}.json", content)
        write_atomically(self.root / _PLAN, content)

    def plan(self, dataset: str = "", protocol: str = "", limit: int | None = None) -> Plan:
        """Return the last plan of some dataset, protocol and limit; of any by default.

        Args:
            dataset: The dataset's name.
            protocol: The protocol's name and version.
            limit: Images per source and split; where it is None and a dataset or a protocol is named, a plan without
                limit goes before those that have one.

        Raises:
            UsageError: If there is none, or several.
            RecordError: If it is damaged.
        """
        if not (dataset or protocol or limit):
            if last := self._read_plan(self.root / _PLAN):
                return last
            raise UsageError(f"no plan in {self.root}; run something first, or name its folder with --output")
        kept = list(self._plans())
        found = [
            plan
            for plan in kept
            if (not dataset or plan.dataset == dataset)
            and (not protocol or plan.protocol.id == protocol)
            and (not limit or plan.limit == limit)
        ]
        if not limit:
            found = [plan for plan in found if plan.limit is None] or found
        if len(found) != 1:
            known = ", ".join(plan.name for plan in found or kept) or "none"
            asked = " ".join(filter(None, [dataset, protocol, f"limit {limit}" if limit else ""]))
            raise UsageError(
                f"{len(found) or 'no'} plans in {self.root} are of {asked}, expected one; there are {known}: choose "
                "with --dataset, --protocol and --limit"
            )
        return found[0]

    def tried(self, plan: Plan) -> Tried:
        """Return the settings and seeds of a plan's methods that this folder has records of, on its dataset."""
        found: dict[str, dict[str, set[int]]] = {}
        for folder in sorted((self.root / plan.dataset).glob("*/*")):
            method, _, settings = folder.parent.name.rpartition("-")
            seed = re.search(r"-seed(\d+)$", folder.name)
            done = any(not path.name.endswith(".failed.json") for path in folder.glob("*.json"))
            if seed and done and method in {row.method for row in plan.rows}:
                found.setdefault(method, {}).setdefault(settings, set()).add(int(seed[1]))
        return {
            method: {settings: tuple(sorted(seeds)) for settings, seeds in by_settings.items()}
            for method, by_settings in found.items()
        }

    def canaries(self, plan: Plan) -> Mapping[str, tuple[str, ...]]:
        """Return nothing: whose plugin it is, and so which canary is meant, is looked up when a board is published."""
        return {}

    def told(self, path: Path) -> str:
        """Return a path from the folder that this one lies in, if it lies there too, else as it is."""
        return str(path.relative_to(self._home) if path.is_relative_to(self._home) else path)

    @property
    def _home(self) -> Path:
        return self.root.absolute().parent

    def _plans(self) -> Iterator[Plan]:
        for path in sorted((self.root / _PLANS).glob("*.json")):
            if plan := self._read_plan(path):
                yield plan

    def _read_plan(self, path: Path) -> Plan | None:
        """Return a kept plan with its paths absolute again."""
        try:
            data = read_json(path)
            plan = None if data is None else plan_from_json(data)
        except RecordError as error:
            raise RecordError(
                f"plan {path} is damaged or of another version ({error}); run the same command again to write it anew, "
                "or delete it: what is done is kept"
            ) from error
        return plan and with_paths(plan, self._home.joinpath)

    def absorb(self, plan: Plan, published: Records) -> int:
        """Take over what a published board has of a plan, so that it counts as done; returns how many cells do.

        Args:
            plan: The trials.
            published: The board's records.
        """
        taken = 0
        for trial in plan.trials:
            lacking = [cell for cell in trial.cells if not self.record(trial, cell)]
            records = [(cell, record) for cell in lacking if (record := published.record(trial, cell))]
            starts = tuple(f"{cell.name}." for cell, _ in records)
            arrays = {name: array for name, array in published.archived(trial).items() if name.startswith(starts)}
            if starts:
                self.folder(trial).mkdir(parents=True, exist_ok=True)
                write_atomically(self.archive(trial), packed(self.archived(trial) | arrays))
            for cell, record in records:
                self.put(trial, cell, record)
            for cell in lacking:
                if not self.record(trial, cell) and (failed := published.failure(trial, cell)):
                    self.fail(trial, cell, failed.status, failed.reason)
            taken += sum(published.record(trial, cell) is not None for cell in trial.cells)
        return taken

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
