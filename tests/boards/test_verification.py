"""Forgeries by hand, each followed by new checksums and, where that is possible, a board written anew from it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import filled
from places import ROOT

from gfp_bench.boards import publication
from gfp_bench.boards.published import Published, lines
from gfp_bench.boards.verification import board_names, stale_rows, strays, verdict
from gfp_bench.contracts.task import Outcome
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine import plan as planning
from gfp_bench.engine.outcomes import Truth
from gfp_bench.engine.plan import Plan, make_plan
from gfp_bench.engine.records import Store, packed
from gfp_bench.errors import GfpBenchError
from gfp_bench.protocols.protocol import load_protocol
from gfp_bench.registry.plugins import Entry, Plugins

NAME = "toy-attribution@0"
KNN = "knn-519b31b3-seed0"


def look(folder: Path, toy: Manifest, plugins: Plugins) -> tuple[list[str], list[str]]:
    """What `leaderboard --check` finds wrong, and what it says besides."""
    wrong, told = strays(folder), []
    for name in board_names(folder):
        try:
            found = verdict(folder, name, Published(folder / "records" / name), {toy.name: toy}, plugins)
            wrong += found.wrong
            told += found.told
        except GfpBenchError as error:
            wrong.append(str(error))
    return wrong, told


@contextmanager
def edited(records: Path, name: str) -> Iterator[dict[str, Any]]:
    """Edit a file of records, then give it a new checksum."""
    path = records / f"{name}.json"
    data = json.loads(path.read_text())
    yield data
    path.write_bytes(lines(data))
    if name != "board":
        seal(records, path.name)


def seal(records: Path, name: str) -> None:
    with edited(records, "board") as board:
        board["files"][name] = sha256((records / name).read_bytes()).hexdigest()


def arrays_of(records: Path, name: str = KNN) -> dict[str, Any]:
    with np.load(records / f"{name}.npz") as arrays:
        return dict(arrays)


def keep(records: Path, arrays: dict[str, Any], name: str = KNN) -> None:
    (records / f"{name}.npz").write_bytes(packed(arrays))
    seal(records, f"{name}.npz")


def better_metrics(records: Path) -> None:
    with edited(records, KNN) as row:
        row["cells"][0]["record"]["metrics"]["balanced_accuracy"] = 1.0


def better_recall(records: Path) -> None:
    with edited(records, KNN) as row:
        row["cells"][0]["record"]["metrics"]["recall"][0] = 1.0


def better_answers(records: Path) -> None:
    arrays = arrays_of(records)
    arrays["answer"][:] = arrays["answer"][:, ::-1]
    keep(records, arrays)


def impossible_answers(records: Path) -> None:
    arrays = arrays_of(records)
    arrays["answer"][:] = 77
    keep(records, arrays)


def fewer_answers(records: Path) -> None:
    keep(records, {name: array[:, :-1] for name, array in arrays_of(records).items()})


def no_answers(records: Path) -> None:
    arrays = arrays_of(records)
    del arrays["top"]
    keep(records, arrays)


def other_types(records: Path) -> None:
    keep(records, {name: array.astype(np.float64) for name, array in arrays_of(records).items()})


def not_numbers(records: Path) -> None:
    arrays = arrays_of(records)
    arrays["top"][0, 0] = np.nan
    keep(records, arrays)


def fewer_images(records: Path) -> None:
    with edited(records, KNN) as row:
        row["cells"][0]["record"]["n_scored"] = 20


def swapped_rows(records: Path) -> None:
    other = "majority-44136fa3-seed0"
    for ending in (".json", ".npz"):
        first, second = (records / f"{name}{ending}" for name in (KNN, other))
        content = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(content)
        seal(records, first.name)
        seal(records, second.name)


def another_seed(records: Path) -> None:
    """A seed that was not run, made of one that was."""
    name = "chance-44136fa3-seed7"
    data = json.loads((records / "chance-44136fa3-seed0.json").read_text()) | {"seed": 7}
    (records / f"{name}.json").write_bytes(lines(data))
    (records / f"{name}.npz").write_bytes((records / "chance-44136fa3-seed0.npz").read_bytes())
    seal(records, f"{name}.json")
    seal(records, f"{name}.npz")


def no_worst_cell(records: Path) -> None:
    with edited(records, KNN) as row:
        row["cells"] = [line for line in row["cells"] if line["cell"].get("name") != "jpeg"]
    keep(records, {name: array[:11] for name, array in arrays_of(records).items()})


def no_worst_record(records: Path) -> None:
    with edited(records, KNN) as row:
        del row["cells"][0]["record"]
    keep(records, {name: array[1:] for name, array in arrays_of(records).items()})


def no_worst_trial(records: Path) -> None:
    with edited(records, KNN) as row:
        row["trials"] = row["trials"][:-1]
        row["cells"] = row["cells"][:-2]
    keep(records, {name: array[:-2] for name, array in arrays_of(records).items()})


def a_reason_to_skip(records: Path) -> None:
    with edited(records, KNN) as row:
        row["trials"][-1]["skip"] = "it is not fair"


def a_floor_of_a_rival(records: Path) -> None:
    with edited(records, "board") as board:
        next(row for row in board["rows"] if row["method"] == "knn")["floor"] = True


def no_floor(records: Path) -> None:
    with edited(records, "board") as board:
        board["rows"] = [row for row in board["rows"] if row["method"] != "thumbnail"]
        gone = [name for name in board["files"] if name.startswith("thumbnail")]
        board["files"] = {name: digest for name, digest in board["files"].items() if name not in gone}
    for name in gone:
        (records / name).unlink()


def a_row_of_no_seed(records: Path) -> None:
    with edited(records, "board") as board:
        board["files"] = {name: digest for name, digest in board["files"].items() if not name.startswith("knn")}
    for path in records.glob("knn*"):
        path.unlink()


def no_deviations(records: Path) -> None:
    with edited(records, "board") as board:
        next(row for row in board["rows"] if row["method"] == "knn")["deviations"] = []


def better_weights(records: Path) -> None:
    with edited(records, "board") as board:
        next(row for row in board["rows"] if row["method"] == "knn")["weights"] = "imagenet"


def another_title(records: Path) -> None:
    with edited(records, "board") as board:
        next(row for row in board["rows"] if row["method"] == "knn")["title"] = "knn[k=9]"
    with edited(records, KNN) as row:
        row["row"] = "knn[k=9]"


def other_settings(records: Path) -> None:
    with edited(records, KNN) as row:
        row["settings"] = {"k": 9}


def another_limit(records: Path) -> None:
    with edited(records, "board") as board:
        board["limit"] = 8


def another_dataset(records: Path) -> None:
    with edited(records, "board") as board:
        board["digest"] = "0" * 64


def another_protocol(records: Path) -> None:
    with edited(records, "board") as board:
        board["protocol"]["attack_seed"] = 7


def a_shorter_protocol(records: Path) -> None:
    with edited(records, "board") as board:
        board["protocol"]["attacks"] = board["protocol"]["attacks"][:-1]


def milder_attacks(records: Path) -> None:
    with edited(records, "board") as board:
        board["attacks"]["noise"]["settings"]["high"] = 6.0


def other_keys(records: Path) -> None:
    with edited(records, KNN) as row:
        row["cells"][0]["cell"]["key"] = "0" * 64


def more_sources(records: Path) -> None:
    with edited(records, "board") as board:
        board["sources"] = [*board["sources"], "gan-z"]


def another_name(records: Path) -> None:
    folder = records.parents[1]
    for path in folder.glob(f"{NAME}*"):
        path.rename(path.with_name(path.name.replace("toy", "best")))
    records.rename(records.with_name(NAME.replace("toy", "best")))


def an_older_number(records: Path) -> None:
    with edited(records, KNN) as row:
        row["cells"][0]["record"]["schema"] = 0
        row["cells"][0]["record"]["metrics"] = {"balanced_accuracy": 1.0}


def an_infinite_number(records: Path) -> None:
    path = records / f"{KNN}.json"
    path.write_text(path.read_text().replace('"balanced_accuracy": ', '"balanced_accuracy": Infinity, "was": ', 1))
    seal(records, path.name)


def an_impossible_separability(records: Path) -> None:
    with edited(records, KNN) as row:
        row["cells"][0]["record"]["separability"]["fdr_equal"] = "very high"


FORGERIES = [
    better_metrics, better_recall, better_answers, impossible_answers, fewer_answers, no_answers, other_types,
    not_numbers, fewer_images, swapped_rows, another_seed, no_worst_cell, no_worst_record, no_worst_trial,
    a_reason_to_skip, a_floor_of_a_rival, no_floor, a_row_of_no_seed, no_deviations, better_weights, another_title,
    other_settings, another_limit, another_dataset, another_protocol, a_shorter_protocol, milder_attacks, other_keys,
    more_sources, another_name, an_older_number, an_infinite_number, an_impossible_separability,
]  # fmt: skip


@pytest.mark.parametrize("forge", FORGERIES)
def test_a_forgery_is_found(published: Path, toy: Manifest, plugins: Plugins, forge: Callable[[Path], None]) -> None:
    folder = published.parent
    forge(folder / "records" / NAME)
    for name in board_names(folder):
        with suppress(GfpBenchError, KeyError):
            publication.rewrite(folder, name, {toy.name: toy})
    wrong, _ = look(folder, toy, plugins)
    assert wrong != []


def text_and_numbers(folder: Path) -> None:
    for ending in (".md", ".csv", ".tex"):
        path = folder / f"{NAME}{ending}"
        path.write_text(path.read_text().replace("66.7", "99.7").replace("0.66", "0.99"))


def no_text(folder: Path) -> None:
    (folder / f"{NAME}.md").unlink()


def no_records(folder: Path) -> None:
    (folder / "records" / NAME).rename(folder / "records" / ".away")


def a_stray_board(folder: Path) -> None:
    (folder / "best-attribution@1.md").write_text("# The best\n")


def a_stray_record(folder: Path) -> None:
    (folder / "records" / NAME / "knn-00000000-seed0.json").write_text("{}")


def a_stray_folder(folder: Path) -> None:
    (folder / "records" / "mine-attribution@1").mkdir()


def other_bytes(folder: Path) -> None:
    path = folder / "records" / NAME / f"{KNN}.npz"
    path.write_bytes(path.read_bytes() + b"\0")


def another_provenance(folder: Path) -> None:
    """Without a new checksum; with one it cannot be seen."""
    path = folder / "records" / NAME / f"{KNN}.json"
    path.write_text(path.read_text().replace('"dirty": false', '"dirty": true'))


def no_json(folder: Path) -> None:
    (folder / "records" / NAME / "board.json").write_text("{")


@pytest.mark.parametrize(
    "damage",
    [
        text_and_numbers, no_text, no_records, a_stray_board, a_stray_record, a_stray_folder, other_bytes,
        another_provenance, no_json,
    ],
)  # fmt: skip
def test_damage_is_found_and_named(
    published: Path, toy: Manifest, plugins: Plugins, damage: Callable[[Path], None]
) -> None:
    damage(published.parent)
    wrong, _ = look(published.parent, toy, plugins)
    assert wrong != []
    assert any(str(published.parent) in sentence for sentence in wrong)


def test_an_honest_board_is_not_called_forged(published: Path, toy: Manifest, plugins: Plugins) -> None:
    assert look(published.parent, toy, plugins) == ([], [])


@pytest.fixture
def invented(published: Path, toy: Manifest, plan: Plan) -> Path:
    """All answers of knn right, and the metrics that they give: what no look at a board can find."""
    records, truth = published.parent / "records" / NAME, Truth({toy.name: toy}, None)
    shown = truth.of(plan.trials[0].cells[0])
    scores = np.eye(3, dtype=np.float32)[shown.labels]
    kept = plan.task.keep(scores, shown, toy.source_names)
    metrics = plan.task.metrics(Outcome(kept=kept, shown=shown, known=toy.source_names))
    with edited(records, KNN) as row:
        for line in row["cells"]:
            line["record"]["metrics"] = metrics
    keep(records, {name: np.stack([array] * 13) for name, array in kept.items()})
    publication.rewrite(published.parent, NAME, {toy.name: toy})
    return published


def test_what_cannot_be_seen_is_said_to_be(invented: Path, toy: Manifest, plugins: Plugins) -> None:
    """Should this ever be found, docs/boards.md has to say so."""
    assert look(invented.parent, toy, plugins)[0] == []
    assert "`knn`" in invented.read_text()
    page = " ".join((ROOT / "docs" / "boards.md").read_text().split())
    assert "records that were made up as a whole" in page


def test_versions_that_are_no_more_are_stale(
    published: Path, toy: Manifest, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins.method("knn"), "version", 9)
    told = "`knn` is stale: made by version 1 of knn, now 9; run it again"
    wrong, said = look(published.parent, toy, plugins)
    assert f"{NAME}: {told}" in said
    assert ["is not what its records give" in sentence for sentence in wrong] == [True] * 2, "LaTeX has it as a comment"
    remarks = stale_rows(Published(published.parent / "records" / NAME).plan(), {toy.name: toy}, plugins)
    publication.rewrite(published.parent, NAME, {toy.name: toy}, remarks)
    assert "- **Stale:** `knn`: made by version 1 of knn, now 9; run it again." in published.read_text()
    assert look(published.parent, toy, plugins)[0] == []


def test_a_newer_core_makes_every_row_stale(
    plan: Plan, published: Path, toy: Manifest, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gfp_bench.engine.replan.CORE_VERSION", planning.CORE_VERSION + 1)
    monkeypatch.setattr("gfp_bench.engine.plan.CORE_VERSION", planning.CORE_VERSION + 1)
    assert len(look(published.parent, toy, plugins)[1]) == len(plan.rows)


def test_a_row_whose_plugin_is_not_here_is_said(toy: Manifest, plugins: Plugins, tmp_path: Path) -> None:
    class Mine(plugins.method("knn")):  # type: ignore[misc]  # a class that is looked up
        name = "mine"

    more = Plugins([*plugins._entries.values(), Entry("method", Mine, "file mine.py")])
    plan = make_plan(toy, load_protocol("attribution@0"), [("mine", {})], more)
    store = filled(toy, plan, Store(tmp_path / "results"))
    publication.publish(plan, {toy.name: toy}, store, tmp_path / "boards")
    assert look(tmp_path / "boards", toy, more) == ([], [])
    wrong, told = look(tmp_path / "boards", toy, plugins)
    assert wrong == []
    assert told == [f"{NAME}: `mine` was not planned again: its plugin is not here; give it by --plugin"]


def test_a_sealed_archive_that_is_none_is_named(published: Path, toy: Manifest, plugins: Plugins) -> None:
    records = published.parent / "records" / NAME
    for content in (b"", b"PK\3\4"):
        (records / f"{KNN}.npz").write_bytes(content)
        seal(records, f"{KNN}.npz")
        (sentence,) = look(published.parent, toy, plugins)[0]
        assert f"{KNN}.npz is damaged" in sentence
