"""Building a dataset from a recipe: archive by archive, killed anywhere, by several at once."""

import json
import multiprocessing
import os
import signal
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
import torch
from dice import Dice
from PIL import Image
from places import SUPPORT

from gfp_bench import Generator, Images
from gfp_bench.data.archives import read_comment, write_archive
from gfp_bench.data.dataset import load_dataset
from gfp_bench.data.manifest import Manifest, read_index, read_manifest
from gfp_bench.errors import DatasetError, GfpBenchError, UsageError
from gfp_bench.files import claimed
from gfp_bench.registry.discovery import load_plugins
from gfp_bench.seeding import seed_of
from gfp_bench.zoo import training
from gfp_bench.zoo.builder import DatasetBuilder, read_made
from gfp_bench.zoo.pool import find_pool
from gfp_bench.zoo.recipe import Recipe

DICE = SUPPORT / "dice.py"
SOURCES = {
    "one": {"generator": "dice", "steps": 5, "seed": 0},
    "two": {"generator": "dice[patience=0.0]", "steps": 5, "seed": 1, "pool": {"images": 8, "replaced": 4}},
}


def recipe(**changes: object) -> Recipe:
    return Recipe.model_validate(
        {
            "schema_version": 1,
            "name": "dices",
            "description": "Two dice.",
            "licence": "CC0-1.0",
            "side": 32,
            "pool": "toy",
            "images": {"train": 6, "val": 2, "test": 3},
            "surplus": 2,
            "sources": SOURCES,
            **changes,
        }
    )


@pytest.fixture
def builder(toy: Manifest, cache: Path, tmp_path: Path) -> DatasetBuilder:
    pool = find_pool(str(toy.file), cache=cache)
    assert len(pool.crops.images) == 12  # decoded before anything is killed
    return DatasetBuilder(
        recipe=recipe(), pool=pool, plugins=load_plugins([DICE]), folder=tmp_path / "out", zoo=tmp_path / "zoo"
    )


def generator(builder: DatasetBuilder) -> type[Generator]:
    """The plugin file's own class, another one than this module imports."""
    return builder.plugins.generator("dice")


def members(builder: DatasetBuilder) -> dict[str, dict[str, bytes]]:
    found = {}
    for file in sorted((builder.folder / "dices").glob("*.zip")):
        with zipfile.ZipFile(file) as archive:
            found[file.stem] = {name: archive.read(name) for name in archive.namelist()}
    return found


def elsewhere(builder: DatasetBuilder, folder: Path, **changes: object) -> DatasetBuilder:
    return replace(builder, folder=folder / "out", zoo=folder / "zoo", **changes)


@pytest.fixture
def whole(builder: DatasetBuilder, tmp_path: Path) -> tuple[dict[str, dict[str, bytes]], str]:
    """What an undisturbed build makes."""
    other = elsewhere(builder, tmp_path / "whole")
    manifest = other.run(other.pending())
    assert manifest is not None
    return members(other), manifest.digest


def test_recipe_becomes_a_dataset(builder: DatasetBuilder, cache: Path) -> None:
    assert builder.pending() == ["real", "one", "two"]
    manifest = builder.run(builder.pending())
    assert manifest == read_manifest(builder.folder / "dices.toml")
    assert manifest.source_names == ("one", "real", "two")
    assert manifest.image_size == (32, 32)
    index = read_index(manifest)
    assert index.groupby(["source", "split"]).size().to_dict() == {
        (source, split): count
        for source in manifest.sources
        for split, count in (("train", 6), ("val", 2), ("test", 3))
    }
    assert set(index["path"][index["source"] == "one"]) >= {"one.zip/train/000.png", "one.zip/test/002.png"}
    assert all(
        group.startswith(("train_real", "val_real", "test_real")) for group in index["group"][index["source"] == "real"]
    )
    assert manifest.sources["two"] == {
        "family": "dice",
        "generator": "dice[patience=0.0]",
        "steps": 5,
        "seed": 1,
        "pool_images": 8,
        "pool_replaced": 4,
        "pool_seed": 0,
    }
    assert len(load_dataset(manifest.file, cache=cache).split("test")) == 9
    assert builder.pending() == []


