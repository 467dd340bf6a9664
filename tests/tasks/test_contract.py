"""What the contract of tasks can express: each is carried out, recorded, published and derived again by the core."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import SUPPORT

import gfp_bench.tasks
from gfp_bench.boards.assembly import board_of, wrong_metrics
from gfp_bench.boards.formats import csv, markdown
from gfp_bench.boards.publication import publish
from gfp_bench.boards.published import Published
from gfp_bench.boards.ranking import Standing, standings
from gfp_bench.contracts.settings import Setting
from gfp_bench.contracts.task import Evaluation, Fit
from gfp_bench.data.indexing import index_folder
from gfp_bench.data.manifest import Manifest, read_manifest
from gfp_bench.engine.plan import Plan, make_plan
from gfp_bench.engine.records import Record, Store
from gfp_bench.engine.trial import Job, execute
from gfp_bench.errors import UsageError
from gfp_bench.protocols.protocol import AttackUse, load_protocol
from gfp_bench.registry.discovery import load_plugins, sources
from gfp_bench.tasks import load_task

PLUGIN = SUPPORT / "incremental.py"


@pytest.fixture(autouse=True)
def _more_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gfp_bench.tasks, "__path__", [*gfp_bench.tasks.__path__, str(SUPPORT / "tasks")])


@pytest.fixture
def described(toy: Manifest, tmp_path: Path) -> Manifest:
    """The toy dataset elsewhere, with metadata of its sources."""
    shutil.copytree(toy.root, tmp_path / "described")
    sources = {"gan-a": {"loss": "hinge"}, "gan-b": {"loss": "hinge"}, "real": {"loss": "none"}}
    return index_folder(tmp_path / "described", "described", sources=sources)


class Ran:
    """A plan that was carried out in this process."""

    def __init__(self, plan: Plan, manifests: Mapping[str, Manifest], cache: Path, results: Path) -> None:
        self.plan, self.manifests, self.store = plan, manifests, Store(results)
        by_key = {trial.key: trial for trial in plan.trials}
        files = {name: manifest.file for name, manifest in manifests.items()}
        for trial in plan.trials:
            job = Job(
                trial=trial, base=by_key[trial.base] if trial.base else None, protocol=plan.protocol, manifests=files,
                cache=cache, results=results, device="cpu", limit=None, sources=tuple(sources([PLUGIN])),
                digests={name: manifest.digest for name, manifest in manifests.items()}, memory=None,
                checkpoint_every=30.0, revision={"version": "1", "revision": None, "dirty": False},
            )  # fmt: skip
            execute(job, lambda event: None)

    def records(self) -> dict[tuple[str, str], Record]:
        found = {(t.name, c.name): self.store.record(t, c) for t in self.plan.trials for c in t.cells}
        return {place: record for place, record in found.items() if record}

    def standing(self) -> Standing:
        (found,) = standings(board_of(self.plan, self.manifests, self.store))
        return found


@pytest.fixture
def ran(toy: Manifest, cache: Path, tmp_path: Path) -> Any:
    def run(
        task: str, manifest: Manifest = toy, others: Mapping[str, Manifest] | None = None, **options: Setting
    ) -> Ran:
        protocol = load_protocol("attribution@0").model_copy(
            update={
                "name": task,
                "task": task,
                "options": options,
                "attacks": (AttackUse(name="noise"),),
                "seeds": (0,),
            }
        )
        made = make_plan(manifest, protocol, [("mean-colour", {})], load_plugins([PLUGIN]), others=others)
        contenders = tuple(trial for trial in made.trials if trial.method == "mean-colour")
        rows = tuple(row for row in made.rows if row.method == "mean-colour")
        plan = Plan(
            dataset=made.dataset, digest=made.digest, protocol=protocol, limit=None, trials=contenders, rows=rows
        )
        read = {one.name: one for one in (manifest, *(others or {}).values())}
        return Ran(plan, read, cache, tmp_path / "results")

    return run


@pytest.mark.parametrize(
    ("task", "options"),
    [("attribution", {}), ("detection", {}), ("open_set", {}), ("arrival", {}), ("similarity", {})],
)
def test_every_task_is_published_and_derived_again(ran: Any, tmp_path: Path, task: str, options: dict) -> None:
    done: Ran = ran(task, **options)
    path = publish(done.plan, done.manifests, done.store, tmp_path / "boards").path
    published = Published(path.parent / "records" / path.stem)
    board = board_of(published.plan(), done.manifests, published)
    assert path.read_text() == markdown(board, standings(board))
    assert load_task(task).measures[0].title in path.read_text()
    assert wrong_metrics(board) == []
    for one in board.results:
        for name, kept in one.outcome.kept.items() if one.outcome else ():
            if not name.endswith("_rows"):
                kept[:] = kept[::-1].copy()
    assert wrong_metrics(board) != [], "what is kept decides the numbers"


def test_open_set_leaves_sources_out_and_averages_folds(ran: Any) -> None:
    done: Ran = ran("open_set")
    assert [(trial.name, trial.known, trial.fold) for trial in done.plan.trials] == [
        ("without-gan-a", ("gan-b", "real"), 0),
        ("without-gan-b", ("gan-a", "real"), 1),
    ]
    assert len({trial.key for trial in done.plan.trials}) == 2
    values = [record.metrics["auroc"] for (_, cell), record in done.records().items() if cell == "clean"]
    standing = done.standing()
    assert set(standing.estimates) == {("clean", "clean"), ("clean", "noise")}
    estimate = standing.estimates["clean", "clean"]
    assert estimate.value == pytest.approx(np.mean(values))
    assert estimate.spread == pytest.approx(np.std(values, ddof=1))
    assert estimate.low <= estimate.value <= estimate.high
    line = csv(board_of(done.plan, done.manifests, done.store), [standing]).splitlines()[0]
    assert ",fold," in line


def test_sources_arrive_one_after_another(ran: Any) -> None:
    done: Ran = ran("arrival", first=1)
    first, second, third = done.plan.trials
    assert (first.how, second.how, third.how) == ("fit", "arrive", "arrive")
    assert (second.base, third.base) == (first.key, second.key)
    assert third.sources == ("real",)
    assert third.known == ("gan-a", "gan-b", "real")
    assert {cell: record.n_scored for (_, cell), record in done.records().items()} == {
        "1-shown": 8, "2-shown": 16, "3-shown": 24,
    }  # fmt: skip
    assert {record.metrics["balanced_accuracy"] for record in done.records().values()} == {1.0}
    assert set(done.standing().estimates) == {("clean", f"{count}-shown") for count in (1, 2, 3)}


def test_a_method_that_learns_all_at_once_skips_what_arrives(toy: Manifest) -> None:
    protocol = load_protocol("attribution@0").model_copy(update={"task": "arrival", "attacks": ()})
    plan = make_plan(toy, protocol, [("knn", {})], load_plugins())
    skipped = [trial.skip for trial in plan.trials if trial.method == "knn"]
    assert skipped == [None, "it cannot learn sources that arrive later (no partial_fit)"]


def test_fingerprints_of_sources_seen_and_unseen(ran: Any, toy: Manifest) -> None:
    done: Ran = ran("similarity")
    (trial,), (record,) = done.plan.trials, done.records().values()
    assert trial.known == ("gan-a", "gan-b")
    arrays = done.store.arrays(trial, trial.cells[0], record)
    assert arrays["fingerprints"].shape == (18, 3)
    assert arrays["fingerprints"].dtype == np.float16
    distances = np.array(record.metrics["distances"])
    assert distances.shape == (3, 3)
    assert 55 < distances[2].max() < 150, "brightness differs by 40 or 80 in three channels"
    estimate = done.standing().estimates["clean", "clean"]
    assert estimate.value == record.metrics["least"]
    assert estimate.low < estimate.value < estimate.high


def test_clusters_by_what_the_dataset_says(ran: Any, described: Manifest) -> None:
    done: Ran = ran("clustering", described, factor="loss")
    (record,) = done.records().values()
    assert 0.5 < record.metrics["nmi"] < 1, "three answers, two losses"
    assert done.standing().estimates["clean", "clean"].value == record.metrics["nmi"]


def test_learnt_here_and_tested_elsewhere(ran: Any, toy: Manifest, described: Manifest) -> None:
    done: Ran = ran("transfer", toy, {"described": described}, to="described")
    assert [cell.dataset for cell in done.plan.trials[0].cells] == ["toy", "described"]
    assert {record.metrics["balanced_accuracy"] for record in done.records().values()} == {1.0}
    here, elsewhere = (done.standing().estimates["clean", column] for column in ("clean", "elsewhere"))
    assert here.value == elsewhere.value
    board = board_of(done.plan, done.manifests, done.store)
    assert "elsewhere" in markdown(board, standings(board))
    changed = described.model_copy(update={"index": "0" * 64})
    again = make_plan(toy, done.plan.protocol, [("knn", {})], load_plugins(), others={"described": changed})
    first = make_plan(toy, done.plan.protocol, [("knn", {})], load_plugins(), others={"described": described})
    assert [a.key == b.key for a, b in zip(again.trials[-1].cells, first.trials[-1].cells, strict=True)] == [
        True,
        False,
    ]


def test_fits_of_all_tasks_are_shared_and_cells_are_not(toy: Manifest) -> None:
    plans = [
        make_plan(toy, load_protocol(protocol), [("knn", {})], load_plugins())
        for protocol in ("attribution@1", "detection@1")
    ]
    first, second = ({trial.key: trial for trial in plan.trials} for plan in plans)
    assert first.keys() == second.keys()
    assert {trial.folder for trial in first.values()} == {trial.folder for trial in second.values()}
    cells = [{cell.key for trial in plan.trials for cell in trial.cells} for plan in plans]
    assert not cells[0] & cells[1]


@pytest.mark.parametrize(
    ("fits", "message"),
    [
        ([Fit(evaluations=()), Fit(evaluations=())], "has two fits called 'clean'"),
        ([Fit(evaluations=(), how="immunise")], "expected none for 'fit', else a fit that stands before it"),
        ([Fit(evaluations=(), base="later")], "expected none for 'fit', else a fit that stands before it"),
        ([Fit(evaluations=(), calibration=Evaluation())], "calibrates 'clean' on test images"),
    ],
)
def test_a_task_that_cannot_be_carried_out_is_refused(
    toy: Manifest, monkeypatch: pytest.MonkeyPatch, fits: list[Fit], message: str
) -> None:
    protocol = load_protocol("attribution@0")
    monkeypatch.setattr(type(load_task("attribution")), "fits", lambda *_, **__: fits)
    with pytest.raises(UsageError, match=message):
        make_plan(toy, protocol, [("knn", {})], load_plugins())


def test_a_task_that_is_not_there_and_a_setting_that_it_has_not() -> None:
    with pytest.raises(UsageError, match="unknown task 'detections'; did you mean 'detection'"):
        load_task("detections")
    with pytest.raises(UsageError, match="unknown arrival setting 'last'"):
        load_task("arrival", {"last": 3})


def test_continued_training_is_a_fit_of_its_own(toy: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = Fit(evaluations=(Evaluation(),))
    fits = [clean, Fit(name="continued", how="immunise", base="clean", evaluations=(Evaluation(),))]
    monkeypatch.setattr(type(load_task("attribution")), "fits", lambda *_, **__: fits)
    plan = make_plan(toy, load_protocol("attribution@0"), [("knn", {})], load_plugins())
    first, second = plan.trials[-2:]
    assert first.key != second.key
    assert (second.condition, second.base) == (None, first.key)


def test_manifests_are_read_as_facts(toy: Manifest) -> None:
    from gfp_bench import DatasetFacts

    assert isinstance(read_manifest(toy.file), DatasetFacts)
