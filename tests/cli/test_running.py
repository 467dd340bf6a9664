"""The command line as a user meets it: output, errors with a way out, exit codes."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from places import SUPPORT

from gfp_bench.data.manifest import Manifest

FAULTS = str(SUPPORT / "faults.py")


def test_run_then_status_leaderboard_show_publish(cli: Callable, toy: Manifest, tmp_path: Path) -> None:
    asked = ("-d", str(toy.file), "-m", "brightness", "--plugin", FAULTS)
    code, out, err = cli("run", *asked, "--device", "cpu")
    assert code == 0, err
    assert "`brightness`" in out
    assert "board: results/toy-attribution@1.md" in err
    assert "done: brightness clean seed 0, jpeg" in err
    code, again, err = cli("run", *asked)
    assert (code, again) == (0, out)
    assert "done:" not in err, "a second run computes nothing"

    code, table, _ = cli("status")
    assert code == 0
    assert "95 cells, 95 done" in table
    states = json.loads(cli("status", "--json")[1])
    assert {state["status"] for state in states} == {"done"}
    shown = json.loads(cli("show", states[0]["key"][:12])[1])
    assert [record["key"] for record in shown] == [states[0]["key"]]

    folder = str(toy.file.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GFP_BENCH_DATA", folder)
        assert cli("leaderboard") == (0, out, "")
        assert cli("leaderboard", "--format", "latex")[1].startswith("% toy, attribution@1")
        assert cli("leaderboard", "--format", "csv")[1].startswith("dataset,")
        assert cli("publish", "--boards", "boards")[:2] == (0, "boards/toy-attribution@1.md\n")
        assert cli("leaderboard", "--check", "--boards", "boards")[0] == 0
        board = tmp_path / "boards" / "toy-attribution@1.md"
        board.write_text(board.read_text().replace("100.0", "99.9"))
        code, out, err = cli("leaderboard", "--check", "--boards", "boards")
        assert code == 4
        assert "toy-attribution@1.md is not what its records give" in out


def test_failed_cells_are_exit_1(cli: Callable, toy: Manifest) -> None:
    code, out, err = cli("run", "-d", str(toy.file), "-m", "raises", "--plugin", FAULTS, "--seeds", "0")
    assert code == 1
    assert "failed (note" in out
    assert "RuntimeError: no fit today" in err
    assert "--retry-failed" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "-m", "durall"), "unknown method 'durall'; did you mean 'durall20'?"),
        (("run", "-m", "knn[kk=3]"), "unknown knn setting 'kk'; did you mean 'k'?"),
        (("run", "-m", "knn[k=many]"), "'many'"),
        (("run", "-d", "foto-mini"), "unknown dataset 'foto-mini'"),
        (("run", "-p", "attribution@7"), "unknown protocol 'attribution@7'; did you mean 'attribution@1'"),
        (("run", "--seeds", "x"), "'x' are no seeds; expected as 0-2"),
        (("run", "--seeds", "0,0,0"), "'0,0,0' has a seed twice"),
        (("run", "--seeds", "0-3,2"), "'0-3,2' has a seed twice"),
        (("run", "--seeds", "2-0"), "'2-0' runs backwards; write 0-2"),
        (("run", "--seeds", "1-"), "'1-' are no seeds"),
        (("run", "--seeds", "0-100"), "'0-100' are more than 100 seeds"),
        (("run", "--seeds", "0-999999999"), "are more than 100 seeds"),
        (("run", "--seeds", "9999999999"), "has a seed of more than 9 digits"),
        (("run", "--device", "tpu"), "'tpu' is no device"),
        (("run", "--limit", "1"), "--limit"),
        (("run", "--plugin", "missing.py"), "missing.py"),
        (("info", "jpg"), "unknown plugin 'jpg'; did you mean 'jpeg'?"),
        (("status",), "no plan in results"),
        (("leaderboard", "--format", "xls"), "'xls' is no format"),
        (("show", "nothing"), "no plan in results"),
        (("leaderboard", "--check", "--boards", "nowhere"), "no published board in nowhere"),
        (("publish", "--again", "toy", "--boards", "nowhere"), "unknown published board 'toy'; known: none"),
        (("publish", "--add", "--replace"), "give one"),
        (("run", "--add", "toy"), "unknown published board 'toy'"),
        (("run", "--add", "toy", "--limit", "2"), "has its own dataset, and no limit"),
        (("zoo", "sample", "nowhere", "-n", "1", "--out", "x"), "nowhere holds no trained generator"),
        (("nonsense",), "nonsense"),
    ],
)
def test_usage_errors_are_exit_2(cli: Callable, words: tuple[str, ...], message: str) -> None:
    code, _, err = cli(*words)
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())


def test_an_interrupt_is_exit_130_and_leaves_nothing_running(toy: Manifest, cache: Path, tmp_path: Path) -> None:
    words = ["run", "-d", str(toy.file), "-m", "slow", "--plugin", FAULTS, "--seeds", "0", "-j", "1"]
    heed = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"  # jobs of a shell ignore it
    code = f"{heed}; sys.argv[1:] = {words!r}; from gfp_bench.cli import main; main()"
    environment = os.environ | {"GFP_BENCH_CACHE": str(cache)}
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=file)
    while "majority" not in log.read_text() and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130, log.read_text()
    assert "the same command goes on" in log.read_text()
    assert not list(tmp_path.rglob("claim*"))


def test_a_damaged_dataset_is_exit_3(cli: Callable, tmp_path: Path) -> None:
    (tmp_path / "odd.toml").write_text("surprise = 1\n")
    code, _, err = cli("run", "-d", str(tmp_path / "odd.toml"))
    assert code == 3
    assert "surprise" in err


def test_a_results_folder_that_cannot_be_made_is_exit_1(cli: Callable, toy: Manifest, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    code, _, err = cli("run", "-d", str(toy.file), "-m", "knn", "-o", str(tmp_path / "taken" / "results"))
    assert code == 1
    assert "what is done is kept" in err


def test_no_space_left_is_exit_1(cli: Callable, toy: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    cli("data", "verify", str(toy.file))
    monkeypatch.setattr("os.fsync", full)
    code, _, err = cli("run", "-d", str(toy.file), "-m", "knn")
    assert code in (1, 3)
    assert "No space left on device" in err
    assert not list(Path("results").rglob("*.partial"))


def test_plan_says_what_run_would_do(cli: Callable, toy: Manifest) -> None:
    code, out, _ = cli("plan", "-d", str(toy.file), "-m", "knn", "--seeds", "0")
    assert code == 0
    assert "95 cells, 0 done" in out
    plan = json.loads(cli("plan", "-d", str(toy.file), "-m", "knn", "--json")[1])
    assert {trial["method"] for trial in plan["trials"]} == {"chance", "majority", "octaves", "thumbnail", "knn"}


def test_list_info_doctor(cli: Callable) -> None:
    names = json.loads(cli("list", "--json")[1])
    assert {"durall20", "knn", "manifpt", "mccloskey18", "thumbnail", "yu19"} <= set(names["methods"])
    assert {"blur", "crop", "jpeg", "noise"} <= set(names["attacks"])
    assert "no broken plugins" in cli("list", "--broken")[1]
    info = cli("info", "durall20")[1]
    assert "gamma = 0.86" in info
    assert "arXiv:2003.01826" in info
    sampled = cli("info", "vq_vae")[1].partition("  width")[2]
    assert "\n  factor = 4 (2 or 4 or 8)\n      the image's side against that of the map of codes\n" in sampled
    assert max(map(len, sampled.splitlines())) <= 80
    assert json.loads(cli("info", "knn", "--json")[1])["settings"]["k"] == {
        "name": "k",
        "default": 5,
        "expected": "int at least 1 or None",
        "explanation": "training images that vote; none: the best of 1, 3, 5, 9, ..., 1025 on the validation images",
    }
    told = cli("doctor")[1]
    assert "torch" in told
    assert "methods are kept from datasets and records by " in told


def test_check_passes_and_fails(cli: Callable) -> None:
    assert cli("check", "blur")[0] == 0
    code, out, err = cli("check", "wrong-shape", "--plugin", FAULTS)
    assert code == 3
    assert "FAILED" in out
    assert "'wrong-shape' failed" in err


def test_data_index_info_verify_audit(cli: Callable, toy: Manifest, tmp_path: Path) -> None:
    (tmp_path / "copy").symlink_to(toy.root)
    code, out, err = cli("data", "index", str(toy.root), "again", "--licence", "CC0")
    assert code == 0, err
    path = out.strip()
    assert "sources: gan-a, gan-b, real" in cli("data", "info", path)[1]
    assert "all 72 files are what the index says" in cli("data", "verify", path)[1]
    assert "gan-a" in cli("data", "audit", path)[1]
    assert len(json.loads(cli("data", "audit", path, "--json")[1])) == 3


def test_what_need_not_import_torch_does_not() -> None:
    code = (
        "import sys; sys.argv = ['gfp-bench', {words}]\n"
        "from gfp_bench.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    for words in ("'--help'", "'status'", "'leaderboard'"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(words=words)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_help_loads_nothing_large() -> None:
    code = (
        "import sys; sys.argv = ['gfp-bench', '--help']\n"
        "from gfp_bench.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*{'numpy', 'pandas', 'pydantic', 'rich', 'torch'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "\n"
    assert "leaderboard" in done.stdout
