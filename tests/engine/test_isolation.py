"""Methods that look for labels, harm others or say nonsense have what their honest twin has, and hurt nobody else."""

from dataclasses import replace
from pathlib import Path

import pytest
from places import SUPPORT

from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.landlock import landlock_version
from gfp_bench.engine.plan import Plan, Trial, make_plan
from gfp_bench.engine.records import Failed, Record, Store
from gfp_bench.engine.runner import Options, run
from gfp_bench.protocols.protocol import load_protocol
from gfp_bench.registry.discovery import load_plugins

CHEATS = SUPPORT / "cheats.py"
KEPT_IN = landlock_version() >= 6  # from files, and from signals to others
METHODS = ("clueless", "peeks", "babbles", *(["reaches-out"] if KEPT_IN else []))  # else it takes the run with it
PROTOCOL = load_protocol("attribution@0").model_copy(update={"attacks": (), "seeds": (0,)})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cheats") / "results"


@pytest.fixture(scope="module")
def plan(toy: Manifest, cache: Path, results: Path) -> Plan:
    """All of them, executed."""
    made = make_plan(toy, PROTOCOL, [(name, {}) for name in METHODS], load_plugins([CHEATS]))
    plan = replace(made, trials=tuple(trial for trial in made.trials if trial.method in METHODS))
    files = (CHEATS,)
    options = Options(
        manifests={toy.name: toy.file}, cache=cache, results=results, jobs=2, device="cpu", plugin_files=files
    )
    run(plan, options, lambda event: None)
    return plan


def trial_of(plan: Plan, method: str) -> Trial:
    return next(trial for trial in plan.trials if trial.method == method)


def record_of(plan: Plan, results: Path, method: str) -> Record:
    trial = trial_of(plan, method)
    record = Store(results).record(trial, trial.cells[0])
    assert record is not None, Store(results).failure(trial, trial.cells[0])
    return record


def test_who_peeks_has_what_the_honest_has(plan: Plan, results: Path) -> None:
    honest = record_of(plan, results, "clueless")
    assert honest.metrics["balanced_accuracy"] == 1 / 3
    peeking = record_of(plan, results, "peeks")
    assert (peeking.metrics, peeking.scores_sha256) == (honest.metrics, honest.scores_sha256)


def test_who_reaches_out_reaches_nothing(plan: Plan, results: Path) -> None:
    if not KEPT_IN:
        pytest.skip("this kernel does not keep a process from files and from signals to others")
    log = Store(results).path(trial_of(plan, "reaches-out"), "log")
    assert not log.exists() or log.read_text() == ""
    honest, reaching = (record_of(plan, results, method) for method in ("clueless", "reaches-out"))
    assert (reaching.metrics, reaching.scores_sha256) == (honest.metrics, honest.scores_sha256)


def test_pickles_are_never_read(plan: Plan, results: Path) -> None:
    trial = trial_of(plan, "babbles")
    failure = Store(results).failure(trial, trial.cells[0])
    assert isinstance(failure, Failed)
    assert failure.reason.startswith("method 'babbles': a message of ")


def test_records_say_what_kept_methods_in(plan: Plan, results: Path) -> None:
    version = landlock_version()
    expected = f"landlock {version}" if version else "none"
    assert record_of(plan, results, "clueless").provenance["isolation"] == expected
