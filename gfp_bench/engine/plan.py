"""Dataset x protocol x methods -> trials and cells with their keys. Reads classes, runs nothing."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import StringConstraints

from gfp_bench.contracts.dataset import DatasetFacts
from gfp_bench.contracts.settings import Setting
from gfp_bench.contracts.task import CLEAN, Evaluation, Fit, How, Task
from gfp_bench.documents import checked
from gfp_bench.errors import PluginError, RecordError, UsageError
from gfp_bench.protocols.protocol import AttackUse, Protocol
from gfp_bench.registry.declaration import MethodDeclaration, is_name
from gfp_bench.tasks import load_task
from gfp_bench.texts import clean

if TYPE_CHECKING:
    from gfp_bench.data.manifest import Manifest
    from gfp_bench.registry.plugins import Plugins

CORE_VERSION = 1
"""Raised by hand whenever the core's own numerics change results: splits, streams, seeds, metrics."""

SCHEMA = 3  # 2 kept no versions of methods and core
"""Of stored plans."""

Component: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$")]
"""A name that becomes one part of a path: what is read back can never lead out of its folder."""

Key: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""64 hexadecimal digits."""

_FIT_TASK = "attribution"
"""Stands as ``task`` in the key of every fit, so that all tasks share the fits that they have in common.

Which sources a fit learns, and how, stands beside it where that is not all of them at once.
"""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """An attack with everything that decides its images, and what boards say of it besides its label."""

    label: str
    name: str
    settings: dict[str, Setting]
    version: int
    note: str = ""
    code: str = ""  # a checksum of the single file that it comes from


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number-bearing evaluation: a trial's fitted method on some images.

    Attributes:
        name: What files and columns call it, unique in its trial.
        key: Its identity, 64 hexadecimal digits.
        attack: What the images go through, or None.
        split: The split that they are of.
        sources: The sources that are shown; all of the dataset if empty.
        dataset: The dataset that they are of.
        fingerprints: How many fingerprints per source are kept.
        calibration: Whether thresholds come from it; no board shows it.
    """

    name: Component
    key: Key
    attack: Attack | None = None
    split: str = "test"
    sources: tuple[str, ...] = ()
    dataset: Component
    fingerprints: int = 0
    calibration: bool = False


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is scheduled: one fit and the cells that it answers for.

    Attributes:
        dataset: The dataset's name.
        method: The method's name.
        settings: All of its settings.
        row: The title of the row that it belongs to.
        seed: Of the method's randomness.
        fold: Of the task's.
        name: What the task calls the fit.
        how: The way in which the fit comes about.
        base: Key of the trial whose state it starts from, or None.
        condition: What training images go through, or None.
        sources: The sources whose images the fit is given.
        known: The sources that the method knows afterwards.
        key: Its identity, 64 hexadecimal digits.
        cells: What it answers for, calibration first.
        skip: Why it cannot run, or None.
        broken: Whether that is its method's fault: then its cells have failed.
    """

    dataset: Component
    method: Component
    settings: dict[str, Setting]
    row: str
    seed: int
    fold: int = 0
    name: Component = CLEAN
    how: How = "fit"
    base: Key | None = None
    condition: Attack | None = None
    sources: tuple[str, ...]
    known: tuple[str, ...]
    key: Key
    cells: tuple[Cell, ...]
    skip: str | None = None
    broken: bool = False

    @property
    def condition_name(self) -> str:
        """``clean``, or the label of the attack that the method is immunised against."""
        return self.condition.label if self.condition else CLEAN

    @property
    def folder(self) -> Path:
        """Where the trial's files lie, relative to the results folder; protocols share it."""
        return Path(self.dataset, f"{self.method}-{digest(self.settings)[:8]}", f"{self.name}-seed{self.seed}")

    @property
    def title(self) -> str:
        """The trial in one line, for people."""
        return f"{self.row} {self.name} seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method with one set of settings, as a board shows it.

    Attributes:
        title: Name and settings given, as the command line takes them; no two rows share it.
        method: The method's name.
        settings: All of its settings.
        paper: Where it was published.
        weights: "scratch", "imagenet", "local", or "" without trained weights.
        budget: "smoke", "full", or "" where there is none.
        floor: Whether it is a mark to be above rather than a contender.
        stochastic: Whether the seed matters.
        deviations: What differs from the paper, a phrase each.
        immunisation: ``refit``, or how many updates it is fine-tuned for; "" where that is not known.
        version: The method's.
        code: A checksum of the single files that it comes from, or "".
        weight_files: The sha256 of each file with trained weights that it reads.
    """

    title: str
    method: Component
    settings: dict[str, Setting]
    paper: str = ""
    weights: str = ""
    budget: str = ""
    floor: bool = False
    stochastic: bool = False
    deviations: tuple[str, ...] = ()
    immunisation: str = ""
    version: int = 1
    code: str = ""
    weight_files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Given:
    """The files that a run was given, absolute, so that its command can be told and its datasets are found again.

    Attributes:
        datasets: The manifests that were given by path, by the dataset's name.
        protocol: The protocol's file, if it was given by path.
        plugins: Files with plugins.
    """

    datasets: dict[str, Path] = field(default_factory=dict)
    protocol: Path | None = None
    plugins: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All trials of a run: for each row and seed the fits of the task, each after its base.

    Attributes:
        dataset: The dataset's name.
        digest: What identifies its content.
        protocol: The recipe.
        limit: Images per source and split, or None.
        trials: What is scheduled.
        rows: What a board says of the methods, in the order asked for.
        core: `CORE_VERSION` of the code that made it.
        given: The files that it was made from; they bear on no key.
    """

    dataset: Component
    digest: Key
    protocol: Protocol
    limit: int | None
    trials: tuple[Trial, ...]
    rows: tuple[Row, ...] = ()
    core: int = CORE_VERSION
    given: Given = Given()

    @property
    def name(self) -> str:
        """What its board's files are called; that of a limited run has a name of its own."""
        return f"{self.dataset}-{self.protocol.id}" + (f"-limit{self.limit}" if self.limit else "")

    @property
    def task(self) -> Task:
        """The protocol's task."""
        return load_task(self.protocol.task, self.protocol.options)


