"""The page on tasks: its commands run, and its example is a task that the tests carry out."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from places import ROOT, SUPPORT

from gfp_bench.cli import main
from gfp_bench.data.manifest import Manifest
from gfp_bench.tasks import load_task, task_names

PAGE = (ROOT / "docs" / "tasks.md").read_text()


def test_the_example_is_one_that_is_carried_out() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert example == (SUPPORT / "tasks" / "arrival.py").read_text()


def test_the_page_names_every_task_and_every_measure() -> None:
    assert {*re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)} == {*task_names()}
    table = PAGE.split("| measure |")[1]
    for title in ("AUROC", "AP", "EER", "balanced accuracy at val's threshold"):
        assert title in {measure.title for measure in load_task("detection").measures}
        assert f"| {title} |" in table


@pytest.mark.parametrize("command", re.findall(r"^gfp-bench .*$", PAGE, flags=re.MULTILINE))
@pytest.mark.timeout(240)
def test_commands_run(
    command: str, toy: Manifest, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    words = [*shlex.split(command.replace("--limit 20", "--limit 4")), "-d", str(toy.file)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
