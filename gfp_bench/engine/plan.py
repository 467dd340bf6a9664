"""Dataset x protocol x methods -> trials and cells with their keys. Reads classes, runs nothing."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gfp_bench.contracts.settings import Setting
from gfp_bench.errors import UsageError
from gfp_bench.protocols.protocol import AttackUse, Protocol
from gfp_bench.tasks import load_task

if TYPE_CHECKING:
    from gfp_bench.contracts.method import Method
    from gfp_bench.data.manifest import Manifest
    from gfp_bench.registry.plugins import Plugins

CORE_VERSION = 1
"""Raised by hand whenever the core's own numerics change results: splits, streams, seeds, metrics."""

CLEAN = "clean"


@dataclass(frozen=True)
class Attack:
    """An attack with everything that decides its images."""

    label: str
    name: str
    settings: dict[str, Setting]
    version: int


@dataclass(frozen=True)
class Cell:
    """One number-bearing evaluation: a trial's fitted method on clean or attacked test images."""

    attack: Attack | None
    key: str

    @property
    def name(self) -> str:
        """``clean`` or the attack's label."""
        return self.attack.label if self.attack else CLEAN


@dataclass(frozen=True)
class Trial:
    """What is scheduled: one fit (or immunisation) and the cells that it answers for."""

    dataset: str
    protocol: str
    method: str
    settings: dict[str, Setting]
    shown: str
    seed: int
    condition: Attack | None
    key: str
    cells: tuple[Cell, ...]
    skip: str | None = None

    @property
    def condition_name(self) -> str:
        """``clean``, or the label of the attack that the method is immunised against."""
        return self.condition.label if self.condition else CLEAN

    @property
    def folder(self) -> Path:
        """Where the trial's files lie, relative to the results folder."""
        method = f"{self.method}-{digest(self.settings)[:8]}"
        return Path(self.dataset, self.protocol, method, f"{self.condition_name}-seed{self.seed}")

    @property
    def title(self) -> str:
        """The trial in one line, for people."""
        return f"{self.shown} {self.condition_name} seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """All trials of a run: for each method and seed the clean one, then the immunised ones.

    ``methods`` holds what a board says of each row, by the row's title and in the order asked for.
    """

    dataset: str
    digest: str
    protocol: Protocol
    limit: int | None
    trials: tuple[Trial, ...]
    methods: tuple["Row", ...] = field(default=())


@dataclass(frozen=True)
class Row:
    """One method with one set of settings, as a board shows it."""

    method: str
    settings: dict[str, Setting]
    shown: str
    paper: str
    weights: str
    budget: str
    floor: bool
    stochastic: bool
    deviations: tuple[str, ...]


def digest(value: object) -> str:
    """Return the sha256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def method_title(name: str, given: Mapping[str, Setting]) -> str:
    """Return ``name[key=value,...]`` as the command line takes it."""
    inside = ",".join(f"{key}={value}" for key, value in given.items())
    return f"{name}[{inside}]" if inside else name


def make_plan(
    manifest: "Manifest",
    protocol: Protocol,
    methods: Sequence[tuple[str, Mapping[str, Setting]]],
    plugins: "Plugins",
    *,
    seeds: Sequence[int] | None = None,
    limit: int | None = None,
) -> Plan:
    """Return the plan of some methods (name and settings given), with every floor method before them.

    Args:
        manifest: The dataset.
        protocol: The recipe.
        methods: Names with the settings that differ from the defaults.
        plugins: Where names are looked up.
        seeds: Trial seeds of stochastic methods; the protocol's by default.
        limit: Images a source and split; results under a limit stay off published boards.

    Raises:
        UsageError: If a method, an attack or a setting is unknown.
    """
    attacks = [_resolve(use, plugins) for use in protocol.all_attacks]
    named = {name for name, _ in methods}
    floors: list[tuple[str, Mapping[str, Setting]]] = [
        (name, {}) for name in plugins.methods if plugins.method(name).floor and name not in named
    ]
    rows: list[Row] = []
    trials: list[Trial] = []
    for name, given in [*floors, *methods]:
        cls = plugins.method(name)
        settings = plugins.settings(cls, given)
        if any(row.method == name and row.settings == settings for row in rows):
            continue
        method = _made(cls, settings)
        row = _row(method, settings, given)
        rows.append(row)
        chosen = (seeds if seeds is not None else protocol.seeds) if cls.stochastic else (0,)
        identity = {"name": name, "version": cls.version, "settings": settings}
        for seed in chosen:
            trials += _trials(manifest, protocol, identity, row.shown, seed, attacks, limit, method.skip(manifest))
    return Plan(manifest.name, manifest.digest, protocol, limit, tuple(trials), tuple(rows))


