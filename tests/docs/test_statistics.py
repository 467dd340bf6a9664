"""docs/statistics.md: the study that its tables come from runs, and says what the page says it does."""

import importlib.util
import re
from types import ModuleType

import numpy as np
import pytest
from places import ROOT

PAGE = (ROOT / "docs" / "statistics.md").read_text()


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_study", ROOT / "docs" / "coverage_study.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def headers(text: str) -> set[str]:
    """Titles of tables with their columns, spaces aside."""
    found = re.findall(r"^### (.*)\n\n(\|.*\|)$", text, flags=re.MULTILINE)
    return {" ".join(f"{title} {columns}".split()) for title, columns in found}


def test_the_study_runs_and_prints_the_tables_of_the_page(
    study: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    study.main(["--quick"])
    printed = headers(capsys.readouterr().out)
    assert len(printed) == 6
    assert printed == headers(PAGE)


def test_seeds_of_the_study_have_the_mean_and_the_spread_that_they_are_said_to_have(study: ModuleType) -> None:
    mean = study.recalls(0.5, 5)
    assert mean.mean() == pytest.approx(0.5)
    rng = np.random.default_rng(0)
    for spread, deviation in ((study.beta(0.04), 0.04), (study.beta(0.12), 0.12), (study.collapsing(0.2), None)):
        drawn = spread(mean, rng, 4000).mean(axis=1)
        assert drawn.mean() == pytest.approx(0.5, abs=0.01)
        assert deviation is None or drawn.std() == pytest.approx(deviation, rel=0.05)


def test_answers_of_the_study_are_as_often_right_as_they_should_be(study: ModuleType) -> None:
    design = study.Design(5, 30, size=2)
    rng = np.random.default_rng(0)
    right = [study.simulated(design, [(0.9, study.beta(0.01))], rng)[0] for _ in range(60)]
    assert np.mean(right) == pytest.approx(0.9, abs=0.01)
    together = np.concatenate([one.mean(axis=0) for one in right]).reshape(-1, 2)
    assert np.corrcoef(together.T)[0, 1] > 0.2, "images of a group are alike"


def test_the_command_of_the_page_is_the_study_in_short() -> None:
    commands = re.findall(r"^python (docs/.*)$", PAGE, flags=re.MULTILINE)
    assert commands[0] == "docs/coverage_study.py --quick"
    assert all(command.split()[0] == "docs/coverage_study.py" for command in commands)
