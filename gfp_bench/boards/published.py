"""The records of a published board: one text file per row and seed, beside what is kept of its images. Torch-free.

A board's folder holds ``board.json``: what was planned, of which rows, and the sha256 of every other file; for each
row and seed ``<method>-<settings>-seed<k>.json``, a line per cell, and ``.npz``, what is kept of each image, all cells
with a record in one array where they keep arrays of one form; and ``timing.json``, which nothing depends on.
"""

import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints

from gfp_bench.contracts.task import CLEAN
from gfp_bench.documents import Document, checked, read_json
from gfp_bench.engine.plan import Attack, Cell, Component, Given, Key, Plan, Row, Trial, digest, with_paths
from gfp_bench.engine.records import Failed, FailureKind, Record, Timing, Tried, packed, timing_from_json
from gfp_bench.errors import RecordError
from gfp_bench.files import sha256, write_atomically
from gfp_bench.protocols.protocol import Protocol

SCHEMA = 1
"""Of the files of a published board."""

BOARD, TIMING = "board.json", "timing.json"
_FILE = r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*\.(json|npz)$"


class _Board(Document):
    """``board.json``: all that rows have in common."""

    schema_version: Literal[1] = Field(alias="schema")
    dataset: Component
    digest: Key
    core: int
    given: Given
    protocol: Protocol
    sources: tuple[str, ...]
    attacks: dict[str, Attack]
    rows: tuple[Row, ...]
    files: dict[Annotated[str, StringConstraints(pattern=_FILE)], Key]
    tried: dict[str, dict[str, tuple[int, ...]]]
    canaries: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class _Line(Document):
    """One cell: where it belongs, and its record or why there is none."""

    trial: str
    cell: dict[str, Any]
    record: dict[str, Any] | None = None
    made: int = 0
    status: FailureKind | None = None
    reason: str = ""


class _RowFile(Document):
    """One row with one seed: its trials, its cells, and what their records were made with."""

    schema_version: Literal[1] = Field(alias="schema")
    row: str
    method: Component
    settings: dict[str, bool | int | float | str | None]
    seed: int
    made: tuple[dict[str, Any], ...]
    trials: tuple[dict[str, Any], ...]
    cells: tuple[_Line, ...]