@dataclass(frozen=True)
class _Part:
    """What a method is told of a dataset of which it gets some sources only."""

    name: str
    source_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    splits: Mapping[str, int]
    sources: Mapping[str, Mapping[str, Any]]


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
    others: Mapping[str, "Manifest"] | None = None,
) -> Plan:
    """Return the plan of some methods (name and settings given), with every floor method before them.

    Args:
        manifest: The dataset.
        protocol: The recipe.
        methods: Names with the settings that differ from the defaults.
        plugins: Where names are looked up.
        seeds: Trial seeds of stochastic methods; the protocol's by default.
        limit: Images per source and split; results under a limit stay off published boards.
        others: The other datasets that the protocol's task reads, by the names it gives them.

    Raises:
        UsageError: If a method, an attack or a setting is unknown, or the task cannot be put to the dataset.
        PluginError: If an attack, or a method that gfp-bench brings, is broken. Any other method that is broken has
            trials that have failed.
    """
    recipe = _Recipe(
        manifests={"": manifest, **(others or {})},
        protocol=protocol,
        task=load_task(protocol.task, protocol.options),
        attacks={use.label: _resolve(use, plugins) for use in protocol.all_attacks},
        limit=limit,
    )
    fits = recipe.fits()
    named = {name for name, _ in methods}
    floors: list[tuple[str, Mapping[str, Setting]]] = [(name, {}) for name in plugins.floors if name not in named]
    rows: list[Row] = []
    trials: list[Trial] = []
    datasets = [recipe.facts(sources) for sources in recipe.parts(fits)]
    for name, given in [*floors, *methods]:
        method = _declared(plugins, name, given, datasets, recipe.train_images)
        if any(row.method == name and row.settings == method.settings for row in rows):
            continue
        row = _row(method, given, plugins.code(name, method.settings))
        rows.append(row)
        for seed in (seeds if seeds is not None else protocol.seeds) if method.stochastic else (0,):
            trials += recipe.trials(method, row, seed, fits)
    return Plan(
        dataset=manifest.name,
        digest=manifest.digest,
        protocol=protocol,
        limit=limit,
        trials=tuple(trials),
        rows=tuple(rows),
    )


@dataclass(frozen=True, kw_only=True)
class _Unplanned:
    """What stands in a plan for a method that could not be asked what it is, and why not."""

    name: str
    settings: dict[str, Setting]
    reason: str
    version: int = 0
    paper: str = ""
    stochastic: bool = False
    floor: bool = False
    weights: str = ""
    deviations: tuple[str, ...] = ()
    immunisation: str = ""
    weight_files: Mapping[str, str] = field(default_factory=dict)
    incremental: bool = True


_Declared: TypeAlias = MethodDeclaration | _Unplanned


