"""docs/attacks.md says what is so: its example is the tested file, its commands run, its tables name every attack."""

import inspect
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from places import ROOT

from gfp_bench import ImageSet, SettingError, load_plugins
from gfp_bench.cli import main
from gfp_bench.contracts.settings import resolved_settings

PAGE = (ROOT / "docs" / "attacks.md").read_text()
EXAMPLE = ROOT / "docs" / "example_attack.py"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_page_shows_the_example_as_it_is() -> None:
    assert EXAMPLE.read_text() in blocks("python")


@pytest.mark.parametrize("command", "".join(blocks("sh")).replace("\\\n", "").splitlines())
def test_a_command_of_the_page_runs(command: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command)
    if "--out" in words:
        place = words.index("--out") + 1
        words[place] = str(tmp_path / f"small{Path(words[place]).suffix}")
        words += ["--scale", "1"]
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code


def test_the_example_keeps_upper_bits() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 4, 6), dtype=np.uint8)
    images = ImageSet(pixels, np.zeros(9, dtype=np.int64), sources=["a"], ids=[str(i) for i in range(9)])
    attacked = (
        load_plugins([EXAMPLE]).attack("posterise")(low=3, high=3).perturb(images.images, images.attack_rng("", 0))
    )
    assert torch.equal(attacked, images.images & 0b11100000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"high": 9}, "'high' of 'posterise' got 9, expected int from 1 to 8"),
        ({"low": 6}, "'posterise': settings low=6 and high=5 are no range"),
    ],
)
def test_the_example_refuses_what_its_settings_do_not_take(settings: dict[str, int], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        load_plugins([EXAMPLE]).attack("posterise")(**settings)


def test_tables_name_every_attack_with_its_defaults() -> None:
    plugins = load_plugins()
    rows = dict(re.findall(r"^\| (\w+) \| [^|]* \| (`[^|]*) \|$", PAGE, flags=re.MULTILINE))
    assert rows.keys() == set(plugins.attacks)
    for name, text in rows.items():
        cls = plugins.attack(name)
        stated = dict(item.split("=", 1) for item in re.findall(r"`(\w+=[^`]*)`", text))
        assert resolved_settings(cls, stated) == resolved_settings(cls, {})
        assert stated.keys() == inspect.signature(cls).parameters.keys()


def test_readings_of_the_page_exist() -> None:
    """Every setting that the table of readings gives in code is one that some attack takes."""
    plugins = load_plugins()
    table = PAGE.partition("## Readings")[2].partition("###")[0]
    classes = [plugins.attack(name) for name in plugins.attacks]
    for text in re.findall(r"`(\w+=[^`\]\[:]*)`", table):
        given = dict(item.split("=", 1) for item in text.split(","))
        takers = [cls for cls in classes if given.keys() <= inspect.signature(cls).parameters.keys()]
        assert any(accepted(cls, given) for cls in takers), text


def accepted(cls: type, given: dict[str, str]) -> bool:
    try:
        cls(**resolved_settings(cls, given))
    except ValueError:
        return False
    return True


def test_links_lead_somewhere() -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in target]
    assert [target for target in targets if not (ROOT / "docs" / target).exists()] == []