def test_how_a_source_was_made_stands_in_its_archive_and_in_no_digest(
    builder: DatasetBuilder, whole: tuple[object, str]
) -> None:
    slow = replace(builder, recipe=recipe())
    manifest = slow.run(slow.pending())
    assert manifest is not None
    assert manifest.digest == whole[1]
    made = read_made(builder.folder / "dices" / "one.zip")["made"]
    assert made.keys() == {
        "steps",
        "seconds",
        "processor_seconds",
        "device",
        "matrix_units",
        "threads",
        "torch",
        "weights",
        "sampling_seconds",
        "sampling_processor_seconds",
    }
    assert made["steps"] == 5
    assert read_made(builder.folder / "dices" / "one.zip")["recipe"]["settings"]["burst"] == 0


def test_samples_come_from_the_source_s_own_streams_and_training(builder: DatasetBuilder) -> None:
    builder.run(builder.pending())
    one, two = Dice(), Dice()
    one.train(builder.pool.part(None), steps=5, rng=torch.Generator().manual_seed(0))
    two.train(builder.pool.part(None), steps=5, rng=torch.Generator().manual_seed(1))
    found = {name: read_made(builder.folder / "dices" / f"{name}.zip")["recipe"] for name in ("one", "two")}
    assert (found["one"]["part"], found["two"]["part"]) == (None, {"images": 8, "replaced": 4, "seed": 0})
    for name, generator in (("one", one), ("two", two)):
        trained = Dice()
        training.load(trained, builder.zoo / name)
        assert trained.sum == generator.sum
    assert training.read_record(builder.zoo / "two")["pool"] != training.read_record(builder.zoo / "one")["pool"]


def test_folder_that_zoo_train_filled_is_taken(builder: DatasetBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    training.train(
        Dice(), builder.pool.part(None), builder.zoo / "one", steps=5, seed=0, settings=builder._plan("one").settings
    )
    monkeypatch.setattr(generator(builder), "train", lambda *given, **named: pytest.fail("trained again"))
    builder.run(["one"])
    assert builder.pending() == ["real", "two"]


def test_archives_made_elsewhere_need_no_weights(builder: DatasetBuilder, tmp_path: Path) -> None:
    other = elsewhere(builder, tmp_path / "there")
    other.run(["one", "real"])
    (builder.folder / "dices").mkdir(parents=True)
    for file in (other.folder / "dices").glob("*.zip"):
        file.rename(builder.folder / "dices" / file.name)
    assert builder.pending() == ["two"]
    assert builder.run(builder.pending()) is not None
    assert not (builder.zoo / "one").exists()


def test_parts_of_a_build_make_the_whole(
    builder: DatasetBuilder, whole: tuple[dict[str, dict[str, bytes]], str]
) -> None:
    said: list[str] = []
    builder = replace(builder, report=said.append)
    assert builder.run(builder.pending(["two"])) is None
    assert said[-1] == "still to be made: real, one"
    assert not (builder.folder / "dices.toml").exists()
    manifest = builder.run(builder.pending())
    assert manifest is not None
    assert (members(builder), manifest.digest) == whole
    assert not [line for line in said if line.startswith("two: training")][1:]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"surplus": 3},
            r"archive \S+one.zip was not made as recipe 'dices' says now: surplus 2, expected 3; delete it",
        ),
        ({"apart": 2}, r"one.zip was not made as recipe 'dices' says now: apart 1, expected 2"),
        (
            {"sources": {**SOURCES, "one": {"generator": "dice", "steps": 6, "seed": 0}}},
            r"one.zip .*: steps 5, expected 6",
        ),
        (
            {"sources": {**SOURCES, "one": {"generator": "dice[burst=9]", "steps": 5, "seed": 0}}},
            r"settings: burst 0, expected 9; delete",
        ),
        ({"images": {"train": 6, "val": 2, "test": 2}}, r"real.zip .*: images: test 3, expected 2; delete"),
        (
            {"sources": {"one": SOURCES["one"]}},
            r"dices holds two.zip, which recipe 'dices' does not name; move it away",
        ),
    ],
)
def test_changed_recipe_is_refused(builder: DatasetBuilder, changes: dict[str, object], message: str) -> None:
    builder.run(builder.pending())
    with pytest.raises(UsageError, match=message):
        replace(builder, recipe=recipe(**changes)).pending()