def _declared(
    plugins: "Plugins",
    name: str,
    given: Mapping[str, Setting],
    datasets: Sequence[DatasetFacts],
    train_images: int,
) -> _Declared:
    """Return what a method says of itself; one that fails at it fails alone, and so does one of a broken plugin."""
    try:
        return plugins.declared_method(name, given, datasets, train_images)
    except UsageError:
        if not plugins.broken or name in plugins.methods or not is_name(name):
            raise
        told = sorted((broken.reason for broken in plugins.broken), key=lambda told: name not in told)
        reason = f"no method is called so; set aside as broken: {'; '.join(told)}"
    except PluginError as error:
        if not plugins.sources(name, {}):  # what gfp-bench brings has no excuse
            raise
        reason = str(error)
    return _Unplanned(name=name, settings={**given}, reason=clean(reason))


def _row(method: _Declared, given: Mapping[str, Setting], code: str) -> Row:
    return Row(
        title=clean(method_title(method.name, given)),
        method=method.name,
        settings=method.settings,
        paper=method.paper,
        weights=method.weights,
        budget=clean(str(method.settings.get("budget", ""))),
        floor=method.floor,
        stochastic=method.stochastic,
        deviations=method.deviations,
        immunisation=method.immunisation,
        version=method.version,
        code=code,
        weight_files=method.weight_files,
    )


def _content(row: Row) -> dict[str, Any]:
    """Return what decides a method's results besides its version, which nobody raises for a single file."""
    code = {"code": row.code} if row.code else {}
    return code | ({"weights": sorted(row.weight_files.values())} if row.weight_files else {})


def _resolve(use: AttackUse, plugins: "Plugins") -> Attack:
    attack = plugins.declared_attack(use.name, use.settings)  # what it refuses is refused before anything runs
    return Attack(
        label=use.label,
        name=use.name,
        settings=attack.settings,
        version=attack.version,
        note=attack.note,
        code=plugins.code(use.name, attack.settings),
    )


