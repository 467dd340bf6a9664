"""What a process that is shut in reaches, by real processes where the kernel has Landlock."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gfp_bench.data.manifest import Manifest, built_in_folder
from gfp_bench.engine import landlock
from gfp_bench.engine.landlock import landlock_version, restrict
from gfp_bench.engine.sandbox import adopt_orphans, die_with, end_all_below, grants, places_of

needs_landlock = pytest.mark.skipif(not landlock_version(), reason="this kernel has no Landlock")


def apart(do: Callable[[], object]) -> str:
    """Return the repr of what a fork of this process makes of a call, or the kind of error."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(write, repr(do()).encode())
        except BaseException as error:
            os.write(write, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said


def test_hidden_places_are_cut_out_wherever_they_lie(tmp_path: Path) -> None:
    site = tmp_path / "site"
    for name in ("package/code.py", "package/data/train/a.png", "package/data/labels.txt", "other/code.py"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text("")
    (site / "link").symlink_to(site / "package" / "data")
    granted = grants([], [str(site)], [], {site / "package" / "data" / "train"}).readable
    inside = {path.relative_to(site) for path in granted if path.is_relative_to(site)}
    assert inside == {Path("package/code.py"), Path("package/data/labels.txt"), Path("other")}
    within = grants([], [str(site / "package" / "data")], [], {site / "package"}).readable
    assert not any(path.is_relative_to(tmp_path) for path in within)


def test_a_search_path_gives_its_modules_and_packages_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("module.py", "package/__init__.py", "results/plan.json", "datasets/toy.toml", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    from gfp_bench.engine.sandbox import code

    code.cache_clear()
    granted = {path.relative_to(tmp_path) for path in code() if path.is_relative_to(tmp_path)}
    code.cache_clear()
    assert granted == {Path("module.py"), Path("package")}


def test_a_dataset_lies_where_its_index_says(toy: Manifest) -> None:
    index = pd.DataFrame({"path": ["train/a/1.png", "train/b/1.png", "test.zip/a/1.png"]})
    assert places_of(toy, index) == {
        toy.file, toy.index_file, built_in_folder(), toy.root / "train", toy.root / "test.zip",
    }  # fmt: skip


@needs_landlock
def test_what_is_not_granted_is_out_of_reach(tmp_path: Path) -> None:
    for name in ("open/file", "own/file", "shut/file"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("text")

    def after(do: Callable[[], object]) -> str:
        def shut_in() -> object:
            restrict([tmp_path / "open", tmp_path / "absent"], [tmp_path / "own"])
            return do()

        return apart(shut_in)

    assert after((tmp_path / "open/file").read_text) == "'text'"
    assert after((tmp_path / "own/file").read_text) == "'text'"
    assert after((tmp_path / "shut/file").read_text) == "PermissionError"
    assert after(lambda: (tmp_path / "open/file").write_text("x")) == "PermissionError"
    assert after(lambda: (tmp_path / "own/new").write_text("x")) == "1"
    assert after(lambda: (tmp_path / "own/new").rename(tmp_path / "shut/new")) in ("PermissionError", "OSError")
    assert after(lambda: [*tmp_path.iterdir()]) == "PermissionError"
    assert after(lambda: (tmp_path / "own/link").symlink_to(tmp_path / "shut/file")) == "None"
    assert after((tmp_path / "own/link").read_text) == "PermissionError"


@needs_landlock
def test_what_is_open_stays_open_and_others_cannot_be_traced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with (tmp_path / "file").open() as file:
        assert apart(lambda: (restrict([], []), file.read())[1]) == "'text'"
    parent = os.getpid()
    assert (
        apart(lambda: restrict([Path("/proc")], []) and Path(f"/proc/{parent}/mem").read_bytes()) == "PermissionError"
    )
    if landlock_version() >= 6:
        assert apart(lambda: restrict([], []) and os.kill(parent, 0)) == "PermissionError"


@pytest.mark.parametrize("version", range(1, 8))
@needs_landlock
def test_older_kernels_are_asked_for_what_they_know(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if version > landlock_version():
        pytest.skip("this kernel knows less")
    monkeypatch.setattr(landlock, "landlock_version", lambda: version)
    assert apart(lambda: (restrict([Path("/usr")], [Path("/dev/null")]), Path("/etc/passwd").read_text())) == (
        "PermissionError"
    )


def test_without_landlock_nothing_is_restricted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "landlock_version", lambda: 0)
    (tmp_path / "file").write_text("text")
    assert apart(lambda: (restrict([], []), (tmp_path / "file").read_text())) == "(0, 'text')"


def test_whatever_a_process_started_ends_with_it() -> None:
    started = "subprocess.Popen(['sleep', '60'], start_new_session=True, stdout=subprocess.DEVNULL)"
    script = f"import subprocess; print({started}.pid)"
    read, write = os.pipe()
    middle = os.fork()
    if not middle:
        try:
            adopt_orphans()
            subprocess.run([sys.executable, "-S", "-c", script], stdout=write, check=True)  # ends, its child does not
            time.sleep(60)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as said:
        left = int(said.readline())
    assert state_of(left) in "SRD"
    end_all_below(middle)
    until = time.monotonic() + 10
    while state_of(left) in "SRD" and time.monotonic() < until:
        time.sleep(0.01)
    assert state_of(left) in "ZX"  # a zombie, until its new parent looks
    os.kill(middle, 9)
    os.waitpid(middle, 0)


def state_of(pid: int) -> str:
    """Return the kernel's letter for what a process is doing, X if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"


def test_a_process_dies_with_its_parent() -> None:
    read, write = os.pipe()
    middle = os.fork()
    if not middle:
        try:
            here = os.getpid()
            if not os.fork():
                die_with(here)
                os.write(write, b"!")
            time.sleep(60)
        finally:
            os._exit(1)
    os.close(write)
    assert os.read(read, 1) == b"!"
    os.kill(middle, 9)
    os.waitpid(middle, 0)
    assert os.read(read, 1) == b""  # the last end of the pipe is closed
    os.close(read)
