"""The canary finds what was not learnt from train, and lets honest methods pass at the level that it states."""

import hashlib
import math
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from cheat_files import CHEATS, cheat
from PIL import Image

from gfp_bench.data.dataset import Dataset
from gfp_bench.data.dealing import deal_test, deal_train
from gfp_bench.data.indexing import index_folder
from gfp_bench.data.manifest import About, Manifest
from gfp_bench.engine import canary as canaries
from gfp_bench.engine.canary import (
    Canary,
    arm_of_test,
    arm_of_train,
    canary,
    canary_file,
    dealings,
    keep_canary,
    read_canary,
    told,
)
from gfp_bench.engine.runner import Options
from gfp_bench.errors import PluginError, RecordError
from gfp_bench.registry.discovery import survey_plugins

SOURCES = ("a", "b", "c", "d", "e", "real")  # six can be renamed in 720 ways: one dealing of train is enough


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Six sources that nobody can tell apart."""
    root, rng = tmp_path_factory.mktemp("canary") / "noise", np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2), ("test", 12)):
        for source in SOURCES:
            folder = root / split / source
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return index_folder(root, "noise", about=About("Noise."))


@pytest.fixture(scope="module")
def table(noise: Manifest, cache: Path) -> dict[str, int]:
    test = Dataset(noise, cache).split("test")
    digests = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in test.images]
    return dict(zip(digests, test.labels.tolist(), strict=True))


def options(cache: Path, results: Path) -> Options:
    return Options(manifests={}, cache=cache, results=results, device="cpu", jobs=1)


def test_an_honest_method_passes_and_its_result_is_kept(
    noise: Manifest, cache: Path, table: dict[str, int], tmp_path: Path
) -> None:
    plugins = survey_plugins([cheat("honest", tmp_path, noise, cache, table)])
    found = canary(("honest", {}), noise, plugins, options(cache, tmp_path / "scratch"), 0, lambda event: None)
    assert found.passed, told(found)
    assert [(arm.name, arm.dealings, arm.images) for arm in found.arms] == [("test", 1, 72), ("train", 1, 72)]
    keep_canary(tmp_path, found)
    again = survey_plugins([tmp_path / "honest.py"])
    code = canaries.plugin_digest(again, "honest", {})
    assert read_canary(tmp_path, "honest", {}, code, noise.digest) == found
    (tmp_path / "honest.py").write_text((tmp_path / "honest.py").read_text() + "\n")
    edited = canaries.plugin_digest(survey_plugins([tmp_path / "honest.py"]), "honest", {})
    assert read_canary(tmp_path, "honest", {}, edited, noise.digest) is None, "it is of other code"


def test_a_memory_of_the_test_images_is_found(
    noise: Manifest, cache: Path, table: dict[str, int], tmp_path: Path
) -> None:
    plugins = survey_plugins([cheat("memory", tmp_path, noise, cache, table)])
    found = canary(("memory", {}), noise, plugins, options(cache, tmp_path / "scratch"), 0, lambda event: None)
    assert [arm.above_chance for arm in found.arms] == [False, True]
    assert found.arms[1].accuracy == 1.0
    assert not found.passed


@pytest.mark.parametrize("name", [name for name in CHEATS if name != "memory"])
def test_a_cheat_is_kept_from_the_labels_or_found(
    noise: Manifest, cache: Path, table: dict[str, int], tmp_path: Path, name: str
) -> None:
    """What it finds on the dataset itself tells whether it is kept from them."""
    plugins = survey_plugins([cheat(name, tmp_path, noise, cache, table)])
    rng, own = np.random.Generator(np.random.Philox(0)), options(cache, tmp_path)

    def answers(copy: Manifest) -> tuple[np.ndarray, np.ndarray]:
        folder = tmp_path / f"on-{copy.digest[:8]}"
        return canaries._answers((name, {}), copy, plugins, own, folder, lambda event: None)

    plain, labels = answers(noise)
    cheated = float((plain == labels).mean()) > 0.5
    if name == "reader":
        arm = arm_of_train([answers(deal_train(noise, tmp_path / "dealt", rng))], 6, 0)
    else:
        pixels = Dataset(noise, cache).pixels()
        arm = arm_of_test(*answers(deal_test(noise, pixels, tmp_path / "dealt", rng)), 6)
    assert arm.above_chance is cheated


def test_a_method_that_fails_says_why(noise: Manifest, cache: Path, table: dict[str, int], tmp_path: Path) -> None:
    file = cheat("honest", tmp_path, noise, cache, table)
    file.write_text(file.read_text().replace("        pass\n", "        raise ValueError('no such thing')\n"))
    with pytest.raises(PluginError, match="method 'honest' failed: ValueError: no such thing"):
        canary(("honest", {}), noise, survey_plugins([file]), options(cache, tmp_path / "s"), 0, lambda event: None)


def tail(hits: int, images: int, chance: float) -> float:
    return sum(math.comb(images, k) * chance**k * (1 - chance) ** (images - k) for k in range(hits, images + 1))


@pytest.mark.parametrize(("hits", "above"), [(25, False), (33, False), (36, True), (100, True)])
def test_hits_are_held_to_the_binomial_distribution(hits: int, above: bool) -> None:
    labels = np.zeros(100, dtype=np.int64)
    arm = arm_of_test((np.arange(100) >= hits).astype(np.int64), labels, 4)
    assert arm.p == pytest.approx(tail(hits, 100, 0.25))
    assert arm.above_chance is above
    assert arm.low is not None
    assert (arm.low > 0.25) is above, "the interval says the same"
    if 0 < hits < 100:
        assert tail(hits, 100, arm.low) == pytest.approx(0.01)
        assert 1 - tail(hits + 1, 100, arm.high) == pytest.approx(0.01)


def test_renamings_are_drawn_as_they_are_counted() -> None:
    """Three sources, two dealings: all 36 renamings, one by one."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    shown = [((labels + (rng.random(60) < 0.5)) % 3, labels), (rng.integers(0, 3, 60), labels)]

    def accuracy(renamings: tuple[tuple[int, ...], ...]) -> float:
        right = [np.array(names)[labels] == answers for names, (answers, _) in zip(renamings, shown, strict=True)]
        return float(np.mean(right))

    every = [accuracy(pair) for pair in product(permutations(range(3)), repeat=2)]
    arm = arm_of_train(shown, 3, 0)
    own = accuracy(((0, 1, 2), (0, 1, 2)))
    assert arm.accuracy == pytest.approx(own)
    expected = np.mean([value >= own - 1e-12 for value in every])
    assert arm.p == pytest.approx(expected, abs=5 * math.sqrt(expected * (1 - expected) / 9999))