@dataclass(frozen=True)
class _Recipe:
    """What all rows of a plan have in common; manifests by the names that evaluations give them, "" the run's own."""

    manifests: Mapping[str, "Manifest"]
    protocol: Protocol
    task: Task
    attacks: Mapping[str, Attack]
    limit: int | None

    @property
    def train_images(self) -> int:
        """How many training images the run's dataset has, of all sources."""
        manifest = self.manifests[""]
        images = manifest.splits.get("train", 0)
        return images if self.limit is None else min(images, self.limit * len(manifest.source_names))

    def fits(self) -> list[Fit]:
        """Return the task's fits, which must be such that they can be carried out."""
        fits = list(self.task.fits(self.manifests[""], list(self.attacks), immunise=self.protocol.immunise))
        for number, fit in enumerate(fits):
            before = {other.title for other in fits[:number]}
            if fit.title in before:
                raise UsageError(f"task {self.task.name!r} has two fits called {fit.title!r}; give each its own name")
            if (fit.how == "fit") != (fit.base is None) or (fit.base is not None and fit.base not in before):
                raise UsageError(
                    f"task {self.task.name!r} has the fit {fit.title!r} (how = {fit.how!r}) with base {fit.base!r}, "
                    "expected none for 'fit', else a fit that stands before it"
                )
            if fit.calibration and fit.calibration.split == "test":
                raise UsageError(
                    f"task {self.task.name!r} calibrates {fit.title!r} on test images; choose another split"
                )
        return fits

    def parts(self, fits: Sequence[Fit]) -> list[tuple[str, ...]]:
        """Return the sources that methods are asked about, each set of them once."""
        known: dict[str, tuple[str, ...]] = {}
        found = []
        for fit in fits:
            sources, known[fit.title] = self._sources(fit, known[fit.base] if fit.base is not None else None)
            found.append(sources)
        return list(dict.fromkeys(found))

    def trials(self, method: _Declared, row: Row, seed: int, fits: Sequence[Fit]) -> Iterator[Trial]:
        """Yield a row's trials of one seed."""
        made: dict[str, Trial] = {}
        parts = self.parts(fits)
        for fit in fits:
            base = made[fit.base] if fit.base is not None else None
            made[fit.title] = self._trial(method, row, seed, fit, base, parts)
            yield made[fit.title]

    def _sources(self, fit: Fit, before: tuple[str, ...] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the sources whose images a fit is given, and those known after it, if some were known before."""
        sources = fit.sources or before or self.manifests[""].source_names
        return sources, tuple(sorted({*before, *sources})) if before and fit.how == "arrive" else sources

    def _trial(
        self,
        method: _Declared,
        row: Row,
        seed: int,
        fit: Fit,
        base: Trial | None,
        parts: Sequence[tuple[str, ...]],
    ) -> Trial:
        everything = self.manifests[""].source_names
        sources, known = self._sources(fit, base.known if base else None)
        condition = self.attacks[fit.condition] if fit.condition is not None else None
        identity: dict[str, Any] = {
            "core": CORE_VERSION,
            "task": _FIT_TASK,
            "data": self.manifests[""].digest,
            "limit": self.limit,
            "method": {"name": row.method, "version": method.version, "settings": row.settings} | _content(row),
            "seed": seed,
            "condition": self._identity(condition),
        }
        identity |= {"sources": sources} if sources != everything else {}
        identity |= {"base": base.key, "how": fit.how} if base and "arrive" in (fit.how, base.how) else {}
        identity |= {"continued": True} if fit.how == "immunise" and condition is None else {}
        calibration = [self._cell(identity, fit.calibration, calibration=True)] if fit.calibration else []
        return Trial(
            dataset=self.manifests[""].name,
            method=row.method,
            settings=row.settings,
            row=row.title,
            seed=seed,
            fold=fit.fold,
            name=fit.title,
            how=fit.how,
            base=base.key if base else None,
            condition=condition,
            sources=sources,
            known=known,
            key=digest(identity),
            cells=(*calibration, *(self._cell(identity, evaluation) for evaluation in fit.evaluations)),
            skip=(base.skip if base else None) or self._skip(method, fit.how, parts.index(sources)),
            broken=isinstance(method, _Unplanned),
        )

    def _skip(self, method: _Declared, how: How, part: int) -> str | None:
        if isinstance(method, _Unplanned):
            return method.reason
        if how == "arrive" and not method.incremental:
            return "it cannot learn sources that arrive later (no partial_fit)"
        return method.skips[part]

    def facts(self, sources: tuple[str, ...]) -> DatasetFacts:
        """Return what methods are told of the run's dataset if they get some sources only."""
        manifest = self.manifests[""]
        if sources == manifest.source_names:
            return manifest
        metadata = {source: manifest.sources[source] for source in sources}
        return _Part(manifest.name, sources, manifest.image_shape, manifest.splits, metadata)

    def _cell(self, trial: Mapping[str, Any], evaluation: Evaluation, *, calibration: bool = False) -> Cell:
        attack = self.attacks[evaluation.attack] if evaluation.attack is not None else None
        manifest = self.manifests[evaluation.dataset]
        identity = {
            **trial,
            "task": self.task.name,
            "attack": self._identity(attack),
            "batch_size": self.protocol.batch_size,
        }
        identity |= {"options": self.protocol.options} if self.protocol.options else {}
        identity |= {"split": evaluation.split} if evaluation.split != "test" else {}
        identity |= {"shown": evaluation.sources} if evaluation.sources else {}
        identity |= {"shown_of": manifest.digest} if evaluation.dataset else {}
        identity |= {"fingerprints": evaluation.fingerprints} if evaluation.fingerprints else {}
        return Cell(
            name=evaluation.title,
            key=digest(identity),
            attack=attack,
            split=evaluation.split,
            sources=evaluation.sources or manifest.source_names,
            dataset=manifest.name,
            fingerprints=evaluation.fingerprints,
            calibration=calibration,
        )

    def _identity(self, attack: Attack | None) -> dict[str, Any] | None:
        """Return what decides an attack's images; its label is only a column's title."""
        if attack is None:
            return None
        return {
            "name": attack.name,
            "version": attack.version,
            "settings": attack.settings,
            "seed": self.protocol.attack_seed,
        } | ({"code": attack.code} if attack.code else {})


def with_paths(plan: Plan, change: Callable[[Path], Path]) -> Plan:
    """Return a plan with the paths that it was given changed one by one, as for a folder that it is kept in."""
    given = Given(
        datasets={name: change(path) for name, path in plan.given.datasets.items()},
        protocol=change(plan.given.protocol) if plan.given.protocol else None,
        plugins=tuple(map(change, plan.given.plugins)),
    )
    return replace(plan, given=given)


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON, for `status` and for results folders."""
    given = {
        "datasets": {name: str(path) for name, path in plan.given.datasets.items()},
        "protocol": str(plan.given.protocol) if plan.given.protocol else None,
        "plugins": [str(path) for path in plan.given.plugins],
    }
    protocol = plan.protocol.model_dump(by_alias=True, mode="json")
    return {"schema": SCHEMA} | asdict(plan) | {"protocol": protocol, "given": given}


def plan_from_json(data: Mapping[str, Any], subject: str = "the plan") -> Plan:
    """Return the plan that `plan_to_json` wrote; ``subject`` is what errors call it.

    Raises:
        RecordError: If it has another schema, or a key, value or name that a plan cannot have.
    """
    if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
        found = data.get("schema", 1) if isinstance(data, Mapping) else "none"
        raise RecordError(f"{subject} has schema {found}, expected {SCHEMA}")
    return checked({key: data[key] for key in data if key != "schema"}, Plan, subject=subject, error=RecordError)
