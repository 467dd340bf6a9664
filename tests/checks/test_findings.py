"""A finding shows the line of the plugin that failed, and one cause is told once."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from broken_plugins import PER_SOURCE, Sound

from gfp_bench import Images, PluginError, UsageError
from gfp_bench.checks import Finding, by_cause, check_method, synthetic
from gfp_bench.checks.findings import UncheckedError, finding_of

DATA = synthetic(PER_SOURCE, size=16)


class MultipliesWrongly(Sound):
    def fingerprints(self, images: Images) -> torch.Tensor:
        if len(images) == 1:
            return torch.eye(2) @ torch.eye(3)
        return super().fingerprints(images)

    def save(self, folder: Path) -> None:
        raise OSError(f"no room in {folder}")


class Mute(Exception):
    def __str__(self) -> str:
        raise SystemExit(0)


def told(check: Callable[[], None], plugin: type = Sound) -> Finding:
    return finding_of("some check", check, plugin)


def failing(error: BaseException) -> Callable[[], None]:
    def check() -> None:
        raise error

    return check


def test_the_place_is_the_plugins_line_and_not_the_librarys() -> None:
    class Solves:
        def fit(self) -> None:
            torch.nn.Linear(2, 2)(torch.ones(3))

    finding = told(Solves().fit, Solves)
    path, line, source = finding.place.split(":", 2)
    assert path == __file__
    assert Path(path).read_text().splitlines()[int(line) - 1].strip() == source.strip()
    assert source.strip() == "torch.nn.Linear(2, 2)(torch.ones(3))"
    assert "torch/nn/modules/linear.py" in finding.traceback
    assert finding.why.startswith("RuntimeError: ")


def test_without_a_line_of_the_plugin_the_last_one_is_shown() -> None:
    assert told(failing(KeyError("a"))).place.endswith("raise error")
    assert told(failing(PluginError("scores are late"))).place == ""  # a check's own words say all


def test_what_fails_and_what_does_not_apply() -> None:
    assert told(lambda: None) == Finding("some check", "passed")
    assert told(failing(UncheckedError("it has no scores"))).outcome == "not checked"
    assert told(failing(PluginError("scores are late"))).why == "scores are late"
    assert told(failing(SystemExit(2))).why == "SystemExit: 2"
    assert told(failing(GeneratorExit())).outcome == "FAILED"
    assert "Mute" in told(failing(Mute())).why  # its own words would end the process
    for error in (UsageError("no such setting"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            told(failing(error))


def test_one_cause_is_one_group() -> None:
    findings = [finding for finding in check_method(MultipliesWrongly, data=DATA) if finding.outcome == "FAILED"]
    assert len({finding.why for finding in findings}) == 3  # each save has a folder of its own
    groups = by_cause(findings)
    assert [[finding.check for finding in group] for group in groups] == [
        ["batch invariance"],
        ["save and load", "immunise"],
    ]
    assert re.search(r"test_findings\.py:\d+: raise OSError", groups[1][0].place)


def test_other_errors_and_other_lines_are_other_causes() -> None:
    def fails(number: int) -> None:
        if number == 0:
            raise ValueError("a")
        if number == 1:
            raise ValueError("a")
        raise (TypeError if number == 2 else ValueError)("a")

    class Here:
        pass

    findings = [told(lambda number=number: fails(number), Here) for number in (0, 1, 2, 3, 3)]  # type: ignore[misc]
    assert [len(group) for group in by_cause(findings)] == [1, 1, 1, 2]
    assert [len(group) for group in by_cause([told(failing(PluginError(word))) for word in "aab"])] == [2, 1]
    assert len(by_cause([Finding("fit", "passed"), Finding("shape", "passed")])) == 2
