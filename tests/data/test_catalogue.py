"""A dataset that is made on first use is found by its name like any other."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gfp_bench.data import simulations
from gfp_bench.data.catalogue import dataset_names, find_dataset
from gfp_bench.data.dataset import load_dataset
from gfp_bench.data.manifest import Manifest, read_manifest
from gfp_bench.errors import DatasetError, UsageError

SPEC = "sine[side=16,cycles=4,train=2,val=2,test=2]"
TITLE = "sine+cycles-4+side-16+test-2+train-2+val-2"


def test_it_is_made_once_and_found_by_either_name(tmp_path: Path) -> None:
    file = find_dataset(SPEC, cache=tmp_path)
    assert file == tmp_path / "simulated" / f"{TITLE}@2" / f"{TITLE}.toml"
    written = file.stat().st_mtime_ns
    assert find_dataset(TITLE, cache=tmp_path) == file
    assert find_dataset(f"{SPEC[:-1]},norm=rms]", cache=tmp_path) == file
    assert file.stat().st_mtime_ns == written
    assert [path.name for path in file.parent.parent.iterdir()] == [file.parent.name], "nothing half-made is left"


def test_it_is_loaded_like_any_other(tmp_path: Path) -> None:
    train = load_dataset(SPEC, cache=tmp_path).split("train")
    assert (train.dataset, len(train), train.image_shape) == (TITLE, 6, (3, 16, 16))


SIMULATION = """
from gfp_bench.data.simulations import Simulation
from gfp_bench.data.simulations.sine import Sine  # of another module

class Flat(Simulation):
    name, version = "flat", 2

    def __init__(self, side: int = 8) -> None:
        self.side = side

    @property
    def title(self) -> str:
        return "flat" if self.side == 8 else f"flat+side-{self.side}"

    def make(self, folder):
        folder.mkdir()
        (folder / f"{self.title}.toml").write_text(str(self.side))
"""


@pytest.fixture
def another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file among the simulations that defines `flat`."""
    file = tmp_path / "simulations" / "flat.py"
    file.parent.mkdir()
    file.write_text(SIMULATION)
    monkeypatch.setattr("gfp_bench.data.simulations.__path__", [*simulations.__path__, str(file.parent)])
    yield file
    sys.modules.pop("gfp_bench.data.simulations.flat", None)


def test_a_simulation_is_found_by_lying_there(another: Path, tmp_path: Path) -> None:
    assert {"flat", "sine"} <= set(dataset_names())
    assert find_dataset("flat", cache=tmp_path) == tmp_path / "simulated" / "flat@2" / "flat.toml"
    assert find_dataset("flat[side=9]", cache=tmp_path).read_text() == "9"
    with pytest.raises(UsageError, match="unknown dataset 'flad'; did you mean 'flat'"):
        find_dataset("flad")


def test_a_simulation_is_not_loaded_to_be_named(another: Path) -> None:
    another.write_text("raise RuntimeError('loaded')")
    assert "flat" in dataset_names()
    with pytest.raises(UsageError, match=r"unknown dataset 'zzz'; known: .*flat.*sine"):
        find_dataset("zzz")


@pytest.mark.parametrize("name", simulations.simulation_names())
def test_a_simulation_is_called_as_its_module(name: str) -> None:
    cls = simulations.load_simulation(name)
    assert (cls.name, cls().title) == (name, name)


def test_other_datasets_are_found_too(toy: Manifest, tmp_path: Path) -> None:
    folder = toy.file.parent
    assert find_dataset(toy.file, cache=tmp_path) == toy.file
    assert find_dataset("toy", [folder], tmp_path) == toy.file
    assert {"photo-mini", "sine", "toy"} <= set(dataset_names([folder]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sin", r"unknown dataset 'sin'; did you mean 'sine'"),
        ("sine[sid=16]", r"unknown sine setting 'sid'; did you mean 'side'"),
        ("sine[side=large]", r"setting 'side' of 'sine' got 'large', expected int"),
        ("sine+norm-l3", r"setting 'norm' of 'sine' got 'l3', expected 'rms' or 'l2'"),
        ("sine[side=8]", r"sine has side = 8, expected at least 16"),
        ("sine[", r"is no plugin's name; expected name or name\[key=value"),
    ],
)
def test_names_and_settings_that_do_not_exist_are_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        find_dataset(name, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_dataset_of_the_user_s_with_the_same_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "sine.toml").write_text("schema_version = 1")
    with pytest.raises(DatasetError, match=r"dataset 'sine' is both .*sine\.toml and one that gfp-bench makes"):
        find_dataset("sine", [tmp_path], tmp_path)


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "simulated").touch()
    with pytest.raises(DatasetError, match=r"cannot be made in .*: (File exists|Not a directory); free space"):
        find_dataset(SPEC, cache=tmp_path)


def test_a_making_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    with pytest.raises(DatasetError, match="No space left on device; free space, or choose another folder"):
        find_dataset(SPEC, cache=tmp_path)
    assert not list((tmp_path / "simulated").iterdir())


def test_two_who_make_it_at_once_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, other = Path.rename, tmp_path / "other"
    elsewhere = find_dataset(SPEC, cache=other).parent

    def overtaken(self: Path, target: Path) -> Path:
        rename(elsewhere, target)  # the other process is faster
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", overtaken)
    file = find_dataset(SPEC, cache=tmp_path)
    assert read_manifest(file).name == TITLE
