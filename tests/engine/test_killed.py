"""A run that is killed anywhere goes on where it was and ends with the bytes of an undisturbed one."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from places import SUPPORT

from gfp_bench.data.manifest import Manifest

POINTS = [  # when, the file whose rename it is, which of them
    ("before", "plan.json", 0),
    ("after", "checkpoint", 4),  # in the middle of a fit
    ("middle", "checkpoint", 9),  # in the middle of a write
    ("before", "state-", 0),
    ("after", "state-", 0),
    ("middle", "clean-", 0),  # scores
    ("after", "clean-", 0),  # scores without their record
    ("after", "clean-", 1),  # the record
    ("before", "timing", 0),
    ("after", "checkpoint", 30),  # in the middle of an immunisation
    ("before", "noise-", 3),
]


@pytest.mark.timeout(300)
def test_killed_at_ten_points(toy: Manifest, cache: Path, tmp_path: Path) -> None:
    driver = SUPPORT / "kill_driver.py"
    arguments = [str(toy.file), str(cache), str(tmp_path), json.dumps(POINTS)]
    done = subprocess.run([sys.executable, str(driver), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    attempts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(attempts) == len(POINTS)
    expected = kept_files(tmp_path / "undisturbed")
    assert len(expected) == 10  # the plan, twice, and two files for each of four cells
    for point, attempt in zip(POINTS, attempts, strict=True):
        assert attempt["killed"] == -signal.SIGKILL, point
        assert attempt["code"] == 0, point
        assert not set(attempt["kept"]) & set(attempt["computed"]), f"{point}: a finished cell ran twice"
        assert len(attempt["kept"]) + len(attempt["computed"]) == 4, point
        assert kept_files(Path(attempt["results"])) == expected, point


def kept_files(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.suffix in (".json", ".npz"))
    return {str(path.relative_to(root)): path.read_bytes() for path in found}