def test_source_may_be_added_to_a_recipe(builder: DatasetBuilder) -> None:
    builder.run(builder.pending())
    more = {**SOURCES, "three": {"generator": "dice", "steps": 1}}
    assert replace(builder, recipe=recipe(sources=more)).pending() == ["three"]


def test_keys_that_were_added_since_change_no_archive(builder: DatasetBuilder) -> None:
    builder.run(["one"])
    file = builder.folder / "dices" / "one.zip"
    comment = json.loads(read_comment(file))
    del comment["recipe"]["settings"]["flat"], comment["recipe"]["apart"]
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    write_archive(file, content, json.dumps(comment).encode())
    assert builder.pending() == ["real", "two"]


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            lambda file: file.write_bytes(file.read_bytes()[:2000]),
            DatasetError,
            r"one.zip cannot be opened .*restore or",
        ),
        (
            lambda file: file.write_bytes(file.read_bytes()[:-9]),
            UsageError,
            r"one.zip does not say .*: it is damaged or",
        ),
        (lambda file: write_archive(file, {"a": b""}), UsageError, r"one.zip does not say what it was made from"),
        (lambda file: write_archive(file, {}, b'{"recipe": 1}'), UsageError, r"one.zip does not say"),
    ],
)
def test_archive_that_is_none_is_refused(
    builder: DatasetBuilder, spoil: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    builder.run(["one"])
    spoil(builder.folder / "dices" / "one.zip")
    with pytest.raises(error, match=message):
        builder.pending()


def test_source_that_another_finished_meanwhile_is_not_made_again(builder: DatasetBuilder) -> None:
    pending = builder.pending()
    builder.run(pending)
    before = {file: file.stat().st_mtime_ns for file in (builder.folder / "dices").iterdir()}
    builder.run(pending)
    assert {file: file.stat().st_mtime_ns for file in (builder.folder / "dices").iterdir()} == before


def test_another_s_source_is_left_to_it(builder: DatasetBuilder) -> None:
    said: list[str] = []
    builder = replace(builder, report=said.append)
    with claimed(builder.folder / "dices" / ".one.claim"):
        assert builder.run(builder.pending()) is None
    assert any(line.startswith("one: locked by process") for line in said)
    assert said[-1] == "still to be made: one"
    assert builder.run(builder.pending()) is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": {"one": {"generator": "dise", "steps": 5}}}, r"unknown generator 'dise'; did you mean 'dice'"),
        ({"sources": {"one": {"generator": "dice[burts=1]", "steps": 5}}}, r"unknown dice setting 'burts'"),
        ({"images": {"train": 13, "val": 2, "test": 3}}, r"has 12 real images, expected at least 13; ask for fewer"),
        ({"images": {"train": 6, "val": 5, "test": 3}}, r"split 'val' of \S+ has 4 real images, expected at least 5"),
        (
            {"sources": {"one": {**SOURCES["two"], "pool": {"images": 10, "replaced": 3}}}},
            r"has 12 images, expected at least 13: 10 and 3 that replace some",
        ),
        (
            {"sources": {"one": {"generator": "dice[flat=true]", "steps": 5}}},
            r"'one' has 0 images of 12 that are not flat",
        ),
        (
            {"sources": {"one": {"generator": "dice[burst=3]", "steps": 5}}},
            r"source 'one': training diverged at step 3; \S+one keeps the last good checkpoint",
        ),
    ],
)
def test_bad_recipe_leaves_nothing_half_made(builder: DatasetBuilder, changes: dict[str, object], message: str) -> None:
    bad = replace(builder, recipe=recipe(**changes), every=0)
    with pytest.raises(GfpBenchError, match=message):
        bad.run(bad.pending())
    assert {file.name for file in builder.folder.rglob("*") if file.is_file()} <= {"real.zip"}


@pytest.mark.parametrize(
    "changes", [{"images": {"train": 6, "val": 2, "test": 13}}, {"images": {"train": 6, "val": 5, "test": 3}}]
)
def test_pool_that_is_too_small_is_told_before_any_training(
    builder: DatasetBuilder, changes: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match="real images, expected at least"):
        replace(builder, recipe=recipe(**changes)).run(["one"])
    assert not builder.zoo.exists()