def test_one_name_for_all_images_of_a_source_is_no_knowledge() -> None:
    """As smooth methods answer: the binomial distribution would find half of them guilty."""
    labels, rng = np.repeat(np.arange(4), 40), np.random.default_rng(0)
    draws = [[(rng.permutation(4)[labels], labels) for _ in range(dealings(4))] for _ in range(300)]
    guilty = sum(arm_of_train(shown, 4, seed).above_chance for seed, shown in enumerate(draws))
    naive = sum(arm_of_test(shown[0][0], labels, 4).above_chance for shown in draws)
    assert guilty <= 9  # 3 are expected at most, 9 is exceeded once in a thousand
    assert naive > 60


@pytest.mark.parametrize(("sources", "times"), [(2, 8), (3, 3), (4, 2), (5, 2), (6, 1), (14, 1)])
def test_knowing_all_names_is_rare_under_renaming(sources: int, times: int) -> None:
    assert dealings(sources) == times
    labels = np.repeat(np.arange(sources), 10)
    assert arm_of_train([(labels, labels)] * times, sources, 0).above_chance


def test_a_kept_result_is_held_to_what_it_is_of(tmp_path: Path) -> None:
    arm = arm_of_test(np.zeros(10, dtype=np.int64), np.zeros(10, dtype=np.int64), 2)
    found = Canary(method="m", settings={"k": 1}, code="c", dataset="d", digest="e", seed=0, arms=(arm,))
    path = keep_canary(tmp_path, found)
    assert path == canary_file(tmp_path, "m", {"k": 1}, "c", "e")
    assert read_canary(tmp_path, "m", {"k": 1}, "c", "other") is None
    path.write_text(path.read_text().replace('"code": "c"', '"code": "x"'))
    with pytest.raises(RecordError, match="is the canary of another method, code or dataset"):
        read_canary(tmp_path, "m", {"k": 1}, "c", "e")
    path.write_text('{"method": 3}')
    with pytest.raises(RecordError, match="key 'settings' is missing"):
        read_canary(tmp_path, "m", {"k": 1}, "c", "e")


def test_the_verdict_is_told_in_words() -> None:
    labels = np.repeat(np.arange(4), 40)
    arms = (arm_of_test(labels, labels, 4), arm_of_train([(labels, labels)] * 2, 4, 0))
    found = Canary(method="m", settings={}, code="c", dataset="d", digest="e", seed=0, arms=arms)
    first, second = told(found)
    assert "160 test labels dealt anew: 100.0 % right, exact 98 % interval 97.2 to 100.0; chance is 25.0" in first
    assert "train labels dealt per image, 2 times: 100.0 % balanced on true test labels" in second
    assert all("ABOVE CHANCE" in sentence and "level 0.01" in sentence for sentence in (first, second))
