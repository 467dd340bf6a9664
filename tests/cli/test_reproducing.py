"""What was published honestly is found again, and what was made up is not."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from gfp_bench.boards import publication, reproduction
from gfp_bench.boards.reproduction import compared, drawn, plan_of, promised
from gfp_bench.contracts.task import Outcome
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.outcomes import Truth
from gfp_bench.engine.plan import Plan, make_plan
from gfp_bench.engine.records import Store, packed
from gfp_bench.engine.runner import Options, run
from gfp_bench.errors import UsageError
from gfp_bench.protocols.protocol import AttackUse, load_protocol
from gfp_bench.registry.discovery import load_plugins


@pytest.fixture(scope="module")
def plan(toy: Manifest) -> Plan:
    changes = {"seeds": (0,), "attacks": (AttackUse(name="flip"),)}
    made = make_plan(toy, load_protocol("attribution@0").model_copy(update=changes), [("knn", {})], load_plugins())
    kept = ("knn", "majority")
    trials = tuple(trial for trial in made.trials if trial.method in kept)
    return replace(made, trials=trials, rows=tuple(row for row in made.rows if row.method in kept))


@pytest.fixture(scope="module")
def results(plan: Plan, toy: Manifest, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("reproduction") / "results"
    run(plan, Options(manifests={toy.name: toy.file}, cache=cache, results=folder, device="cpu"), lambda event: None)
    return Store(folder)


def forged(plan: Plan, toy: Manifest, results: Store, target: Path, hits: float) -> Store:
    """The results with every answer of knn made up, such that a share of them is right: records agree with scores."""
    store, truth = Store(target), Truth({toy.name: toy}, None)
    store.keep_plan(plan)
    for trial in plan.trials:
        for cell in trial.cells:
            record = results.record(trial, cell)
            assert record is not None
            arrays = results.arrays(trial, cell, record)
            shown = truth.of(cell)
            if trial.method == "knn":
                wrong = np.arange(len(shown.labels)) >= hits * len(shown.labels)
                arrays["scores"] = np.eye(3, dtype=np.float32)[(shown.labels + wrong) % 3]
            kept = plan.task.keep(arrays["scores"], shown, trial.known)
            metrics = json.loads(json.dumps(plan.task.metrics(Outcome(kept=kept, shown=shown, known=trial.known))))
            content = packed(arrays)
            store.folder(trial).mkdir(parents=True, exist_ok=True)
            made_up = replace(record, metrics=metrics, scores_sha256=sha256(content).hexdigest())
            store.write(trial, cell, made_up, content)
    return store


@pytest.fixture
def called(cli, toy: Manifest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GFP_BENCH_DATA", str(toy.file.parent))
    return lambda boards: cli("reproduce", "toy-attribution@0", "--boards", str(boards), "--cells", "3", "--seed", "1")


def publish(plan: Plan, toy: Manifest, store: Store, folder: Path) -> Path:
    publication.publish(plan, {toy.name: toy}, store, folder)
    return folder


def test_an_honest_board_is_found_again(called, plan: Plan, toy: Manifest, results: Store, tmp_path: Path) -> None:
    code, out, err = called(publish(plan, toy, results, tmp_path / "boards"))
    assert code == 0, out + err
    assert "3 cells drawn with --seed 1" in err
    assert out.count("same") == 3
    assert out.count("nothing") == 3, "one processor: to the bit"
    assert "all 3 cells are what was published" in out


def test_a_forged_board_is_caught(called, plan: Plan, toy: Manifest, results: Store, tmp_path: Path) -> None:
    made_up = forged(plan, toy, results, tmp_path / "made-up", hits=0.7)
    code, out, err = called(publish(plan, toy, made_up, tmp_path / "boards"))
    assert code == 4
    assert "knn" in out
    assert "DRIFT" in out
    assert "are not what was published; --seed 1 draws them again" in err


@pytest.mark.parametrize(("elsewhere", "drifts"), [(False, True), (True, False)])
def test_one_answer_is_too_many_on_the_same_processor_only(
    plan: Plan,
    toy: Manifest,
    results: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    elsewhere: bool,
    drifts: bool,
) -> None:
    monkeypatch.setattr(reproduction, "ANSWERS", 1 / 24)
    made_up = forged(plan, toy, results, tmp_path / "made-up", hits=23 / 24)
    exact = forged(plan, toy, results, tmp_path / "exact", hits=1)
    sample = [pair for pair in drawn(plan, results, 100, 0) if pair[0].method == "knn"]
    if elsewhere:
        for trial, cell in sample:
            record = made_up.record(trial, cell)
            assert record is not None
            made_up.put(trial, cell, replace(record, provenance=record.provenance | {"processor": "another"}))
    found = [*compared(plan, {toy.name: toy}, sample, made_up, exact, plan.rows)]
    assert [one.drifted for one in found] == [drifts] * len(sample)
    assert {round(24 * (one.changed or 0)) for one in found} == {1}
    (first, *_) = ((results.record(*pair), made_up.record(*pair)) for pair in sample)
    assert first[0] is not None and first[1] is not None
    assert promised(*first) is not elsewhere


def test_trained_networks_have_a_bound_in_points(plan: Plan, toy: Manifest, results: Store, tmp_path: Path) -> None:
    made_up = forged(plan, toy, results, tmp_path / "made-up", hits=0.5)
    sample = [pair for pair in drawn(plan, results, 100, 0) if pair[0].method == "knn"]
    rows = [replace(row, weights="scratch") for row in plan.rows]
    for trial, cell in sample:
        record = made_up.record(trial, cell)
        assert record is not None
        made_up.put(trial, cell, replace(record, provenance=record.provenance | {"processor": "another"}))
    for hits, drifts in ((0.55, False), (0.75, True)):
        other = forged(plan, toy, results, tmp_path / f"other-{hits}", hits=hits)
        found = [*compared(plan, {toy.name: toy}, sample, made_up, other, rows)]
        assert {one.allowed for one in found} == {"10 points"}
        assert {one.drifted for one in found} == {drifts}


def test_a_cell_that_fails_now_has_drifted(plan: Plan, toy: Manifest, results: Store, tmp_path: Path) -> None:
    sample = drawn(plan, results, 2, 0)
    empty = Store(tmp_path / "empty")
    empty.fail(*sample[0], "failed", "no such thing")
    found = [*compared(plan, {toy.name: toy}, sample, results, empty, plan.rows)]
    assert [one.drifted for one in found] == [True, True]
    assert [one.reason for one in found] == ["no such thing", "it did not run"]


def test_a_sample_is_that_of_its_seed_and_brings_the_fits_it_needs(plan: Plan, results: Store) -> None:
    assert drawn(plan, results, 4, 7) == drawn(plan, results, 4, 7)
    assert len({str(drawn(plan, results, 4, seed)) for seed in range(5)}) > 1
    everything = drawn(plan, results, 1000, 0)
    assert len(everything) == sum(len(trial.cells) for trial in plan.trials)
    immunised = [pair for pair in everything if pair[0].base]
    small = plan_of(plan, immunised[:1])
    assert [len(trial.cells) for trial in small.trials] == [0, 1]
    assert small.trials[0].key == small.trials[1].base


def test_another_version_is_named_and_nothing_runs(
    called, plan: Plan, toy: Manifest, results: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards = publish(plan, toy, results, tmp_path / "boards")
    for method in ("knn", "majority"):
        monkeypatch.setattr(load_plugins().method(method), "version", 2)
    code, _, err = called(boards)
    assert code == 2
    assert "was made by another version of gfp-bench" in err


def test_a_board_without_numbers_cannot_be_drawn_from(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to run again"):
        drawn(plan, Store(tmp_path), 5, 0)
