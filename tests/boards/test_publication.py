"""Published boards: derived from their records, replaced whole or not at all, and nothing on them lost unasked."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from made_up import filled, of_rows

from gfp_bench.boards import publication
from gfp_bench.boards.assembly import board_of, wrong_metrics
from gfp_bench.boards.formats import markdown
from gfp_bench.boards.published import Published
from gfp_bench.boards.ranking import standings
from gfp_bench.boards.verification import verdict
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.plan import Given, Plan, make_plan
from gfp_bench.engine.records import Store, to_json
from gfp_bench.engine.replan import extended, planned_again
from gfp_bench.errors import RecordError, UsageError
from gfp_bench.files import claimed
from gfp_bench.protocols.protocol import AttackUse, Ladder, load_protocol
from gfp_bench.registry.plugins import Plugins

LADDER = Ladder(name="noise", label="noise-std", vary=("low", "high"), severities=(2, 5), axis="deviation")
NAME = "toy-attribution@0"


def publish(plan: Plan, toy: Manifest, store: object, folder: Path, **how: bool) -> publication.Publication:
    return publication.publish(plan, {toy.name: toy}, store, folder, **how)  # type: ignore[arg-type]


def records_of(board: Path) -> Published:
    return Published(board.parent / "records" / board.stem)


def wrong(board: Path, toy: Manifest, plugins: Plugins) -> tuple[str, ...]:
    return verdict(board.parent, board.stem, records_of(board), {toy.name: toy}, plugins).wrong


def tree(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_published_board_is_the_board_of_the_results(
    plan: Plan, toy: Manifest, store: Store, published: Path, plugins: Plugins
) -> None:
    board = board_of(plan, {toy.name: toy}, store)
    assert published.read_text() == markdown(board, standings(board))
    assert wrong(published, toy, plugins) == ()
    kept = {name for name, _, _ in (file.rpartition("-seed") for file in records_of(published).files) if name}
    floors = {f"{name}-44136fa3" for name in plugins.floors}
    assert kept == {"knn-519b31b3", *floors}


def test_records_are_read_back_as_they_were(plan: Plan, store: Store, published: Path) -> None:
    records = records_of(published)
    assert records.plan() == plan
    for trial in plan.trials:
        for cell in trial.cells:
            assert records.record(trial, cell) == store.record(trial, cell)
        assert records.timing(trial) == store.timing(trial)


def test_a_cell_is_a_line(plan: Plan, published: Path) -> None:
    rows = sorted((published.parent / "records" / NAME).glob("*-seed*.json"))
    lines = [line for row in rows for line in row.read_text().splitlines() if '"cell": ' in line]
    assert len(lines) == sum(len(trial.cells) for trial in plan.trials)


def test_publishing_twice_leaves_equal_bytes(plan: Plan, toy: Manifest, store: Store, published: Path) -> None:
    before = tree(published.parent)
    publish(plan, toy, store, published.parent)
    assert before == tree(published.parent)


def test_writing_a_board_anew_leaves_equal_bytes(toy: Manifest, published: Path) -> None:
    before = tree(published.parent)
    published.write_text("edited")
    publication.rewrite(published.parent, NAME, {toy.name: toy})
    assert before == tree(published.parent)


def test_a_publication_that_fails_leaves_the_old_one(plan: Plan, toy: Manifest, store: Store, published: Path) -> None:
    before = tree(published.parent)
    next(store.folder(plan.trials[-1]).glob("*.npz")).write_bytes(b"damaged")
    with pytest.raises(RecordError, match="is not the one its record was made with"):
        publish(plan, toy, store, published.parent)
    assert tree(published.parent) == before


def test_a_board_that_cannot_be_derived_replaces_nothing(
    plan: Plan, toy: Manifest, store: Store, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(published.parent)

    def fails(*_: object) -> None:
        raise RecordError("no board of this")

    monkeypatch.setattr(publication, "standings", fails)
    with pytest.raises(RecordError, match="no board of this"):
        publish(plan, toy, store, published.parent)
    assert {name: content for name, content in tree(published.parent).items() if ".made/" not in name} == before
    monkeypatch.undo()
    publish(plan, toy, store, published.parent)
    assert tree(published.parent) == before


def test_rows_are_not_lost_unasked(plan: Plan, toy: Manifest, store: Store, published: Path, plugins: Plugins) -> None:
    before = tree(published.parent)
    fewer = of_rows(plan, *plugins.floors)
    with pytest.raises(UsageError, match=r"other numbers for: knn \(13 cells\); give --add .* or --replace to lose"):
        publish(fewer, toy, store, published.parent)
    assert tree(published.parent) == before
    publish(fewer, toy, store, published.parent, replace=True)
    assert "`knn`" not in published.read_text()
    assert wrong(published, toy, plugins) == ()


def test_numbers_are_not_changed_unasked(plan: Plan, toy: Manifest, store: Store, published: Path) -> None:
    filled(toy, plan, store, every=2)
    with pytest.raises(UsageError, match="give --add to keep them beside yours, or --replace to lose them"):
        publish(plan, toy, store, published.parent)
    before = published.read_text()
    publish(plan, toy, store, published.parent, replace=True)
    assert published.read_text() != before


def test_a_row_and_a_seed_are_added(
    plan: Plan, toy: Manifest, store: Store, published: Path, plugins: Plugins, tmp_path: Path
) -> None:
    before = published.read_text()
    protocol = load_protocol("attribution@0")
    more = make_plan(toy, protocol, [("knn", {"k": 3})], plugins, seeds=(3,))
    other = filled(toy, more, Store(tmp_path / "other"))
    records = records_of(published)
    both = extended(records.plan(), more)
    done = publish(both, toy, publication.Together(records, other), published.parent)
    assert done.told == ("added: seed 3 of chance", "added: the row knn[k=3]")
    assert wrong(published, toy, plugins) == ()
    lines = [line for line in before.splitlines() if line.startswith(("| floor  | `maj", "| floor  | `thu"))]
    assert len(lines) == 2
    now = {line.replace(" ", "") for line in published.read_text().splitlines()}
    assert {line.replace(" ", "") for line in lines} <= now


def test_what_the_canary_said_stands_on_the_board(
    plan: Plan, toy: Manifest, store: Store, plugins: Plugins, tmp_path: Path
) -> None:
    folder, said = tmp_path / "boards", {"knn": ["train labels dealt per image: at chance"]}
    board = publication.publish(plan, {toy.name: toy}, store, folder, canaries=said).path
    sentence = "- `knn`, a plugin of others: train labels dealt per image: at chance."
    assert sentence in board.read_text().splitlines()
    assert wrong(board, toy, plugins) == ()
    publication.rewrite(folder, NAME, {toy.name: toy})
    assert sentence in board.read_text().splitlines(), "it is kept with the records"


def test_an_attack_is_added_and_what_is_published_counts_as_done(
    toy: Manifest, plugins: Plugins, tmp_path: Path
) -> None:
    mine = load_protocol("attribution@0").model_copy(update={"name": "mine", "attacks": (AttackUse(name="noise"),)})
    first = make_plan(toy, mine, [("knn", {})], plugins, seeds=(0,))
    board = publish(first, toy, filled(toy, first, Store(tmp_path / "results")), tmp_path / "boards").path
    more = mine.model_copy(update={"attacks": (AttackUse(name="noise"), AttackUse(name="blur"))})
    second, absent = planned_again(first, more, {toy.name: toy}, plugins)
    assert absent == []
    other = Store(tmp_path / "other")
    assert other.absorb(second, records_of(board)) == len(first.rows) * 4  # two conditions on two sorts of images
    pending = [(trial.name, cell.name) for trial in second.trials for cell in other.pending(trial)]
    assert sorted(set(pending)) == [("blur", "blur"), ("blur", "clean"), ("clean", "blur")]
    for trial in second.trials:
        if own := tuple(other.pending(trial)):
            filled(toy, replace(second, trials=(replace(trial, cells=own),)), other)
    done = publish(second, toy, other, tmp_path / "boards")
    assert done.told == ("added: the attack blur",)
    assert wrong(board, toy, plugins) == ()


def test_cells_that_were_not_run_are_not_published(plan: Plan, toy: Manifest, store: Store, tmp_path: Path) -> None:
    trial = plan.trials[-1]
    for path in store.folder(trial).glob("jpeg-*.json"):
        path.unlink()
    with pytest.raises(
        UsageError, match="1 cells of toy-attribution@0 are not run, the first of knn jpeg seed 0, jpeg"
    ):
        publish(plan, toy, store, tmp_path / "new")
    store.fail(trial, next(cell for cell in trial.cells if cell.name == "jpeg"), "timeout", "took longer than 5 s")
    text = publish(plan, toy, store, tmp_path / "new").path.read_text()
    assert "took longer than 5 s" in text


def test_a_limited_run_is_not_published(plan: Plan, toy: Manifest, store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--limit 4 is not the benchmark"):
        publish(replace(plan, limit=4), toy, store, tmp_path / "boards")


def test_another_dataset_is_refused(plan: Plan, toy: Manifest, store: Store) -> None:
    with pytest.raises(RecordError, match="run again, or bring the dataset back"):
        board_of(plan, {toy.name: toy.model_copy(update={"index": "0" * 64})}, store)


def test_what_was_tried_besides_is_told(plan: Plan, toy: Manifest, store: Store, published: Path) -> None:
    folder = store.root / "toy"
    for other in ("knn-00000001/clean-seed0", "knn-00000002/clean-seed0", "chance-44136fa3/clean-seed7"):
        (folder / other).mkdir(parents=True)
        (folder / other / "clean-00000000.json").write_text("{}")
    (folder / "knn-00000003" / "clean-seed0").mkdir(parents=True)  # nothing came of it
    told = "- Not shown, but among the records that it was chosen from: seed 7 of `chance`; 2 other settings of `knn`."
    publish(plan, toy, store, published.parent)
    assert told in published.read_text().splitlines()
    fresh = filled(toy, plan, Store(store.root.parent / "fresh"))
    publish(plan, toy, fresh, published.parent, replace=True)
    assert told in published.read_text().splitlines(), "a new results folder makes nobody forget"


def test_two_at_once_are_refused(plan: Plan, toy: Manifest, store: Store, published: Path) -> None:
    before = tree(published.parent)
    told = rf"is being published by process {os.getpid()} on \S+; wait for it"
    claim = published.parent / "records" / f".{NAME}.claim"
    with claimed(claim), pytest.raises(UsageError, match=told):
        publish(plan, toy, store, published.parent)
    assert tree(published.parent) == before


def killed(work: Callable[[], object], place: str, number: int) -> bool:
    """Whether a child that does some work was killed before the n-th call of ``replace``, ``unlink`` or ``rmdir``."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    calls = 0
    original: Callable[..., object] = getattr(os, place)

    def call(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(os, place, call)
    try:
        work()
    finally:
        os._exit(0)


@pytest.mark.parametrize("number", [1, 12])
def test_killed_before_all_stands_the_old_board_stays(
    plan: Plan, toy: Manifest, store: Store, published: Path, number: int
) -> None:
    old = tree(published.parent)
    filled(toy, of_rows(plan, "knn"), store, every=2)
    assert killed(lambda: publish(plan, toy, store, published.parent, replace=True), "replace", number)
    publication.settle(published.parent)
    assert shown(published.parent) == old


def shown(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in tree(folder).items() if not name.startswith("records/.")}


@pytest.mark.parametrize("place", ["replace", "unlink", "rmdir"])
def test_killed_while_it_takes_its_place_the_new_board_comes_to_stand_whole(
    plan: Plan, toy: Manifest, store: Store, published: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, boards = tree(published.parent), published.parent
    filled(toy, of_rows(plan, "knn"), store, every=2)
    publish(plan, toy, store, boards.parent / "undisturbed")
    new = tree(boards.parent / "undisturbed")
    assert old.keys() == new.keys()
    assert old != new
    with monkeypatch.context() as patch:
        patch.setattr(publication, "_settle", lambda *_: None)
        publish(plan, toy, store, boards, replace=True)
    assert shown(boards) == old
    numbers = 0
    for number in count(1):
        copy = boards.parent / f"copy-{number}"
        shutil.copytree(boards, copy)
        died = killed(lambda copy=copy: publication.settle(copy), place, number)
        publication.settle(copy)
        assert shown(copy) == new, f"killed before the {number}th {place}"
        numbers = number
        if not died:
            break
    assert numbers > 3


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/b", ".hidden", "", "a\0b", "a\\b"])
@pytest.mark.parametrize("where", ["dataset", "method", "trial", "cell", "row"])
def test_names_that_lead_out_of_a_folder_are_refused(store: Store, where: str, name: str) -> None:
    path = store.root / "plan.json"
    data = json.loads(path.read_text())
    changed = {
        "dataset": (data, "dataset"),
        "method": (data["trials"][0], "method"),
        "trial": (data["trials"][0], "name"),
        "cell": (data["trials"][0]["cells"][0], "name"),
        "row": (data["rows"][0], "method"),
    }
    table, key = changed[where]
    table[key] = name
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError, match="should match pattern"):
        store.plan()


def test_a_board_that_calls_itself_elsewhere_is_not_read(published: Path) -> None:
    path = published.parent / "records" / NAME / "board.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"dataset": "../outside"}))
    with pytest.raises(RecordError, match=r"dataset = '../outside': string should match pattern"):
        records_of(published).plan()
    path.write_text(json.dumps(data | {"files": {"../plan.json": "0" * 64}}))
    with pytest.raises(RecordError, match="should match pattern"):
        records_of(published).plan()


@pytest.fixture
def climbed(toy: Manifest, plugins: Plugins, tmp_path: Path) -> Path:
    """A published board with a ladder, of a protocol that is not built in, with a plugin of one's own."""
    changes = {"name": "mine", "attacks": (), "ladders": (LADDER,), "immunise": False}
    mine = load_protocol("attribution@0").model_copy(update=changes)
    plan = make_plan(toy, mine, [("knn", {})], plugins, seeds=(0,))
    files = Given(
        datasets={"toy": toy.file}, protocol=tmp_path / "my recipes" / "mine.toml", plugins=(tmp_path / "p.py",)
    )
    plan = replace(plan, given=files)
    return publish(plan, toy, filled(toy, plan, Store(tmp_path / "results")), tmp_path / "boards").path


def test_a_board_with_ladders_has_its_curves_beside_it(toy: Manifest, climbed: Path, plugins: Plugins) -> None:
    assert "](toy-mine@0.png)" in climbed.read_text()
    assert climbed.with_name("toy-mine@0.png").exists()
    assert wrong(climbed, toy, plugins) == ()


def test_the_command_names_the_files_that_it_needs(toy: Manifest, climbed: Path) -> None:
    manifest = os.path.relpath(toy.file, climbed.parents[1])
    options = f"-d {manifest} -p 'my recipes/mine.toml' --plugin p.py -m 'knn' --seeds 0`."
    assert f"`gfp-bench run {options}" in climbed.read_text()
    assert records_of(climbed).plan().given.datasets == {"toy": toy.file}


def test_rows_with_other_seeds_have_a_command_of_their_own(toy: Manifest, plan: Plan, plugins: Plugins) -> None:
    protocol = load_protocol("attribution@0")
    first = make_plan(toy, protocol, [("manifpt", {"budget": "smoke"}), ("knn", {})], plugins, seeds=(0,))
    second = make_plan(toy, protocol, [("yu19", {})], plugins, seeds=(0, 1))
    board = board_of(extended(first, second), {toy.name: toy}, Store(Path("nowhere")))
    assert board.rederive == (
        "gfp-bench run -d toy -p attribution@0 -m 'manifpt[budget=smoke]' -m 'knn' --seeds 0 && "
        "gfp-bench run -d toy -p attribution@0 -m 'yu19' --seeds 0,1"
    )
    assert "`yu19` has seed 0, 1 only, the protocol asks for 0, 1, 2." in board.remarks


def test_a_board_without_ladders_has_no_curves(published: Path) -> None:
    assert not list(published.parent.glob("*.png"))


def test_curves_of_other_results_are_found(toy: Manifest, climbed: Path, plugins: Plugins) -> None:
    figure = climbed.with_name("toy-mine@0.png")
    own = figure.read_bytes()
    for content in (own[:-100], b""):
        figure.write_bytes(content)
        assert [figure.name in sentence for sentence in wrong(climbed, toy, plugins)] == [True]
    figure.unlink()
    assert len(wrong(climbed, toy, plugins)) == 1


def test_damaged_costs_stop_nothing_but_are_said(
    plan: Plan, toy: Manifest, store: Store, published: Path, plugins: Plugins
) -> None:
    timing = published.parent / "records" / NAME / "timing.json"
    for content in ("{", "[]", json.dumps({"trials": {plan.trials[0].key: {"wall": "long"}}})):
        timing.write_text(content)
        found = verdict(published.parent, NAME, records_of(published), {toy.name: toy}, plugins)
        assert found.wrong == ()
        assert any("timing" in sentence for sentence in found.told)
    store.path(plan.trials[0], "timing").write_text("{")
    publish(plan, toy, store, published.parent)
    text = (
        publication.write_board(
            board := board_of(plan, {toy.name: toy}, store), standings(board), plan, store, store.root
        )
        .with_name(f"{NAME}-timing.md")
        .read_text()
    )
    assert "Left out: " in text
    assert store.path(plan.trials[0], "timing").name in text


def test_missing_cells_say_so(plan: Plan, toy: Manifest, store: Store, tmp_path: Path) -> None:
    own = of_rows(plan, "knn")
    clean, immunised = own.trials[0], own.trials[1]
    for path in [*store.folder(immunised).glob("*.json"), *store.folder(clean).glob("noise*.json")]:
        path.unlink()
    store.fail(clean, clean.cells[1], "timeout", "took longer than 5 s")
    board = board_of(own, {toy.name: toy}, store)
    text = publication.write_board(board, standings(board), own, store, tmp_path / "out").read_text()
    assert "timeout (note" in text
    assert "took longer than 5 s" in text
    assert "not run (note" in text
    assert "| not ranked" in text


def test_what_attacks_say_of_themselves_reaches_the_board(toy: Manifest, plugins: Plugins, tmp_path: Path) -> None:
    attacks = (AttackUse(name="noise"), AttackUse(name="relight", label="light"))
    plan = make_plan(toy, load_protocol("attribution@0").model_copy(update={"attacks": attacks}), [], plugins)
    made = board_of(plan, {toy.name: toy}, Store(tmp_path / "results"))
    assert [made.heading(column) for column in made.columns] == ["clean", "noise", "light (synthetic)"]
    assert made.columns == ("clean", "noise", "light")


def test_results_of_an_older_version_are_told_in_clear_words(store: Store) -> None:
    path = store.root / "plan.json"
    path.write_bytes(to_json(json.loads(path.read_text()) | {"schema": 2}))
    with pytest.raises(RecordError, match=r"the plan has schema 2, expected 3\); run the same command again"):
        store.plan()


def test_answers_outside_of_the_sources_are_other_metrics(toy: Manifest, plan: Plan, store: Store) -> None:
    board = board_of(of_rows(plan, "knn"), {toy.name: toy}, store)
    outcome = board.results[0].outcome
    assert outcome is not None
    outcome.kept["answer"][:] = 200  # type: ignore[index]
    assert len(wrong_metrics(board)) == 1
    assert np.unique(outcome.kept["answer"]).tolist() == [200]
