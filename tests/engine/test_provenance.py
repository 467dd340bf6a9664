"""Records say which code made them, and edited code never shows old numbers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.plan import Plan, digest, make_plan
from gfp_bench.engine.provenance import revision
from gfp_bench.engine.records import Store
from gfp_bench.engine.runner import Options, run
from gfp_bench.errors import MachineError
from gfp_bench.protocols.protocol import AttackUse, load_protocol
from gfp_bench.registry.code import files_of
from gfp_bench.registry.discovery import load_only, survey_plugins

METHOD = """
import torch
from gfp_bench import SILENT, Method, hookimpl
@hookimpl
def register_methods(register):
    register(Mine)
class Mine(Method):
    name, paper, version, stochastic = "mine", "", 1, False
    def __init__(self, file: str = "") -> None:
        self.file = file
        self.weights = "local" if file else ""
        self.weight_files = (file,) if file else ()
    def fit(self, train, val, *, rng, monitor=SILENT):
        import beside
        self.sign = beside.SIGN
        self.count = len(train.sources)
    def scores(self, images):
        return torch.zeros(len(images), self.count) + self.sign * torch.arange(self.count)
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(METHOD)
    (tmp_path / "beside.py").write_text("SIGN = 1.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "mine.py"


def planned(toy: Manifest, plugin: Path, method: str = "mine", **settings: str) -> Plan:
    protocol = load_protocol("attribution@0").model_copy(
        update={"seeds": (0,), "attacks": (AttackUse(name="noise"),), "immunise": False}
    )
    return make_plan(toy, protocol, [(method, settings)], survey_plugins([plugin]))


def keys(plan: Plan, method: str = "mine") -> set[str]:
    return {cell.key for trial in plan.trials if trial.method == method for cell in trial.cells}


def edit(file: Path) -> None:
    file.write_text(file.read_text().replace("self.sign * torch", "-self.sign * torch"))


def edit_beside(file: Path) -> None:
    (file.parent / "beside.py").write_text("SIGN = -1.0\n")


@pytest.mark.parametrize("change", [edit, edit_beside])
def test_an_edited_file_has_other_keys_and_what_gfp_bench_brings_has_not(
    toy: Manifest, mine: Path, change: Callable[[Path], None]
) -> None:
    before = planned(toy, mine)
    change(mine)
    after = planned(toy, mine)
    assert not keys(before) & keys(after)
    assert keys(before, "thumbnail") == keys(after, "thumbnail") != set()


def test_keys_of_what_gfp_bench_brings_are_those_that_were_published(toy: Manifest, mine: Path) -> None:
    """Identities of old must be found again: this is what they were made of before files had a digest."""
    (trial,) = [trial for trial in planned(toy, mine, "knn").trials if trial.method == "knn"]
    identity = {
        "core": 1, "task": "attribution", "data": toy.digest, "limit": None, "seed": 0, "condition": None,
        "method": {"name": "knn", "version": 1, "settings": {"k": 5}},
    }  # fmt: skip
    assert trial.key == digest(identity)


def test_where_a_file_lies_changes_no_key(toy: Manifest, mine: Path, tmp_path: Path) -> None:
    before = keys(planned(toy, mine))
    (tmp_path / "elsewhere").mkdir()
    for name in ("mine.py", "beside.py"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    assert keys(planned(toy, tmp_path / "elsewhere" / "mine.py")) == before


def test_other_weights_are_another_method(toy: Manifest, mine: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    found = []
    for content in (b"one", b"other"):
        file.write_bytes(content)
        plan = planned(toy, mine, file=str(file))
        found.append(keys(plan))
        (row,) = [row for row in plan.rows if row.method == "mine"]
        assert len(row.weight_files[str(file)]) == 64
    assert found[0] != found[1]


def test_a_file_that_is_edited_after_planning_stops_its_trials(mine: Path) -> None:
    sources = survey_plugins([mine]).sources("mine", {})
    edit_beside(mine)
    with pytest.raises(MachineError, match="was edited after the run was planned; run it again"):
        load_only(sources)


def test_records_name_origin_and_checksums(toy: Manifest, cache: Path, mine: Path, tmp_path: Path) -> None:
    plan = planned(toy, mine)
    options = Options(
        manifests={toy.name: toy.file}, cache=cache, results=tmp_path / "results", device="cpu", plugin_files=(mine,)
    )
    alone = [trial for trial in plan.trials if trial.method == "mine"]
    run(Plan(**{**vars(plan), "trials": tuple(alone)}), options, lambda event: None)
    record = Store(tmp_path / "results").record(alone[0], alone[0].cells[1])
    assert record is not None
    told = record.provenance["code"]["plugins"]
    assert told["mine"] == {"origin": f"file {mine}", "files": files_of(mine)}
    assert set(told["mine"]["files"]) == {"mine.py", "beside.py"}
    assert "gfp_bench_attacks/noise.py" in told["noise"]["files"]

    edit(mine)
    after, store = planned(toy, mine), Store(tmp_path / "results")
    store.keep_plan(after)
    (new,) = [trial for trial in after.trials if trial.method == "mine"]
    assert store.pending(new) == list(new.cells), "no old number stands for the edited code"
    assert {path.name[:5] for path in store.stale(after)} == {"clean", "noise"}


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("added", "dirty"),
    [("plugins/gfp_bench_methods/mine.py", True), ("gfp_bench/mine.py", True), ("results/mine.py", False)],
)
def test_an_untracked_plugin_counts_as_changed(tmp_path: Path, added: str, dirty: bool) -> None:
    module = tmp_path / "gfp_bench" / "engine" / "provenance.py"
    for file in (module, tmp_path / added):
        file.parent.mkdir(parents=True, exist_ok=True)
    module.touch()
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", str(module))
    git(tmp_path, "commit", "-q", "-m", "all")
    assert not revision(module)["dirty"]
    (tmp_path / added).touch()
    assert revision(module)["dirty"] is dirty