class Published:
    """The records of a published board, which are read at once and then asked as a results folder is."""

    def __init__(self, root: Path, home: Path | None = None) -> None:
        """Take the board's folder of records; ``home`` is the folder of boards if they are not there yet."""
        self.root = root
        self._boards = (home or root.parents[1]).absolute()
        self._archives: dict[str, dict[str, NDArray[Any]]] = {}
        self._recorded: dict[str, list[str]] = {}  # by file what its stacked arrays are of

    @property
    def exists(self) -> bool:
        """Whether there is such a board."""
        return self.root.is_dir()

    def plan(self) -> Plan:
        """Return what the board's records were made by.

        Raises:
            RecordError: If a file is missing, damaged, or another than ``board.json`` says.
        """
        return self._read[0]

    def record(self, trial: Trial, cell: Cell) -> Record | None:
        """Return a cell's record if there is one."""
        found = self._read[1].get(cell.key)
        return found if isinstance(found, Record) else None

    def failure(self, trial: Trial, cell: Cell) -> Failed | None:
        """Return why a cell failed, if it did."""
        found = self._read[1].get(cell.key)
        return found if isinstance(found, Failed) else None

    def has_scores(self, trial: Trial, cell: Cell) -> bool:
        """Return False: a board keeps only what its metrics come from."""
        return False

    def arrays(self, trial: Trial, cell: Cell, record: Record) -> dict[str, NDArray[Any]]:
        """Never return: a board has no scores."""
        raise RecordError(f"{self.root} keeps nothing of the images of {trial.title}, {cell.name}; publish it again")

    def archived(self, trial: Trial) -> dict[str, NDArray[Any]]:
        """Return what is kept of a trial's cells, each array called ``<cell>.<name>``."""
        stem, start = self._stems.get(trial.key, ""), f"{trial.name}/"
        if stem and stem not in self._archives:
            self._archives[stem] = self._npz(stem)
        found = self._archives.get(stem, {})
        return {name.removeprefix(start): array for name, array in found.items() if name.startswith(start)}

    def timing(self, trial: Trial) -> Timing | None:
        """Return what a trial has cost, if it is known.

        Raises:
            RecordError: If that is damaged.
        """
        path = self.root / TIMING
        told = self._timings.get(trial.key)
        return None if told is None else timing_from_json(told, f"timing {path}, {trial.title}")

    def tried(self, plan: Plan) -> Tried:
        """Return the settings and seeds that there were records of when the board was published."""
        return self._board.tried

    def canaries(self, plan: Plan) -> Mapping[str, tuple[str, ...]]:
        """Return what the canary said of each row that gfp-bench does not bring, when the board was published."""
        return self._board.canaries

    def told(self, path: Path) -> str:
        """Return a path from the folder that holds the folder of boards."""
        return os.path.relpath(path, self._boards.parent)

    @property
    def files(self) -> set[str]:
        """Return the names of the files that belong here; `TIMING` may be missing."""
        return {BOARD, TIMING, *self._board.files}

    @cached_property
    def _board(self) -> _Board:
        return checked(self._json(BOARD), _Board, subject=f"records {self.root / BOARD}", error=RecordError)

    @cached_property
    def _read(self) -> tuple[Plan, dict[str, Record | Failed]]:
        board, home = self._board, self._boards
        trials: list[Trial] = []
        kept: dict[str, Record | Failed] = {}
        for name in board.files:
            if name.endswith(".json"):
                found, own = self._row(name)
                trials += found
                kept |= own
        order = {row.title: number for number, row in enumerate(board.rows)}
        if strangers := {trial.row for trial in trials} - order.keys():
            raise RecordError(f"{self.root} has records of {min(strangers)!r}, which is no row of {BOARD}")
        plan = Plan(
            dataset=board.dataset,
            digest=board.digest,
            protocol=board.protocol,
            limit=None,
            trials=tuple(sorted(trials, key=lambda trial: (order[trial.row], trial.seed))),
            rows=board.rows,
            core=board.core,
            given=board.given,
        )
        return with_paths(plan, lambda path: Path(os.path.normpath(home / path))), kept

    @cached_property
    def _timings(self) -> Mapping[str, Any]:
        data = read_json(self.root / TIMING) or {"trials": {}}
        if not isinstance(data, Mapping) or not isinstance(data.get("trials"), Mapping):
            raise RecordError(f"{self.root / TIMING} has no table 'trials'")
        trials: Mapping[str, Any] = data["trials"]
        return trials

    @cached_property
    def _stems(self) -> dict[str, str]:
        return {trial.key: _stem(trial) for trial in self._read[0].trials}

    def _row(self, name: str) -> tuple[list[Trial], dict[str, Record | Failed]]:
        """Return the trials of a file, and by cell's key what became of them."""
        subject = f"records {self.root / name}"
        file = checked(self._json(name), _RowFile, subject=subject, error=RecordError)
        by_trial: dict[str, list[_Line]] = {}
        for line in file.cells:
            by_trial.setdefault(line.trial, []).append(line)
        trials = []
        kept: dict[str, Record | Failed] = {}
        for data in file.trials:
            head = {"dataset": self._board.dataset, "method": file.method, "settings": file.settings, "row": file.row}
            own = by_trial.pop(str(data.get("name", CLEAN)), [])
            cells = [self._cell(line, subject) for line in own]
            shared = {"sources": self._board.sources, "known": self._board.sources, "seed": file.seed}
            content = shared | head | self._labelled(data, "condition") | {"cells": tuple(cells)}
            trial = checked(content, Trial, subject=subject, error=RecordError)
            trials.append(trial)
            for cell, line in zip(cells, own, strict=True):
                if found := _kept(trial, cell, line, file.made, subject):
                    kept[cell.key] = found
        if by_trial:
            raise RecordError(f"{subject}: cells of {min(by_trial)!r}, which is none of its trials")
        self._recorded[name.removesuffix(".json")] = [
            f"{line.trial}/{line.cell.get('name')}" for line in file.cells if line.record is not None
        ]
        if any(name != f"{_stem(trial)}.json" for trial in trials):
            raise RecordError(f"{subject}: holds another row or seed than its name says")
        return trials, kept

    def _cell(self, line: _Line, subject: str) -> Cell:
        shared = {"sources": self._board.sources, "dataset": self._board.dataset}
        return checked(shared | self._labelled(line.cell, "attack"), Cell, subject=subject, error=RecordError)

    def _labelled(self, data: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Return a table with the attack that it names by label put in full."""
        if key not in data:
            return dict(data)
        if data[key] not in self._board.attacks:
            raise RecordError(f"{self.root} names the attack {data[key]!r}, which {BOARD} does not have")
        return {**data, key: self._board.attacks[data[key]]}

    def _json(self, name: str) -> Any:  # to be checked
        path = self.root / name
        if name != BOARD:
            self._content(name)
        if (data := read_json(path)) is None:
            raise RecordError(f"{path} is missing; restore it or publish the board again")
        return data

    def _npz(self, stem: str) -> dict[str, NDArray[Any]]:
        """Return what is kept of a row and seed, each array called ``<trial>/<cell>.<name>``; no file keeps nothing."""
        if (name := f"{stem}.npz") not in self._board.files:
            return {}
        try:
            with np.load(io.BytesIO(self._content(name))) as arrays:
                kept = {key: arrays[key] for key in arrays.files}
        except (OSError, EOFError, ValueError, BadZipFile, zlib.error) as error:
            raise RecordError(f"{self.root / name} is damaged ({error}); restore it or publish again") from error
        found = {key: array for key, array in kept.items() if "/" in key}
        for key, stacked in kept.items():
            if "/" not in key:
                cells = self._recorded[stem]
                if len(stacked) != len(cells):
                    raise RecordError(
                        f"{self.root / name} keeps {key!r} of {len(stacked)} cells, expected {len(cells)}"
                    )
                found |= {f"{cell}.{key}": array for cell, array in zip(cells, stacked, strict=True)}
        return found

    def _content(self, name: str) -> bytes:
        """Return a file's bytes, which must be those that ``board.json`` names."""
        path = self.root / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RecordError(
                f"{path} cannot be read ({error.strerror}); restore it or publish the board again"
            ) from error
        if sha256(content) != self._board.files.get(name):
            raise RecordError(f"{path} is not the file that {BOARD} names; restore it or publish the board again")
        return content


def write_records(
    plan: Plan,
    kept: Mapping[str, tuple[Record, Mapping[str, NDArray[Any]]] | Failed],
    timings: Mapping[str, Any],
    tried: Tried,
    canaries: Mapping[str, Sequence[str]],
    root: Path,
    boards: Path,
) -> None:
    """Write the records of a board into an empty folder.

    Args:
        plan: What was planned.
        kept: By cell's key its record and what is kept of its images, or why it failed.
        timings: By trial's key what it has cost.
        tried: The settings and seeds that there are records of.
        canaries: By row's title what the canary said, of rows that gfp-bench does not bring.
        root: The folder.
        boards: The folder of boards, from which paths are told.
    """  # fmt: skip
    attacks = {attack.label: attack for attack in _attacks(plan)}
    sources = plan.trials[0].sources if plan.trials else ()
    files: dict[str, str] = {}

    def keep(name: str, content: bytes) -> None:
        write_atomically(root / name, content)
        files[name] = sha256(content)

    for stem, group in groupby(sorted(plan.trials, key=_stem), key=_stem):
        trials = list(group)
        document, arrays = _row_file(trials, kept, sources, plan.dataset)
        keep(f"{stem}.json", lines(document))
        if arrays:
            keep(f"{stem}.npz", packed(arrays))
    told = with_paths(plan, lambda path: Path(os.path.relpath(path, boards.absolute()))).given
    given = {
        "datasets": {name: path.as_posix() for name, path in told.datasets.items()},
        "protocol": told.protocol and told.protocol.as_posix(),
        "plugins": [path.as_posix() for path in told.plugins],
    }
    head = {
        "schema": SCHEMA,
        "dataset": plan.dataset,
        "digest": plan.digest,
        "core": plan.core,
        "given": given,
        "protocol": plan.protocol.model_dump(by_alias=True, mode="json"),
        "sources": list(sources),
        "attacks": {label: asdict(attack) for label, attack in attacks.items()},
        "rows": [_lean(row) for row in plan.rows],
        "tried": tried,
        **({"canaries": {title: list(told) for title, told in canaries.items()}} if canaries else {}),
        "files": files,
    }
    if timings:
        write_atomically(root / TIMING, lines({"trials": timings}))
    write_atomically(root / BOARD, lines(head))


def lines(document: Mapping[str, Any]) -> bytes:
    """Return JSON with a line for each item of each of a document's tables and lists, so that changes show as lines."""
    parts = []
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            items = [f"  {_json(name)}: {_json(item)}" for name, item in value.items()]
            text = "{\n" + ",\n".join(items) + "\n }"
        elif isinstance(value, list | tuple) and value:
            text = "[\n" + ",\n".join(f"  {_json(item)}" for item in value) + "\n ]"
        else:
            text = _json(value)
        parts.append(f" {_json(key)}: {text}")
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _json(value: Any) -> str:  # anything that json takes
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)


