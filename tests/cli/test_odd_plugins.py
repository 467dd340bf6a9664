"""What a user meets of plugins that are odd before any image is seen, or in what they say."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from odd_plugins import odd_method
from places import SUPPORT

from gfp_bench.data.manifest import Manifest

PROTOCOL = """
schema = 1
name = "plain"
version = 1
task = "attribution"
description = "Clean images alone."
attack_seed = 0
seeds = [0]
batch_size = 64
immunise = false
attacks = []
"""


@pytest.fixture
def odd(tmp_path: Path) -> list[str]:
    """Options that name a file with sound and awkward methods, one that cannot be imported, one that cannot be made."""
    (tmp_path / "exits.py").write_text(odd_method("exits-at-import", before="os._exit(0)"))
    (tmp_path / "made.py").write_text(odd_method("made", inside="def __init__(self): os._exit(0)"))
    return ["--plugin", str(SUPPORT / "faults.py"), "--plugin", "exits.py", "--plugin", "made.py"]


def test_a_run_with_bad_plugins_ends_with_a_board_that_says_why(
    cli: Callable, toy: Manifest, tmp_path: Path, odd: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain@1.toml").write_text(PROTOCOL)
    monkeypatch.setenv("GFP_BENCH_DATA", str(toy.file.parent))
    names = ["exits-at-import", "made", "awkward", "brightness"]
    methods = [word for name in names for word in ("-m", name)]
    code, out, err = cli("run", "-d", "toy", "-p", "plain@1.toml", *methods, *odd, "--device", "cpu")
    assert code == 1, err
    counts = Counter(state["status"] for state in json.loads(cli("status", "--json")[1]))
    assert counts == {"done": 5, "failed": 3}
    assert "exits.py does not load: exited with code 0 before it was done" in err
    assert "method 'made' (file " in err
    assert "exited with code 0 before it was done" in out
    assert not set(err + out) - set(filter(str.isprintable, err + out)) - {"\n"}
    assert cli("status")[1].count("made clean seed 0") == 1

    shown = MarkdownIt("gfm-like", {"linkify": False}).parse(out)
    assert Counter(token.type for token in shown)["heading_open"] == out.count("\n## ") + 1
    assert Counter(token.type for token in shown)["tr_open"] == 9 * Counter(t.type for t in shown)["table_open"]
    inline = [child.type for token in shown for child in token.children or ()]
    assert not {"html_inline", "link_open", "image"} & {*inline} | {t.type for t in shown if t.type == "html_block"}
    rows = list(csv.DictReader(cli("leaderboard", "--format", "csv")[1].splitlines()))
    assert {row["method"] for row in rows} >= {*names}
    assert not [text for row in rows for text in row.values() if text[:1] in "=+@" and text]
    latex = cli("leaderboard", "--format", "latex")[1]
    assert latex.count("\\begin{") == latex.count("\\end{")
    assert "script" in latex and "<script" not in latex


def test_what_there_is_can_be_asked_beside_bad_plugins(cli: Callable, odd: list[str]) -> None:
    code, out, _ = cli("list", *odd)
    assert code == 0
    assert "made" in out.splitlines()[0] and "broken: file " in out
    assert "exited with code 0" in cli("list", "--broken", *odd)[1]
    assert cli("info", "awkward", *odd)[0] == 0
    for command in (("info",), ("check", "--timeout", "60")):
        code, _, err = cli(command[0], "made", *command[1:], *odd)
        assert code == 3
        assert "exited with code 0 before it was done" in err
        code, _, err = cli(command[0], "exits-at-import", *odd)
        assert code == 2
        assert "exits.py does not load" in err
