"""Datasets that are made on first use, from what is installed. Torch-free until one has to be made.

`sine[side=128,norm=l2]` is called `sine+norm-l2+side-128` in records and on boards; both are understood everywhere.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from gfp_bench.contracts.settings import parse_spec, resolved_settings
from gfp_bench.data.manifest import find_manifest, list_manifests
from gfp_bench.data.simulations import Simulation, load_simulation, simulation_names
from gfp_bench.errors import DatasetError

DEFAULT_CACHE = Path("~/.cache/gfp-bench")


def dataset_names(folders: Sequence[Path] = ()) -> list[str]:
    """Return the names of all datasets, sorted: those with a manifest and those that can be made."""
    return sorted({*list_manifests(folders), *simulation_names()})


def find_dataset(name_or_path: str | Path, folders: Sequence[Path] = (), cache: Path = DEFAULT_CACHE) -> Path:
    """Return the manifest that a name, or a path ending in ``.toml``, stands for; a simulation is made if need be.

    Args:
        name_or_path: Which dataset; a simulation takes settings as a plugin does.
        folders: Where manifests are looked for besides the built-in ones.
        cache: Where simulations are kept.

    Raises:
        UsageError: If no dataset has that name, the message has the nearest ones; or if a setting does not fit.
        DatasetError: If two datasets have that name, or no room is left.
    """
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        return Path(name_or_path)
    plain = name_or_path.partition("[")[0].partition("+")[0]
    if plain not in simulation_names():
        return find_manifest(name_or_path, folders, simulation_names())
    if name_or_path in (manifests := list_manifests(folders)):
        raise DatasetError(
            f"dataset {name_or_path!r} is both {manifests[name_or_path][0]} and one that gfp-bench makes, expected "
            "one; rename yours, or give its path"
        )
    return _kept(_simulation(plain, name_or_path), cache.expanduser())


def _kept(simulation: Simulation, cache: Path) -> Path:
    """Return the manifest of a simulation, which appears with its images or not at all."""
    home = cache / "simulated" / f"{simulation.title}@{simulation.version}"
    file = home / f"{simulation.title}.toml"
    if file.exists():
        return file
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{simulation.title}.", dir=home.parent) as partial:
            simulation.make(Path(partial, "made"))
            Path(partial, "made").rename(home)
    except OSError as error:
        if not file.exists():  # if it does, another process was faster
            raise DatasetError(
                f"dataset {simulation.title!r} cannot be made in {home}: {error.strerror}; free space, or choose "
                "another folder by GFP_BENCH_CACHE or cache="
            ) from error
    return file


def _simulation(name: str, asked: str) -> Simulation:
    """Return the simulation of a name with the settings that were asked for, in either spelling."""
    if "[" in asked:
        _, given = parse_spec(asked)
    else:
        given = {key: value for key, _, value in (part.partition("-") for part in asked.split("+")[1:])}
    cls = load_simulation(name)
    return cls(**resolved_settings(cls, given))
