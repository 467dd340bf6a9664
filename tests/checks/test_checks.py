"""The contract checks: sound plugins pass all of them, each broken one fails exactly those that it should."""

import socket
from pathlib import Path

import pytest
import torch
from broken_plugins import (
    BROKEN_ATTACKS,
    BROKEN_GENERATORS,
    BROKEN_METHODS,
    PER_SOURCE,
    Grain,
    KeepsTheLabels,
    Learns,
    Paint,
    Published,
    PublishedWithoutStream,
    RefitsInItsOwnWay,
    SkipsPairs,
    Sound,
)
from incremental import MeanColour

from gfp_bench import SILENT, Generator, Images, Method, Monitor, Perturbation
from gfp_bench.checks import Splits, check_attack, check_generator, check_method, synthetic
from gfp_bench.contracts.settings import resolved_settings
from gfp_bench.errors import UsageError
from gfp_bench.registry.discovery import load_plugins

BUILT_IN = load_plugins()
DATA = synthetic(PER_SOURCE, size=16)
MANY = synthetic(per_source=24, size=16)
POOL = synthetic(per_source=4, size=8)


def test_a_sound_method_passes_every_check() -> None:
    findings = check_method(Sound, data=DATA)
    assert all(finding.passed and not finding.why for finding in findings)
    assert [finding.check for finding in findings] == [
        "declared", "settings", "fit", "shape", "same scores again", "finite", "input unchanged", "batch invariance",
        "order invariance", "save and load", "no labels", "repeatable fit", "immunise", "immunisation stated",
        "two sources", "no network",
    ]  # fmt: skip


def test_a_method_may_fit_anew_in_its_own_way() -> None:
    assert all(finding.passed for finding in check_method(RefitsInItsOwnWay, data=DATA))


@pytest.mark.parametrize("cls", [Learns, MeanColour])
def test_a_method_that_learns_further_sources_is_tried_on_one(cls: type[Method]) -> None:
    findings = check_method(cls, data=DATA)
    assert all(finding.passed for finding in findings)
    assert "later source" in [finding.check for finding in findings]


def test_a_sound_generator_passes_every_check() -> None:
    findings = check_generator(Paint, data=POOL)
    assert all(finding.passed and not finding.why for finding in findings)
    assert [finding.check for finding in findings] == [
        "declared", "settings", "training", "samples", "same samples again", "other samples", "nothing global",
        "pool unchanged", "repeatable training", "previews", "killed training", "save and load", "no network",
    ]  # fmt: skip


def test_a_sound_attack_passes_every_check() -> None:
    findings = check_attack(Grain, data=MANY)
    assert all(finding.passed and not finding.why for finding in findings)
    assert [finding.check for finding in findings] == [
        "declared", "settings", "shape kept", "same images again", "images unchanged", "own parameters", "any order",
        "no network",
    ]  # fmt: skip


@pytest.mark.parametrize(("cls", "failing", "why"), BROKEN_METHODS)
def test_a_broken_method_fails_what_it_breaks(cls: type[Method], failing: set[str], why: str) -> None:
    findings = [finding for finding in check_method(cls, data=DATA) if not finding.passed]
    assert {finding.check for finding in findings} == failing
    assert why in findings[-1].why


def test_what_a_method_skips_is_not_checked() -> None:
    findings = {finding.check: finding for finding in check_method(SkipsPairs, data=DATA)}
    assert findings["two sources"].outcome == "not checked"
    assert findings["two sources"].why == "it skips such a dataset: synthetic has checkers and real alone"
    assert all(finding.passed for name, finding in findings.items() if name != "two sources")


@pytest.mark.parametrize(("cls", "failing", "why"), BROKEN_ATTACKS)
def test_a_broken_attack_fails_what_it_breaks(cls: type[Perturbation], failing: set[str], why: str) -> None:
    findings = [finding for finding in check_attack(cls, data=MANY) if not finding.passed]
    assert {finding.check for finding in findings} == failing
    assert why in findings[-1].why


@pytest.mark.parametrize(("cls", "failing", "why"), BROKEN_GENERATORS)
def test_a_broken_generator_fails_what_it_breaks(cls: type[Generator], failing: set[str], why: str) -> None:
    findings = [finding for finding in check_generator(cls, data=POOL) if not finding.passed]
    assert {finding.check for finding in findings} == failing
    assert why in findings[-1].why