def test_side_that_a_generator_cannot_take_is_told_by_the_estimate(
    builder: DatasetBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator(builder), "train", _refuse)
    with pytest.raises(UsageError, match="dice has side 32"):
        list(builder.estimates(["two"]))


def _refuse(self: Dice, pool: torch.Tensor, **named: object) -> None:
    raise UsageError(f"dice has side {pool.shape[-1]}, expected at most 4")


def test_unknown_source_gets_its_nearest(builder: DatasetBuilder) -> None:
    with pytest.raises(UsageError, match=r"unknown source 'ones'; did you mean 'one'"):
        builder.pending(["ones"])


def test_estimates_count_what_is_left_and_leave_nothing(builder: DatasetBuilder) -> None:
    found = {estimate.source: estimate for estimate in builder.estimates(builder.pending())}
    assert {name: (estimate.steps, estimate.samples) for name, estimate in found.items()} == {
        "one": (5, 22),
        "two": (5, 22),
    }
    assert not builder.folder.exists()
    assert not builder.zoo.exists()
    training.train(
        Dice(), builder.pool.part(None), builder.zoo / "one", steps=5, seed=0, settings=builder._plan("one").settings
    )
    assert next(iter(builder.estimates(["one"]))).steps == 0


def test_generator_that_comes_trained_is_sampled_from_its_path(builder: DatasetBuilder, tmp_path: Path) -> None:
    given = Dice()
    given.train(builder.pool.part(None), steps=3, rng=torch.Generator().manual_seed(0))
    (tmp_path / "given").mkdir()
    given.save(tmp_path / "given")
    sources = {**SOURCES, "ready": {"generator": f"dice:{tmp_path / 'given'}"}}
    builder = replace(builder, recipe=recipe(sources=sources))
    assert [estimate.steps for estimate in builder.estimates(["ready"])] == [0]
    builder.run(["ready"])
    assert not (builder.zoo / "ready").exists()
    assert read_made(builder.folder / "dices" / "ready.zip")["recipe"]["steps"] is None


def test_probes_have_test_images_and_trainings_of_their_own(builder: DatasetBuilder) -> None:
    sources = {"one": {"generator": "dice", "steps": 5}, "one-1": {"probe_of": "one"}}
    builder = replace(builder, recipe=recipe(sources=sources, real={"train": 3, "val": 2, "test": 4}))
    manifest = builder.run(builder.pending())
    assert manifest is not None
    counts = read_index(manifest).groupby(["source", "split"]).size().to_dict()
    assert counts == {
        ("real", "train"): 3,
        ("real", "val"): 2,
        ("real", "test"): 4,
        ("one", "train"): 6,
        ("one", "val"): 2,
        ("one", "test"): 3,
        ("one-1", "test"): 3,
    }
    seeds = [training.read_record(builder.zoo / name)["seed"] for name in ("one", "one-1")]
    assert seeds == [seed_of("training", "one", "0"), seed_of("training", "one", "1")]
    assert manifest.sources["one-1"] == {
        "family": "dice",
        "generator": "dice",
        "steps": 5,
        "seed": seeds[1],
        "probe_of": "one",
        "instance": 1,
    }
    found = members(builder)
    assert not {*found["one"].values()} & {*found["one-1"].values()}


def test_sources_of_one_training_draw_latents_of_their_own(builder: DatasetBuilder) -> None:
    sources = {**SOURCES, "again": {"weights_of": "one"}}
    builder = replace(builder, recipe=recipe(sources=sources))
    manifest = builder.run(builder.pending())
    assert manifest is not None
    assert {folder.name for folder in builder.zoo.iterdir()} == {"one", "two"}
    found = members(builder)
    assert not {*found["one"].values()} & {*found["again"].values()}
    assert manifest.sources["again"] == {**manifest.sources["one"], "weights_of": "one"}


def test_images_are_webp_where_the_recipe_says_so(builder: DatasetBuilder, tmp_path: Path) -> None:
    other = elsewhere(builder, tmp_path / "webp", recipe=recipe(format="webp"))
    builder.run(["one", "real"]), other.run(["one", "real"])
    plain, small = members(builder), members(other)
    assert {name: [Path(member).stem for member in plain[name]] for name in plain} == {
        name: [Path(member).stem for member in small[name]] for name in small
    }
    for before, after in zip(plain["one"].values(), small["one"].values(), strict=True):
        opened = [Image.open(BytesIO(content)) for content in (before, after)]
        assert [image.format for image in opened] == ["PNG", "WEBP"]
        assert opened[0].tobytes() == opened[1].convert("RGB").tobytes()
    with pytest.raises(UsageError, match=r"was not made as recipe 'dices' says now: format webp, expected png"):
        replace(builder, folder=other.folder).pending()