def _row(method: "Method", settings: dict[str, Setting], given: Mapping[str, Setting]) -> Row:
    return Row(
        method.name,
        settings,
        method_title(method.name, given),
        method.paper,
        method.weights,
        str(settings.get("budget", "")),
        method.floor,
        method.stochastic,
        method.deviations,
    )


def _resolve(use: AttackUse, plugins: "Plugins") -> Attack:
    cls = plugins.attack(use.name)
    settings = plugins.settings(cls, use.settings)
    _made(cls, settings)
    return Attack(use.label, use.name, settings, cls.version)


T = TypeVar("T")


def _made(cls: type[T], settings: Mapping[str, Setting]) -> T:
    """Return a plugin with settings; a value that it refuses is refused before anything runs."""
    try:
        return cls(**settings)
    except ValueError as error:
        raise UsageError(f"{getattr(cls, 'name', cls.__name__)!r}: {error}") from error


def _trials(
    manifest: "Manifest",
    protocol: Protocol,
    method: dict[str, Any],
    shown: str,
    seed: int,
    attacks: Sequence[Attack],
    limit: int | None,
    skip: str | None,
) -> Iterable[Trial]:
    for condition, tested in load_task(protocol.task).conditions(attacks, immunise=protocol.immunise):
        identity = {
            "core": CORE_VERSION,
            "task": protocol.task,
            "data": manifest.digest,
            "limit": limit,
            "method": method,
            "seed": seed,
            "condition": _identity(condition, protocol),
        }
        cells = (Cell(attack, digest(_cell_identity(identity, attack, protocol))) for attack in tested)
        yield Trial(
            manifest.name,
            protocol.name,
            method["name"],
            method["settings"],
            shown,
            seed,
            condition,
            digest(identity),
            tuple(cells),
            skip,
        )


def _cell_identity(trial: dict[str, Any], attack: Attack | None, protocol: Protocol) -> dict[str, Any]:
    return trial | {
        "attack": _identity(attack, protocol),
        "batch_size": protocol.batch_size,
    }


def _identity(attack: Attack | None, protocol: Protocol) -> dict[str, Any] | None:
    """Return what decides an attack's images; its label is only a column's title."""
    if attack is None:
        return None
    return {"name": attack.name, "version": attack.version, "settings": attack.settings, "seed": protocol.attack_seed}


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON, for `status` and for child processes."""
    return asdict(plan) | {"protocol": plan.protocol.model_dump(by_alias=True, mode="json")}


def plan_from_json(data: dict[str, Any]) -> Plan:
    """Return the plan that `plan_to_json` wrote."""
    return Plan(
        data["dataset"],
        data["digest"],
        Protocol.model_validate(data["protocol"]),
        data["limit"],
        tuple(trial_from_json(trial) for trial in data["trials"]),
        tuple(Row(**row | {"deviations": tuple(row["deviations"])}) for row in data["methods"]),
    )


def trial_from_json(data: dict[str, Any]) -> Trial:
    """Return a trial from its JSON."""
    cells = tuple(Cell(_attack(cell["attack"]), cell["key"]) for cell in data["cells"])
    return Trial(**data | {"condition": _attack(data["condition"]), "cells": cells})


def _attack(data: dict[str, Any] | None) -> Attack | None:
    return Attack(**data) if data else None
