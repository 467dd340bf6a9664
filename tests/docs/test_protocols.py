"""The page on protocols says what is so: its files are loaded, planned and run, its commands run."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from places import ROOT

from gfp_bench.cli import main
from gfp_bench.contracts.rng import ImageRng
from gfp_bench.data.manifest import Manifest
from gfp_bench.protocols.protocol import load_protocol, protocol_names
from gfp_bench.registry.discovery import load_plugins

PAGE = (ROOT / "docs" / "protocols.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's protocols, under their own names."""
    for text in blocks("toml"):
        (found,) = re.findall(r'^name = "(\w+)"\nversion = 1$', text, flags=re.MULTILINE)
        (tmp_path / f"{found}@1.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code


@pytest.mark.parametrize("command", "".join(blocks("sh")).splitlines())
def test_a_command_of_the_page_runs(
    command: str, toy: Manifest, cache: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(command)
    data = ["-d", str(toy.file)] if words[1] in ("plan", "run") else []
    small = ["--output", "out", "--device", "cpu"] if words[1] == "run" else []
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    call([*words, *data, *small], monkeypatch)


def test_the_ladders_of_the_page_run_and_are_drawn(
    toy: Manifest, cache: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    monkeypatch.setenv("GFP_BENCH_DATA", str(toy.file.parent))
    call(["gfp-bench", "run", "-d", "toy", "-p", "steps@1.toml", "-m", "knn", "-o", "out"], monkeypatch)
    board = (files / "out" / "toy-steps@1.md").read_text()
    assert "### jpeg: quality" in board
    assert "-p steps@1.toml" in board
    assert (files / "out" / "toy-steps@1.png").read_bytes().startswith(b"\x89PNG")
    call(["gfp-bench", "publish", "-o", "out", "--boards", "boards"], monkeypatch)
    call(["gfp-bench", "leaderboard", "--check", "--boards", "boards"], monkeypatch)


def test_the_page_says_which_columns_there_are(files: Path) -> None:
    mine, steps = load_protocol("mine@1.toml"), load_protocol("steps@1.toml")
    assert [use.label for use in mine.all_attacks] == ["jpeg", "jpeg-harsh", "noise", "half-blurred", "messenger"]
    assert [use.label for use in steps.all_attacks] == ["jpeg-90", "jpeg-60", "jpeg-30", "blur-0.5", "blur-1", "blur-2"]


def test_the_page_names_every_protocol() -> None:
    assert {*re.findall(r"^\| `([\w@-]+)`", PAGE, flags=re.MULTILINE)} == {*protocol_names()}


def test_noise_of_a_small_norm_is_close_to_nothing() -> None:
    noise = load_protocol("bfr-vae@1").attacks[0]
    attack = load_plugins().attack(noise.name)(**noise.settings)
    rng = ImageRng.for_images(list("abcd"), seed=0, dataset="set", attack="noise", split="test")
    images = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    change = (attack.perturb(images, rng).int() - 128).abs()
    assert change.max() == 1
    assert 0.025 < change.double().mean() < 0.035