def test_a_generator_that_comes_trained_passes_nothing_that_was_not_tried(tmp_path: Path) -> None:
    trained = Paint()
    trained.train(POOL.train.images, steps=2, rng=torch.Generator())
    trained.save(tmp_path)
    of_training = {"training", "pool unchanged", "repeatable training", "previews", "killed training"}
    of_samples = {"samples", "same samples again", "other samples", "nothing global", "save and load"}
    for path, untried in (("", of_training | of_samples), (str(tmp_path), of_training)):
        findings = check_generator(Published, {"path": path}, POOL)
        assert {finding.check for finding in findings if finding.outcome == "not checked"} == untried
        assert all(finding.passed for finding in findings if finding.check not in untried)
    failed = [
        finding for finding in check_generator(PublishedWithoutStream, {"path": path}) if finding.outcome == "FAILED"
    ]
    assert [finding.check for finding in failed] == ["other samples"]


def test_a_generator_that_says_little_is_not_said_to_be_killed_or_seen() -> None:
    class Silent(Paint):
        def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
            super().train(pool, steps=steps, rng=rng)

    findings = [finding for finding in check_generator(Silent, data=POOL) if not finding.passed]
    assert [(finding.check, finding.outcome) for finding in findings] == [
        ("previews", "not checked"), ("killed training", "not checked"),
    ]  # fmt: skip


def test_a_pool_that_a_generator_refuses_is_the_users_fault_a_checkpoint_is_not() -> None:
    class Square(Paint):
        def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
            if pool.shape[-1] == 16 or monitor.restored():
                raise UsageError("this does not fit")
            super().train(pool, steps=steps, rng=rng, monitor=monitor)

    with pytest.raises(UsageError, match="this does not fit"):
        check_generator(Square, data=DATA)
    (finding,) = (finding for finding in check_generator(Square, data=POOL) if not finding.passed)
    assert (finding.check, finding.outcome) == ("killed training", "FAILED")


def test_settings_reach_the_plugin_and_wrong_ones_are_the_users_fault() -> None:
    class Fragile(Sound):
        def __init__(self, scale: float = 1.0) -> None:
            self.scale = scale
            if scale > 1:
                raise ValueError(f"scale {scale}")

    with pytest.raises(UsageError, match=r"^'sound': scale 2\.5$"):
        check_method(Fragile, {"scale": "2.5"}, DATA)
    with pytest.raises(UsageError, match="unknown sound setting 'scal'; did you mean 'scale'"):
        check_method(Sound, {"scal": 2.0}, DATA)


def test_checks_leave_the_images_the_random_state_and_the_network_as_they_were() -> None:
    network = socket.socket.connect, socket.getaddrinfo
    labels, ids = DATA.train.labels.clone(), DATA.train.ids
    before = torch.get_rng_state()
    check_method(KeepsTheLabels, data=DATA)
    assert torch.equal(torch.get_rng_state(), before)
    assert (socket.socket.connect, socket.getaddrinfo) == network
    assert torch.equal(DATA.train.labels, labels) and DATA.train.ids == ids


def test_the_synthetic_sources_can_be_told_apart() -> None:
    splits = synthetic(per_source=4, size=16)
    assert isinstance(splits, Splits) and len(splits.test) == 12 and "real" in splits.test.sources
    highest = splits.test.images.float().mean(1).diff(dim=2).diff(dim=1).square().mean((1, 2))  # checkers have most
    assert set(splits.test.labels[highest.argsort()[-4:]].tolist()) == {splits.test.sources.index("checkers")}


@pytest.mark.parametrize("name", BUILT_IN.methods)
def test_a_built_in_method_keeps_the_contract(name: str) -> None:
    cls = BUILT_IN.method(name)
    budget = {"budget": "smoke"} if "budget" in resolved_settings(cls, {}) else {}
    assert [finding for finding in check_method(cls, budget, DATA) if not finding.passed] == []


@pytest.mark.parametrize("name", BUILT_IN.attacks)
def test_a_built_in_attack_keeps_the_contract(name: str) -> None:
    assert [finding for finding in check_attack(BUILT_IN.attack(name), data=MANY) if not finding.passed] == []