def test_truncation_that_a_generator_does_not_have_is_told_before_any_training(builder: DatasetBuilder) -> None:
    sources = {"one": {"generator": "dice", "steps": 5, "truncation": 0.5}}
    with pytest.raises(
        UsageError, match=r"source 'one' has truncation = 0.5, but generator 'dice' has no latents that could be scaled"
    ):
        replace(builder, recipe=recipe(sources=sources)).run(["one"])
    assert not builder.zoo.exists()
    assert not builder.folder.exists()


def test_truncation_reaches_the_samples(builder: DatasetBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator(builder), "truncation", 1.0)
    drawn, plain = [], generator(builder).sample

    def noted(dice: Dice, n: int, *, rng: torch.Generator) -> Images:
        drawn.append(dice.truncation)
        return plain(dice, n, rng=rng)

    monkeypatch.setattr(generator(builder), "sample", noted)
    sources = {"one": {"generator": "dice", "steps": 5}, "half": {"weights_of": "one", "truncation": 0.5}}
    builder = replace(builder, recipe=recipe(sources=sources))
    manifest = builder.run(builder.pending())
    assert manifest is not None
    assert drawn == [1, 1, 1, 0.5, 0.5, 0.5]
    assert manifest.sources["half"]["truncation"] == 0.5


def child(builder: DatasetBuilder, kill_at: int) -> None:
    """Build, and die just before the n-th file appears."""
    count, renamed = 0, Path.replace

    def counting(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return renamed(self, target)

    Path.replace = counting  # type: ignore[method-assign, assignment]
    builder.run(builder.pending())
    os._exit(0)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # torch's threads sleep here
def test_build_that_is_killed_at_any_file_goes_on(
    builder: DatasetBuilder, tmp_path: Path, whole: tuple[dict[str, dict[str, bytes]], str]
) -> None:
    deaths = 0
    for at in range(1, 30):
        torn = elsewhere(builder, tmp_path / f"torn-{at}")
        process = multiprocessing.get_context("fork").Process(target=child, args=(torn, at))
        process.start()
        process.join()
        deaths += process.exitcode == -signal.SIGKILL
        manifest = torn.run(torn.pending())
        assert manifest is not None
        assert (members(torn), manifest.digest) == whole
        if process.exitcode == 0:
            break
    assert deaths == 21  # real; record, 5 sheets, weights, end of training, archive of each of two; index, manifest


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_build_that_is_killed_in_a_training_goes_on_from_its_checkpoint(
    builder: DatasetBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {"one": {"generator": "dice[patience=0.005]", "steps": 200}}
    builder = replace(builder, recipe=recipe(sources=sources), every=0.02)
    process = multiprocessing.get_context("fork").Process(target=builder.run, args=(["one"],))
    process.start()
    while not (builder.zoo / "one" / "checkpoint.safetensors").exists():
        time.sleep(0.005)
    time.sleep(0.05)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert builder.pending() == ["real", "one"]
    done = training.steps_done(builder.zoo / "one")
    assert 0 < done < 200
    resumed, save = [], generator(builder).save
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(generator(builder), "save", lambda dice, to: (resumed.append(dice.thrown), save(dice, to)))
    builder.run(builder.pending())
    assert resumed == [199 - done]  # the step in hand when the checkpoint was kept had not been reported
    other = elsewhere(builder, tmp_path / "undisturbed")
    other.run(other.pending())
    assert resumed[1:] == [200]
    assert members(builder) == members(other)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_builds_at_once_share_the_work(
    builder: DatasetBuilder, whole: tuple[dict[str, dict[str, bytes]], str]
) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=builder.run, args=(builder.pending(),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    manifest = builder.run(builder.pending())
    assert manifest is not None
    assert (members(builder), manifest.digest) == whole
    assert not list(builder.folder.rglob(".*"))
