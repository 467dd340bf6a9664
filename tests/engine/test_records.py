"""The store: nothing half-written, nothing mixed up, nobody's claim stale."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gfp_bench.engine.plan import Attack, Cell, Given, Plan, Trial
from gfp_bench.engine.records import Record, Store, packed
from gfp_bench.errors import RecordError, UsageError
from gfp_bench.protocols.protocol import load_protocol

NOISE = Attack(label="noise", name="noise", settings={"low": 5.0}, version=1)
CELLS = (
    Cell(name="clean", key="a" * 64, dataset="toy"),
    Cell(name="noise", key="b" * 64, dataset="toy", attack=NOISE),
)
KNN = {"dataset": "toy", "method": "knn", "settings": {"k": 5}, "row": "knn", "seed": 0, "key": "c" * 64}
TRIAL = Trial(**KNN, sources=("a", "b", "c"), known=("a", "b", "c"), cells=CELLS)
SCORES = np.arange(6, dtype=np.float32).reshape(2, 3)


def record_of(cell: Cell, scores: bytes) -> Record:
    from hashlib import sha256

    digest = sha256(scores).hexdigest()
    return Record(cell.key, TRIAL.key, cell.name, {"accuracy": 0.1 + 0.2}, {}, 2, digest, {})


def planned(*cells: Cell) -> Plan:
    protocol = load_protocol("attribution@0")
    trials = (replace(TRIAL, cells=cells),)
    return Plan(dataset="toy", digest="d" * 64, protocol=protocol, limit=None, trials=trials)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.folder(TRIAL).mkdir(parents=True)
    content = packed({"scores": SCORES})
    store.write(TRIAL, CELLS[0], record_of(CELLS[0], content), content)
    return store


def test_a_record_comes_back_to_the_last_bit(store: Store) -> None:
    record = store.record(TRIAL, CELLS[0])
    assert record is not None
    assert record.metrics["accuracy"] == 0.1 + 0.2
    np.testing.assert_array_equal(store.arrays(TRIAL, CELLS[0], record)["scores"], SCORES)


def test_pending_is_what_is_neither_done_nor_failed(store: Store) -> None:
    assert store.pending(TRIAL) == [CELLS[1]]
    store.fail(TRIAL, CELLS[1], "timeout", "too slow")
    assert store.pending(TRIAL) == []
    assert store.pending(TRIAL, retry_failed=True) == [CELLS[1]]
    content = packed({"scores": SCORES})
    store.write(TRIAL, CELLS[1], record_of(CELLS[1], content), content)
    assert store.failure(TRIAL, CELLS[1]) is None


def test_a_record_of_another_version_is_stale(store: Store) -> None:
    assert store.stale(planned(*CELLS)) == []
    newer = planned(Cell(name="clean", key="e" * 64, dataset="toy"), CELLS[1])
    assert [path.name for path in store.stale(newer)] == ["clean-aaaaaaaa.json"]
    assert store.pending(newer.trials[0]) == list(newer.trials[0].cells)


def test_a_record_of_another_protocol_is_not_stale(store: Store) -> None:
    store.keep_plan(planned(*CELLS))
    other = planned(CELLS[1])
    assert store.stale(replace(other, protocol=load_protocol("attribution@1"))) == []


def test_a_plan_comes_back(store: Store) -> None:
    with pytest.raises(UsageError, match="no plan in"):
        store.plan()
    store.keep_plan(planned(*CELLS))
    assert store.plan() == planned(*CELLS)
    for damaged in ("{}", "{", '{"schema": 1}'):
        (store.root / "plan.json").write_text(damaged)
        with pytest.raises(RecordError, match="damaged"):
            store.plan()


def test_plans_of_other_protocols_and_limits_stand_beside_each_other(store: Store) -> None:
    first = planned(*CELLS)
    others = [replace(first, limit=4), replace(first, protocol=load_protocol("attribution@1"))]
    for plan in (first, *others):
        store.keep_plan(plan)
    assert store.plan() == others[1]
    assert store.plan("toy", "attribution@0") == first
    assert store.plan("toy", "attribution@0", 4) == others[0]
    assert store.plan("", "attribution@1") == others[1]
    with pytest.raises(UsageError, match=r"2 plans in .* are of toy, expected one; there are toy-attribution@0, toy-"):
        store.plan("toy")
    with pytest.raises(
        UsageError, match=r"no plans in .* are of else, expected one; there are toy-attribution@0-limit4"
    ):
        store.plan("else")


def test_a_plan_keeps_what_it_was_given(tmp_path: Path) -> None:
    inside, outside = tmp_path / "data" / "toy.toml", Path("/elsewhere/mine.toml")
    given = Given(datasets={"toy": inside}, protocol=outside, plugins=(inside,))
    plan = replace(planned(*CELLS), given=given)
    Store(tmp_path / "results").keep_plan(plan)
    (tmp_path / "results").rename(tmp_path / "moved")
    assert Store(tmp_path / "moved").plan() == plan
    assert '"toy": "data/toy.toml"' in (tmp_path / "moved" / "plan.json").read_text()


def test_equal_scores_are_equal_bytes() -> None:
    assert packed({"scores": SCORES}) == packed({"scores": SCORES.copy()})


def test_damage_is_named(store: Store) -> None:
    folder = store.folder(TRIAL)
    record = store.record(TRIAL, CELLS[0])
    assert record is not None
    (scores,) = folder.glob("*.npz")
    scores.write_bytes(scores.read_bytes()[:-1])
    with pytest.raises(RecordError, match=rf"{scores.name} is not the one its record was made with"):
        store.arrays(TRIAL, CELLS[0], record)
    scores.unlink()
    with pytest.raises(RecordError, match=rf"{scores.name} cannot be read"):
        store.arrays(TRIAL, CELLS[0], record)
    (path,) = folder.glob("*.json")
    whole = path.read_text()
    for broken in (whole[:-20], json.dumps({"key": CELLS[0].key}), whole.replace("a" * 64, "d" * 64)):
        path.write_text(broken)
        with pytest.raises(RecordError, match=path.name):
            store.record(TRIAL, CELLS[0])


def test_a_number_that_json_has_not_is_refused(store: Store) -> None:
    record = record_of(CELLS[1], b"")
    record.metrics["accuracy"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write(TRIAL, CELLS[1], record, b"")
    assert store.record(TRIAL, CELLS[1]) is None


def test_a_claim_is_held_by_one_and_freed_by_death(store: Store) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]); from tests_trial import TRIAL;"
        "from gfp_bench.engine.records import Store\n"
        "with Store(Path(sys.argv[1])).claim(TRIAL) as holder:\n"
        "    print(holder, flush=True); sys.stdin.read()"
    )
    (store.root / "tests_trial.py").write_text(
        f"from gfp_bench.engine.plan import Trial\nTRIAL = Trial(**{KNN!r}, sources=(), known=(), cells=())\n"
    )
    arguments = [sys.executable, "-c", code, str(store.root), str(store.root)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "None\n"
        with store.claim(TRIAL) as holder:
            assert holder is not None
            assert f"process {other.pid} on " in holder
        other.kill()
    with store.claim(TRIAL) as holder:
        assert holder is None
        with store.claim(TRIAL) as second:
            assert second is not None
    assert not list(store.folder(TRIAL).glob("claim*"))
