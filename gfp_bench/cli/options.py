"""What users set for several commands alike: options, and the environment, where no option says otherwise."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gfp_bench.data.dataset import Dataset
    from gfp_bench.data.manifest import Manifest
    from gfp_bench.engine.plan import Plan
    from gfp_bench.engine.records import Store
    from gfp_bench.registry.plugins import Plugins

Boards = Annotated[Path, typer.Option("--boards", help="The folder of published boards.")]
DatasetName = Annotated[str | None, typer.Option("-d", "--dataset", help="name[key=value,...] or a manifest's path.")]
ProtocolName = Annotated[str | None, typer.Option("-p", "--protocol", help="name@version, or a TOML file.")]
Limit = Annotated[int | None, typer.Option(min=2, help="Images per source and split; never for a published board.")]
PluginFiles = Annotated[list[Path] | None, typer.Option("--plugin", help="A Python file with plugins; repeatable.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="The results folder.")]


def cache() -> Path:
    """Return where decoded images lie: ``GFP_BENCH_CACHE``, or gfp-bench's folder in the user's cache."""
    return Path(os.environ.get("GFP_BENCH_CACHE") or Path.home() / ".cache" / "gfp-bench")


def results() -> Path:
    """Return where runs write: ``GFP_BENCH_RESULTS``, or ``results`` here."""
    return Path(os.environ.get("GFP_BENCH_RESULTS") or "results")


def data_folders() -> tuple[Path, ...]:
    """Return where datasets are looked for besides the built-in ones: ``GFP_BENCH_DATA``, separated as ``PATH`` is."""
    return tuple(Path(folder) for folder in os.environ.get("GFP_BENCH_DATA", "").split(os.pathsep) if folder)


def named_manifest(name: str) -> "Manifest":
    """Return the manifest that a name or a path stands for; a simulation is made if need be."""
    from gfp_bench.data.catalogue import find_dataset
    from gfp_bench.data.manifest import read_manifest

    return read_manifest(find_dataset(name, data_folders(), cache()))


def manifests_of(plan: "Plan") -> "dict[str, Manifest]":
    """Return the datasets that a plan reads, by name: from where it was given, or else by name.

    Raises:
        UsageError: If a dataset is neither there nor known by name.
    """
    from gfp_bench.errors import UsageError

    found = {}
    for name in (plan.dataset, *plan.task.datasets):
        given = plan.given.datasets.get(name)
        try:
            manifest = named_manifest(str(given) if given and given.exists() else name)
        except UsageError as error:
            if given is None:
                raise
            raise UsageError(f"dataset {name!r} was at {given} and is gone; bring it back ({error})") from error
        found[manifest.name] = manifest
    return found


def named_only(plan: "Plan", manifests: "dict[str, Manifest]") -> "Plan":
    """Return a plan that leaves out the paths of datasets that are found by name as well, as published ones should."""
    from gfp_bench.errors import GfpBenchError

    kept = {}
    for name, path in plan.given.datasets.items():
        try:
            same = named_manifest(name).digest == manifests[name].digest
        except GfpBenchError:
            same = False
        if not same:
            kept[name] = path
    return replace(plan, given=replace(plan.given, datasets=kept))


def kept_plan(store: "Store", dataset: str | None, protocol: str | None, limit: int | None) -> "Plan":
    """Return the last plan that a results folder has of a dataset, a protocol and a limit; of any by default."""
    from gfp_bench.protocols.protocol import load_protocol

    name = named_manifest(dataset).name if dataset else ""
    return store.plan(name, load_protocol(protocol).id if protocol else "", limit)


def plugins_of(plan: "Plan", files: Sequence[Path] = ()) -> "Plugins":
    """Return what is registered, with the files that a plan was given, as far as they exist, and others."""
    from gfp_bench.registry.discovery import survey_plugins

    return survey_plugins([*(path for path in plan.given.plugins if path.exists()), *files])


def named_dataset(name: str) -> "Dataset":
    """Return the dataset that a name or a path stands for."""
    from gfp_bench.data.dataset import Dataset

    return Dataset(named_manifest(name), cache())
