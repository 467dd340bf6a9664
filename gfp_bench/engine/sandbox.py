"""What the processes of a trial's plugins may reach: Python, the project, the system, and a folder of their own."""

import ctypes
import os
import signal
import site
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from gfp_bench.contracts.settings import Setting
from gfp_bench.data.manifest import Manifest, built_in_folder

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt", "/etc", "/nix/store", "/proc", "/sys")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "dri", "kfd")
_CODE = (".py", ".pyc", ".so", ".pth", ".zip", ".egg", ".egg-info", ".dist-info")
_DIE_WITH_PARENT, _ADOPT_ORPHANS = 1, 36  # prctl's numbers


@dataclass(frozen=True)
class Grants:
    """Files and folders with all that is beneath them; nothing else can be opened.

    Attributes:
        readable: What may be read and executed.
        writable: What may be read and written.
    """

    readable: tuple[Path, ...]
    writable: tuple[Path, ...]


def grants(files: Iterable[Path], settings: Iterable[Setting], own: Iterable[Path], hidden: set[Path]) -> Grants:
    """Return what a plugin may reach.

    Args:
        files: Single-file plugins.
        settings: Values of the plugins' settings; files and folders that they name, such as weights, may be read.
        own: Folders that the trial keeps for it, which it may write to.
        hidden: What must stay out of reach wherever it lies, also inside of what may be read.
    """
    named = (Path(value).expanduser() for value in settings if isinstance(value, str) and value)
    wanted = [*map(Path, _SYSTEM), *code(), *files, *(path for path in named if path.exists())]
    hidden = {path.resolve() for path in hidden}
    readable = dict.fromkeys(part for path in wanted for part in _without(path.resolve(), hidden))
    return Grants(tuple(readable), (*own, *_devices()))


def places_of(manifest: Manifest, index: pd.DataFrame) -> set[Path]:
    """Return where a dataset lies: its manifest, its index, and what holds its images at the top of its folder."""
    tops = index["path"].str.partition("/")[0].unique()
    return {manifest.file, manifest.index_file, built_in_folder(), *(manifest.root / top for top in tops)}


@cache
def code() -> tuple[Path, ...]:
    """Return where Python, what is installed for it and what else can be imported lie; looked up once."""
    return (*_python(), *_packages())


def _python() -> Iterator[Path]:
    """Yield the interpreter and what is installed for it."""
    installed = {*site.getsitepackages(), site.getusersitepackages()} & {*sys.path}
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    folders = dict.fromkeys((sys.prefix, sys.base_prefix, sys.exec_prefix, *sorted(installed), *libraries))
    yield from (Path(folder) for folder in folders if folder)


def _packages() -> Iterator[Path]:
    """Yield modules and packages on the search path, and not the folders that hold them: other things lie there too."""
    installed = [*_python()]
    for place in map(Path, sys.path):
        if any(place.is_relative_to(folder) for folder in installed):
            continue
        if place.is_dir():
            yield from (path for path in place.iterdir() if path.suffix in _CODE or (path / "__init__.py").is_file())
        else:
            yield place
    roots = {point.value.partition(":")[0].partition(".")[0] for point in entry_points(group="gfp_bench")}
    for root in ("gfp_bench", "gfp_bench_methods", "gfp_bench_attacks", "gfp_bench_generators", *sorted(roots)):
        if (spec := find_spec(root)) is not None:
            yield from map(Path, spec.submodule_search_locations or [spec.origin or root])


def _devices() -> Iterator[Path]:
    yield from (Path("/dev", name) for name in _DEVICES)
    yield from Path("/dev").glob("nvidia*")


def _without(path: Path, hidden: set[Path]) -> Iterator[Path]:
    """Yield a path, or the parts of it that are neither hidden nor inside of what is."""
    if hidden & {path, *path.parents}:
        return
    if not any(path in place.parents for place in hidden):
        yield path
    else:
        yield from (part for child in path.iterdir() if not child.is_symlink() for part in _without(child, hidden))


def die_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends, however that comes."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:  # it was faster
        os._exit(1)


def adopt_orphans() -> None:
    """Keep every process that a child of this one starts below this one, also when the child has ended."""
    ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, ctypes.c_ulong(1))


def end_all_below(pid: int) -> None:
    """Kill every process that a process has started, directly or not; it is let be itself."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text(encoding="ascii").split()]
        except OSError:  # the thread has ended since
            continue
        for child in children:
            end_all_below(child)
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
