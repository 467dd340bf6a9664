"""The command line has a name and a version, however it is called."""

import subprocess
import sys
from collections.abc import Callable

from gfp_bench import __version__


def test_the_version_is_printed(cli: Callable) -> None:
    assert cli("--version") == (0, f"gfp-bench {__version__}\n", "")


def test_python_runs_the_package_under_the_commands_name() -> None:
    done = subprocess.run([sys.executable, "-m", "gfp_bench", "lsit"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Usage: gfp-bench ")
