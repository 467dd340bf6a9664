"""What users set for several commands alike: options, and the environment, where no option says otherwise."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gfp_bench.data.dataset import Dataset
    from gfp_bench.data.manifest import Manifest
    from gfp_bench.engine.plan import Plan

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
    """Return the datasets that a plan reads, by name."""
    found = map(named_manifest, (plan.dataset, *plan.task.datasets))
    return {manifest.name: manifest for manifest in found}


def named_dataset(name: str) -> "Dataset":
    """Return the dataset that a name or a path stands for."""
    from gfp_bench.data.dataset import Dataset

    return Dataset(named_manifest(name), cache())
