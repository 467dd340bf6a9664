"""Code in a process of its own: whatever it does, its caller goes on and is told why."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import odd_work
import pytest

from gfp_bench.apart import apart
from gfp_bench.errors import PluginError, UsageError


def test_an_answer_comes_back() -> None:
    assert apart(odd_work.adds, 2, 3, limit=60) == 5


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (odd_work.breaks, "ZeroDivisionError: a 'b' [31m \u2039script\u203a"),
        (odd_work.contradicts, "it has no name"),
        (odd_work.exits, "exited with code 0 before it was done"),
        (odd_work.quits, "SystemExit: 0"),
        (odd_work.dies, "killed by SIGSEGV"),
        (odd_work.says_something_else, "exited with code 0 before it was done"),
        (odd_work.says_no_answer, "it answered with what is no answer of ours"),
        (odd_work.says_too_much, "it said more than 16777216 bytes"),
        (odd_work.leaves_someone_behind, "exited with code 0 before it was done"),
    ],
)
def test_what_goes_wrong_is_told_in_a_line(work: Callable[[], object], reason: str) -> None:
    with pytest.raises(PluginError) as caught:
        apart(work, limit=60)
    assert str(caught.value) == reason


def test_a_users_fault_stays_one() -> None:
    with pytest.raises(UsageError, match="no such setting"):
        apart(odd_work.refuses, limit=60)


def test_a_limit_holds() -> None:
    begun = time.monotonic()
    with pytest.raises(PluginError, match=r"took longer than 0\.5 s"):
        apart(odd_work.hangs, limit=0.5)
    assert time.monotonic() - begun < 30


def test_what_json_cannot_hold_is_nothing_that_anyone_expects() -> None:
    assert apart(odd_work.has_no_json, limit=60) == [{"type": "property"}, {"type": "complex"}, {"type": "set"}]


def test_what_its_caller_has_open_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w"):
        *others, pipe = apart(odd_work.has_open, limit=60)
    assert others == ["/dev/null"] * 3
    assert pipe.startswith("pipe:")


def test_whoever_kills_its_parent_kills_a_guard() -> None:
    assert apart(odd_work.its_parent, limit=60) != os.getpid()
    with pytest.raises(PluginError, match="it killed its parent process"):
        apart(odd_work.kills_its_parent, limit=60)
    assert apart(odd_work.adds, 2, 3, limit=60) == 5


def test_a_child_that_holds_the_interpreter_dies_with_a_killed_caller(tmp_path: Path) -> None:
    """As one in a regular expression or in C does: no thread of its own can end it."""
    mark = tmp_path / "child"
    code = f"import odd_work; from gfp_bench.apart import apart; apart(odd_work.holds, {str(mark)!r}, limit=600)"
    with subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ) as caller:
        child = awaited(lambda: mark.exists() and mark.read_text())
        caller.kill()
    awaited(lambda: not Path("/proc", child).exists())


def awaited(found: Callable[[], Any]) -> Any:  # whatever is true
    until = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return value
