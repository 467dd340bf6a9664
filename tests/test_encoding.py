"""Files are UTF-8 whatever the locale says: everything is opened with its encoding named."""

import os
import subprocess
import sys
from pathlib import Path

from places import ROOT

CODE = """
import sys, warnings
warnings.filterwarnings("error", category=EncodingWarning, module=r"gfp_bench")
sys.argv[1:] = {words!r}
from gfp_bench.cli import main
main()
"""


def test_a_board_is_the_same_under_a_locale_of_ascii(tmp_path: Path) -> None:
    """The shipped boards have ± and †; each file that is read or written says how."""
    environment = os.environ | {
        "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONWARNDEFAULTENCODING": "1",
        "GFP_BENCH_CACHE": str(tmp_path),
    }  # fmt: skip
    environment.pop("PYTHONIOENCODING", None)

    def call(*words: str) -> bytes:
        code = CODE.format(words=list(words))
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    boards = str(ROOT / "leaderboards")
    assert call("leaderboard", "--check", "--boards", boards).endswith(b"are what their records give\n")
    run = ("-d", "photo-mini", "-p", "attribution@0", "-m", "majority", "--limit", "2", "--seeds", "0")
    text = call("run", *run)
    assert "→" in text.decode("utf-8")
    assert call("leaderboard") == text == next((tmp_path / "results").glob("*limit2.md")).read_bytes()
