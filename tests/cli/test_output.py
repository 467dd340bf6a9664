import re

import pytest
from places import ROOT

from gfp_bench.cli.output import ExitCode, say, stop, tell


def test_data_goes_to_stdout_and_the_rest_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("a line")
    say("a line that ends\n")
    tell("a remark")
    assert capsys.readouterr() == ("a line\na line that ends\n", "a remark\n")


def test_stop_says_why_and_exits_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        stop(ExitCode.DRIFT, "they differ")
    assert stopped.value.code == 4
    assert capsys.readouterr() == ("", "gfp-bench: they differ\n")


def test_readme_lists_the_exit_codes() -> None:
    (sentence,) = re.findall(r"Exit codes: ([^.]+)\.", (ROOT / "README.md").read_text())
    assert [int(code) for code in re.findall(r"(\d+) [a-z]", sentence)] == [code.value for code in ExitCode]
