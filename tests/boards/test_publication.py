"""Published boards: derived from their records, and caught when they are not."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from gfp_bench.boards import publication
from gfp_bench.boards.assembly import board_of
from gfp_bench.boards.formats import markdown
from gfp_bench.boards.ranking import standings
from gfp_bench.contracts.task import Outcome
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.outcomes import Truth
from gfp_bench.engine.plan import Plan, make_plan
from gfp_bench.engine.records import Record, Store, packed, to_json
from gfp_bench.errors import RecordError, UsageError
from gfp_bench.metrics.separability import Separability
from gfp_bench.protocols.protocol import AttackUse, Ladder, load_protocol
from gfp_bench.registry.discovery import load_plugins

CODE = {"version": "1", "revision": None, "dirty": False}


LADDER = Ladder(name="noise", label="noise-std", vary=("low", "high"), severities=(2, 5), axis="deviation")


def planned(toy: Manifest, **changes: object) -> Plan:
    protocol = load_protocol("attribution@0").model_copy(update={"seeds": (0,)} | changes)
    made = make_plan(toy, protocol, [("knn", {})], load_plugins())
    kept = tuple(trial for trial in made.trials if trial.method == "knn")
    return replace(made, trials=kept, rows=tuple(row for row in made.rows if row.method == "knn"))


def publish(plan: Plan, toy: Manifest, store: Store, folder: Path) -> Path:
    return publication.publish(plan, {toy.name: toy}, store, folder)


def drift(board: Path, toy: Manifest) -> list[str]:
    store = Store(board.parent / "records" / board.stem)
    return publication.drift(board, store.plan(), {toy.name: toy}, store)


@pytest.fixture
def plan(toy: Manifest) -> Plan:
    return planned(toy, attacks=(AttackUse(name="noise"),))


@pytest.fixture
def store(toy: Manifest, plan: Plan, tmp_path: Path) -> Store:
    return filled(toy, plan, Store(tmp_path / "results"))


def filled(toy: Manifest, plan: Plan, store: Store) -> Store:
    """Results of a method that errs on every third image."""
    sources, truth = toy.source_names, Truth({toy.name: toy}, None)
    shown = truth.of(plan.trials[0].cells[0])
    wrong = np.arange(len(shown.labels)) % 3 == 0
    scores = np.eye(len(sources), dtype=np.float32)[(shown.labels + wrong) % len(sources)]
    content = packed({"scores": scores})
    kept = plan.task.keep(scores, shown, sources)
    found = plan.task.metrics(Outcome(kept=kept, shown=shown, known=sources))
    for trial in plan.trials:
        store.folder(trial).mkdir(parents=True)
        for cell in trial.cells:
            record = Record(
                cell.key, trial.key, cell.name, found, asdict(Separability(8, 3, reason="0/0")),
                len(scores), sha256(content).hexdigest(),
                {"packages": {"numpy": "2"}, "code": CODE, "device": "cpu"},
            )  # fmt: skip
            store.write(trial, cell, record, content)
    store.keep_plan(plan)
    return store


@pytest.fixture
def published(plan: Plan, toy: Manifest, store: Store, tmp_path: Path) -> Path:
    return publish(plan, toy, store, tmp_path / "boards")


def test_a_published_board_is_the_board_of_the_results(
    plan: Plan, toy: Manifest, store: Store, published: Path
) -> None:
    board = board_of(plan, {toy.name: toy}, store)
    assert published.read_text() == markdown(board, standings(board))
    assert drift(published, toy) == []
    assert not list(published.parent.rglob("scores*"))


def test_publishing_twice_leaves_equal_bytes(plan: Plan, toy: Manifest, store: Store, published: Path) -> None:
    before = tree(published.parent)
    publish(plan, toy, store, published.parent)
    assert before == tree(published.parent)


def test_a_publication_that_fails_leaves_the_old_one(plan: Plan, toy: Manifest, store: Store, published: Path) -> None:
    next(store.folder(plan.trials[-1]).glob("*.npz")).write_bytes(b"damaged")
    with pytest.raises(RecordError, match="is not the one its record was made with"):
        publish(plan, toy, store, published.parent)
    assert drift(published, toy) == []


def test_a_board_is_gone_on_with_from_its_records(
    plan: Plan, toy: Manifest, store: Store, published: Path, tmp_path: Path
) -> None:
    """Published with one cell of a trial missing, copied, the cell added, published: as if it had been there."""
    trial = next(trial for trial in plan.trials if len(trial.cells) > 1)
    last = trial.cells[-1]
    timing = {"wall": 2, "peak_memory": 1, "peak_gpu_memory": 0}
    store.path(trial, "timing").write_bytes(to_json(timing))
    publish(plan, toy, store, published.parent)
    half = Store(tmp_path / "half")
    shutil.copytree(store.root, half.root)
    for path in half.folder(trial).glob(f"{last.name}-*"):
        path.unlink()
    publish(plan, toy, half, tmp_path / "half-boards")

    copy = Store(tmp_path / "copy")
    shutil.copytree(tmp_path / "half-boards" / "records" / published.stem, copy.root)
    assert [cell for trial in plan.trials for cell in copy.pending(trial)] == [last]
    record = store.record(trial, last)
    assert record is not None
    copy.write(trial, last, record, packed(store.arrays(trial, last, record)))
    again = publish(plan, toy, copy, tmp_path / "boards-again")
    assert tree(again.parent) == tree(published.parent)


def tree(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit_board(board: Path) -> None:
    board.write_text(board.read_text().replace("66", "99"))


def edit_record(board: Path) -> None:
    path = next(board.parent.rglob("noise-*.json"))
    record = json.loads(path.read_text())
    record["metrics"]["balanced_accuracy"] = 1.0
    path.write_text(json.dumps(record))


def edit_answers(board: Path) -> None:
    path = next(board.parent.rglob("answers-*.npz"))
    with np.load(path) as arrays:
        inside = {name: (array + 1) % 3 if name.endswith("answer") else array for name, array in arrays.items()}
    np.savez_compressed(path, **inside)


def lose_record(board: Path) -> None:
    next(board.parent.rglob("noise-*.json")).unlink()


@pytest.mark.parametrize("tamper", [edit_board, edit_record, edit_answers, lose_record])
def test_tampering_is_found(toy: Manifest, published: Path, tamper: Callable[[Path], None]) -> None:
    tamper(published)
    assert drift(published, toy) != []


@pytest.fixture
def climbed(toy: Manifest, tmp_path: Path) -> Path:
    """A published board with a ladder, of a protocol that is not built in."""
    plan = planned(toy, name="mine", attacks=(), ladders=(LADDER,), immunise=False)
    return publish(plan, toy, filled(toy, plan, Store(tmp_path / "results")), tmp_path / "boards")


def test_a_board_with_ladders_has_its_curves_beside_it(toy: Manifest, climbed: Path) -> None:
    text = climbed.read_text()
    assert "](toy-mine@0.png)" in text
    assert "gfp-bench run -d toy -p mine@0.toml" in text
    assert climbed.with_name("toy-mine@0.png").exists()
    assert drift(climbed, toy) == []


def test_a_board_without_ladders_has_no_curves(published: Path) -> None:
    assert not list(published.parent.glob("*.png"))


def test_curves_of_other_results_are_found(toy: Manifest, climbed: Path) -> None:
    figure = climbed.with_name("toy-mine@0.png")
    own = figure.read_bytes()
    other = next(climbed.parent.rglob("plan.json")).read_text().replace('"deviation"', '"variance"')
    next(climbed.parent.rglob("plan.json")).write_text(other)
    assert drift(climbed, toy)[-1] == f"{figure} is not what its records give; publish again"
    next(climbed.parent.rglob("plan.json")).write_text(other.replace('"variance"', '"deviation"'))
    assert drift(climbed, toy) == []
    for content in (own[:-100], b""):
        figure.write_bytes(content)
        assert drift(climbed, toy) == [f"{figure} is not what its records give; publish again"]
    figure.unlink()
    assert len(drift(climbed, toy)) == 1


def test_a_limited_run_is_not_published(plan: Plan, toy: Manifest, store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--limit 4 is not the benchmark"):
        publish(replace(plan, limit=4), toy, store, tmp_path / "boards")


def test_another_dataset_is_refused(plan: Plan, toy: Manifest, store: Store) -> None:
    with pytest.raises(RecordError, match="run again, or bring the dataset back"):
        board_of(plan, {toy.name: toy.model_copy(update={"index": "0" * 64})}, store)


def test_missing_cells_say_so(plan: Plan, toy: Manifest, store: Store, tmp_path: Path) -> None:
    clean, immunised = plan.trials
    for path in [*store.folder(immunised).glob("*.json"), *store.folder(clean).glob("noise*.json")]:
        path.unlink()
    store.fail(clean, clean.cells[1], "timeout", "took longer than 5 s")
    board = board_of(plan, {toy.name: toy}, store)
    text = publication.write_board(board, standings(board), plan, store, tmp_path / "out").read_text()
    assert "timeout (note" in text
    assert "took longer than 5 s" in text
    assert "not run (note" in text
    assert "| not ranked" in text


def test_what_attacks_say_of_themselves_reaches_the_board(toy: Manifest, tmp_path: Path) -> None:
    plan = planned(toy, attacks=(AttackUse(name="noise"), AttackUse(name="relight", label="light")))
    made = board_of(plan, {toy.name: toy}, Store(tmp_path / "results"))
    assert [made.heading(column) for column in made.columns] == ["clean", "noise", "light (synthetic)"]
    assert made.columns == ("clean", "noise", "light")