def _stem(trial: Trial) -> str:
    return f"{trial.method}-{digest(trial.settings)[:8]}-seed{trial.seed}"


def _attacks(plan: Plan) -> Iterator[Attack]:
    for trial in plan.trials:
        yield from filter(None, (trial.condition, *(cell.attack for cell in trial.cells)))


def _row_file(
    trials: list[Trial],
    kept: Mapping[str, tuple[Record, Mapping[str, NDArray[Any]]] | Failed],
    sources: tuple[str, ...],
    dataset: str,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the document of a row and seed, and the arrays beside it."""
    made: list[dict[str, Any]] = []
    cells: list[dict[str, Any]] = []
    arrays: dict[str, Mapping[str, NDArray[Any]]] = {}
    for trial in trials:
        for cell in trial.cells:
            line: dict[str, Any] = {"trial": trial.name, "cell": _lean(cell, sources=sources, dataset=dataset)}
            match kept.get(cell.key):
                case Failed() as failed:
                    line |= {"status": failed.status, "reason": failed.reason}
                case (record, outcome):
                    if record.provenance not in made:
                        made.append(record.provenance)
                    own = _lean(replace(record, provenance={}), key=cell.key, trial=trial.key, cell=cell.name)
                    own.pop("provenance")
                    line |= {"record": own, "made": made.index(record.provenance)}
                    arrays[f"{trial.name}/{cell.name}"] = outcome
            cells.append(line)
    head = {"dataset", "method", "settings", "row", "seed", "cells"}
    told_trials = [
        {key: value for key, value in _lean(trial, sources=sources, known=sources).items() if key not in head}
        for trial in trials
    ]
    first = trials[0]
    document = {"schema": SCHEMA, "row": first.row, "method": first.method, "settings": first.settings}
    document |= {"seed": first.seed, "made": made, "trials": told_trials, "cells": cells}
    return document, _stacked(arrays)


def _stacked(arrays: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return arrays, given by cell and name, as one per name where all cells have it in one form."""
    found: dict[str, NDArray[Any]] = {}
    for name in dict.fromkeys(name for own in arrays.values() for name in own):
        every = {cell: own[name] for cell, own in arrays.items() if name in own}
        if len(every) == len(arrays) and len({(array.dtype, array.shape) for array in every.values()}) == 1:
            found[name] = np.stack(list(every.values()))
        else:
            found |= {f"{cell}.{name}": array for cell, array in every.items()}
    return found


def _kept(
    trial: Trial, cell: Cell, line: _Line, made: tuple[dict[str, Any], ...], subject: str
) -> Record | Failed | None:
    if line.status:
        return Failed(cell.key, line.status, line.reason)
    if line.record is None:
        return None
    if not 0 <= line.made < len(made):
        raise RecordError(f"{subject}: cell {cell.name} was made with number {line.made} of {len(made)}")
    named = {"key": cell.key, "trial": trial.key, "cell": cell.name, "provenance": made[line.made]}
    return checked(line.record | named, Record, subject=subject, error=RecordError)


def _lean(item: Any, **shared: Any) -> dict[str, Any]:  # any of the plan's dataclasses
    """Return a dataclass as JSON without what is its field's default or shared, attacks by their labels."""
    told = {}
    for field in fields(item):
        value = getattr(item, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if value != default and value != shared.get(field.name, MISSING):
            told[field.name] = value.label if isinstance(value, Attack) else value
    return told
